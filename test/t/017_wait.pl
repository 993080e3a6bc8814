# wait_for_request() and ping(), as far as they need no Temporal.

use strict;
use warnings;

use FindBin;
use IO::Socket::INET;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = new_cluster('main', "max_prepared_transactions = 5\n");
$node->start;
install_extension($node, 'postgres');
wait_for_worker($node, 'postgres');
$node->safe_psql('postgres', <<'EOC');
CREATE ROLE app LOGIN;
CREATE ROLE other LOGIN;
CREATE ROLE stranger LOGIN;
GRANT USAGE ON SCHEMA temporal TO app, other, stranger;
GRANT USAGE ON FOREIGN SERVER temporal TO app, other;
EOC

sub error_of
{
	my ($sql, @params) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', $sql, @params);

	isnt($rc, 0, "fails: $sql");
	return $stderr;
}
my @app = (extra_params => [ '-U', 'app' ]);
my @other = (extra_params => [ '-U', 'other' ]);
my @stranger = (extra_params => [ '-U', 'stranger' ]);

# Errors
like(error_of('SELECT temporal.wait_for_request(NULL)'),
	qr/request id must not be null/, 'null id');
like(error_of('SELECT temporal.wait_for_request(4711)'),
	qr/request 4711 does not exist/, 'unknown id');
my $id = $node->safe_psql('postgres', complete_something(), @app);
like(error_of("SELECT temporal.wait_for_request($id, '-1 s')"),
	qr/timeout must not be negative.*HINT/s, 'negative timeout');
like(error_of("SELECT temporal.wait_for_request($id, '1 s')", @other),
	qr/request $id does not exist/, "another role's request");

my $own = qr/was made in the current transaction.*HINT:  Call wait_for_request\(\) in another transaction/s;
like(error_of('SELECT temporal.wait_for_request((' . complete_something() . '))', @app),
	$own, 'in the same statement');
like(error_of('BEGIN; ' . complete_something() . ' AS id \gset' . "\n"
		. 'SELECT temporal.wait_for_request(:id)', @app),
	$own, 'in the same transaction');
like(error_of('BEGIN; SAVEPOINT s; ' . complete_something() . ' AS id \gset' . "\n"
		. 'RELEASE s; SELECT temporal.wait_for_request(:id)', @app),
	$own, 'in the same transaction, made in a subtransaction');

# Timeout: the row as it is
is($node->safe_psql('postgres', "SELECT state <> 'delivered' FROM temporal.wait_for_request($id, '0')", @app),
	't', 'timeout 0 looks only');
is($node->safe_psql('postgres', "SELECT id FROM temporal.wait_for_request($id, '20 ms')", @app),
	$id, 'timeout');
is($node->safe_psql('postgres',
	"BEGIN; CREATE TEMP TABLE t (); SELECT id FROM temporal.wait_for_request($id, '20 ms'); COMMIT", @app),
	$id, 'in a transaction that made something else');

# Interruptible
like(error_of("SET statement_timeout = '200ms'; SELECT temporal.wait_for_request($id)", @app),
	qr/canceling statement due to statement timeout/, 'interruptible');

# Woken, in any isolation level, also with a timeout that is too long to count
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	$id = $node->safe_psql('postgres', complete_something());
	my $session = $node->background_psql('postgres');
	$session->query_safe("BEGIN ISOLATION LEVEL $level; SELECT 1");
	$session->query_until(qr/waiting/,
		"\\echo waiting\nSELECT 'state ' || state FROM temporal.wait_for_request($id, '100000 years');\n");
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT .state' AND wait_event_type = 'Extension'"
	);
	$node->safe_psql('postgres', <<"EOC");
WITH gone AS (DELETE FROM temporal_internal.outbox WHERE id = $id RETURNING *)
INSERT INTO temporal_internal.rejected SELECT *, now() FROM gone;
EOC
	# a worker that leaves has everybody look again
	$node->safe_psql('postgres',
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'temporal_complete worker'"
	);
	like($session->query_until(qr/state \w+/, "\n"), qr/state rejected/,
		"$level: sees what became of it");
	$session->query_safe('COMMIT');
	$session->quit;
}

# ping
like(error_of('SELECT temporal.ping()', @stranger),
	qr/permission denied for foreign server temporal/, 'ping needs USAGE');
like(error_of("SELECT temporal.ping('nowhere')", @app),
	qr/server "nowhere" does not exist/, 'unknown server');
my @row = split /\|/, $node->safe_psql('postgres', 'SELECT * FROM temporal.ping()', @app);
is($row[0], 'temporal', 'ping: server');
is($row[1], '127.0.0.1:1', 'ping: address');
is($row[5], 'f', 'ping: not authorized');
is($row[6], 'CONNECTION_FAILED', 'ping: error code');
like($row[7], qr/\w/, 'ping: error message');

# Many at once, some of them cancelled because nobody answers
my $silence = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1');
my $address = '127.0.0.1:' . $silence->sockport;
$node->safe_psql('postgres',
	"CREATE SERVER silent FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '$address')"
);
$node->pgbench(
	'--no-vacuum --client=8 --transactions=12',
	0,
	[qr{processed: 96/96}],
	[qr{^$}],
	'pings of many sessions',
	{
		'017_ping' => 'SELECT temporal.ping();',
		'017_cancelled' => <<'EOC',
SET statement_timeout = '100ms';
DO $$ BEGIN PERFORM temporal.ping('silent'); EXCEPTION WHEN query_canceled THEN NULL; END $$;
SET statement_timeout = 0;
EOC
	});
is($node->safe_psql('postgres', 'SELECT error_code FROM temporal.ping()'),
	'CONNECTION_FAILED', 'ping still works');

# A client that was killed keeps no session
my $waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT temporal.wait_for_request(%' AND pid <> pg_backend_pid()";
my $killed = $node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('killed', 'a')");
my $client = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', "SELECT temporal.wait_for_request($killed)" ],
	'<', \undef, '>', \my $none, '2>', \my $nothing);
$node->poll_query_until('postgres', $waiting, '1') or die;
$client->signal('KILL');
eval { $client->finish };
ok($node->poll_query_until('postgres', $waiting, '0'), 'who waits for a request, and is killed, keeps no session');

# A worker that is not there is started for it; a worker that dies is replaced
$node->append_conf('postgresql.conf', "temporal_complete.worker_idle_timeout = 0\n");
$node->reload;
$node->safe_psql('postgres', 'DELETE FROM temporal_internal.outbox');
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
install_extension($node, 'fresh');
ok(wait_for_no_worker($node, 'fresh'), 'the worker has left');
is($node->safe_psql('fresh', 'SELECT error_code FROM temporal.ping()'),
	'CONNECTION_FAILED', 'ping starts it');

$node->stop('fast');
done_testing();
