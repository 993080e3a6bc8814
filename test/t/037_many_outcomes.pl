# What became of one request is found quickly among many outcomes, while more
# are recorded, and whatever others do with the table.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $total = 200_000;
my $node = new_cluster('main', settings => 'autovacuum = off');
my $port = PostgreSQL::Test::Cluster::get_free_port();

start_stub($port);
$node->safe_psql('postgres',
	"CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port')");

sub make
{
	my ($count) = @_;

	$node->safe_psql('postgres',
		"SELECT count(temporal.complete_activity_by_id('w', i::text)) FROM generate_series(1, $count) i");
	await_finished($node);
	return;
}

# How many rows of temporal.delivery are read to find the request of an id
sub rows_read
{
	my ($id) = @_;
	my $plan = $node->safe_psql('postgres',
		"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM temporal.request WHERE id = $id");
	my $rows = 0;

	$rows += $1 while $plan =~ /Rows Removed by (?:Index Recheck|Filter): (\d+)/g;
	return $rows;
}

make($total);
# as autovacuum does when there are so many more rows
$node->safe_psql('postgres', 'ANALYZE temporal.delivery_0');
is(states($node), "delivered|$total", 'all are delivered');
my $last = $node->safe_psql('postgres', 'SELECT max(id) FROM temporal.delivery');
my $most = $total / 50;
cmp_ok(rows_read($_), '<', $most, "few rows are read to find request $_") foreach (1, $total / 2, $last);

# Somebody who holds a lock that summaries need
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('LOCK TABLE temporal.delivery IN SHARE UPDATE EXCLUSIVE MODE');
make($total / 10);
my $made = $total + $total / 10;
is(states($node), "delivered|$made", 'outcomes are recorded while somebody holds a lock');
$holder->query_safe('COMMIT');
$holder->quit;

# Tables that are rewritten, and indexes that are made anew or are gone
$node->safe_psql('postgres', $_) foreach ('VACUUM FULL temporal.delivery', 'REINDEX TABLE temporal.delivery');
make($total / 10);
$made += $total / 10;
is($node->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $_"),
	'delivered', "request $_ is found") foreach (1, $last);
await('the index to know of what was recorded meanwhile', sub { make(1); $made++; rows_read(1) < $most });
cmp_ok(rows_read($_), '<', $most, "few rows are read to find request $_") foreach (1, $last);
$node->safe_psql('postgres', 'DROP INDEX temporal.delivery_id_idx');
make($total / 10);
$made += $total / 10;
is(states($node), "delivered|$made", 'outcomes are recorded without an index');
unlike(slurp_file($node->logfile), qr/ERROR/, 'no error');

done_testing();
