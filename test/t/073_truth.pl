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
	  . " OPTIONS (address '" . $temporal->address . "')");
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
$other->safe_psql('postgres', "SELECT setval('temporal.request_id', $id, false)");
while ($other->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint') < $xid)
{
	$other->safe_psql('postgres', 'SELECT pg_current_xact_id()');
}
is( $other->safe_psql('postgres', "SELECT temporal.complete_activity('\\x$token', '\"yes\"'), pg_current_xact_id()"),
	"$id|$xid", 'second timeline: the same id, the same transaction');
await_finished($other);
is( $other->safe_psql('postgres', 'SELECT state, error_code FROM temporal.request'),
	'rejected|NOT_FOUND', 'what the first timeline sent is not taken for it');

done_testing();
