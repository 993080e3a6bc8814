# What is committed while the worker is busy with a backlog, or while it cannot
# send, is found without another commit to wake it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

# only wakes count here
my $node = new_cluster('main', settings => "temporal_complete.safety_poll_interval = 1d\n");
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $stub = start_stub($port, '--delay', '20');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (address '127.0.0.1:$port')");

# A backlog that is read in many pieces
$node->safe_psql('postgres',
	q(SELECT count(temporal.complete_activity_by_id('backlog', i::text)) FROM generate_series(1, 30000) i));
ok($node->poll_query_until('postgres', 'SELECT EXISTS (SELECT FROM temporal_internal.delivery)'),
	'the worker has begun with the backlog');
my $late = $node->safe_psql('postgres', q(SELECT temporal.complete_activity_by_id('late', 'one')));
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), '>', 1,
	'another request is made while the backlog is read');
is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($late)"),
	'delivered', 'it is delivered');

# Commits that need not wake the worker, because it knows that it cannot send
end_process($stub, 'TERM');
foreach my $i (1 .. 50)
{
	$node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('down', '$i')");
}
ok($node->poll_query_until('postgres', 'SELECT EXISTS (SELECT FROM temporal_internal.queue_error)'),
	'the worker has noticed that the server is down');
foreach my $i (51 .. 100)
{
	$node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('down', '$i')");
}
start_stub($port);
await_finished($node, "workflow_id = 'down'");
is(states($node, "workflow_id = 'down'"), 'delivered|100', 'all are delivered when the server is back');

# Afterwards it is woken as before
is($node->safe_psql('postgres', <<'EOS'), 'delivered', 'a request of now is delivered at once');
SELECT temporal.complete_activity_by_id('now', 'one') AS id \gset
SELECT state FROM temporal.wait_for_request(:id);
EOS

done_testing();
