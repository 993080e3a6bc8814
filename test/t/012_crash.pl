# Processes that are killed come back, and with them what was waiting.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = new_cluster('main', <<'EOC');
max_worker_processes = 20
restart_after_crash = on
EOC
$node->start;

$node->safe_psql('postgres', 'CREATE DATABASE one; ');
$node->safe_psql('postgres', 'CREATE DATABASE two; ');
install_extension($node, 'one', 'two');
my $one = wait_for_worker($node, 'one');
my $two = wait_for_worker($node, 'two');
my $id = $node->safe_psql('one', complete_something());
ok(was_tried($node, 'one', $id), 'a request waits for Temporal');

# Until the cluster is back after a crash, psql fails now and then
sub wait_for_restart
{
	my ($offset) = @_;

	wait_for_log_line($node,
		qr/all server processes terminated; reinitializing.*database system is ready to accept connections/s,
		$offset)
	  or die 'the cluster did not come back';
	return;
}

# Asked to terminate, only the one is replaced
my $launcher = launcher_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($one)");
$one = wait_for_worker($node, 'one', $one);
ok($one, 'a worker that was terminated is started again');
is(worker_pid($node, 'two'), $two, 'the other one is not concerned');

$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'temporal_complete launcher' AND pid <> $launcher"
);
isnt(launcher_pid($node), '', 'a launcher that was terminated is started again');
wait_until_looked_at($node);
is(worker_pid($node, 'one'), $one, 'it leaves the workers that it finds alone');
is(worker_pid($node, 'two'), $two, 'all of them');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($one)");
$one = wait_for_worker($node, 'one', $one);
ok($one, 'and replaces them, too');

# Both at once
$launcher = launcher_pid($node);
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend($launcher), pg_terminate_backend($one)");
$one = wait_for_worker($node, 'one', $one);
ok($one, 'launcher and worker terminated: both are back');

# kill -9 re-initializes the cluster
for my $victim ('worker', 'launcher', 'backend')
{
	my $offset = -s $node->logfile;
	my $session = $node->background_psql('one', on_error_stop => 0);
	my $backend = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_safe('BEGIN');
	$session->query_safe(complete_something());

	my $pid =
		$victim eq 'worker' ? worker_pid($node, 'one')
	  : $victim eq 'launcher' ? launcher_pid($node)
	  : $backend;
	my $committed = $node->safe_psql('two', complete_something());
	is(PostgreSQL::Test::Utils::system_log('pg_ctl', 'kill', 'KILL', $pid),
		0, "$victim is killed");
	wait_for_restart($offset);
	$session->{run}->kill_kill;
	$node->poll_query_until('postgres', 'SELECT true');

	$one = wait_for_worker($node, 'one', $one);
	$two = wait_for_worker($node, 'two', $two);
	ok($one && $two, "kill -9 of a $victim: both workers are back");
	is($node->safe_psql('one', 'SELECT count(*) FROM temporal.request'),
		'1', 'the open transaction has left no trace');
	ok(was_tried($node, 'two', $committed), 'what was committed is carried on');
	my $new = $node->safe_psql('one', complete_something());
	ok(was_tried($node, 'one', $new), 'the worker is woken again');
	$node->safe_psql('one', "DELETE FROM temporal_internal.outbox WHERE id = $new");
}

# A worker that cannot do its work does not run in circles
$node->safe_psql('postgres', 'CREATE DATABASE sick');
install_extension($node, 'sick');
my $pid = wait_for_worker($node, 'sick');
my $offset = -s $node->logfile;
$node->safe_psql('sick', 'ALTER TABLE temporal_internal.outbox RENAME COLUMN xid TO gone');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_until_looked_at($node);
$node->safe_psql('sick', 'ALTER TABLE temporal_internal.outbox RENAME COLUMN gone TO xid');
ok(wait_for_worker($node, 'sick', $pid), 'once put right, it is back');
my $starts = () = substr(slurp_file($node->logfile), $offset) =~ /ERROR/g;
cmp_ok($starts, '<', 100, 'meanwhile it has not filled the log');

# Immediate shutdown
$node->stop('immediate');
$node->start;
ok(wait_for_worker($node, $_), "immediate shutdown: worker of $_ is back") for qw(one two);
ok(was_tried($node, 'one', $id), 'and the request still waits for Temporal');

$node->stop('fast');
done_testing();
