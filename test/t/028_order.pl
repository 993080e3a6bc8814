# Requests for one activity go one after the other in the order in which they
# were made, the first verdict wins, and nobody waits for another activity.

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

# Few in flight, so that few need be read ahead to reach the bounds of memory
$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ", max_in_flight '50',"
	  . " retry_initial_interval '50ms', retry_max_interval '150ms');"
	  . ' GRANT USAGE ON FOREIGN SERVER temporal TO PUBLIC');
start_activities($temporal, $node, 'order', 1, 300);
$node->safe_psql('postgres', 'GRANT SELECT ON pending_activity TO PUBLIC');

sub token
{
	my ($activity) = @_;

	return "(SELECT task_token FROM pending_activity WHERE activity_id = '$activity')";
}

sub ids
{
	return split(/\n/, $node->safe_psql('postgres', $_[0]));
}

# The calls that came for requests, which have to come in that order and each
# after the one before it was answered.
my $delay_ms = 30;

sub is_in_order
{
	my ($what, @ids) = @_;
	my %wanted = map { $_ => 1 } @ids;
	my @arrived = grep { $wanted{ $_->{id} } } $temporal->arrivals_in_order;
	my $overlaps = 0;

	is_deeply([ map { $_->{id} } @arrived ], \@ids, "$what: in order");
	for (my $i = 1; $i < @arrived; $i++)
	{
		$overlaps++
		  if $arrived[$i]{first_arrival} < $arrived[ $i - 1 ]{first_arrival} + $delay_ms * 1000;
	}
	is($overlaps, 0, "$what: never two at once");
	return;
}

# A session of another role, which is another queue of the worker
$node->safe_psql('postgres', 'CREATE ROLE other');

$temporal->fault(mode => 'delay', delay_ms => $delay_ms);

# Many activities in one transaction, in turns
my @together = ids(<<'EOS');
SELECT CASE WHEN step < 5 THEN temporal.heartbeat_activity(task_token, to_jsonb(step))
            WHEN step = 5 THEN temporal.complete_activity(task_token, to_jsonb('first verdict'::text))
            WHEN step = 6 THEN temporal.fail_activity(task_token, 'second verdict')
            ELSE temporal.heartbeat_activity(task_token) END
  FROM generate_series(1, 7) step,
       LATERAL (SELECT task_token FROM pending_activity WHERE activity_id IN ('1', '2', '3') ORDER BY activity_id, step) p;
EOS
is(scalar(@together), 21, 'requests for three activities in one transaction');

# One transaction each, of two roles, by token and by ids
my @apart;
push @apart, ids('SELECT temporal.heartbeat_activity(' . token(4) . ", '$_')") for 1 .. 3;
push @apart, $node->safe_psql('postgres',
	q(SET ROLE other; SELECT temporal.heartbeat_activity_by_id('order-0', '4', '"by another role"')));
push @apart, ids('SELECT temporal.heartbeat_activity(' . token(4) . ", '5')");
push @apart, $node->safe_psql('postgres',
	q(SET ROLE other; SELECT temporal.complete_activity_by_id('order-0', '4', '"by another role"')));
await_finished($node);
$temporal->clear_faults;

foreach my $i (0 .. 2)
{
	# of four heartbeats that wait the last one is sent
	is_in_order('activity ' . ($i + 1) . ' in one transaction',
		grep { $_ >= $together[9] && ($_ - $together[0]) % 3 == $i } @together);
}
my %arrived = $temporal->arrivals;
is_in_order('requests by two roles', grep { $arrived{$_} } @apart);
is(states($node, q(activity_id IN ('1', '2', '3'))), "delivered|6\nrejected|6",
	'the last heartbeats and the first verdicts are delivered, what came later is refused');
is($node->safe_psql('postgres', q(SELECT sum(earlier_heartbeats) FROM temporal.request WHERE activity_id IN ('1', '2', '3'))), '9', 'the other heartbeats are counted');
is( $node->safe_psql('postgres',
		q(SELECT DISTINCT verb, state, error_code, attempts FROM temporal.request WHERE activity_id IN ('1', '2', '3') ORDER BY 1, 2)),
	"complete|delivered||1\nfail|rejected|NOT_FOUND|1\nheartbeat|delivered||1\nheartbeat|rejected|NOT_FOUND|1",
	'and the view says so');
is($node->safe_psql('postgres', q(SELECT state, count(*) + sum(earlier_heartbeats) FROM temporal.request WHERE activity_id = '4' GROUP BY 1)), 'delivered|6',
	'all requests by two roles are delivered');

# A transaction that is older than another one, but makes its requests after
# that has committed: also when the worker finds both at once.
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
my $older = $node->background_psql('postgres');
$older->query_safe('BEGIN');
$older->query_safe('SELECT pg_current_xact_id()');
$node->safe_psql('postgres', 'SELECT temporal.heartbeat_activity(' . token(8) . q{, '"before"'), }
	  . 'temporal.complete_activity(' . token(9) . q{, '"first"')});
$older->query_safe('SELECT temporal.complete_activity(' . token(8) . q{, '"after"'), }
	  . 'temporal.fail_activity(' . token(9) . q{, 'second')});
$older->query_safe('COMMIT');
$older->quit;
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
await_finished($node);
is($node->safe_psql('postgres',
		q(SELECT activity_id, verb, state FROM temporal.request WHERE activity_id IN ('8', '9') ORDER BY id)),
	"8|heartbeat|delivered\n9|complete|delivered\n8|complete|delivered\n9|fail|rejected",
	'requests go in the order in which they were made, whichever transaction is older');

# A request that does not get through holds up those for its activity, nobody
# else: however many wait behind it, and however large they are.
sub check_stuck
{
	my ($what, $activity, $behind, $others, $ends) = @_;
	my $session = $node->background_psql('postgres');

	$session->query_safe('BEGIN');
	my $stuck = $session->query_safe('SELECT temporal.heartbeat_activity(' . token($activity) . q{, '"stuck"')});
	my $rule = $temporal->fault(identity => "postgresql:postgres/$stuck\@*",
		mode => 'fail-before', error => 'UNAVAILABLE');
	$session->query_safe($behind);
	$session->query_safe('COMMIT');
	$session->quit;
	$node->poll_query_until('postgres', "SELECT attempts > 10 FROM temporal.request WHERE id = $stuck");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.queue_error'), '0',
		"$what: one request that fails says nothing about others");

	my @others = ids(<<EOS);
SELECT temporal.complete_activity(task_token, to_jsonb(activity_id)) FROM pending_activity
 WHERE activity_id::int BETWEEN $others
EOS
	my $list = join(',', @others);

	ok( $node->poll_query_until('postgres', <<EOS), "$what: other activities do not wait");
SELECT count(*) = @{[scalar(@others)]} FROM temporal.request WHERE id IN ($list) AND state = 'delivered'
EOS
	like(states($node, "id = $stuck"), qr/^(retrying|in_flight)\|1$/, "$what: the request is tried again and again");
	is($node->safe_psql('postgres',
			"SELECT count(*) FROM temporal.request WHERE activity_id = '$activity' AND finished_at IS NOT NULL AND state <> 'superseded'"),
		'0', "$what: those behind it wait");

	$temporal->clear_faults($rule);
	await_finished($node);
	is($node->safe_psql('postgres',
			"SELECT state, count(*) + coalesce(sum(earlier_heartbeats), 0) FROM temporal.request WHERE activity_id = '$activity' GROUP BY 1 ORDER BY 1"),
		$ends, "$what: they have their turns when it gets through");
	return;
}

check_stuck('one behind', 5, 'SELECT temporal.fail_activity(' . token(5) . ", '1')", '10 AND 59', 'delivered|2');
check_stuck('many behind', 6,
	q(SELECT count(temporal.report_cancellation_by_id('order-0', '6', to_jsonb(i))) FROM generate_series(1, 1500) i), '60 AND 109', "delivered|1\nrejected|1500");
check_stuck('large ones behind', 7,
	q(SELECT count(temporal.heartbeat_activity_by_id('order-0', '7', to_jsonb(repeat('x', 1900000)), p.run_id))
	    FROM pending_activity p, generate_series(1, 5) i WHERE p.activity_id = '7'), '110 AND 159', 'delivered|6');

# A role that has very many requests for an activity lets another role's go first
# after 64, also if they alternate between two of its queues: the server's
# namespace is named, or not.
$node->safe_psql('postgres', 'CREATE ROLE two_queues');
my $alternating = $node->background_psql('postgres');
$alternating->query_safe('BEGIN; SET ROLE two_queues');
my @alternating = $alternating->query_safe(q(SELECT temporal.heartbeat_activity_by_id('order-0', '210', '"held up"')));
my $held_up = $temporal->fault(identity => "postgresql:postgres/$alternating[0]\@*", mode => 'fail-before', error => 'UNAVAILABLE');
push @alternating, split(/\n/, $alternating->query_safe(<<'EOS'));
SELECT temporal.report_cancellation_by_id('order-0', '210', to_jsonb(i), namespace => CASE WHEN i % 2 = 1 THEN 'default' END)
  FROM generate_series(1, 300) i
EOS
$alternating->query_safe('COMMIT');
$alternating->quit;
my $in_turn = $node->safe_psql('postgres', q(SET ROLE other; SELECT temporal.complete_activity_by_id('order-0', '210', '1')));
$node->poll_query_until('postgres', "SELECT attempts > 10 FROM temporal.request WHERE id = $alternating[0]");
is($node->safe_psql('postgres', "SELECT count(DISTINCT queue) FROM temporal_internal.outbox WHERE id IN ($alternating[1], $alternating[2])"), '2',
	'a role has two queues for one activity');
$temporal->clear_faults($held_up);
await_finished($node);
my %in_chain = map { $_ => 1 } @alternating, $in_turn;
my @in_chain = map { $_->{id} } grep { $in_chain{ $_->{id} } } $temporal->arrivals_in_order;
is(scalar(@in_chain), 302, 'all are sent');
my ($turn) = grep { $in_chain[$_] == $in_turn } 0 .. $#in_chain;
cmp_ok($turn, '<=', 65, 'after 64 of a role, of whichever queues, it is the turn of another one');

# Two transactions of a role begin at once, and each makes the role's queue: what
# one of them asks for is not read in two parts, in any order.
$node->safe_psql('postgres', 'CREATE ROLE fresh LOGIN');
my $first = $node->background_psql('postgres');
$first->query_safe("BEGIN; SET ROLE fresh; SET temporal_complete.default_server = 'temporal'");
$first->query_safe(q(SELECT temporal.heartbeat_activity_by_id('order-0', '200', to_jsonb(i)) FROM generate_series(1, 3) i));
$node->safe_psql('postgres', q(SELECT temporal.heartbeat_activity_by_id('order-0', '201', '1', server => 'temporal')), extra_params => [ '-U', 'fresh' ]);
$first->query_safe(q(SELECT temporal.heartbeat_activity_by_id('order-0', '200', '4')));
$first->query_safe(q(SELECT temporal.complete_activity_by_id('order-0', '200', '5')));
is($first->query_safe('SELECT count(*) FROM temporal.requested()'), '5', 'a transaction sees all that it asked for');
is($first->query_safe('RESET ROLE; SELECT count(*), count(DISTINCT queue) FROM temporal_internal.outbox WHERE xid = pg_current_xact_id()'),
	'5|1', 'and all of it stands in one queue, whoever makes another one meanwhile');
$first->query_safe('COMMIT');
$first->quit;
await_finished($node);

done_testing();
