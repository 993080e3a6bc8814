# Statements that need a database without sessions, while its worker is
# connected.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = new_cluster('main', "max_worker_processes = 20\n");
$node->start;

$node->safe_psql('postgres', 'CREATE DATABASE base');
install_extension($node, 'base');
my $pid = wait_for_worker($node, 'base');

# PostgreSQL itself waits for 5 s before it gives up on other sessions
my $offset = -s $node->logfile;

$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE base');
ok(1, 'CREATE DATABASE ... TEMPLATE');
$pid = wait_for_worker($node, 'base', $pid);
ok($pid, 'the template has a worker again');
ok(wait_for_worker($node, 'copy'), 'the copy has a worker, too');

$node->safe_psql('postgres', 'ALTER DATABASE copy RENAME TO renamed');
ok(1, 'ALTER DATABASE ... RENAME');
ok(wait_for_worker($node, 'renamed'), 'the renamed database has a worker again');

# In a transaction block the database stays without worker until its end
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; ALTER DATABASE renamed RENAME TO copy');
ok(1, 'RENAME in a transaction block');
wait_until_looked_at($node);
is(worker_pid($node, 'renamed'), '', 'no worker comes before its end');
$session->query_safe('ROLLBACK');
$session->quit;
ok(wait_for_worker($node, 'renamed'), 'it comes back after ROLLBACK');

my $tablespace = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$tablespace'");
$node->safe_psql('postgres', 'ALTER DATABASE renamed SET TABLESPACE elsewhere');
ok(1, 'ALTER DATABASE ... SET TABLESPACE');
ok(wait_for_worker($node, 'renamed'), 'the moved database has a worker again');

$node->safe_psql('postgres', 'DROP DATABASE renamed');
ok(1, 'DROP DATABASE');
$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS renamed');
$node->safe_psql('postgres', 'CREATE DATABASE renamed TEMPLATE base');
wait_for_worker($node, 'renamed');
$node->safe_psql('postgres', 'DROP DATABASE renamed WITH (FORCE)');
ok(1, 'DROP DATABASE ... FORCE');

# Right after its start
for my $i (1 .. 20)
{
	$node->safe_psql('postgres', 'CREATE DATABASE fleeting TEMPLATE base');
	$node->safe_psql('postgres', 'DROP DATABASE fleeting');
}
ok(1, 'databases that are dropped while their worker starts');

wait_until_looked_at($node);
unlike(
	substr(slurp_file($node->logfile), $offset),
	qr/ERROR|FATAL|PANIC|WARNING/,
	'nobody stumbled over it');

# Who may not touch the database cannot disturb its worker
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN; CREATE ROLE creator LOGIN CREATEDB');
$pid = wait_for_worker($node, 'base');
for my $statement (
	'DROP DATABASE base',
	'ALTER DATABASE base RENAME TO x',
	'ALTER DATABASE base SET TABLESPACE elsewhere',
	'CREATE DATABASE x TEMPLATE base')
{
	for my $role ('nobody', 'creator')
	{
		my ($rc, $stdout, $stderr) = $node->psql('postgres', $statement,
			extra_params => [ '-U', $role ]);
		isnt($rc, 0, "$role: $statement fails");
	}
}
is(worker_pid($node, 'base'), $pid, 'the worker has not noticed');

# One that fails after the worker has left
my ($rc) = $node->psql('postgres', 'CREATE DATABASE postgres TEMPLATE base');
isnt($rc, 0, 'CREATE DATABASE that fails');
ok(wait_for_worker($node, 'base'), 'the template has a worker again');

# COMMIT PREPARED of another session wakes the worker
$node->append_conf('postgresql.conf', "max_prepared_transactions = 5\n");
$node->restart;
wait_for_worker($node, 'base');
my $id = $node->safe_psql('base',
	'BEGIN; ' . complete_something() . "; PREPARE TRANSACTION 'later'");
$node->psql('base', 'BEGIN; ' . complete_something() . "; PREPARE TRANSACTION 'never'");
is($node->safe_psql('base', 'SELECT count(*) FROM temporal.request'),
	'0', 'a prepared request is not to be seen');
$node->safe_psql('base', "ROLLBACK PREPARED 'never'");
$node->safe_psql('base', "COMMIT PREPARED 'later'");
ok(was_tried($node, 'base', $id), 'COMMIT PREPARED wakes the worker');
is($node->safe_psql('base', 'SELECT count(*) FROM temporal.request'),
	'1', 'ROLLBACK PREPARED leaves no trace');

# also where the worker has left
$node->append_conf('postgresql.conf',
	"temporal_complete.worker_idle_timeout = 0\n");
$node->safe_psql('postgres', 'CREATE DATABASE lonely');
install_extension($node, 'lonely');
$node->reload;
$id = $node->safe_psql('lonely',
	'BEGIN; ' . complete_something() . "; PREPARE TRANSACTION 'lonely'");
ok(wait_for_no_worker($node, 'lonely'), 'the worker has left');
$node->safe_psql('lonely', "COMMIT PREPARED 'lonely'");
ok(was_tried($node, 'lonely', $id), 'COMMIT PREPARED brings it back');

# but not where the extension is not
$node->safe_psql('postgres',
	"BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'other'");
$node->safe_psql('postgres', "COMMIT PREPARED 'other'");
is(worker_pid($node, 'postgres'), '', 'nothing happens without the extension');

$node->stop('fast');
done_testing();
