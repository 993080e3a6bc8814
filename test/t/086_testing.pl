# Tests without Temporal: those of doc/testing.md pass as they stand, without
# the library being preloaded; and what is suppressed is not sent whatever a
# worker does, until somebody asks for it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $document = "$FindBin::RealBin/../doc/testing.md";
my @blocks = slurp_file($document) =~ /^```sql\n(.*?)^```/msg;
my $plain = new_cluster('plain', settings => "shared_preload_libraries = ''");
is($plain->safe_psql('postgres', 'SHOW shared_preload_libraries'), '', 'the library is not preloaded');
$plain->safe_psql('postgres', 'CREATE DATABASE test');
if ($plain->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'pgtap'") eq '0')
{
	note('there is no pgTAP for this version of PostgreSQL');
}
else
{
	my ($rc, $stdout, $stderr) = $plain->psql('test', join('', @blocks), extra_params => [ '-v', 'ON_ERROR_STOP=1' ]);
	is($rc, 0, 'the statements of doc/testing.md run') or diag($stderr);
	my $warnings = () = $stderr =~ /WARNING/g;
	is($warnings, 1, 'with one warning: CREATE EXTENSION says that nothing would be sent') or diag($stderr);
	my @results = $stdout =~ /^((?:not )?ok \d+ - .*)$/mg;
	is(scalar(@results), 6, 'all its tests are run') or diag($stdout);
	is_deeply([ grep { /^not/ } @results ], [], 'and pass') or diag($stdout);
}
$plain->stop;

# With a worker
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
my $node = new_cluster('main', settings => 'fsync = off');
$node->safe_psql('postgres', <<"EOS");
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
CREATE SERVER gone FOREIGN DATA WRAPPER temporal_complete;
EOS
my $call = "SELECT temporal.complete_activity_by_id('w', 'a')";
sub state_of { my ($id) = @_; return $node->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $id"); }
sub end_of { my ($id) = @_; return $node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"); }

my $off = $node->safe_psql('postgres', "SET temporal_complete.delivery = off; $call");
is(end_of($off), 'suppressed', 'off: suppressed, and nobody waits for it');
is(end_of($node->safe_psql('postgres', $call)), 'delivered', 'on: the next request for the activity is sent');
$node->restart;
is(end_of($node->safe_psql('postgres', $call)), 'delivered', 'so it is after a restart');
$node->safe_psql('postgres', 'SELECT temporal.wake_worker()');
is($node->safe_psql('postgres', 'SELECT temporal.adopt()'), '0', 'adopt() does not send it');
is(end_of($node->safe_psql('postgres', $call)), 'delivered', 'nor does wake_worker()');
is(state_of($off), 'suppressed', 'what was suppressed still is');
$node->safe_psql('postgres', "SELECT temporal.retry_request($off)");
is(end_of($off), 'delivered', 'retry_request() sends it');

# Prepared transactions, and requests of a server that goes
my $prepared = $node->safe_psql('postgres', "SET temporal_complete.delivery = off; SELECT temporal.complete_activity_by_id('w', 'a', server => 'gone')");
my (undef, undef, $stderr) = $node->psql('postgres', 'DROP SERVER gone');
is($stderr, '', 'DROP SERVER does not tell of requests that are never sent');
is(state_of($prepared), 'suppressed', 'nothing becomes of them');
is($node->safe_psql('postgres', 'SELECT temporal.discard_requests(NULL)'), '1', 'until they are discarded');

# A copy of a database with such requests
$node->safe_psql('postgres', "SET temporal_complete.delivery = off; $call");
my ($dump) = run_command([ 'pg_dump', '--no-sync', '-d', $node->connstr('postgres') ]);
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->safe_psql('copy', $dump);
is($node->safe_psql('copy', q(SELECT string_agg(state, ',') FROM temporal.request)), 'suppressed', 'in a copy they are suppressed');
is($node->safe_psql('copy', 'SELECT temporal.adopt()'), '0', 'and not adopted');
unlike(slurp_file($node->logfile), qr/of another cluster or database (is|are) held/, 'nor told of as held');

done_testing();
