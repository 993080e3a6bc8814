# Connections by an HTTP proxy: a real one (tinyproxy), with and without a
# password, over both transports, to a real Temporal in cleartext and by TLS; and
# proxies that lie.  What is meant for the other side is not told to the proxy,
# and what is meant for the proxy is told to nobody else.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Credentials;
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use LyingServer;
use MIME::Base64 ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $timeout = "$PostgreSQL::Test::Utils::timeout_default s";
my $dir = File::Temp::tempdir(CLEANUP => 1);
my @transports = ('grpc', 'http');
my @secrets = ('Pa55word', 'W0rse', 'ap1-key');
my $max_memory = 160 * 1024;	# of the worker, kB, besides what is shared

# Start tinyproxy with these lines of configuration; returns the URL and the name of its log.
sub start_tinyproxy
{
	my ($name, @lines) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $log = "$dir/$name.log";

	write_file($log, '');
	write_file("$dir/$name.conf", join("\n", "Port $port", 'Listen 127.0.0.1', 'Timeout 600', 'MaxClients 100',
			"LogFile \"$log\"", 'LogLevel Connect', "PidFile \"$dir/$name.pid\"", 'Allow 127.0.0.1', @lines) . "\n");
	spawn($name, 'tinyproxy', '-d', '-c', "$dir/$name.conf");
	await($name, sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") });
	return ("http://127.0.0.1:$port", $log);
}

# The head of a request
sub read_head
{
	my ($socket) = @_;
	my $head = '';

	while ($head !~ /\r\n\r\n/)
	{
		sysread($socket, $head, 1, length($head)) or return $head;
	}
	return $head;
}

# A proxy of our own that notes what it is sent, and connects to that address
# whatever it is asked for.
sub start_recorder
{
	my ($to) = @_;
	my $heads = File::Temp->new;
	my $proxy = start_liar(sub {
			my ($client) = @_;
			my $server = IO::Socket::INET->new(PeerAddr => $to) or return;
			my %other = ($client => $server, $server => $client);
			my $select = IO::Select->new($client, $server);

			syswrite($heads, read_head($client));
			send_all($client, "HTTP/1.1 200 Connected\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n");
			while (my @ready = $select->can_read)
			{
				foreach my $socket (@ready)
				{
					my $n = sysread($socket, my $bytes, 65536);
					return unless $n;
					send_all($other{$socket}, $bytes);
				}
			}
		});

	$proxy->{heads} = $heads;
	$proxy->{url} = "http://127.0.0.1:$proxy->{port}";
	return $proxy;
}

my $certs = make_certificates('server', 'client', 'second');
my $temporal = start_temporal('plain', http => 1);
my $secured = start_temporal('secured', http => 1,
	arguments => [ '-tls-cert', "$certs/server.crt", '-tls-key', "$certs/server.key", '-tls-client-ca', "$certs/ca.crt" ]);
my %to = (
	plain => { grpc => $temporal->address, http => $temporal->http_address },
	tls => { grpc => $secured->address, http => $secured->http_address });
my ($open, $open_log) = start_tinyproxy('open');
my ($closed, $closed_log) = start_tinyproxy('closed', 'BasicAuth shop Pa55word');
my ($strict) = start_tinyproxy('strict', 'ConnectPort 1');
my $nobody = 'http://127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
my @recorders;
END { stop_liar($_) foreach @recorders; }

# What the environment of the server says about proxies does not count, either way.
my $node;
{
	local @ENV{qw(http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY)} = ($nobody) x 6;
	local @ENV{qw(no_proxy NO_PROXY)} = ('*') x 2;
	$node = new_cluster('main', settings => 'temporal_complete.safety_poll_interval = 1h');
}
$node->safe_psql('postgres', <<'EOS');
CREATE ROLE owner LOGIN;
CREATE ROLE app LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO owner;
EOS

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

my $servers = 0;

# Create a server that is reached by a proxy; returns its name.
sub create_server
{
	my ($transport, $address, $proxy, $options, $mapping) = @_;
	my $name = 'server_' . ++$servers;

	sql("CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete OPTIONS (transport '$transport', address '$address'"
		  . ", retry_initial_interval '50ms', retry_max_interval '200ms'"
		  . (defined $proxy ? ", proxy '$proxy'" : '') . ($options ? ", $options" : '') . ')');
	sql("CREATE USER MAPPING FOR PUBLIC SERVER $name OPTIONS ($mapping)") if $mapping;
	return $name;
}

my $requests = 0;
sub make
{
	my ($server) = @_;

	return sql("SELECT temporal.complete_activity_by_id('nowhere', 'a" . ++$requests . "', server => '$server')");
}

# Temporal knows no such workflow: only it can say so.
sub answered
{
	my ($server, $what) = @_;
	my $id = make($server);

	return is(sql("SELECT state, error_code FROM temporal.wait_for_request($id, '$timeout')"), 'rejected|NOT_FOUND', $what);
}

# The error with which a request waits
sub waits_with
{
	my ($id) = @_;

	return await("the error of request $id", sub {
			sql("SELECT error_code || ' ' || error_message FROM temporal.request WHERE id = $id AND error_code IS NOT NULL") });
}

sub ping
{
	my ($server) = @_;

	return sql("SELECT error_code, error_message FROM temporal.ping('$server')");
}

foreach my $transport (@transports)
{
	my $target = $to{plain}{$transport};

	# --- By a real proxy, or none
	answered(create_server($transport, $target), "$transport: without a proxy none is used, whatever the environment says");
	answered(create_server($transport, $target, $open), "$transport: by a proxy, whatever the environment says");
	like(slurp_file($open_log), qr/CONNECT \Q$target\E HTTP/, "$transport: it went there");

	# --- A proxy that wants a password
	my $server = create_server($transport, $target, $closed);
	my $id = make($server);
	like(waits_with($id), qr/^PROXY_AUTHENTICATION_FAILED the proxy "\Q$closed\E" asks for a user and password: see the option proxy_auth$/,
		"$transport: no password");
	sql("CREATE USER MAPPING FOR PUBLIC SERVER $server OPTIONS (proxy_auth 'shop:W0rse')");
	await("$transport: it is refused", sub { waits_with($id) =~ /^PROXY_AUTHENTICATION_FAILED the proxy .* refuses the user and password/ });
	like(ping($server), qr/^PROXY_AUTHENTICATION_FAILED\|.*proxy_auth/, "$transport: ping says so");
	sql("ALTER USER MAPPING FOR PUBLIC SERVER $server OPTIONS (SET proxy_auth 'shop:Pa55word')");
	is(sql("SELECT state, error_code FROM temporal.wait_for_request($id, '$timeout')"), 'rejected|NOT_FOUND', "$transport: the right password is used at once");
	is(ping($server), '|', "$transport: ping");
	is(sql("SELECT authorized FROM temporal.ping('$server')"), 't', "$transport: which may send");

	# --- A proxy that cannot, or will not
	like(waits_with(make(create_server($transport, $target, $nobody))),
		qr/^PROXY_FAILED could not connect to the proxy "\Q$nobody\E": Connection refused$/, "$transport: nobody is there");
	like(waits_with(make(create_server($transport, $target, 'http://nowhere.invalid:3128'))),
		qr/^PROXY_FAILED could not look up the host name of the proxy "http:\/\/nowhere.invalid:3128"$/, "$transport: no such host");
	like(waits_with(make(create_server($transport, $target, $strict))),
		qr/^PROXY_FAILED the proxy "\Q$strict\E" did not connect to "\Q$target\E": HTTP status 403 \(it does not allow that\)$/, "$transport: it does not allow that");
	my ($away) = $nobody =~ m{//(.*)};
	like(waits_with(make(create_server($transport, $away, $open))),
		qr/^PROXY_FAILED the proxy "\Q$open\E" did not connect to "\Q$away\E": HTTP status 50\d/, "$transport: it cannot reach Temporal");

	# --- The proxy comes, goes, and is another one
	$server = create_server($transport, $target, $nobody);
	$id = make($server);
	waits_with($id);
	sql("ALTER SERVER $server OPTIONS (SET proxy '$open')");
	is(sql("SELECT state FROM temporal.wait_for_request($id, '$timeout')"), 'rejected', "$transport: another proxy is used at once");
	sql("ALTER SERVER $server OPTIONS (DROP proxy)");
	answered($server, "$transport: and none");

	# --- The name is looked up by the proxy, which is told nothing else than where to connect.
	my $recorder = start_recorder($target);
	push @recorders, $recorder;
	answered(create_server($transport, 'temporal.invalid:7233', $recorder->{url}, "tls 'false', grpc_meta_x_tenant 'blue'",
			"api_key 'ap1-key', allow_plaintext_credentials 'true', proxy_auth 'a:%41:b c'"), "$transport: the proxy knows the name");
	my $heads = slurp_file($recorder->{heads}->filename);
	like($heads, qr/^CONNECT temporal\.invalid:7233 HTTP\/1\.1\r\n/, "$transport: it is told where to connect");
	like($heads, qr/^Proxy-Authorization: Basic \Q@{[MIME::Base64::encode_base64('a:%41:b c', '')]}\E\r$/m, "$transport: and who asks, byte by byte");
	unlike($heads, qr/tenant|ap1-key|^Authorization/im, "$transport: and nothing that is for the other side");
	is(sql("SELECT count(*) FROM temporal.health() WHERE check_name LIKE '%clock%' AND status <> 'ok'"), '0', "$transport: its clock is not Temporal's");

	# --- TLS is with the other side, whatever is between.
	$target = $to{tls}{$transport};
	my $trust = "tls_server_ca_cert_path '$certs/ca.crt'";
	write_file("$certs/current.crt", slurp_file("$certs/client.crt"));
	write_file("$certs/current.key", slurp_file("$certs/client.key"));
	$server = create_server($transport, $target, $closed, $trust,
		"tls_client_cert_path '$certs/current.crt', tls_client_key_path '$certs/current.key', proxy_auth 'shop:Pa55word'");
	answered($server, "$transport: TLS with a client certificate");
	like(waits_with(make(create_server($transport, $target, $open, $trust))), qr/^TLS_FAILED .*asks for a client certificate/, "$transport: without one");
	write_file("$certs/current.key", slurp_file("$certs/second.key"));
	write_file("$certs/current.crt", slurp_file("$certs/second.crt"));
	answered($server, "$transport: another client certificate");
	$recorder = start_recorder($target);
	push @recorders, $recorder;
	like(waits_with(make(create_server($transport, 'temporal.invalid:7233', $recorder->{url}, $trust))),
		qr/^TLS_FAILED the certificate of "temporal\.invalid:7233" is not accepted: .*see the option tls_server_name, and "Private links"/, "$transport: a proxy that connects to another server");
	answered(create_server($transport, 'temporal.invalid:7233', $recorder->{url}, "$trust, tls_server_name 'localhost'",
			"tls_client_cert_path '$certs/client.crt', tls_client_key_path '$certs/client.key'"), "$transport: TLS by another name");
	like(slurp_file($recorder->{heads}->filename), qr/^CONNECT temporal\.invalid:7233 /m, "$transport: the proxy is told the address");

	# --- A password is not given to a server's owner who could not have read it.
	$recorder = start_recorder($to{plain}{$transport});
	push @recorders, $recorder;
	$server = "owned_$transport";
	my (undef, undef, $stderr) = as($node, 'owner', "CREATE SERVER $server FOREIGN DATA WRAPPER temporal_complete"
		  . " OPTIONS (transport '$transport', address '$to{plain}{$transport}', proxy '$recorder->{url}'); GRANT USAGE ON FOREIGN SERVER $server TO app");
	is($stderr, '', "$transport: a server of an ordinary role");
	(undef, undef, $stderr) = as($node, 'app', "CREATE USER MAPPING FOR app SERVER $server OPTIONS (proxy_auth 'shop:Pa55word')");
	like($stderr, qr/WARNING:  user mapping cannot be used as it is/, "$transport: a mapping that its owner could not have read");
	my (undef, $owned) = as($node, 'app', "SELECT temporal.complete_activity_by_id('nowhere', 'owned', server => '$server')");
	like(waits_with($owned), qr/^CONFIGURATION the owner of foreign server "$server" could not have read the credentials/, "$transport: it is not sent");
	is(connections_of($recorder), 0, "$transport: nothing is");
}

# --- Proxies that lie.  Nothing counts as answered, memory is bounded.
my $endless = 'x' x 65536;
my %lies = (
	'silence' => sub { until_closed($_[0]); },
	'closed at once' => sub { read_head($_[0]); },
	'reset' => sub { read_head($_[0]); reset_connection($_[0]); },
	'not HTTP' => sub { read_head($_[0]); send_all($_[0], map { chr(($_ * 7919) % 251) } 1 .. 65536); until_closed($_[0]); },
	'one endless line' => sub { read_head($_[0]); send_all($_[0], 'HTTP/1.1 200 OK', "\r\nX: "); send_all($_[0], $endless) while 1; },
	'endless headers' => sub { read_head($_[0]); send_all($_[0], "HTTP/1.1 200 OK\r\n"); send_all($_[0], 'X-More: ' . 'y' x 8000 . "\r\n") while 1; },
	'interim answers for ever' => sub { read_head($_[0]); send_all($_[0], "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n") while 1; },
	'drops' => sub { read_head($_[0]); foreach my $c (split(//, "HTTP/1.1 200 OK\r\n" . 'X: y' x 1000)) { send_all($_[0], $c); select(undef, undef, undef, 0.1); } },
	'407 without end' => sub { read_head($_[0]); send_all($_[0], "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n"); send_all($_[0], $endless) while 1; },
	'407 with a body without end' => sub { read_head($_[0]); send_all($_[0], "HTTP/1.1 407 Who\r\nContent-Length: 1000000000000\r\n\r\n"); send_all($_[0], $endless) while 1; },
	'407 in chunks without end' => sub { read_head($_[0]); send_all($_[0], "HTTP/1.1 407 Who\r\nTransfer-Encoding: chunked\r\n\r\n"); send_all($_[0], "ffff\r\n" . 'x' x 65535 . "\r\n") while 1; },
	'407 again and again' => sub { send_all($_[0], "HTTP/1.1 407 Who\r\nContent-Length: 0\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n") while read_head($_[0]); },
	'a redirect' => sub { read_head($_[0]); send_all($_[0], "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"); until_closed($_[0]); },
	'a page' => sub { read_head($_[0]); send_all($_[0], "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 26\r\n\r\n<html>Who are you?</html>\n"); until_closed($_[0]); },
	'connected, and silence' => sub { read_head($_[0]); send_all($_[0], "HTTP/1.1 200 OK\r\n\r\n"); until_closed($_[0]); },
	'connected, and closed' => sub { read_head($_[0]); send_all($_[0], "HTTP/1.1 200 OK\r\n\r\n"); },
	'an echo' => sub { my $head = read_head($_[0]); send_all($_[0], "HTTP/1.1 400 $head"); until_closed($_[0]); });
my @liars;
END { stop_liar($_) foreach @liars; }
my %waiting;
my $honest = create_server('grpc', $to{plain}{grpc}, $open);

foreach my $name (sort keys %lies)
{
	my $liar = start_liar($lies{$name});

	push @liars, $liar;
	foreach my $transport (@transports)
	{
		my $server = create_server($transport, $to{plain}{$transport}, "http://127.0.0.1:$liar->{port}",
			"connect_timeout '3s', request_timeout '3s'", "proxy_auth 'shop:Pa55word'");
		$waiting{"$name, $transport"} = make($server);
	}
}

my $worker = worker_pid($node);
my $most = 0;
foreach my $name (sort keys %waiting)
{
	like(waits_with($waiting{$name}), $name =~ /^407/ ? qr/^PROXY_AUTHENTICATION_FAILED/ :
		  $name =~ /^(connected|a page)/ ? qr/^(CONNECTION_FAILED|NOT_HTTP2|PROXY_FAILED)/ : qr/^PROXY_FAILED/, "told: $name");
	note(waits_with($waiting{$name}));
	my ($rss) = slurp_file("/proc/$worker/status") =~ /^RssAnon:\s+(\d+) kB/m;
	$most = $rss if $rss > $most;
}
is(sql('SELECT count(*) FROM temporal.request WHERE finished_at IS NOT NULL AND id IN (' . join(', ', values %waiting) . ')'), '0', 'no lie was believed');
answered($honest, 'who is behind an honest proxy is served');
is(worker_pid($node), $worker, 'by the same worker');
note("memory of the worker: at most $most kB");
cmp_ok($most, '<', $max_memory, 'its memory is bounded');

# --- No secret has been told.
my $told = slurp_file($node->logfile) . sql('SELECT string_agg(r::text, chr(10)) FROM temporal.request r');
like($told, qr/PROXY_AUTHENTICATION_FAILED\n.*\n.*HINT:  Set the option "proxy_auth" of the user mapping\./, 'the log says what to do');
foreach my $secret (map { ($_, MIME::Base64::encode_base64("shop:$_", '')) } @secrets)
{
	is(index($told, $secret), -1, 'a secret is neither in the log nor in a message');
}
is(index(slurp_file($closed_log), 'Pa55word'), -1, 'nor in the log of the proxy');
$node->stop;

done_testing();
