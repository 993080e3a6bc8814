# A database with nothing to send costs nothing: no transaction, no CPU.
#
# This is the one test that lets time pass on purpose.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);

# With the default settings, and with a safety poll that comes often
my %node = (
	usual => new_cluster('usual', settings => 'autovacuum = off'),
	polling => new_cluster('polling', settings => "autovacuum = off\ntemporal_complete.safety_poll_interval = 1s"),
);
my %pid;

sub transactions
{
	my ($name) = @_;

	return $node{$name}->safe_psql('postgres',
		q(SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'idle'));
}

# CPU time in nanoseconds, and how often the process went to sleep.
sub used
{
	my ($pid) = @_;
	my ($cpu) = split(/ /, slurp_file("/proc/$pid/schedstat"));
	my ($sleeps) = slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s*(\d+)/m;

	return ($cpu, $sleeps);
}

# Something was delivered before; since then the worker is connected and idle.
foreach my $name (sort keys %node)
{
	$node{$name}->safe_psql('postgres', 'CREATE DATABASE idle');
	$node{$name}->safe_psql('idle', <<EOS);
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
EOS
	is($node{$name}->safe_psql('idle', <<'EOS'), 'delivered', "$name: a request is delivered");
SELECT temporal.complete_activity_by_id('w', 'a') AS id \gset
SELECT state FROM temporal.wait_for_request(:id);
EOS
	$pid{$name} = worker_pid($node{$name}, 'idle');
	$pid{"$name launcher"} = $node{$name}->safe_psql('postgres',
		q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'temporal_complete launcher'));
}

# Sessions have ended and what they did is counted.
sleep(3);
my %transactions = map { $_ => transactions($_) } keys %node;
my %cpu;
my %sleeps;
($cpu{$_}, $sleeps{$_}) = used($pid{$_}) foreach keys %pid;

sleep(30);

foreach my $name (sort keys %node)
{
	is(transactions($name), $transactions{$name}, "$name: no transaction");
	is(worker_pid($node{$name}, 'idle'), $pid{$name}, "$name: the worker is still there");
}
foreach my $name (sort keys %pid)
{
	my ($cpu, $sleeps) = used($pid{$name});

	cmp_ok($cpu - $cpu{$name}, '<', 10_000_000, "$name: no CPU used");
	note(sprintf('%s: %.3f ms', $name, ($cpu - $cpu{$name}) / 1e6));
	cmp_ok($sleeps - $sleeps{$name}, '<', $name eq 'polling' ? 40 : 5, "$name: not woken");
}

# It is not asleep for ever
foreach my $name (sort keys %node)
{
	is($node{$name}->safe_psql('idle', <<'EOS'), 'delivered', "$name: a request is delivered after that");
SELECT temporal.complete_activity_by_id('w', 'b') AS id \gset
SELECT state FROM temporal.wait_for_request(:id);
EOS
}

done_testing();
