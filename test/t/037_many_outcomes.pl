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

# How many pages are read to find requests; the first time catalogs are read for it, too
sub pages_read
{
	my ($condition) = @_;
	my $query = "SELECT * FROM temporal.request WHERE $condition";

	# what waits is looked through
	$node->safe_psql('postgres', 'VACUUM temporal_internal.outbox');

	my $plan = $node->safe_psql('postgres',
		"$query \\g /dev/null\nEXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS) $query");
	my ($counts) = $plan =~ /Buffers: shared (.*)/;
	my $pages = 0;

	$pages += $1 while $counts =~ /(?:hit|read)=(\d+)/g;
	return $pages;
}

# A summary of pages that are being filled would be changed, and logged, for each row
my $before = 0;
foreach my $index ('delivery_0_id_idx', 'delivery_0_workflow_id_idx')
{
	await("$index to have no summary of the last pages", sub {
		make(1);
		$before++;
		$node->safe_psql('postgres', "SELECT brin_summarize_range('temporal_internal.$index', 0)") eq '1';
	});
	$node->safe_psql('postgres', "SELECT brin_desummarize_range('temporal_internal.$index', 0)");
}
$total -= $before;
make($total);
$total += $before;
# as autovacuum does when there are so many more rows
$node->safe_psql('postgres', 'ANALYZE temporal_internal.delivery_0');
is(states($node), "delivered|$total", 'all are delivered');
my $last = $node->safe_psql('postgres', 'SELECT max(id) FROM temporal_internal.delivery');
my $most = $node->safe_psql('postgres', q(SELECT pg_relation_size('temporal_internal.delivery_0') / 8192 / 10));
my $nothing = q(workflow_id = 'nothing');
cmp_ok(pages_read("id = $_"), '<', $most, "few pages are read to find request $_") foreach (1, $total / 2, $last);
cmp_ok(pages_read($nothing), '<', $most, 'few pages are read to find that there is no such workflow');
is($node->safe_psql('postgres', q(SELECT pg_relation_size('temporal_internal.delivery_0_finished_at_idx') / 8192)), 1,
	'the index of what went wrong has nothing of what was delivered');

# Somebody who holds a lock that summaries need
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('LOCK TABLE temporal_internal.delivery IN SHARE UPDATE EXCLUSIVE MODE');
make($total / 10);
my $made = $total + $total / 10;
is(states($node), "delivered|$made", 'outcomes are recorded while somebody holds a lock');
$holder->query_safe('COMMIT');
$holder->quit;

# Tables that are rewritten, and indexes that are made anew or are gone
$node->safe_psql('postgres', $_) foreach ('VACUUM FULL temporal_internal.delivery', 'REINDEX TABLE temporal_internal.delivery');
make($total / 10);
$made += $total / 10;
is($node->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $_"),
	'delivered', "request $_ is found") foreach (1, $last);
await('the indexes to know of what was recorded meanwhile', sub { make(1); $made++; pages_read('id = 1') < $most && pages_read($nothing) < $most });
cmp_ok(pages_read("id = $_"), '<', $most, "few pages are read to find request $_") foreach (1, $last);
$node->safe_psql('postgres', 'DROP INDEX temporal_internal.delivery_id_idx, temporal_internal.delivery_workflow_id_idx, temporal_internal.delivery_wrong_idx');
make($total / 10);
$made += $total / 10;
is(states($node), "delivered|$made", 'outcomes are recorded without an index');
unlike(slurp_file($node->logfile), qr/ERROR/, 'no error');

done_testing();
