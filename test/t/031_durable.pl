# Nothing is sent before its commit is durable, whatever synchronous_commit is.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

# Nobody else writes WAL out in the meantime.
my $node = new_cluster('main', settings => <<'EOC');
synchronous_commit = off
wal_writer_delay = 10s
wal_writer_flush_after = 0
autovacuum = off
bgwriter_delay = 10s
wal_buffers = 16MB
EOC
my $temporal = start_temporal('main');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (address '" . $temporal->address . "')");
start_activities($temporal, $node, 'durable', 1, 20);
$node->safe_psql('postgres', 'CREATE TABLE own (id bigint); CHECKPOINT');

# The server is lost as soon as a request has arrived.
my $unknown = 0;
foreach my $round (1 .. 5)
{
	my $session = $node->background_psql('postgres');
	my $id = $session->query_safe(
		"SELECT temporal.complete_activity(task_token, '\"durable\"') FROM pending_activity WHERE activity_id = '$round'");

	await('the request to arrive', sub { my %arrivals = $temporal->arrivals; $arrivals{$id} });
	# ... and what was committed after that is not durable
	$session->query_safe("INSERT INTO own VALUES ($round)");
	$node->stop('immediate');
	eval { $session->quit };
	$node->start;
	$unknown++ if $node->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE id = $id") ne '1';
}
is($unknown, 0, 'what has arrived at Temporal is known after a crash');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM own'), '<', 5,
	'although commits are lost by these crashes');
await_finished($node);
is(states($node), 'delivered|5', 'and is delivered');

done_testing();
