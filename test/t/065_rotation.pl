# Credentials in files that are put in place of others are used at once, and
# those that others can read are not used at all.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Credentials;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $certs = make_certificates('server', 'client', 'second');
my @tls = ('--tls-cert', "$certs/server.crt", '--tls-key', "$certs/server.key");
my $node = new_cluster('main', settings => 'temporal_complete.safety_poll_interval = 1h');

# Retries are so slow that none helps.
my $slow = "tls_server_ca_cert_path '$certs/ca.crt', retry_initial_interval '1h', retry_max_interval '1h'";

sub create_server
{
	my ($name, $port, $mapping) = @_;

	$node->safe_psql('postgres', <<EOS);
CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', $slow);
CREATE USER MAPPING FOR PUBLIC SERVER $name OPTIONS ($mapping);
EOS
	return;
}

my $next = 0;

sub make
{
	my ($server) = @_;

	$next++;
	return $node->safe_psql('postgres',
		"SELECT temporal.complete_activity_by_id('w', 'a$next', server => '$server')");
}

sub outcome
{
	my ($id) = @_;

	return $node->safe_psql('postgres',
		"SELECT state, error_code FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')");
}

# The error with which a request waits
sub waits_with
{
	my ($id) = @_;

	return await("the error of request $id",
		sub { $node->safe_psql('postgres',
				"SELECT error_code || ' ' || error_message FROM temporal.request WHERE id = $id AND error_code IS NOT NULL") });
}

# Connections of this machine to a port
sub connections
{
	my ($port) = @_;
	my $hex = sprintf('%04X', $port);

	return scalar(grep { /^\s*\d+: \w+:\w+ \w+:$hex 01 / } split(/\n/, slurp_file('/proc/net/tcp')));
}

# The old key is revoked: refused with it, a request is sent again at once.
foreach my $refusal (16, 7)
{
	my $server = "revoked_$refusal";
	my ($port, $requests) = start_listening(@tls, '--authorization', "$certs/accepted", '--refuse', $refusal);

	write_file("$certs/accepted", 'Bearer key-1');
	write_file("$certs/key", "key-1\n");
	create_server($server, $port, "api_key_path '$certs/key'");
	is(outcome(make($server)), 'delivered|', 'a key of a file');
	is(outcome(make($server)), 'delivered|', 'and again, so it has just been looked at');
	write_file("$certs/accepted", 'Bearer key-2');
	write_file("$certs/key", "key-2\n");
	is($node->safe_psql('postgres', "SELECT authorized FROM temporal.ping('$server')"), 't', 'ping uses the new key');
	is(outcome(make($server)), 'delivered|', "the key is another one, refused with $refusal: the request is delivered");
	like((requests_of($requests))[-1], qr/Bearer key-2/, 'with the new key');
	write_file("$certs/accepted", 'Bearer key-3');
	write_file("$certs/key", "key-3\n");
	is(outcome(make($server)), 'delivered|', 'without a ping before, too');
	await('the old connections to be closed', sub { connections($port) == 1 });

	# ... many at once
	write_file("$certs/accepted", 'Bearer key-4');
	write_file("$certs/key", "key-4\n");
	$node->safe_psql('postgres',
		"SELECT count(temporal.complete_activity_by_id('many', i::text, server => '$server')) FROM generate_series(1, 500) i");
	await_finished($node, "server = '$server'");
	is(states($node, "server = '$server' AND workflow_id = 'many'"), 'delivered|500', 'also many at once');

	# The new key is wrong as well: that is for somebody to put right.
	write_file("$certs/accepted", 'Bearer key-6');
	write_file("$certs/key", "key-5\n");
	my $id = make($server);
	like(waits_with($id), $refusal == 16 ? qr/^UNAUTHENTICATED/ : qr/^PERMISSION_DENIED/, 'a wrong key is refused');
	my $sent = scalar(requests_of($requests));
	cmp_ok($sent, '<', 1500, "and not sent for ever ($sent requests)");
}

# The old key stays valid: the new one is used all the same.
my ($port, $requests) = start_listening(@tls);
write_file("$certs/key", "key-a\n");
create_server('valid', $port, "api_key_path '$certs/key'");
is(outcome(make('valid')), 'delivered|', 'a key of a file');
write_file("$certs/key", "key-b\n");
await('the new key', sub { outcome(make('valid')) eq 'delivered|' && (requests_of($requests))[-1] =~ /Bearer key-b/ });
pass('a new key is used while the old one is valid');
write_file("$certs/key", "key-c\n");
is($node->safe_psql('postgres', "SELECT authorized FROM temporal.ping('valid')"), 't', 'ping with another key');
is(outcome(make('valid')), 'delivered|', 'then a request');
like((requests_of($requests))[-1], qr/Bearer key-c/, 'uses what ping used');

# What is in flight goes on over the old connection.
my ($slow_port, $slow_requests) = start_listening(@tls, '--delay', 1500);
write_file("$certs/key", "slow-1\n");
create_server('slow', $slow_port, "api_key_path '$certs/key'");
$node->safe_psql('postgres', "ALTER SERVER slow OPTIONS (ADD request_timeout '1min')");
is(outcome(make('slow')), 'delivered|', 'a server that takes its time');
my $old = make('slow');
await('a request in flight', sub { scalar(requests_of($slow_requests)) == 2 });
write_file("$certs/key", "slow-2\n");
select(undef, undef, undef, 1.1);	# what was looked at just now is not looked at again
my $new = make('slow');
is(outcome($old), 'delivered|', 'what is in flight is answered');
is(outcome($new), 'delivered|', 'what comes later is, too');
my @lines = requests_of($slow_requests);
is(scalar(@lines), 3, 'nothing was sent twice');
like($lines[1] // '', qr/^1 .*slow-1/, 'over the old connection');
like($lines[2] // '', qr/^2 .*slow-2/, 'and the new one');

# Client certificates
my ($mutual_port, $mutual_requests) = start_listening(@tls, '--client-ca', "$certs/ca.crt");
my %pair = map { $_ => slurp_file("$certs/$_.key") . slurp_file("$certs/$_.crt") } ('client', 'second');
write_file("$certs/pair", $pair{client});
create_server('mutual', $mutual_port, "tls_client_cert_path '$certs/pair', tls_client_key_path '$certs/pair'");
is(outcome(make('mutual')), 'delivered|', 'a client certificate');
like((requests_of($mutual_requests))[-1], qr/^\d+ client/, 'of the file');
write_file("$certs/pair", $pair{second});
await('the new certificate', sub { outcome(make('mutual')) eq 'delivered|' && (requests_of($mutual_requests))[-1] =~ /^\d+ second/ });
pass('another one is used');

# Files that others can read
foreach my $mode (0604, 0640, 0622)
{
	my $text = sprintf('%04o', $mode);

	write_file("$certs/open_$text", "open-key\n", $mode);
	my ($open_port, $open_requests) = start_listening(@tls);
	create_server("open_$text", $open_port, "api_key_path '$certs/open_$text'");
	like(waits_with(make("open_$text")), qr/^CONFIGURATION .*can be read by others.*0600/, "a key in a file of mode $text is not used");
	like($node->safe_psql('postgres', "SELECT authorized, error_code, error_message FROM temporal.ping('open_$text')"),
		qr/^f\|CONFIGURATION\|.*can be read by others/, 'ping says so');
	is(scalar(requests_of($open_requests)), 0, 'nothing was sent');
	chmod(0600, "$certs/open_$text");
	$node->safe_psql('postgres', 'SELECT temporal.wake_worker()');
	await_finished($node, "server = 'open_$text'");
	is(states($node, "server = 'open_$text'"), 'delivered|1', 'put right, it is');
}
chmod(0644, "$certs/pair");
like($node->safe_psql('postgres', "SELECT error_code, error_message FROM temporal.ping('mutual')"),
	qr/^CONFIGURATION\|.*tls_client_key_path can be read by others/, 'nor is a client key');
like(waits_with(make('mutual')), qr/^CONFIGURATION .*can be read by others/, 'though its connection was made when it could not');
unlink("$certs/key");
like($node->safe_psql('postgres', "SELECT error_code, error_message FROM temporal.ping('valid')"),
	qr/^CONFIGURATION\|could not open the file/, 'a file that is gone');
like(waits_with(make('valid')), qr/^CONFIGURATION could not open the file/, 'is not used any more');

unlike(slurp_file($node->logfile), qr/(key|slow)-[0-9a-c]\b|open-key/, 'no key is in the log');
$node->stop;

done_testing();
