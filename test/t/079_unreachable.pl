# Very many servers that cannot be reached are tried again more seldom, a few as
# soon as ever: what one role waits for is no matter of another one's.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $servers = 300;
my $node = new_cluster('main', settings => 'max_files_per_process = 1000');
my $closed = PostgreSQL::Test::Cluster::get_free_port();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $token = "'\\x0a016e1201771a0172200528013201' || 'a'::bytea";

$node->safe_psql('postgres', qq(
	CREATE ROLE many;
	CREATE ROLE one;
	CREATE SERVER one FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
	GRANT USAGE ON FOREIGN SERVER one TO one;
));
$node->safe_psql('postgres', join(';', map { qq(
	CREATE SERVER many_$_ FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$closed');
	GRANT USAGE ON FOREIGN SERVER many_$_ TO many) } 1 .. $servers));
$node->safe_psql('postgres', qq(
	SET ROLE many;
	SELECT count(temporal.complete_activity($token, server => 'many_' || n)) FROM generate_series(1, $servers) n;
	SET ROLE one;
	SELECT temporal.complete_activity($token, server => 'one')));

# When servers are tried again, as far as it is noted
sub next_attempts
{
	my ($server, $condition) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM temporal_internal.queue_error e JOIN temporal_internal.queue q ON q.number = e.queue"
		  . " WHERE q.server_name LIKE '$server' AND $condition");
}

await('each server to be tried', sub { next_attempts('%', "error_code = 'CONNECTION_FAILED'") == $servers + 1 });
await('most of very many to wait for longer', sub { next_attempts('many%', "next_attempt_at > now() + '7 s'") > $servers / 2 });
is(next_attempts('one', "next_attempt_at > now() + '7 s'"), '0', 'one alone is tried again soon');
start_stub($port);
await('its request to be delivered', sub {
		$node->safe_psql('postgres', "SELECT state FROM temporal.request WHERE server = 'one'") eq 'delivered' });
pass('it is found when it is back');
is(next_attempts('many%', "next_attempt_at > now() + '10 min'"), '0', 'none waits for more than ten minutes');

# They are found, too
start_stub($closed);
await('all to be delivered', sub {
		$node->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE state = 'delivered'") == $servers + 1 });
pass('all are found');

$node->stop;
done_testing();
