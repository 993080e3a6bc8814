# What one database or one role can take from the others of the cluster.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest qw(start_stub await);
use Test::More;
use Workers;

my $node = new_cluster('main', <<'EOC');
max_worker_processes = 20
max_connections = 100
autovacuum = off
temporal_complete.max_workers = 2
EOC
$node->start;
my $workers = "FROM pg_stat_activity WHERE backend_type = 'temporal_complete worker'";
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);

# A limit
my @databases = map { "db$_" } 1 .. 4;
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach @databases;
my $offset = -s $node->logfile;
install_extension($node, @databases);
my %id = map { $_ => $node->safe_psql($_, complete_something()) } @databases;
my $most = 0;
foreach my $database (@databases)
{
	await("the request of $database",
		sub {
			my $n = $node->safe_psql('postgres', "SELECT count(*) $workers");
			$most = $n if $n > $most;
			$node->safe_psql($database, "SELECT error_code IS NOT NULL FROM temporal.request WHERE id = $id{$database}") eq 't';
		});
}
# one that is about to end may still be seen
cmp_ok($most, '<=', 3, 'there are not more workers than max_workers allows');
ok( wait_for_log_line($node,
		qr/WARNING:  all 2 workers of temporal_complete are at work\n.*DETAIL:  \d databases? waits? for a worker\.\n.*HINT:  Consider increasing temporal_complete.max_workers/,
		$offset),
	'and the log says so');

# Somebody's lock keeps no place
$node->append_conf('postgresql.conf', "temporal_complete.max_workers = 1\n");
$node->reload;
await('the worker of db1', sub { worker_pid($node, 'db1') ne '' });
my $holder = $node->background_psql('db1');
$holder->query_safe('BEGIN');
$holder->query_safe('LOCK TABLE temporal_internal.outbox, temporal_internal.queue, temporal_internal.queue_error');
foreach my $database (@databases[ 1, 2 ])
{
	my $id = $node->safe_psql($database, complete_something());

	ok(was_tried($node, $database, $id), "$database has its turn although the worker of db1 waits for a lock");
}
$holder->query_safe('ROLLBACK');
$holder->quit;
ok($node->poll_query_until('postgres', "SELECT count(*) <= 1 $workers"), 'one at a time');

# Only some databases
$offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "temporal_complete.max_workers = 4\ntemporal_complete.databases = 'db1, \"DB9\"'\n");
$node->reload;
ok(wait_for_log_line($node, qr/LOG:  database "DB9" of temporal_complete.databases does not exist/, $offset),
	'a name of the list that does not exist is told');
ok(wait_for_worker($node, 'db1'), 'a database of the list has its worker');
ok(wait_for_no_worker($node, $_), "$_ has none any more") foreach @databases[ 1 .. 3 ];
my ($rc, $stdout, $stderr) = $node->psql('db2', complete_something() . ';' . complete_something());
is($rc, 0, 'elsewhere requests are recorded');
my $warnings = () = $stderr =~ /WARNING:  database "db2" is not in temporal_complete.databases.*\nDETAIL.*\nHINT:  Add the database to/g;
is($warnings, 1, 'with a warning once a session');
($rc, $stdout, $stderr) = $node->psql('db2', 'SELECT temporal.ping()');
like($stderr, qr/ERROR:  this database is not in temporal_complete.databases/, 'ping says so');
$node->append_conf('postgresql.conf', "temporal_complete.databases = ''\n");
$node->reload;
ok(was_tried($node, 'db2', "(SELECT max(id) FROM temporal.request)"), 'on the list again its requests are carried on');
($rc, $stdout, $stderr) = $node->psql('postgres', "ALTER SYSTEM SET temporal_complete.databases = 'a b'");
like($stderr, qr/invalid value for parameter "temporal_complete.databases"/, 'what is no list is refused');

# Pings of a server that never answers, by a role that may use it
my $silent = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1', LocalPort => 0) or die "could not listen: $!";
my $silent_port = $silent->sockport;
$node->safe_psql('db1', <<"EOC");
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
CREATE SERVER silent FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$silent_port', connect_timeout '5min', request_timeout '5min');
CREATE SERVER good FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
GRANT USAGE ON FOREIGN SERVER silent TO alice;
GRANT USAGE ON FOREIGN SERVER good TO bob;
EOC
my $bobs_ping = "SET ROLE bob; SELECT address FROM temporal.ping('good')";
wait_for_worker($node, 'db1');
my @sessions;
foreach my $n (1 .. 40)
{
	push @sessions, IPC::Run::start(
		[ 'psql', '-X', '-q', '-d', $node->connstr('db1'), '-c', 'SET ROLE alice', '-c', "SELECT temporal.ping('silent')" ],
		'<', \undef, '>', \my $out, '2>', \my $err);
}
await('pings', sub {
	$node->safe_psql('postgres', "SELECT count(*) >= 4 FROM pg_stat_activity WHERE query LIKE '%ping(''silent'')%' AND state = 'active' AND pid <> pg_backend_pid()") eq 't' });
is($node->safe_psql('db1', $bobs_ping), "127.0.0.1:$port", 'pings of one role leave room for those of others');
# clients that are gone, without a word
$_->signal('KILL') foreach @sessions;
$_->finish foreach @sessions;
await('sessions of clients that are gone to end',
	sub { $node->safe_psql('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%ping(''silent'')%' AND pid <> pg_backend_pid()") eq 't' });
ok(1, 'pings of clients that are gone end');

# Pings that are given up leave nothing in the worker
$node->psql('db1', "SET ROLE alice; SET statement_timeout = '20ms'; SELECT temporal.ping('silent')") foreach 1 .. 60;
my $pid = worker_pid($node, 'db1');
await('connections of pings to be closed', sub { my @fds = glob("/proc/$pid/fd/*"); @fds < 45 });
ok(1, 'the worker has closed the connections of pings that were given up');
is($node->safe_psql('db1', $bobs_ping), "127.0.0.1:$port", 'and serves others');

# A role that may not create databases, and one that owns a database
$node->safe_psql('postgres', 'CREATE ROLE carol LOGIN CREATEDB; CREATE DATABASE carols OWNER carol');
my @bars;
foreach my $n (1 .. 5)
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query('SET ROLE ' . ($n == 1 ? 'alice' : 'carol'));
	$session->query('BEGIN');
	foreach my $m (1 .. 8)
	{
		$session->query('SAVEPOINT s');
		$session->query($n == 1 ? 'CREATE DATABASE x TEMPLATE template1' : 'DROP DATABASE carols');
		$session->query('ROLLBACK TO s');
	}
	push @bars, $session;
}
my $renamer = $node->background_psql('postgres');
$renamer->query_safe('BEGIN');
$renamer->query_safe('ALTER DATABASE db4 RENAME TO db5');
# the launcher is told to look at all
$node->append_conf('postgresql.conf', "temporal_complete.databases = '*'\n");
$node->reload;
wait_until_looked_at($node);
is( $node->safe_psql('postgres', <<'EOC'), '',
SELECT l.pid, l.mode, d.datname, a.backend_type, a.query
  FROM pg_locks l LEFT JOIN pg_database d ON d.oid = l.objid LEFT JOIN pg_stat_activity a USING (pid)
 WHERE l.classid = 'pg_database'::regclass AND NOT l.granted
EOC
	'no worker comes into a database that is being renamed, whatever others do to theirs');
$renamer->query_safe('COMMIT');
$renamer->quit;
$_->quit foreach @bars;

# What was asked for is no fault
$offset = -s $node->logfile;
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . wait_for_worker($node, 'db1') . ')');
$node->safe_psql('postgres', 'DROP DATABASE db3 WITH (FORCE)');
$node->restart;
wait_for_worker($node, 'db1');
unlike(substr(slurp_file($node->logfile), $offset), qr/FATAL.*temporal_complete/,
	'an ordinary restart, and workers that are ended, leave no FATAL in the log');

$node->stop('fast');
done_testing();
