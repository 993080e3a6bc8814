# A base backup that is started as a cluster of its own cannot be told from a
# failover: temporal_complete.enabled = off keeps it silent from its first
# start.  Without that it goes on like a promoted standby, and finds the truth.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', init => { allows_streaming => 1 });
my $temporal = start_temporal('main');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ")");
my @activities = qw(original copy other own);
start_activities($temporal, $node, 'backup', 1, scalar(@activities), map { ('-activity-id', $_) } @activities);

sub request_for
{
	my ($cluster, $activity, $result) = @_;

	return $cluster->safe_psql('postgres',
		"SELECT temporal.complete_activity_by_id('backup-0', '$activity', to_jsonb('$result'::text))");
}

# The backup has requests that are not sent yet
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
my $original = request_for($node, 'original', 'main');
my $copied = request_for($node, 'copy', 'copy');
my $other = request_for($node, 'other', 'copy');
$node->backup('backup');

# The original sends one of them; another activity is ended by somebody else
$node->safe_psql('postgres', "SELECT temporal.discard_request($_)") foreach ($copied, $other);
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
request_for($node, 'other', 'main');
await_finished($node);
my %arrivals = $temporal->arrivals;

my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'backup');
$copy->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$copy->start;
$copy->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'temporal_complete launcher'")
  or die;
my $own = request_for($copy, 'own', 'copy');
$copy->restart;
is(worker_pid($copy), '', 'enabled = off: no worker');
is(states($copy, "id IN ($original, $copied, $other, $own)"), 'queued|4', 'requests wait');
my %now = $temporal->arrivals;
is_deeply(\%now, \%arrivals, 'nothing is sent');

# As after a failover
$copy->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$copy->reload;
is($copy->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($_, '180 s')"), 'delivered', 'delivered')
  foreach ($copied, $own);
is($copy->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($original, '180 s')"),
	'delivered', 'what the original had sent is known to be delivered');
is($copy->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($other, '180 s')"),
	'rejected', 'what another request has done is not');

my %results = $temporal->results('backup', 1);
is_deeply(\%results,
	{
		'backup-0/original' => '"main"',
		'backup-0/other' => '"main"',
		'backup-0/copy' => '"copy"',
		'backup-0/own' => '"copy"'
	},
	'results are right');

done_testing();
