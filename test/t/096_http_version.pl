# Which HTTP is spoken by transport 'http': HTTP/2 where the server chooses it in
# the TLS handshake, else HTTP/1.1, over connections that are kept.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Credentials;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $certs = make_certificates('server');
my $port = PostgreSQL::Test::Cluster::get_free_port();

# It says what is offered to it and what it chooses, and answers GET with a file.
my $files = "$certs/files";
mkdir($files);
mkdir("$files/api");
mkdir("$files/api/v1");
write_file("$files/api/v1/system-info", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"serverVersion\":\"1.32.0\"}");
my ($pid, $log) = spawn('tls_server', 'sh', '-c', "cd $files && exec openssl s_server -accept $port -alpn http/1.1"
	  . " -cert ../server.crt -key ../server.key -HTTP -tlsextdebug");
await('the server', sub { -e $log && slurp_file($log) =~ /ACCEPT/ });

my $node = new_cluster('main');

$node->safe_psql('postgres', "CREATE SERVER picky FOREIGN DATA WRAPPER temporal_complete OPTIONS (transport 'http',"
	  . " address '127.0.0.1:$port', tls_server_ca_cert_path '$certs/ca.crt', connect_timeout '5s')");
$node->safe_psql('postgres', "SELECT temporal.ping('picky')");
is(await('what was offered', sub { (slurp_file($log) =~ /^ALPN protocols advertised by the client: (.*)$/m)[0] }),
	'h2, http/1.1', 'HTTP/2 and HTTP/1.1 are offered');

# A real server, which offers both
my $temporal = start_temporal('main', http => 1, arguments => [ '-tls-cert', "$certs/server.crt", '-tls-key', "$certs/server.key" ]);
$node->safe_psql('postgres', "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (transport 'http',"
	  . " address '@{[$temporal->http_address]}', tls_server_ca_cert_path '$certs/ca.crt')");
is($node->safe_psql('postgres', "SELECT authorized, tls FROM temporal.ping('temporal')"), 't|TLSv1.3', 'a real server speaks it');
$node->safe_psql('postgres', "SELECT count(temporal.complete_activity_by_id('nowhere', i::text, server => 'temporal')) FROM generate_series(1, 300) i");
await_finished($node);
is(states($node), 'rejected|300', 'and answers');
# ... whichever it has chosen
my $hex = sprintf('%04X', ($temporal->http_address =~ /:(\d+)$/)[0]);
my $connections = grep { /^\s*\d+: \w+:\w+ \w+:$hex 01 / } split(/\n/, slurp_file('/proc/net/tcp'));
is($connections, 1, "over one connection, which is kept");
$node->stop;

done_testing();
