# A worker that crashes again and again: everybody's sessions end with it each
# time, so it is started later each time, and after a few times no more, until
# somebody has looked.  Others' workers run all the time, and nobody is blamed
# for a crash of another process.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

# So many crashes in a row are enough; see src/process/crash_memory.c
my $enough = 4;

my $node = new_cluster('main', <<'EOC', allows_streaming => 1);
max_worker_processes = 20
restart_after_crash = on
EOC
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(sick well);
install_extension($node, 'sick', 'well');
wait_for_worker($node, $_) for qw(sick well);

# End a process in a way that makes the postmaster start all others again.
sub crash
{
	my ($pid, $signal) = @_;
	my $offset = -s $node->logfile;

	kill($signal, $pid) or die "no process $pid";
	wait_for_log_line($node,
		qr/all server processes terminated; reinitializing.*database system is ready to accept connections/s,
		$offset)
	  or die 'the cluster did not come back';
	$node->poll_query_until('postgres', 'SELECT true');
	return $offset;
}

sub log_from
{
	my ($offset) = @_;

	return substr(slurp_file($node->logfile), $offset);
}

# Others crash
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $offset = crash($session->query_safe('SELECT pg_backend_pid()'), 'KILL');
$session->{run}->kill_kill;
ok(wait_for_worker($node, $_), "a backend is killed: the worker of $_ is back") for qw(sick well);
unlike(log_from($offset), qr/temporal_complete worker for database "\w+" crashed/, 'no worker is blamed');

# It crashes
foreach my $time (1 .. $enough - 1)
{
	$offset = crash(wait_for_worker($node, 'sick'), 'SEGV');
	ok(wait_for_log_line($node,
			qr/LOG:  temporal_complete worker for database "sick" crashed\n.*DETAIL:  It is started again in \d+ s/,
			$offset),
		"crash $time is told");
	ok(wait_for_worker($node, 'well'), "crash $time: the other worker is back");
	unlike(log_from($offset), qr/database "well" crashed/, 'and not blamed');
}
my @waits = slurp_file($node->logfile) =~ /It is started again in (\d+) s/g;
is(scalar(@waits), $enough - 1, 'each is told once');
is(join(' ', @waits), join(' ', sort { $a <=> $b } @waits), 'it waits longer each time');
cmp_ok($waits[-1], '>', $waits[0], 'much longer');

# Others crash meanwhile: it is remembered
my $sick = wait_for_worker($node, 'sick');
$session = $node->background_psql('postgres', on_error_stop => 0);
$offset = crash($session->query_safe('SELECT pg_backend_pid()'), 'KILL');
$session->{run}->kill_kill;
$sick = wait_for_worker($node, 'sick');
unlike(log_from($offset), qr/crashed/, 'a crash of another process does not count');

# Once more
$offset = crash($sick, 'SEGV');
my $left_alone =
  qr/LOG:  temporal_complete worker for database "sick" crashed $enough times in a row, so the database gets no more\n.*DETAIL:  Requests in it are recorded and wait.*\n.*HINT:  .*reload/;
ok(wait_for_log_line($node, $left_alone, $offset), 'then it is left alone');
ok(wait_for_worker($node, 'well'), 'the other one goes on');
my $id = $node->safe_psql('sick', complete_something());
wait_until_looked_at($node);
is(worker_pid($node, 'sick'), '', 'also if requests are made');
$id = $node->safe_psql('well', complete_something());
ok(was_tried($node, 'well', $id), 'others are sent');

# Also after a crash of others, and after an immediate shutdown
$session = $node->background_psql('postgres', on_error_stop => 0);
crash($session->query_safe('SELECT pg_backend_pid()'), 'KILL');
$session->{run}->kill_kill;
wait_for_worker($node, 'well');
wait_until_looked_at($node);
is(worker_pid($node, 'sick'), '', 'a crash of others does not bring it back');
$offset = -s $node->logfile;
$node->stop('immediate');
$node->start;
wait_for_worker($node, 'well');
wait_until_looked_at($node);
is(worker_pid($node, 'sick'), '', 'nor does a shutdown that was a crash');
like(log_from($offset), $left_alone, 'it is said again');

# Somebody has looked at it, and reloads
$node->reload;
$sick = wait_for_worker($node, 'sick');
ok($sick, 'a reload starts it again');
$offset = crash($sick, 'SEGV');
ok(wait_for_log_line($node, $left_alone, $offset), 'once: if it crashes again it is left alone at once');
wait_until_looked_at($node);
is(worker_pid($node, 'sick'), '', 'it is');

# An ordinary restart
$node->restart;
$sick = wait_for_worker($node, 'sick');
ok($sick, 'a restart starts it again');
$offset = crash($sick, 'SEGV');
ok(wait_for_log_line($node, qr/database "sick" crashed\n/, $offset), 'and all is forgotten');
ok(wait_for_worker($node, 'sick'), 'it is started again');

# What is remembered is not part of a base backup
$node->backup('copy');
is_deeply([ glob($node->backup_dir . '/copy/pg_stat_tmp/temporal_complete*') ], [], 'a copy knows nothing of it');

$node->stop('fast');
done_testing();
