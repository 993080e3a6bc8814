# Transactions that stay open elsewhere keep all dead rows of the outbox: they
# neither delay delivery nor make it read more and more.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => <<'EOC');
temporal_complete.safety_poll_interval = 1s
autovacuum_naptime = 1s
EOC
my $port = PostgreSQL::Test::Cluster::get_free_port();

start_stub($port);
$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (address '127.0.0.1:$port')");

# The worker knows the queue: what follows is read by difference of snapshots
$node->safe_psql('postgres', q(SELECT temporal.complete_activity_by_id('first', 'first')));
await_finished($node);

# One with a snapshot only, one with a transaction id, which has made a request,
# one that was prepared
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$reader->query_safe('SELECT count(*) FROM temporal_internal.outbox');
my $writer = $node->background_psql('postgres');
$writer->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $early = $writer->query_safe(q(SELECT temporal.complete_activity_by_id('early', 'open')));
# ... and more, in so many subtransactions that snapshots do not hold them all
$writer->query_safe(<<'EOS');
DO $$
BEGIN
	FOR i IN 1 .. 200 LOOP
		BEGIN
			PERFORM temporal.complete_activity_by_id('subtransactions', i::text);
			IF i % 2 = 0 THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
END $$;
EOS
my $prepared = $node->safe_psql('postgres',
	q(BEGIN; SELECT temporal.complete_activity_by_id('early', 'prepared'); PREPARE TRANSACTION 'early'));

# Many small transactions, each delivered before the next ones are made
my $rounds = 100;
my $per_round = 400;
my $total = $rounds * $per_round;

sub tuples_read
{
	return $node->safe_psql('postgres', <<'EOS');
SELECT coalesce((SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'outbox' AND schemaname = 'temporal_internal'), 0)
     + coalesce((SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname = 'outbox' AND schemaname = 'temporal_internal'), 0)
EOS
}

my $script = '';
foreach my $round (1 .. $rounds)
{
	$script .= <<EOS;
SELECT max(temporal.complete_activity_by_id('w', $round || '-' || i)) AS id FROM generate_series(1, $per_round) i \\gset
SELECT state FROM temporal.wait_for_request(:id);
EOS
}
my %states;
$states{$_}++ foreach split(/\n/, $node->safe_psql('postgres', $script));
is_deeply(\%states, { delivered => $rounds }, 'requests are delivered at once while transactions stay open');
await_finished($node, "workflow_id = 'w'");
is(states($node, "workflow_id = 'w'"), "delivered|$total", 'all are delivered');

# Statistics come when the worker has reported them.
ok($node->poll_query_until('postgres',
		"SELECT n_tup_del >= $total FROM pg_stat_user_tables WHERE relname = 'outbox' AND schemaname = 'temporal_internal'"),
	'deletions are counted');
cmp_ok($node->safe_psql('postgres',
		q(SELECT pg_relation_size('temporal_internal.outbox') / current_setting('block_size')::int * 20)),
	'>', $total / 10, 'dead rows are kept by the open transactions');

my $read = tuples_read();
note(sprintf('%.2f rows of the outbox and its indexes read for a request', $read / $total));
cmp_ok($read, '<', 8 * $total, 'the number of rows read does not grow with the number of dead rows');

# What was made before all these, and is committed now
$writer->query_safe('COMMIT');
is($node->safe_psql('postgres', "SELECT state, attempts FROM temporal.wait_for_request($early, '$PostgreSQL::Test::Utils::timeout_default s')"),
	'delivered|1', 'a request of the transaction that stayed open is delivered when it commits');
await_finished($node, "workflow_id = 'subtransactions'");
is(states($node, "workflow_id = 'subtransactions'"), 'delivered|100', 'and those of its subtransactions that stood');
$node->safe_psql('postgres', q(COMMIT PREPARED 'early'));
is($node->safe_psql('postgres', "SELECT state, attempts FROM temporal.wait_for_request($prepared, '$PostgreSQL::Test::Utils::timeout_default s')"),
	'delivered|1', 'so is one of the prepared transaction');
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), '0', 'the outbox is empty');
is($reader->query_safe('SELECT count(*) FROM temporal_internal.outbox'), '0', 'the old snapshot is still held');
$reader->quit;
$writer->quit;

done_testing();
