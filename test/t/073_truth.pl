# What is said of a request is true, also where the same ids were there before.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $temporal = start_temporal('main');
my $primary = new_cluster('primary', init => { allows_streaming => 1 });

$primary->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ")");
start_activities($temporal, $primary, 'timeline', 1, 1, '-activity-id', 'it');
my $token = $primary->safe_psql('postgres', "SELECT encode(task_token, 'hex') FROM pending_activity WHERE workflow_id = 'timeline-0'");

# Recovery to an earlier point in time: what is made from there on has the ids
# of what was made, and sent, before.
$primary->backup('earlier');
$primary->safe_psql('postgres', 'SELECT pg_current_xact_id()') foreach 1 .. 100;
my ($id, $xid) = split(/\|/, $primary->safe_psql('postgres',
		"SELECT temporal.fail_activity('\\x$token', 'no', non_retryable => true), pg_current_xact_id()"));
await_finished($primary);
is(states($primary), 'delivered|1', 'first timeline: the activity fails');
$primary->stop;

my $other = PostgreSQL::Test::Cluster->new('other');
$other->init_from_backup($primary, 'earlier');
$other->append_conf('postgresql.conf', "recovery_target = 'immediate'\nrecovery_target_action = 'promote'\nrestore_command = 'false'");
$other->set_recovery_mode();
$other->start;
$other->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die;
$other->safe_psql('postgres', "SELECT setval('temporal_internal.request_id', $id, false)");
while ($other->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint') < $xid)
{
	$other->safe_psql('postgres', 'SELECT pg_current_xact_id()');
}
is( $other->safe_psql('postgres', "SELECT temporal.complete_activity('\\x$token', '\"yes\"'), pg_current_xact_id()"),
	"$id|$xid", 'second timeline: the same id, the same transaction');
await_finished($other);
is( $other->safe_psql('postgres', 'SELECT state, error_code FROM temporal.request'),
	'rejected|NOT_FOUND', 'what the first timeline sent is not taken for it');

$other->stop;

# What a worker that has left in order has not sent, was not sent.
my $node = new_cluster('main', init => { allows_streaming => 'logical' }, settings => "temporal_complete.worker_idle_timeout = 1h");
my $nobody = "SELECT temporal.complete_activity_by_id('nobody', 'nothing')";

sub outcome
{
	my ($id) = @_;

	return $node->safe_psql('postgres',
		"SELECT state, error_code FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')");
}

sub set
{
	my ($name, $value) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET temporal_complete.$name = '$value'");
	$node->reload;
	return;
}

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ", request_timeout '1s')");
is(outcome($node->safe_psql('postgres', $nobody)), 'rejected|NOT_FOUND', 'first request of all');

set('worker_idle_timeout', '1s');
await('the worker to leave', sub { worker_pid($node) eq '' });
set('worker_idle_timeout', '1h');
is(outcome($node->safe_psql('postgres', $nobody)), 'rejected|NOT_FOUND', 'request that starts a worker');

my $worker = worker_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
await_worker($node, 'postgres', $worker);
is(outcome($node->safe_psql('postgres', $nobody)), 'rejected|NOT_FOUND', 'after a worker was terminated');

$temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'drop');
my $sent = $node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('nobody', 'sent')");
await('the request to be in flight', sub { $node->safe_psql('postgres', 'SELECT temporal_internal.in_flight_requests()') eq $sent });
my $behind = $node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('nobody', 'sent')");
$node->restart;
$temporal->clear_faults;
is(outcome($sent), 'unconfirmed|NO_ANSWER', 'in flight when the server was shut down');
is(outcome($behind), 'rejected|NOT_FOUND', 'had not been sent when the server was shut down');

set('enabled', 'off');
await('the worker to leave', sub { worker_pid($node) eq '' });
my $waiting = $node->safe_psql('postgres', $nobody);
set('enabled', 'on');
is(outcome($waiting), 'rejected|NOT_FOUND', 'made while there was no worker');

# What was visible to one that was killed may have been sent.
set('enabled', 'off');
await('the worker to leave', sub { worker_pid($node) eq '' });
$waiting = $node->safe_psql('postgres', $nobody);
$temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'drop');
set('enabled', 'on');
await('the request to be in flight', sub { $node->safe_psql('postgres', 'SELECT temporal_internal.in_flight_requests()') eq $waiting });
$node->stop('immediate');
$temporal->clear_faults;
$node->start;
is(outcome($waiting), 'unconfirmed|NO_ANSWER', 'in flight when the server crashed');

# Workers that take turns do not each wait anew for what one before them may have sent.
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET request_timeout '5s')");
$temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'drop');
my $turns = $node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('nobody', 'turns')");
await('the request to be in flight', sub { $node->safe_psql('postgres', 'SELECT temporal_internal.in_flight_requests()') eq $turns });
$node->stop('immediate');
$temporal->clear_faults;
$node->start;
await('the request to be looked up', sub {
		my $worker = worker_pid($node);

		return 1 if $node->safe_psql('postgres',
			"SELECT finished_at IS NOT NULL FROM temporal.wait_for_request($turns, '2 s')") eq 't';
		$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)") if $worker ne '';
		return 0;
	});
is(outcome($turns), 'unconfirmed|NO_ANSWER', 'in flight when the server crashed, and turns are short');
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET request_timeout '1s')");

# What is unconfirmed is there as it was made, for who knows more.
is( $node->safe_psql('postgres', "SELECT count(*) FROM temporal_internal.rejected WHERE id IN ($sent, $waiting) AND maybe_sent"),
	2, 'what is unconfirmed is kept whole');
is($node->safe_psql('postgres', 'SELECT temporal.retry_rejected()'), 5, 'retry_rejected() leaves it alone');
await_finished($node);
$node->safe_psql('postgres', "SELECT temporal.retry_request($waiting)");
is(outcome($waiting), 'unconfirmed|NO_ANSWER', 'retry_request(): by ids it is looked up before it is sent again');
$node->safe_psql('postgres', "SELECT temporal.discard_request($waiting)");
is( $node->safe_psql('postgres', "SELECT state, error_code FROM temporal.request WHERE id = $waiting"),
	'unconfirmed|DISCARDED', 'discard_request()');

# That a worker of another database has left in order, which logical replication
# tells here, says nothing of this one's.
$node->safe_psql('postgres', 'CREATE DATABASE neighbour');
$node->safe_psql('neighbour', 'CREATE EXTENSION temporal_complete');
$node->safe_psql('neighbour', 'CREATE PUBLICATION everything FOR ALL TABLES');
$node->safe_psql('neighbour', "SELECT pg_create_logical_replication_slot('everything', 'pgoutput')");
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET request_timeout '5s')");
$temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'drop');
my $beside = $node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('nobody', 'beside')");
await('the request to be in flight', sub { $node->safe_psql('postgres', 'SELECT temporal_internal.in_flight_requests()') eq $beside });
$node->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION '" . $node->connstr
	  . " dbname=neighbour' PUBLICATION everything WITH (create_slot = false)");
$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM temporal_internal.last_worker') or die;
$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop('immediate');
$temporal->clear_faults;
$node->start;
is(outcome($beside), 'unconfirmed|NO_ANSWER', 'in flight when the server crashed, beside another database');

done_testing();
