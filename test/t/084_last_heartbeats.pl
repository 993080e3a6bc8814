# Of the heartbeats of an activity the outcome of the last one is kept, and the
# others are counted; nothing that is said of one is not true.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => 'autovacuum = off');
my $temporal = start_temporal('main');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (address '" . $temporal->address . "', retry_initial_interval '50ms', retry_max_interval '100ms');"
	  . ' GRANT USAGE ON FOREIGN SERVER temporal TO PUBLIC; CREATE ROLE other');
start_activities($temporal, $node, 'beats', 1, 20);
$node->safe_psql('postgres', 'GRANT SELECT ON pending_activity TO PUBLIC');

sub token
{
	my ($activity) = @_;

	return "(SELECT task_token FROM pending_activity WHERE workflow_id ~ '^beats' AND activity_id = '$activity')";
}

sub beat
{
	my ($activity, $details) = @_;

	return $node->safe_psql('postgres', 'SELECT temporal.heartbeat_activity(' . token($activity) . ", '$details')");
}

sub state_of
{
	my ($id) = @_;

	return $node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id)");
}

# Rows of the heartbeats of an activity, and how many these and the counted ones are together
sub kept
{
	my ($activity) = @_;

	return $node->safe_psql('postgres', 'SELECT count(*), count(*) + coalesce(sum(earlier_heartbeats), 0)'
		  . " FROM temporal.request WHERE workflow_id ~ '^beats' AND activity_id = '$activity' AND verb = 'heartbeat'");
}

sub statistics_agree
{
	await('the statistics', sub {
		$node->safe_psql('postgres', q(SELECT (SELECT sum(heartbeats + superseded - heartbeats_not_kept) FROM temporal.stat_server)
			= (SELECT count(*) FROM temporal.request WHERE verb = 'heartbeat' AND finished_at >= (SELECT max(stats_reset) FROM temporal.stat_server)))) eq 't' });
	return;
}

# One after the other, each of which is asked for
my @ids;
foreach my $i (1 .. 30)
{
	push(@ids, beat(1, $i));
	is(state_of($ids[-1]), 'delivered', "heartbeat $i is delivered") if $i % 10 == 0;
	state_of($ids[-1]) if $i % 10 != 0;
}
is(kept(1), '1|30', 'one of 30 is kept, the others are counted');
is($node->safe_psql('postgres', q(SELECT id, state, earlier_heartbeats, cancel_requested FROM temporal.request WHERE activity_id = '1')),
	"$ids[-1]|delivered|29|f", 'that is the last one');
my ($rc, $stdout, $stderr) = $node->psql('postgres', "SELECT state FROM temporal.wait_for_request($ids[0])");
isnt($rc, 0, 'of the first one nothing is said');
like($stderr, qr/request $ids[0] does not exist\n.*it may be a heartbeat that was followed by another one/, 'but why');
statistics_agree();

# Many at once
$node->safe_psql('postgres', 'SELECT count(temporal.heartbeat_activity(t, to_jsonb(i))) FROM ' . token(2) . ' AS x(t), generate_series(1, 500) i');
await_finished($node, "activity_id = '2'");
is(kept(2), '1|500', 'many at once');
is($node->safe_psql('postgres', q(SELECT state FROM temporal.request WHERE activity_id = '2')), 'delivered', 'the last one is delivered');

# Whoever waits is told, whatever has followed
my $first = $node->safe_psql('postgres', 'SELECT nextval(\'temporal_internal.request_id\')') + 1;
my $rule = $temporal->fault(identity => "postgresql:postgres/$first\@*", mode => 'fail-before', error => 'UNAVAILABLE');
is(beat(3, 1), $first, 'the id is known before');
my $waits = $node->background_psql('postgres');
$waits->query_until(qr/waits/, "\\echo waits\nSELECT 'told: ' || id || ' ' || state FROM temporal.wait_for_request($first);\n");
await('the wait', sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT .told' AND wait_event_type = 'Extension')) eq '1' });
my @later = map { beat(3, $_) } 2 .. 5;
state_of($later[-1]);
like($waits->query_until(qr/told/, ''), qr/told: $first superseded/, 'who waits for a heartbeat is told, though others have followed');
$waits->quit;
$temporal->clear_faults;
is((split(/\|/, kept(3)))[1], 5, 'none is counted twice');

# Roles, and ways to name an activity
$node->safe_psql('postgres', 'SET ROLE other; SELECT temporal.heartbeat_activity(' . token(4) . ", '1')") foreach 1 .. 3;
$node->safe_psql('postgres', q(SELECT temporal.heartbeat_activity_by_id('beats-0', '4', '2'))) foreach 1 .. 3;
beat(4, 3) foreach 1 .. 3;
await_finished($node, "activity_id = '4'");
is(kept(4), '2|9', 'of each role, however the activity is named');
is($node->safe_psql('postgres', q(SET ROLE other; SELECT count(*) FROM temporal.request WHERE activity_id = '4')), '1', 'each sees its own');

# A verdict ends it
beat(5, $_) foreach 1 .. 5;
$node->safe_psql('postgres', 'SELECT temporal.complete_activity(' . token(5) . q{, '"done"')});
await_finished($node, "activity_id = '5'");
is(kept(5), '1|5', 'it is kept when the activity has ended');
is($node->safe_psql('postgres', q(SELECT count(*) FROM temporal_internal.last_heartbeat WHERE activity_id = '5')), '0', '... with the other outcomes');
state_of(beat(5, 6));
is($node->safe_psql('postgres', q(SELECT state, count(*) FROM temporal.request WHERE activity_id = '5' AND verb = 'heartbeat' GROUP BY 1 ORDER BY 1)),
	"delivered|1\nrejected|1", 'one that is rejected is kept whole');

# Both at once
$node->safe_psql('postgres', 'SELECT temporal.heartbeat_activity(' . token(6) . q{, '1'), temporal.complete_activity(} . token(6) . q{, '"done"')});
await_finished($node, "activity_id = '6'");
is(kept(6), '1|1', 'heartbeat and verdict in one transaction');
is($node->safe_psql('postgres', q(SELECT count(*) FROM temporal_internal.last_heartbeat WHERE activity_id = '6')), '0', 'nothing stays behind');

# So many that they are written in several parts
start_activities($temporal, $node, 'many', 1, 600);
foreach my $call (q(temporal.heartbeat_activity(task_token)), q(temporal.complete_activity(task_token, '1')))
{
	$node->safe_psql('postgres', "SELECT count($call) FROM pending_activity WHERE workflow_id ~ '^many'");
	await_finished($node);
}
is($node->safe_psql('postgres', q(SELECT verb, state, count(*) FROM temporal.request WHERE workflow_id ~ '^many' GROUP BY 1, 2 ORDER BY 1)),
	"complete|delivered|600\nheartbeat|delivered|600", '600 activities');
is($node->safe_psql('postgres', q(SELECT count(*) FROM temporal_internal.last_heartbeat WHERE workflow_id ~ '^many')), '0', 'all are kept with the other outcomes');

# What is being purged is waited for by nobody
beat(7, $_) foreach 1 .. 3;
await_finished($node, "activity_id = '7'");
my $purges = $node->background_psql('postgres');
$purges->query_until(qr/purged/, "BEGIN;\nSELECT temporal.purge('0');\n\\echo purged\n");
is(state_of(beat(7, 4)), 'delivered', 'a heartbeat while its outcome is being purged');
$purges->query_until(qr/rolled back/, "ROLLBACK;\n\\echo rolled back\n");
is(kept(7), '2|4', 'nothing is lost');
$purges->query_until(qr/purged/, "SELECT temporal.purge('0');\n\\echo purged\n");
$purges->quit;
is(kept(7), '0|0', 'purged');
$node->safe_psql('postgres', 'SELECT temporal.stat_reset()');

# The row is updated in place, and does not grow for it
$node->safe_psql('postgres', 'VACUUM temporal_internal.last_heartbeat');
foreach my $round (1 .. 100)
{
	$node->safe_psql('postgres', q(SELECT count(temporal.heartbeat_activity(task_token)) FROM pending_activity WHERE workflow_id ~ '^beats' AND activity_id::int > 7));
	await_finished($node, "activity_id = '20'") if $round % 10 == 0;
}
await_finished($node, 'true');
is($node->safe_psql('postgres', q(SELECT count(*), count(*) + sum(earlier_heartbeats) FROM temporal.request WHERE state = 'delivered' AND verb = 'heartbeat')), '13|1300', '1300 heartbeats of 13 activities');
cmp_ok($node->safe_psql('postgres', q(SELECT pg_relation_size('temporal_internal.last_heartbeat') / 8192)), '<=', 4, 'they take a few pages');
statistics_agree();

# A crash loses none, and counts none twice
foreach my $round (1 .. 3)
{
	$node->safe_psql('postgres', 'SELECT count(temporal.heartbeat_activity(t)) FROM ' . token(8) . ' AS x(t), generate_series(1, 100)');
	$node->stop('immediate');
	$node->start;
}
await_finished($node, "activity_id = '8'");
is((split(/\|/, kept(8)))[1], 400, 'after crashes');

# If the table gets full, what is still moves away, and heartbeats of further activities are kept one by one
$node->safe_psql('postgres', <<'EOS');
INSERT INTO temporal_internal.last_heartbeat
SELECT l.queue, i, 1000000 + i, l.requested_at, l.finished_at - interval '1 h', 0, 0, l.method, true, NULL, NULL, NULL, 'still-' || i, repeat('w', 400)
  FROM temporal_internal.last_heartbeat l, generate_series(1, 12000) i WHERE l.activity_id = '9';
EOS
cmp_ok($node->safe_psql('postgres', q(SELECT pg_relation_size('temporal_internal.last_heartbeat') / 8192)), '>', 512, 'the table is full');
$node->safe_psql('postgres', 'SELECT count(temporal.heartbeat_activity_by_id(\'beats-0\', i::text)) FROM generate_series(9, 20) i') foreach 1 .. 5;
await_finished($node, "activity_id = '20'");
is($node->safe_psql('postgres', q(SELECT count(*) + coalesce(sum(earlier_heartbeats), 0) FROM temporal.request WHERE verb = 'heartbeat' AND activity_id = '20')), 105, 'none is lost');
cmp_ok($node->safe_psql('postgres', q(SELECT count(*) FROM temporal_internal.delivery WHERE activity_id ~ '^still')), '>', 0, 'rows move');
is($node->safe_psql('postgres', q(SELECT count(*) FROM temporal.request WHERE activity_id ~ '^still')), 12000, 'and stay to be seen');

# It goes with the outcomes of its time
my $retention = 7;
my $segment = 'SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1';
my $still = q(SELECT count(*) FROM temporal_internal.last_heartbeat WHERE activity_id ~ '^still');
$node->safe_psql('postgres', q(DELETE FROM temporal_internal.last_heartbeat WHERE activity_id ~ '^still' AND id % 100 <> 0));
$node->safe_psql('postgres', q(UPDATE temporal_internal.last_heartbeat SET finished_at = finished_at - interval '90 days' WHERE activity_id ~ '^still'));
# so that it is gone through in one step
$node->safe_psql('postgres', q(VACUUM FULL temporal_internal.last_heartbeat));
foreach my $n (1 .. 4)
{
	my $before = $node->safe_psql('postgres', $segment);

	cmp_ok($node->safe_psql('postgres', $still), '>', 0, "not before all segments were begun: $n") if $n < 4;
	$node->safe_psql('postgres', q(UPDATE temporal_internal.delivery_segment SET since = since - interval '10 days'));
	# the worker looks when that has changed
	$retention = 15 - $retention;
	$node->append_conf('postgresql.conf', "temporal_complete.retention = '${retention}d'");
	$node->reload;
	await('another segment', sub { $node->safe_psql('postgres', $segment) ne $before });
	state_of(beat(20, 1)) if $n == 3;
}
await('what is older to go', sub { $node->safe_psql('postgres', $still) eq '0' });
is(kept(20), '1|1', 'what is younger stays');

done_testing();
