# The library is not in shared_preload_libraries.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = new_cluster('main', "shared_preload_libraries = ''\n");
$node->start;

my $warning = qr/WARNING:  temporal_complete is not loaded by the server.*HINT:  Add temporal_complete to shared_preload_libraries/s;

my ($rc, $stdout, $stderr) = $node->psql('postgres', 'CREATE EXTENSION temporal_complete');
is($rc, 0, 'CREATE EXTENSION works');
like($stderr, $warning, 'and warns');

$node->safe_psql('postgres',
	"CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1')"
);
($rc, my $id, $stderr) = $node->psql('postgres', complete_something());
is($rc, 0, 'a request is recorded');
like($stderr, $warning, 'and warns');
($rc, $stdout, $stderr) =
  $node->psql('postgres', complete_something() . '; ' . complete_something());
my $warnings = () = $stderr =~ /WARNING/g;
is($warnings, 1, 'once a session');
is($node->safe_psql('postgres', "LOAD 'temporal_complete'; SHOW temporal_complete.default_server"),
	'temporal', 'settings are there');

($rc, $stdout, $stderr) =
  $node->psql('postgres', "SELECT state FROM temporal.wait_for_request($id, '10ms')");
is($stdout, 'queued', 'wait_for_request waits for its timeout');
($rc, $stdout, $stderr) = $node->psql('postgres', 'SELECT temporal.ping()');
like($stderr, qr/ERROR:  temporal_complete is not loaded by the server.*HINT:  Add temporal_complete/s,
	'ping says so');
($rc) = $node->psql('postgres', 'BEGIN; ' . complete_something() . '; ROLLBACK');
is($rc, 0, 'ROLLBACK works');

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'temporal_complete'\n");
$node->restart;
ok(was_tried($node, 'postgres', $id), 'preloaded, the requests that waited are carried on');

$node->stop('fast');
done_testing();
