# temporal_complete.retention takes effect when it is changed, also in a worker
# that has nothing to do.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $worker = await_worker($node);

sub segment { return $node->safe_psql('postgres', 'SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1'); }

# The worker has looked, an hour goes by, and an outcome of long ago stands in the next segment
$node->poll_query_until('postgres', 'SELECT max(segment) = 0 FROM temporal_internal.delivery_segment') or die;
$node->safe_psql('postgres', <<'EOS');
UPDATE temporal_internal.delivery_segment SET since = now() - interval '1 hour';
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed)
SELECT i, now() - interval '2 hours', now() - interval '2 hours', 1, 1, 2, i % 4, true FROM generate_series(0, 3) i;
EOS

$node->append_conf('postgresql.conf', "temporal_complete.retention = '1d'");
$node->reload;
# a request that is looked at by the worker after it has seen the new setting
$node->safe_psql('postgres', <<'EOS');
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
SELECT temporal.complete_activity_by_id('w', 'a');
EOS
$node->poll_query_until('postgres', 'SELECT EXISTS (SELECT FROM temporal_internal.queue_error)') or die;
is(segment(), '0', 'a segment has its turn when a third of the retention is over, not before');

$node->append_conf('postgresql.conf', "temporal_complete.retention = '1h'");
$node->reload;
ok($node->poll_query_until('postgres', 'SELECT max(segment) = 1 FROM temporal_internal.delivery_segment'),
	'a lower retention has effect at once');
is($node->safe_psql('postgres', 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM temporal_internal.delivery'), '0 2 3',
	'what the next segment held is gone');
is(worker_pid($node), $worker, 'the worker is the same');

done_testing();
