# pg_upgrade: nothing is sent while it runs, nothing is lost, and what waited
# is held until adopt(), because the cluster has another system identifier.
#
# Needs two versions of PostgreSQL, each with the extension installed: that of
# PATH, and an older one whose directory (with bin in it) OLD_INSTALL_PATH names.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $old_path = $ENV{OLD_INSTALL_PATH};

BAIL_OUT('OLD_INSTALL_PATH does not name an older version of PostgreSQL')
  unless defined $old_path && -x "$old_path/bin/postgres";

my $old = PostgreSQL::Test::Cluster->new('old', install_path => $old_path);
my $new = PostgreSQL::Test::Cluster->new('new');

foreach my $node ($old, $new)
{
	$node->init(extra => [ '--encoding', 'UTF8', '--locale', 'C' ]);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'temporal_complete'\n");
}
$old->start;
$old->safe_psql('postgres', 'CREATE EXTENSION temporal_complete');
my $temporal = start_temporal('main');
$old->safe_psql('postgres', <<"EOS");
CREATE ROLE app;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '${\($temporal->address)}');
CREATE USER MAPPING FOR app SERVER temporal;
GRANT USAGE ON FOREIGN SERVER temporal TO app;
EOS
my @activities = qw(before waiting rejected own);
start_activities($temporal, $old, 'upgrade', 1, scalar(@activities), map { ('-activity-id', $_) } @activities);

sub request_for
{
	my ($cluster, $activity, $workflow) = @_;

	$workflow //= 'upgrade-0';
	return $cluster->safe_psql('postgres',
		"SET ROLE app; SELECT temporal.complete_activity_by_id('$workflow', '$activity', to_jsonb('$activity'::text))");
}

# One is sent and another one is rejected before; the others wait
my $before = request_for($old, 'before');
my $rejected = request_for($old, 'rejected', 'no such workflow');
await_finished($old);
$old->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$old->reload;
await('the worker to leave', sub { worker_pid($old) eq '' });
my $waiting = request_for($old, 'waiting');
my %arrivals = $temporal->arrivals;
$old->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$old->stop;

chdir($PostgreSQL::Test::Utils::tmp_check) or die;
$new->command_ok(
	[
		'pg_upgrade', '--no-sync',
		'--old-datadir', $old->data_dir, '--new-datadir', $new->data_dir,
		'--old-bindir', "$old_path/bin", '--new-bindir', $new->config_data('--bindir'),
		'--old-port', $old->port, '--new-port', $new->port, '--socketdir', $new->host
	],
	'pg_upgrade');
$new->start;

my $own = request_for($new, 'own');
is($new->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($own, '180 s')"),
	'delivered', 'a new request is sent');
is($new->safe_psql('postgres', "SELECT string_agg(state || ' ' || requested_by, ', ' ORDER BY id) FROM temporal.request WHERE id <> $own"),
	'delivered app, rejected app, held app', 'all requests are there; what waited is held');
my %now = $temporal->arrivals;
is_deeply(\%now, { %arrivals, $own => 1 }, 'nothing was sent but what is new');
like(slurp_file($new->logfile), qr/LOG:  1 request of another cluster or database is held\n.*HINT:.*adopt/, 'the log says so');

is($new->safe_psql('postgres', 'SELECT temporal.adopt()'), '1', 'adopt()');
is($new->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($waiting, '180 s')"), 'delivered', 'what waited is delivered');
$new->safe_psql('postgres', "SELECT temporal.retry_request($rejected)");
is($new->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($rejected, '180 s')"), 'unconfirmed', 'what was rejected can be retried, nobody knows what the old cluster did');
$new->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('upgrade-0', 'rejected', '\"rejected\"')");

my %results = $temporal->results('upgrade', 1);
is_deeply(\%results, { map { ("upgrade-0/$_" => "\"$_\"") } @activities }, 'results are right');

done_testing();
