# The files in which it is remembered who has crashed, as somebody or something
# has left them: the launcher reads no more than it needs, waits for nothing,
# follows nothing, and starts workers all the same.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $directory = $node->data_dir . '/pg_stat_tmp';
my $memory = "$directory/temporal_complete.crashes";
my $database = $node->safe_psql('postgres', 'SELECT oid FROM pg_database WHERE datname = current_database()');
my $elsewhere = scratch('tampered');

sub restarted
{
	my ($what, $prepare) = @_;

	$node->stop;
	$prepare->();
	$node->start;
	ok(await_worker($node, 'postgres'), $what);
	return;
}

restarted('garbage', sub { append_to_file($memory, join('', map { chr(($_ * 7919) % 251) } 1 .. 65536) . "\n$database 1\n$database -5 7\n"); });
restarted('counts and times at their limits', sub {
	append_to_file($memory, "4294967295 2147483647 9223372036854775807\n$database 2 -9223372036854775808\n");
});
restarted('a pipe', sub { unlink($memory); POSIX::mkfifo($memory, 0600) or die "mkfifo: $!"; });
restarted('a directory', sub { unlink($memory); mkdir($memory) or die "mkdir: $!"; });
restarted('a file without end', sub {
	rmdir($memory);
	open(my $file, '>', $memory) or die "open: $!";
	print $file map { ($_ * 2 + 20000) . " 1 1\n" } 1 .. 2_000_000;
	close($file);
});
my $launcher = $node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'temporal_complete launcher'));
my ($private) = map { /^Private_Dirty: +(\d+)/m ? $1 : () } slurp_file("/proc/$launcher/smaps_rollup");
cmp_ok($private, '<', 16 * 1024, 'which is not read into memory (kB)');
restarted('links to other files', sub {
	unlink($memory);
	append_to_file($elsewhere, "as it was\n");
	symlink($elsewhere, $memory);
	symlink($elsewhere, "$memory.tmp");
});
restarted('marks that are no files', sub {
	unlink($memory);
	mkdir("$directory/temporal_complete.worker.$database.$_") foreach 1 .. 3;
	POSIX::mkfifo("$directory/temporal_complete.worker.$database.4", 0600);
	symlink($elsewhere, "$directory/temporal_complete.worker.$database.5");
});
is(slurp_file($elsewhere), "as it was\n", 'nothing is written through a link');

# It is remembered all the same who crashes
my $worker = worker_pid($node);
my $offset = -s $node->logfile;
kill('SEGV', $worker);
ok($node->wait_for_log(qr/temporal_complete worker for database "postgres" crashed\n.*It is started again in 1 s/, $offset),
	'a crash is remembered');
ok(await_worker($node, 'postgres', $worker), 'and the worker is back');
is(slurp_file($elsewhere), "as it was\n", 'and still nothing else is written');

$node->stop;
done_testing();
