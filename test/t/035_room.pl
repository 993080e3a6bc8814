# Requests that are refused for now do not keep the memory that others need.
# Without it a transaction reads one row, with it many: those are counted.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => 'autovacuum = off');
my $locked = start_temporal('locked', arguments => [ '-api-key', 'good-key' ]);
my $port = PostgreSQL::Test::Cluster::get_free_port();

start_stub($port);
$node->safe_psql('postgres', <<EOS);
CREATE SERVER locked FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (@{[$locked->foreign_server]}, tls 'false');
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:$port');
GRANT USAGE ON FOREIGN SERVER locked TO PUBLIC;
EOS

# Each has more than its share of memory to be sent.
my $roles = 6;
foreach my $i (1 .. $roles)
{
	$node->safe_psql('postgres', <<EOS);
CREATE ROLE refused_$i;
CREATE USER MAPPING FOR refused_$i SERVER locked OPTIONS (api_key 'bad-key', allow_plaintext_credentials 'true');
SET ROLE refused_$i;
SELECT count(temporal.complete_activity_by_id('large $i', i::text, to_jsonb(repeat('x', 100000)), server => 'locked'))
  FROM generate_series(1, 100) i;
EOS
}
ok($node->poll_query_until('postgres',
		"SELECT count(*) = $roles FROM temporal_internal.queue_error WHERE error_code = 'PERMISSION_DENIED'"),
	'many requests of some roles are refused');

my $transactions = q(SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres');
my $before = $node->safe_psql('postgres', $transactions);
my $n = 5000;
$node->safe_psql('postgres',
	"SELECT count(temporal.complete_activity_by_id('w', i::text)) FROM generate_series(1, $n) i");
await_finished($node, "server = 'temporal'");
is(states($node, "server = 'temporal'"), "delivered|$n", 'others are delivered');
$node->poll_query_until('postgres',
	"SELECT n_tup_del >= $n FROM pg_stat_user_tables WHERE relid = 'temporal_internal.outbox'::regclass");
my $used = $node->safe_psql('postgres', $transactions) - $before;
note("$used transactions");
cmp_ok($used, '<', $n / 5, 'many at a time');
is(states($node, "server = 'locked'"), 'retrying|' . 100 * $roles, 'the refused ones still wait');

done_testing();
