# HTTP/JSON over HTTP/2: to a real Temporal behind a real nginx, which ends
# connections by GOAWAY, is restarted, and speaks HTTP/2 at one time and HTTP/1.1
# at another.  Nothing is lost, and nothing is told twice.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Credentials;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $certs = make_certificates('server', 'client');
my $node = new_cluster('main', settings => 'temporal_complete.safety_poll_interval = 1h');
my $temporal = start_temporal('main', http => 1);
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $nginx;
my $log = "$certs/requests";

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# Have nginx speak that from now on; lines are of its server.
sub configure
{
	my ($protocol, @lines) = @_;
	my $http2 = $protocol eq 'h2' ? 'http2' : '';

	write_file("$certs/nginx.conf", <<"EOC");
daemon off;
pid $certs/nginx.pid;
error_log $certs/nginx.error;
worker_processes 1;
events { worker_connections 256; }
http {
	log_format line '\$server_protocol \$connection \$status \$request_method \$uri auth=\$http_authorization'
		' meta=\$http_tenant/\$http_grpc_metadata_tenant type=\$http_content_type host=\$http_host length=\$http_content_length encoding=\$http_accept_encoding';
	access_log $log line;
	client_body_temp_path $certs/body;
	proxy_temp_path $certs/proxy;
	fastcgi_temp_path $certs/fastcgi;
	uwsgi_temp_path $certs/uwsgi;
	scgi_temp_path $certs/scgi;
	server {
		listen 127.0.0.1:$port ssl $http2;
		ssl_protocols TLSv1.3;
		ssl_certificate $certs/server.crt;
		ssl_certificate_key $certs/server.key;
		@{[join("\n", @lines)]}
		location / { proxy_pass http://@{[$temporal->http_address]}; proxy_http_version 1.1; proxy_set_header Connection ''; }
	}
}
EOC
	return;
}

sub start_nginx
{
	$nginx = spawn('nginx', 'nginx', '-p', $certs, '-c', "$certs/nginx.conf", '-e', "$certs/nginx.error");
	await('nginx', sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") });
	return;
}

sub restart_nginx
{
	my ($signal) = @_;

	# a master that is killed leaves its workers
	my @workers = $signal eq 'KILL' ? split(' ', `pgrep -P $nginx`) : ();

	end_process($nginx, $signal);
	kill("KILL", @workers) if @workers;
	await('the port', sub { !IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") });
	start_nginx();
	return;
}

# What nginx has logged since, each line as a hash
sub logged
{
	my ($from) = @_;
	my @lines;

	foreach my $line (split(/\n/, slurp_file($log, $from // 0)))
	{
		my %fields;
		@fields{qw(protocol connection status method uri)} = split(/ /, $line);
		$fields{$1} = $2 while $line =~ / (\w+)=(\S*)/g;
		push @lines, \%fields;
	}
	return @lines;
}

sub protocols { return join(' ', sort keys %{ { map { $_->{protocol} => 1 } @_ } }); }

configure('h2');
start_nginx();
sql("CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (transport 'http', address '127.0.0.1:$port',"
	  . " tls_server_ca_cert_path '$certs/ca.crt', retry_initial_interval '50ms', retry_max_interval '200ms')");
is(sql("SELECT authorized, tls FROM temporal.ping('temporal')"), 't|TLSv1.3', 'ping');

# Real activities: 300 at once, over one connection
start_activities($temporal, $node, 'first', 3, 100);
sql(q(SELECT count(temporal.heartbeat_activity(task_token, '"beat"')) FROM pending_activity));
await_finished($node);
send_pending($node, 'first', q(temporal.complete_activity(p.task_token, to_jsonb(p.activity_id))));
await_finished($node);
is(states($node, q(state NOT IN ('delivered', 'superseded'))), '', 'activities are completed');
my @requests = logged();
is(protocols(@requests), 'HTTP/2.0', 'over HTTP/2');
my %connections = map { $_->{connection} => 1 } grep { $_->{method} eq 'POST' && $_->{status} == 200 } @requests;
is(scalar(keys %connections), 1, 'over one connection');
cmp_ok(scalar(grep { $_->{method} eq 'POST' && $_->{length} > 10 } @requests), '>=', 300, 'lengths are told');
is(scalar(grep { $_->{encoding} ne '-' } @requests), 0, 'nothing compressed is asked for');
is(scalar(grep { $_->{host} ne "127.0.0.1:$port" } @requests), 0, 'the authority is the address');
is(scalar(grep { $_->{method} eq 'GET' && $_->{length} ne '-' } @requests), 0, 'GET has no body');

# Other calls than completions
start_activities($temporal, $node, 'waiting', 1, 2);
is(sql("SELECT count(*) FROM temporal.pending_activities('waiting-0', server => 'temporal')"), '2', 'what is pending is asked for');
sql("SELECT temporal.complete_activity_by_id('no such', 'activity', server => 'temporal')");
await_finished($node);
is(sql("SELECT state, error_code FROM temporal.request ORDER BY id DESC LIMIT 1"), 'rejected|NOT_FOUND', 'a refusal is told as one');
sql("SELECT temporal.complete_activity_by_id('with/slash', 'activity', server => 'temporal')");
await_finished($node);
is(sql("SELECT state, error_code FROM temporal.request ORDER BY id DESC LIMIT 1"), 'rejected|INVALID_ARGUMENT', 'what cannot be in a path is refused');

# GOAWAY after each 20 requests, and restarts, by turns in both ways and to and fro between HTTP/2 and HTTP/1.1
my @ways = (['h2', 'HUP'], ['h1', 'HUP'], ['h2', 'KILL'], ['h1', 'KILL'], ['h2', 'QUIT'], ['h1', 'TERM'], ['h2', 'TERM']);
my $n = 200;

configure('h2', 'keepalive_requests 20;');
kill('HUP', $nginx);
start_activities($temporal, $node, "way$_", 1, $n) foreach 0 .. $#ways;
foreach my $i (0 .. $#ways)
{
	my ($protocol, $signal) = @{ $ways[$i] };
	my $from = -s $log;

	send_pending($node, "way$i", q(temporal.complete_activity(p.task_token, to_jsonb(p.activity_id)))) if $i % 2;
	configure($protocol, 'keepalive_requests 20;');
	if ($signal eq 'HUP') { kill('HUP', $nginx); }
	else { restart_nginx($signal); }
	send_pending($node, "way$i", q(temporal.complete_activity(p.task_token, to_jsonb(p.activity_id)))) unless $i % 2;
	await_finished($node);
	my $wanted = $protocol eq 'h2' ? 'HTTP/2.0' : 'HTTP/1.1';
	# all may have been sent before
	my @since = @{ await($wanted, sub {
			sql("SELECT temporal.complete_activity_by_id('no such', 'activity', server => 'temporal')");
			await_finished($node);
			my @lines = logged($from);
			return @lines && $lines[-1]{protocol} eq $wanted ? \@lines : undef;
		}) };
	pass("$signal: from then on $wanted");
	if ($protocol eq 'h2')
	{
		my %of = map { $_->{connection} => 1 } grep { $_->{protocol} eq $wanted } @since;
		cmp_ok(scalar(keys %of), '>=', 5, 'connections were ended by GOAWAY');
	}
}
is(states($node, q(state NOT IN ('delivered', 'superseded') AND error_code NOT IN ('NOT_FOUND', 'INVALID_ARGUMENT'))), '', 'nothing is lost');
my %results = map { $temporal->results("way$_", 1) } 0 .. $#ways;
is(scalar(grep { /^"/ } values %results), @ways * $n, 'all activities ended as asked');
my $false = grep { my ($id) = m{/(.*)$}; $results{$_} ne "\"$id\"" } keys %results;
is($false, 0, 'each by its own request');

# Credentials: client certificates, API key from a file that is changed, metadata
write_file("$certs/key", "first-api-key\n");
configure('h2', "ssl_client_certificate $certs/ca.crt;", 'ssl_verify_client on;');
restart_nginx('TERM');
sql("CREATE SERVER secured FOREIGN DATA WRAPPER temporal_complete OPTIONS (transport 'http', address '127.0.0.1:$port',"
	  . " tls_server_ca_cert_path '$certs/ca.crt', authority 'temporal.example.com')");
sql("CREATE USER MAPPING FOR CURRENT_USER SERVER secured OPTIONS (api_key_path '$certs/key', grpc_meta_tenant 'S3cret-tenant',"
	  . " tls_client_cert_path '$certs/client.crt', tls_client_key_path '$certs/client.key')");
my $from = -s $log;
sql("SELECT temporal.complete_activity_by_id('no such', 'first', server => 'secured')");
await_finished($node);
write_file("$certs/key", "other-api-key\n");
await('the new key to be used', sub {
		sql("SELECT temporal.complete_activity_by_id('no such', 'other', server => 'secured')");
		await_finished($node);
		return grep { $_->{auth} =~ /Bearer/ && slurp_file($log, $from) =~ /auth=Bearer other-api-key/ } logged($from);
	});
like(slurp_file($log, $from), qr/auth=Bearer first-api-key meta=S3cret-tenant\/S3cret-tenant type=application\/json\+no-payload-shorthand host=temporal\.example\.com/, 'key, metadata, content type and authority are sent');
is(protocols(logged($from)), 'HTTP/2.0', 'over HTTP/2');
unlike(sql("SELECT string_agg(error_message, ' ') FROM temporal.request"), qr/api-key|S3cret/, 'no secret is told');

$node->stop;
end_process($nginx, 'TERM');

done_testing();
