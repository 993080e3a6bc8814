# No wake is lost, although workers come and go all the time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest qw(start_stub);
use Test::More;
use Workers;

# A worker with nothing to do leaves at once, and nothing but wakes brings it
# back: there is no look around meanwhile.
my $node = new_cluster('main', <<'EOC');
temporal_complete.worker_idle_timeout = 0
max_prepared_transactions = 20
EOC
$node->start;
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
install_extension($node, 'postgres');
$node->safe_psql('postgres',
	"ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$port')");

my %scripts = (
	'commit' => 'BEGIN; ' . complete_something() . '; COMMIT;',
	'savepoint' => 'BEGIN; SAVEPOINT s; '
	  . complete_something()
	  . '; ROLLBACK TO s; '
	  . complete_something()
	  . '; COMMIT;',
	'prepare' => 'BEGIN; '
	  . complete_something()
	  . "; PREPARE TRANSACTION 'p:client_id'; COMMIT PREPARED 'p:client_id';",
	'wait' => complete_something()
	  . ' AS id \gset' . "\n"
	  . 'SELECT 1 / (state = \'delivered\')::int FROM temporal.wait_for_request(:id);');

# With pauses of all lengths, so that commits meet workers in all states
sub paused
{
	my ($prefix) = @_;

	return map {
		("019_${prefix}_$_" =>
			  "\\set us random(0, 60000)\n\\sleep :us us\n$scripts{$_}\n")
	} keys %scripts;
}

wait_for_no_worker($node, 'postgres');
$node->pgbench(
	'--no-vacuum --client=4 --transactions=100',
	0,
	[qr{processed: 400/400}],
	[qr{^$}],
	'requests while workers come and go',
	{ paused('launched') });
ok( $node->poll_query_until(
		'postgres', "SELECT count(*) = 0 FROM temporal_internal.outbox"),
	'all of them are delivered');

# The same while the launcher is replaced now and then
$node->safe_psql('postgres', <<'EOC');
CREATE FUNCTION end_launcher() RETURNS void LANGUAGE sql AS $$
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE backend_type = 'temporal_complete launcher' $$;
EOC
delete $scripts{'wait'};
$node->pgbench(
	'--no-vacuum --client=4 --transactions=60',
	0,
	[qr{processed: 240/240}],
	[qr{^$}],
	'requests while the launcher is replaced',
	{ paused('relaunched'), '019_end_launcher' => "\\sleep 20 ms\nSELECT end_launcher();\n" });
ok( $node->poll_query_until(
		'postgres', "SELECT count(*) = 0 FROM temporal_internal.outbox"),
	'all of them are delivered');

$node->stop('fast');
done_testing();
