# Wakes that were lost: nothing here is ever found by the slow look around.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest qw(start_stub await);
use Test::More;
use Workers;

my $node = new_cluster('main', <<'EOC');
max_worker_processes = 20
max_connections = 50
EOC
$node->start;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $closed = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);

sub delivered
{
	my ($id, $cluster) = @_;

	$cluster //= $node;
	return $cluster->poll_query_until('postgres',
		"SELECT state = 'delivered' FROM temporal.request WHERE id = $id");
}

# The extension dropped, made anew and used in one transaction; by task token, as
# a worker that finds the request when it begins takes it for sent
install_extension($node, 'postgres');
wait_for_worker($node, 'postgres');
foreach my $time (1 .. 5)
{
	$node->safe_psql('postgres', <<"EOC");
BEGIN;
DROP EXTENSION temporal_complete CASCADE;
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
SELECT temporal.complete_activity('\\x0a016e1201771a0172200528013201'::bytea || 'a'::bytea, '{}');
COMMIT;
EOC
	ok(delivered('(SELECT max(id) FROM temporal.request)'),
		"time $time: what the transaction asks for that makes the extension anew");
}

# Many queues whose server is down, and which the worker does not listen to;
# one of sixty new queues very probably shares its bit with one of them.
$node->safe_psql('postgres', <<"EOC");
SELECT format('CREATE SERVER down%s FOREIGN DATA WRAPPER temporal_complete OPTIONS (address ''127.0.0.1:$closed'', retry_initial_interval ''1h'', retry_max_interval ''1h'')', i)
  FROM generate_series(1, 100) i \\gexec
SELECT format('CREATE SERVER up%s FOREIGN DATA WRAPPER temporal_complete OPTIONS (address ''127.0.0.1:$port'')', i)
  FROM generate_series(1, 60) i \\gexec
EOC
$node->safe_psql('postgres', "CREATE ROLE newcomer$_ SUPERUSER") for (1 .. 3);
my $down = "SELECT count(temporal.complete_activity_by_id('w', 'a' || i, '{}', server => 'down' || i)) FROM generate_series(1, 100) i";
$node->safe_psql('postgres', $down);
$node->poll_query_until('postgres',
	"SELECT count(*) = 100 FROM temporal.request WHERE server LIKE 'down%' AND error_code IS NOT NULL") or die;
my $found = 0;
foreach my $i (1 .. 60)
{
	$node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('w', 'a$_', '{}', server => 'down$_')")
	  for (1 .. 3);
	$node->safe_psql('postgres', $down) for (1 .. 2);
	my $id = $node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('w', 'b', '{}', server => 'up$i')");

	delivered($id) or last;
	$found++;
}
is($found, 60, 'new queues are found behind those that are down');

# A new queue that shares its bit with busy ones, whose rows come in the same look.
my $pid = worker_pid($node, 'postgres');
my @shared;
foreach my $round (1 .. 3)
{
	kill('STOP', $pid);
	$node->safe_psql('postgres',
		"SELECT count(temporal.complete_activity_by_id('w', 'd' || i, '{}', server => 'up' || i)) FROM generate_series(1, 60) i");
	# numbers are random: until one has the bit of a queue that is in use
	until ($node->psql('postgres', <<"EOC") == 0) { }
DO \$\$
BEGIN
	PERFORM temporal.complete_activity_by_id('w', 'new$round', '{}', server => 'up1', namespace => NULL) FROM
		(SELECT pg_catalog.set_config('role', 'newcomer$round', true)) r;
	IF NOT EXISTS (SELECT FROM temporal_internal.queue new JOIN temporal_internal.queue old ON old.number & 1023 = new.number & 1023
			WHERE new.requested_by_name = 'newcomer$round' AND old.requested_by_name <> new.requested_by_name AND old.server_name LIKE 'up%') THEN
		RAISE EXCEPTION 'another number';
	END IF;
END \$\$;
EOC
	kill('CONT', $pid);
	push @shared, delivered("(SELECT max(id) FROM temporal.request WHERE activity_id = 'new$round')");
}
is_deeply(\@shared, [ 1, 1, 1 ], 'new queues are found behind those that are busy');

# Outcomes that cannot be recorded, because somebody has locked the rows, stop
# the reading of more; it goes on when they can be.
$node->safe_psql('postgres',
	"CREATE SERVER later FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$closed')");
sub ask_for
{
	my ($count) = @_;

	$node->safe_psql('postgres',
		"SELECT count(temporal.complete_activity_by_id('w', 'c' || i, '{}', server => 'later')) FROM generate_series(1, $count) i");
	return;
}
ask_for(22_000);
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('SELECT count(*) FROM (SELECT FROM temporal_internal.outbox FOR UPDATE) o');
ask_for(6_000);
$node->safe_psql('postgres', "ALTER SERVER later OPTIONS (SET address '127.0.0.1:$port')");
$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM temporal_internal.in_flight_requests()') or die;
my $quiet = 0;
await('the worker to stop sending', sub {
	my $n = $node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.in_flight_requests()');

	$quiet = $n eq '0' ? $quiet + 1 : 0;
	$quiet > 40; });
$holder->query_safe('ROLLBACK');
$holder->quit;
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM temporal.request WHERE server = 'later' AND finished_at IS NULL"),
	'reading goes on when recording has caught up');

# A transaction that a logical replication worker prepared and commits: a
# trigger asks for something.
SKIP:
{
	skip 'subscriptions of this PostgreSQL have no two_phase', 2 if $node->pg_version < 15;

	my $publisher = PostgreSQL::Test::Cluster->new('publisher');
	$publisher->init(allows_streaming => 'logical');
	$publisher->append_conf('postgresql.conf', "max_prepared_transactions = 10\n");
	$publisher->start;
	$publisher->safe_psql('postgres', 'CREATE TABLE orders (id int PRIMARY KEY); CREATE PUBLICATION orders FOR TABLE orders');
	$node->append_conf('postgresql.conf', "max_prepared_transactions = 10\n");
	$node->restart;
	wait_for_worker($node, 'postgres');
	$node->safe_psql('postgres', <<'EOC');
CREATE TABLE orders (id int PRIMARY KEY);
CREATE FUNCTION complete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM temporal.complete_activity_by_id('order', NEW.id::text, '{}');
  RETURN NEW;
END $$;
CREATE TRIGGER complete AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION complete();
ALTER TABLE orders ENABLE ALWAYS TRIGGER complete;
EOC
	$node->safe_psql('postgres',
		"CREATE SUBSCRIPTION orders CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION orders WITH (two_phase = on)");
	$node->wait_for_subscription_sync($publisher, 'orders');
	$node->poll_query_until('postgres', "SELECT subtwophasestate = 'e' FROM pg_subscription") or die;
	foreach my $other_process (0, 1)
	{
		$publisher->safe_psql('postgres', "BEGIN; INSERT INTO orders VALUES ($other_process); PREPARE TRANSACTION 'p'");
		$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_prepared_xacts') or die;
		if ($other_process)
		{
			my $apply = "FROM pg_stat_activity WHERE backend_type ~ '^logical replication (apply )?worker\$'";
			my $pid = $node->safe_psql('postgres', "SELECT pid $apply");

			$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
			$node->poll_query_until('postgres', "SELECT count(*) = 1 $apply AND pid <> $pid") or die;
		}
		$publisher->safe_psql('postgres', "COMMIT PREPARED 'p'");
		ok( $node->poll_query_until('postgres',
				"SELECT count(*) = 1 FROM temporal.request WHERE activity_id = '$other_process' AND state = 'delivered'"),
			'COMMIT PREPARED by a logical replication worker wakes ours'
			  . ($other_process ? ', also if another one prepared' : ''));
	}

	$publisher->stop('fast');
}

$node->stop('fast');
done_testing();
