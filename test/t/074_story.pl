# What the server log tells, at its default settings: in few lines that a
# server cannot be reached, refuses, is back, and that requests were rejected;
# and neither payloads nor secrets nor what a server said.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => "max_worker_processes = 8\nfsync = off");

$node->safe_psql('postgres', 'CREATE ROLE shop LOGIN');
is($node->safe_psql('postgres', 'SHOW log_min_messages'), 'warning', 'the settings are the default ones');

sub server
{
	my ($name, $port, $options, $mapping) = @_;

	$options = defined $options ? ", $options" : '';
	$node->safe_psql('postgres', <<EOS);
CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete
    OPTIONS (address '127.0.0.1:$port', namespace 'orders', retry_initial_interval '20ms', retry_max_interval '50ms'$options);
GRANT USAGE ON FOREIGN SERVER $name TO shop;
EOS
	$node->safe_psql('postgres', "CREATE USER MAPPING FOR shop SERVER $name OPTIONS ($mapping)") if defined $mapping;
	return;
}

sub as_shop { return $node->safe_psql('postgres', $_[0], extra_params => [ '-U', 'shop' ]); }

sub request
{
	my ($server, $count) = @_;

	as_shop("SELECT temporal.complete_activity_by_id('w', '$server' || i, to_jsonb('the payload'::text), server => '$server') FROM generate_series(1, $count) i");
	return;
}

sub await_state
{
	my ($where, $count) = @_;

	await("requests with $where", sub { as_shop("SELECT count(*) FROM temporal.request WHERE $where") eq $count });
	return;
}

# Lines of the log that begin with that, after LOG and so on
sub lines
{
	my ($begin) = @_;
	my $log = slurp_file($node->logfile);

	return $log =~ /LOG:  $begin/g;
}
sub await_line { my ($begin) = @_; await("a line with $begin", sub { scalar(my @l = lines($begin)) }); return; }
sub count { my ($begin) = @_; return scalar(my @l = lines($begin)); }

# A server that is away for a while
my $port = PostgreSQL::Test::Cluster::get_free_port();
server('away', $port);
request('away', 30);
await_line('server "away" of database "postgres" cannot be reached: CONNECTION_FAILED');
like(slurp_file($node->logfile), qr/DETAIL:  .*127\.0\.0\.1.*; requests that wait: 30$/m, 'why a server cannot be reached, and how many wait');
start_stub($port);
await_state(q(server = 'away' AND state = 'delivered'), 30);
await_line('server "away" of database "postgres" can be reached again, after \d+ m?s');
like(slurp_file($node->logfile), qr/DETAIL:  Requests that waited: 30\.$/m, 'how many waited');
is(count('server "away" of database "postgres" cannot be reached'), 1, 'that it is away is said once');
is(count('server "away" of database "postgres" can be reached again'), 1, 'that it is back too');

# One that refuses credentials
my $refuses = PostgreSQL::Test::Cluster::get_free_port();
my $stub = start_stub($refuses, '--status', 16, '--message', 'no%0A2026 FATAL: key s3cret');
server('refuses', $refuses, "tls 'false'", "api_key 's3cret', allow_plaintext_credentials 'true'");
request('refuses', 1);
await_line('server "refuses" of database "postgres" does not take requests of role "shop" for namespace "orders": UNAUTHENTICATED');
end_process($stub, 'KILL');
start_stub($refuses);
await_state(q(server = 'refuses' AND state = 'delivered'), 1);
await_line('server "refuses" of database "postgres" takes requests of role "shop" for namespace "orders" again, after \d+ m?s');
like(slurp_file($node->logfile), qr/DETAIL:  Requests that waited: 1\.$/m, 'the one that waited is counted');
is(count('server "refuses" of database "postgres" does not take'), 1, 'a refusal is told of once');

# Certificates
server('plain', $port, "tls 'true'");
request('plain', 1);
await_line('server "plain" of database "postgres" cannot be used for role "shop": TLS_FAILED');

# Rejections: the first at once, the others counted
my $rejects = PostgreSQL::Test::Cluster::get_free_port();
start_stub($rejects, '--status', 3, '--message', 'I do not like "the payload"');
server('rejects', $rejects);
request('rejects', 1);
await_line('request \d+ to server "rejects" of database "postgres" ended rejected: INVALID_ARGUMENT');
request('rejects', 999) foreach (1 .. 2);
await_state(q(server = 'rejects' AND state = 'rejected'), 1999);
is(count('.*to server "rejects"'), 1, 'many rejections are not many lines');

# One that comes and goes
my $flaps = PostgreSQL::Test::Cluster::get_free_port();
server('flaps', $flaps);
foreach my $i (1 .. 10)
{
	my $pid;

	request('flaps', 1);
	await_state(q(server = 'flaps' AND error_code = 'CONNECTION_FAILED'), 1);
	await_line('server "flaps" of database "postgres" cannot be reached') if $i == 1;
	$pid = start_stub($flaps);
	await_state(q(server = 'flaps' AND finished_at IS NULL), 0);
	end_process($pid, 'KILL');
}
cmp_ok(count('server "flaps"'), '<=', 4, 'a server that comes and goes is told of now and then');

# Many of them; one with a name that is a line
my $nobody = PostgreSQL::Test::Cluster::get_free_port();
server("many$_", $nobody) foreach (1 .. 40);
server(qq("x\nLOG:  forged"), $nobody);
$node->safe_psql('postgres', "GRANT USAGE ON FOREIGN SERVER many$_ TO shop") foreach (1 .. 40);
as_shop("SELECT temporal.complete_activity_by_id('w', 'a', server => 'many' || i) FROM generate_series(1, 40) i");
as_shop("SELECT temporal.complete_activity_by_id('w', 'a', server => E'x\\nLOG:  forged')");
await_state(q(server LIKE 'many%' AND error_code = 'CONNECTION_FAILED'), 40);
await_line('server "many\d+" of database "postgres" cannot be reached');
cmp_ok(count('server '), '<=', 45, 'many servers that are away do not fill the log');

# A worker that leaves tells the rest
$node->safe_psql('postgres', 'ALTER SYSTEM SET temporal_complete.enabled = off');
$node->reload;
await_line('more happened in database "postgres" than is told here: ');
await('the worker to leave', sub { worker_pid($node) eq '' });
$node->safe_psql('postgres', 'ALTER SYSTEM RESET temporal_complete.enabled');
$node->reload;
my $pid = await_worker($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
await_worker($node, 'postgres', $pid);
$node->restart;
await_worker($node);
my $log = slurp_file($node->logfile);
my $rejected = 0;
$rejected += $_ foreach ($log =~ /LOG:  (\d+) requests to server "rejects" of database "postgres" ended rejected, the first of them \d+: INVALID_ARGUMENT/g);
is($rejected, 1998, 'all rejections are accounted for in the end');
my ($more) = $log =~ /more happened in database "postgres" than is told here: trouble in (\d+) places/;
cmp_ok($more, '>', 0, 'what found no place is counted');

unlike($log, qr/the payload|s3cret|I do not like/, 'neither payloads nor secrets nor words of a server are in the log');
unlike($log, qr/^LOG:  forged/m, 'no line is forged');
# of our processes: sessions have a name in the log
unlike($log, qr/\] FATAL:/, 'nothing is fatal in leaving and in a restart');

done_testing();
