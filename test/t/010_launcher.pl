# Which databases get a worker, without any configuration.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = new_cluster('main', "max_worker_processes = 20\n");
$node->start;

like(launcher_pid($node), qr/^\d+$/, 'the launcher runs');

# CREATE EXTENSION
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('postgres', 'CREATE DATABASE two');
$node->safe_psql('postgres', 'CREATE DATABASE three');
$node->safe_psql('one', 'CREATE EXTENSION temporal_complete');
my $pid = wait_for_worker($node, 'one');
ok($pid, 'CREATE EXTENSION starts a worker');

$node->safe_psql('two', 'BEGIN; CREATE EXTENSION temporal_complete; ROLLBACK');
wait_until_looked_at($node);
ok(wait_for_no_worker($node, 'two'),
	'CREATE EXTENSION that is rolled back leaves no worker');

my ($rc, $stdout, $stderr) = $node->psql('two', <<'EOC');
BEGIN;
SAVEPOINT s;
CREATE EXTENSION temporal_complete;
ROLLBACK TO s;
CREATE TABLE something ();
COMMIT;
EOC
wait_until_looked_at($node);
ok(wait_for_no_worker($node, 'two'), 'nor one that is rolled back to a savepoint');

# DROP EXTENSION
$node->safe_psql('one', 'BEGIN; DROP EXTENSION temporal_complete; ROLLBACK');
wait_until_looked_at($node);
is(worker_pid($node, 'one'), $pid,
	'DROP EXTENSION that is rolled back does not touch the worker');

my $offset = -s $node->logfile;
$node->safe_psql('one', 'DROP EXTENSION temporal_complete CASCADE');
ok(wait_for_no_worker($node, 'one'), 'DROP EXTENSION ends the worker');

$node->safe_psql('one', 'CREATE EXTENSION temporal_complete');
ok(wait_for_worker($node, 'one'), 'CREATE EXTENSION again starts one again');

$node->safe_psql('two',
	'CREATE ROLE boss SUPERUSER; SET ROLE boss; CREATE EXTENSION temporal_complete');
wait_for_worker($node, 'two');
$node->safe_psql('two', 'DROP OWNED BY boss');
ok(wait_for_no_worker($node, 'two'),
	'the extension dropped by another statement ends the worker');

$node->safe_psql('one',
	'BEGIN; DROP EXTENSION temporal_complete; CREATE EXTENSION temporal_complete; COMMIT'
);
install_extension($node, 'three');
wait_until_looked_at($node);
$node->safe_psql('one',
	"CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1')"
);
my $id = $node->safe_psql('one', complete_something());
ok(was_tried($node, 'one', $id),
	'an extension dropped and created anew in one transaction works');
unlike(
	substr(slurp_file($node->logfile), $offset),
	qr/ERROR|FATAL|PANIC/,
	'nothing went wrong meanwhile');

# Restart: found without being told
$node->restart;
ok(wait_for_worker($node, $_), "restart: worker of $_ is found") for qw(one three);
wait_until_looked_at($node);
ok(wait_for_no_worker($node, $_), "restart: no worker in $_")
  for qw(two postgres);

# What cannot be connected to is passed over
$offset = -s $node->logfile;
$node->safe_psql('postgres',
	'ALTER DATABASE one ALLOW_CONNECTIONS false; ALTER DATABASE three IS_TEMPLATE true'
);
$node->safe_psql('postgres', 'CREATE DATABASE broken TEMPLATE three');
$node->safe_psql('postgres',
	"UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'");
$node->restart;
wait_until_looked_at($node);
is( $node->safe_psql(
		'postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'temporal_complete worker' AND datname IN ('one', 'three', 'broken', 'template0', 'template1')"
	),
	'0',
	'no worker in templates, invalid databases, and those without connections');
unlike(
	substr(slurp_file($node->logfile), $offset),
	qr/not currently accepting connections|cannot connect to invalid database/,
	'and nobody tried');

# A worker with nothing to do leaves, and the next request brings it back
$node->safe_psql('postgres',
	'ALTER DATABASE one ALLOW_CONNECTIONS true; ALTER DATABASE three IS_TEMPLATE false'
);
ok(wait_for_worker($node, $_), "$_ has its worker once it can be connected to")
  for qw(one three);
$node->append_conf('postgresql.conf',
	"temporal_complete.worker_idle_timeout = 1s\n");
$node->restart;
install_extension($node, 'two');
ok(wait_for_no_worker($node, 'two'), 'a worker with nothing to do leaves');
$id = $node->safe_psql('two', complete_something());
ok(was_tried($node, 'two', $id), 'a request brings it back');
$id = $node->safe_psql('two', complete_something());
ok(was_tried($node, 'two', $id), 'so does the next one');

$node->stop('fast');
done_testing();
