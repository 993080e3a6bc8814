# Whatever one role makes a worker keep, its memory stays within bounds.
#
# Measured is RssAnon of /proc/PID/status: pages of shared buffers that a
# process has touched are not its own.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $limit_kb = 128 * 1024;
my $node = new_cluster('main', settings => "max_wal_size = 4GB\nautovacuum = off");

$node->safe_psql('postgres', 'CREATE ROLE bad; CREATE ROLE good; CREATE ROLE naming; CREATE ROLE astray');

# A server of a stub with these arguments
sub add_server
{
	my ($name, @arguments) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $pid = start_stub($port, @arguments);

	$node->safe_psql('postgres', <<EOS);
CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:$port', namespaces '*', request_timeout '1h');
GRANT USAGE ON FOREIGN SERVER $name TO PUBLIC;
EOS
	return $pid;
}

sub make
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', "SET ROLE $role; $sql");
}

sub ok_delivered
{
	my ($what) = @_;
	my $id = make('good', "SELECT temporal.complete_activity_by_id('w', 'a', server => 'honest')");

	return is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id, '120 s')"),
		'delivered', "$what: others' requests are delivered");
}

add_server('honest');
ok_delivered('at the beginning');
my $worker = worker_pid($node);

sub memory_kb
{
	my ($kb) = slurp_file("/proc/$worker/status") =~ /^RssAnon:\s*(\d+) kB/m;

	return $kb;
}

my $rest = memory_kb();
note("at rest: $rest kB");

# Wait until no more memory is taken.
sub ok_bounded
{
	my ($what) = @_;
	my ($most, $same) = (0, 0);

	await("what a worker keeps of $what", sub {
			my $kb = memory_kb();

			$same = $kb > $most ? 0 : $same + 1;
			$most = $kb if $kb > $most;
			return $same > 30;
		});
	return cmp_ok($most, '<', $limit_kb, "memory: $what ($most kB)");
}

# Requests that wait for each other
add_server('hanging', '--hang');
make('bad', "SELECT count(temporal.complete_activity_by_id('w', 'a', server => 'hanging', namespace => 'n' || n))"
	  . ' FROM generate_series(1, 60000) i, generate_series(1, 10) n');
ok_bounded('many requests for one activity');
ok_delivered('many requests for one activity');

# Replies that are never finished
my @stubs = map { add_server("endless_$_", '--hang', '--unfinished', 1_000_000) } 1 .. 8;
make('bad', "SELECT count(temporal.complete_activity_by_id('w', i::text, server => 'endless_' || n))"
	  . ' FROM generate_series(1, 100) i, generate_series(1, 8) n');
ok_bounded('unfinished replies');
ok_delivered('unfinished replies');
end_process($_, 'KILL') foreach @stubs;

# Histories that are never finished
@stubs = map { add_server("history_$_", '--status', 5, '--hang-path', 'History', '--unfinished', 7_900_000) } 1 .. 8;
make('bad', "SELECT count(temporal.complete_activity_by_id('w', i::text, server => 'history_' || n))"
	  . ' FROM generate_series(1, 100) i, generate_series(1, 8) n');
ok_bounded('unfinished histories');
ok_delivered('unfinished histories');
end_process($_, 'KILL') foreach @stubs;

# Namespaces that are as many as one can name
make('naming', "SELECT count(temporal.complete_activity_by_id('w', 'a', server => 'honest', namespace => 'n' || n))"
	  . ' FROM generate_series(1, 60000) n');
ok_delivered('many namespaces');
await('requests for many namespaces', sub {
		memory_kb();
		$node->safe_psql('postgres', "SELECT NOT EXISTS (SELECT FROM temporal_internal.outbox o JOIN temporal_internal.queue q ON q.number = o.queue"
			  . " WHERE server_name = 'honest')") eq 't';
	});
pass('all of them are sent');
ok_bounded('many namespaces');

# ... and that there are not
my $port = PostgreSQL::Test::Cluster::get_free_port();
my ($pid, $log) = TemporalTest::spawn('unknown', $ENV{GRPC_STUB}, '--port', $port, '--status', 5, '--detail',
	'NamespaceNotFoundFailure');
await('a stub', sub { -s $log });
sub requests
{
	my $before = -s $log;

	kill('USR1', $pid);
	await('counts of a stub', sub { -s $log > $before && slurp_file($log) =~ /\}\n\z/ });
	return slurp_file($log) =~ /.*"requests": (\d+)/s ? $1 : 0;
}
$node->safe_psql('postgres', <<EOS);
CREATE SERVER unknown FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:$port', namespaces '*', retry_initial_interval '100ms', retry_max_interval '1s');
GRANT USAGE ON FOREIGN SERVER unknown TO PUBLIC;
EOS
make('astray', "SELECT count(temporal.complete_activity_by_id('w', 'a', server => 'unknown', namespace => 'n' || n))"
	  . ' FROM generate_series(1, 10000) n');
await('each to be tried', sub { requests() >= 5000 });
my ($first, $same) = (0, 0);
await('the first attempts to be over',
	sub { my $now = requests(); $same = $now - $first < 100 ? $same + 1 : 0; $first = $now; return $same > 20; });
my $begin = time();
$first = requests();
await('some attempts more', sub { requests() > $first + 50 });
my $rate = (requests() - $first) / (time() - $begin || 1);
cmp_ok($rate, '<', 200, "attempts of a role are made again at a bounded rate ($rate a second)");
ok_bounded('many namespaces that there are not');
ok_delivered('many namespaces that there are not');

is(worker_pid($node), $worker, 'the same worker');
$node->stop;

#
# Long messages to very many requests that are tried again, of more namespaces
# than a role has a share of: those of others are found all the same.
#
$node = new_cluster('second', settings => "max_wal_size = 4GB\nautovacuum = off");
$node->safe_psql('postgres', 'CREATE ROLE bad; CREATE ROLE good');
add_server('honest');
ok_delivered('at the beginning');
make('good', "SELECT count(temporal.complete_activity_by_id('w', 'a', server => 'honest', namespace => 'n' || n))"
	  . ' FROM generate_series(1, 20) n');
$worker = worker_pid($node);
add_server('wordy', '--status', 13, '--message', 'x' x 1000);
make('bad', "SELECT count(temporal.heartbeat_activity_by_id('w', i::text, server => 'wordy', namespace => 'n' || n))"
	  . ' FROM generate_series(1, 8) i, generate_series(1, 12000) n');
ok_bounded('long messages');
make('good', "SELECT count(temporal.complete_activity_by_id('w', 'a', server => 'honest', namespace => 'n' || n))"
	  . ' FROM generate_series(1, 20) n');
await('requests of all namespaces', sub {
		$node->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE server = 'honest' AND state = 'delivered'") == 41 });
pass('long messages: others\' requests are delivered');
is(worker_pid($node), $worker, 'the same worker');
done_testing();
