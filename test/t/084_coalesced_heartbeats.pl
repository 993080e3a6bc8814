# Of many heartbeats that wait for one attempt of an activity the newest is
# sent; of the others nothing is said that is not true.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $temporal = start_temporal('main');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ", retry_initial_interval '50ms', retry_max_interval '100ms');"
	  . ' GRANT USAGE ON FOREIGN SERVER temporal TO PUBLIC; CREATE ROLE other');
start_activities($temporal, $node, 'beats', 1, 20);
$node->safe_psql('postgres', 'GRANT SELECT ON pending_activity TO PUBLIC');

sub token
{
	my ($activity) = @_;

	return "(SELECT task_token FROM pending_activity WHERE activity_id = '$activity')";
}

sub heartbeats
{
	my ($activity, $n) = @_;

	return 'SELECT max(temporal.heartbeat_activity(t, to_jsonb(i))) FROM ' . token($activity) . " AS x(t), generate_series(1, $n) i";
}

# States of the requests about an activity, by verb; heartbeats that are only counted have that of the last one
sub ends
{
	my ($activity) = @_;

	await_finished($node, "activity_id = '$activity'");
	return $node->safe_psql('postgres', 'SELECT verb, state, count(*) + coalesce(sum(earlier_heartbeats), 0)'
		  . " FROM temporal.request WHERE activity_id = '$activity' GROUP BY 1, 2 ORDER BY min(id)");
}

# As many heartbeats are superseded, of all so far
sub superseded_are
{
	my ($count, $name) = @_;
	my $counted;

	await("$count superseded heartbeats", sub { ($counted = $node->safe_psql('postgres', 'SELECT sum(superseded) FROM temporal.stat_server')) >= $count });
	is($counted, $count, $name);
	return;
}

# The worker finds all of it at once.
sub at_once
{
	my ($script) = @_;
	my $result;

	$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
	$node->reload;
	await('the worker to leave', sub { worker_pid($node) eq '' });
	$result = $node->safe_psql('postgres', $script);
	$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
	$node->reload;
	return $result;
}

sub calls
{
	return $temporal->counters->{RecordActivityTaskHeartbeat}{requests} // 0;
}

# However many heartbeats wait before a verdict, a few are sent.
my $last = $node->safe_psql('postgres', 'BEGIN; ' . heartbeats(1, 2000) . '; SELECT temporal.complete_activity('
	  . token(1) . q{, '"done"'); COMMIT});
my ($beat, $verdict) = split(/\n/, $last);
is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($verdict)"), 'delivered', 'the verdict is delivered');
cmp_ok(calls(), '<', 10, 'few heartbeats were sent before it: ' . calls());
is($node->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $beat"), 'delivered', 'the last one was');
is(ends(1), "heartbeat|delivered|2000\ncomplete|delivered|1", 'all are accounted for');
superseded_are(2000 - calls(), 'the others are superseded');
my %arrivals = $temporal->arrivals;
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal.request r'
		  . " WHERE state <> 'superseded' AND id NOT IN (" . join(',', keys %arrivals) . ')'),
	'0', 'nothing counts as delivered that was not sent');
my $superseded = 2000 - calls();

# Those of other roles, by other names of the activity, or behind a verdict count for themselves.
my $before = calls();
at_once('SELECT ' . join(', ', map { 'temporal.heartbeat_activity(' . token(2) . ", '$_')" } 1 .. 3)
	  . ', temporal.fail_activity(' . token(2) . q{, 'no'), } . 'temporal.heartbeat_activity(' . token(2) . ", '4')");
is(ends(2), "heartbeat|delivered|3\nfail|delivered|1\nheartbeat|rejected|1", 'each side of a verdict for itself');
superseded_are($superseded += 2, '... of which two are superseded');
at_once('SELECT temporal.heartbeat_activity(' . token(3) . q{, '1'); SET ROLE other; SELECT temporal.heartbeat_activity(}
	  . token(3) . q{, '2'); RESET ROLE; SELECT temporal.heartbeat_activity_by_id('beats-0', '3', '3')});
is(ends(3), 'heartbeat|delivered|3', 'another role, or another way to name the activity');
superseded_are($superseded, '... supersedes none');
at_once('SELECT temporal.heartbeat_activity(' . token(4) . q{, '1'); SET ROLE other; SELECT temporal.heartbeat_activity(}
	  . token(4) . q{, '2'); RESET ROLE; SELECT temporal.heartbeat_activity(} . token(4) . q{, '3')});
is(ends(4), 'heartbeat|delivered|3', '... and past them');
superseded_are($superseded += 1, '... one is superseded');

# One that was tried in vain gives way to a later one, and to a verdict after which its details are of no use.
my %behind = (
	5 => [ 'heartbeat_activity', q{'"later"'}, "heartbeat|superseded|1\nheartbeat|delivered|1" ],
	6 => [ 'complete_activity', q{'"done"'}, "heartbeat|superseded|1\ncomplete|delivered|1" ],
	7 => [ 'report_cancellation', q{'"done"'}, "heartbeat|superseded|1\nreport_cancellation|rejected|1" ],
	8 => [ 'fail_activity', q{'failed'}, "heartbeat|delivered|1\nfail|delivered|1" ]);
foreach my $activity (sort keys %behind)
{
	my ($verb, $value, $ends) = @{ $behind{$activity} };
	my $id = $node->safe_psql('postgres', 'SELECT nextval(\'temporal_internal.request_id\')') + 1;
	my $rule = $temporal->fault(identity => "postgresql:postgres/$id\@*", mode => 'fail-before', error => 'UNAVAILABLE');

	is($node->safe_psql('postgres', 'SELECT temporal.heartbeat_activity(' . token($activity) . q{, '"first"')}), $id, 'the id is known before');
	$node->poll_query_until('postgres', "SELECT attempts > 1 FROM temporal.request WHERE id = $id");
	$node->safe_psql('postgres', "SELECT temporal.$verb(" . token($activity) . ", $value)");
	if ($verb eq 'fail_activity')
	{
		my $attempts = $node->safe_psql('postgres', "SELECT attempts FROM temporal.request WHERE id = $id");

		$node->poll_query_until('postgres', "SELECT attempts > $attempts + 2 FROM temporal.request WHERE id = $id");
		$temporal->clear_faults($rule);
	}
	is(ends($activity), $ends, "one that was tried in vain, before $verb()");
	$temporal->clear_faults;
}
is($node->safe_psql('postgres', q(SELECT error_code, attempts > 1 FROM temporal.request WHERE activity_id = '6' AND state = 'superseded')),
	'UNAVAILABLE|t', 'what it was told is kept');

# While nothing can be sent they do not pile up in the worker, and what has
# piled up in the outbox is not sent afterwards.
$temporal->suspend;
$node->safe_psql('postgres', heartbeats(9, 200)) foreach 1 .. 5;
$temporal->resume;
$before = calls();
is(ends(9), 'heartbeat|delivered|1000', 'a server that hangs');
await('the statistics', sub { $node->safe_psql('postgres', 'SELECT sum(heartbeats_not_kept) FROM temporal.stat_server')
	== $node->safe_psql('postgres', 'SELECT sum(earlier_heartbeats) FROM temporal.request') });
cmp_ok(calls() - $before, '<', 100, 'few are sent');
is($node->safe_psql('postgres', q(SELECT state FROM temporal.request WHERE activity_id = '9' ORDER BY id DESC LIMIT 1)), 'delivered', 'the newest is delivered');

# They are no trouble
unlike(slurp_file($node->logfile), qr/ended (rejected|unconfirmed)(?!.*NOT_FOUND|.*INVALID_ARGUMENT|.*FAILED_PRECONDITION)/, 'the log has nothing to say of superseded ones');
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), '0', 'all are finished');

done_testing();
