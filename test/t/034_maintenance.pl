# What DBAs do to the tables meanwhile: rewriting them, locking rows, deleting
# rows.  Nothing is lost or sent twice for it, and nothing waits for a lock
# that does not concern it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $temporal = start_temporal('main');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ")");
start_activities($temporal, $node, 'care', 1, 20);
$node->safe_psql('postgres', 'CREATE TABLE sent (id bigint)');

# Requests are in flight, answered, recorded and made all the time.
$temporal->fault(method => 'RecordActivityTaskHeartbeat', mode => 'delay', delay_ms => 20);
$temporal->fault(method => 'RespondActivityTask*', mode => 'delay', delay_ms => 20);

my $made = 0;

sub make_some
{
	$node->safe_psql('postgres', <<'EOS');
INSERT INTO sent SELECT temporal.heartbeat_activity(task_token, to_jsonb(i))
  FROM pending_activity, generate_series(1, 5) i WHERE activity_id <> '20'
EOS
	$made += 95;
	return;
}

foreach my $statement ((
	'VACUUM FULL temporal_internal.outbox',
	'REINDEX TABLE CONCURRENTLY temporal_internal.outbox',
	'CLUSTER temporal_internal.outbox USING outbox_pkey',
	'BEGIN; LOCK TABLE temporal_internal.outbox; SELECT count(*) FROM temporal_internal.outbox; COMMIT',
	'VACUUM (FREEZE) temporal_internal.outbox',
	'VACUUM FULL temporal_internal.delivery',
	'REINDEX TABLE temporal_internal.outbox') x 2)
{
	make_some();
	$node->safe_psql('postgres', $statement);
}
make_some();
await_finished($node);
is(states($node, q(state NOT IN ('delivered', 'superseded'))), '', 'tables are rewritten meanwhile: all requests are delivered');
is($node->safe_psql('postgres', 'SELECT count(*) + sum(earlier_heartbeats) FROM temporal.request'), $made, '... or superseded by a later one');
is($node->safe_psql('postgres', <<'EOS'), 'delivered|19', '... the last one of each activity is not');
SELECT state, count(*) FROM (SELECT DISTINCT ON (activity_id) state FROM temporal.request ORDER BY activity_id, id DESC) r GROUP BY 1
EOS
is($node->safe_psql('postgres', 'SELECT count(*) = (SELECT sum(earlier_heartbeats) FROM temporal.request) FROM sent s WHERE NOT EXISTS (SELECT FROM temporal.request r WHERE r.id = s.id)'),
	't', 'each has one outcome, or is counted');
my %arrivals = $temporal->arrivals;
is(scalar(grep { $_ > 1 } values %arrivals), 0, 'none was sent twice');

# A row that somebody has locked is delivered, but that cannot be recorded yet.
$temporal->suspend;
my $session = $node->background_psql('postgres');
my $locked = $session->query_safe(<<'EOS');
BEGIN;
SELECT temporal.complete_activity(task_token, '"locked"') FROM pending_activity WHERE activity_id = '1';
COMMIT AND CHAIN;
EOS
my $got = $session->query_safe("SELECT count(*) FROM (SELECT FROM temporal_internal.outbox WHERE id = $locked FOR UPDATE) l");
is($got, '1', 'a row is locked before it is recorded');
$temporal->resume;
await('the request to arrive', sub { my %a = $temporal->arrivals; $a{$locked} });
my $others = $node->safe_psql('postgres', <<'EOS');
SELECT min(temporal.complete_activity(task_token, to_jsonb('other'::text))) FROM pending_activity WHERE activity_id::int BETWEEN 2 AND 10
EOS
await_finished($node, "id >= $others");
is(states($node, "id >= $others"), 'delivered|9', 'others are delivered and recorded');
unlike(states($node, "id = $locked"), qr/delivered/, 'the locked one is not recorded');
$session->query_safe('COMMIT');
await_finished($node);
is(states($node, "id = $locked"), 'delivered|1', 'until it is unlocked');
%arrivals = $temporal->arrivals;
is($arrivals{$locked}, 1, 'and it is not sent again for it');
$session->quit;

# Rows that are deleted while they wait for a retry or behind another one
$temporal->clear_faults;
$temporal->fault(method => 'RespondActivityTask*', mode => 'fail-before', error => 'UNAVAILABLE');
$node->safe_psql('postgres', <<'EOS');
SELECT temporal.heartbeat_activity(task_token), temporal.complete_activity(task_token, to_jsonb('deleted'::text)),
       temporal.heartbeat_activity(task_token)
  FROM pending_activity WHERE activity_id::int BETWEEN 11 AND 19;
EOS
$node->poll_query_until('postgres', q(SELECT count(*) > 0 FROM temporal_internal.outbox WHERE attempts > 0));
$node->safe_psql('postgres', 'DELETE FROM temporal_internal.outbox');
$temporal->clear_faults;
my $last = $node->safe_psql('postgres', q(SELECT temporal.complete_activity(task_token, '"last"') FROM pending_activity WHERE activity_id = '20'));
is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($last)"), 'delivered',
	'rows are deleted: others are delivered');
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), '0', 'the outbox is empty');
unlike(slurp_file($node->logfile), qr/server process|terminated by signal|background worker.*exited/, 'the worker runs on');

done_testing();
