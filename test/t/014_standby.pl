# A standby sends nothing until it is promoted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $primary = new_cluster('primary', undef, allows_streaming => 1);
$primary->start;
install_extension($primary, 'postgres');
wait_for_worker($primary, 'postgres');
my $id = $primary->safe_psql('postgres', complete_something());
ok(was_tried($primary, 'postgres', $id), 'a request waits for Temporal');

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
my $later = $primary->safe_psql('postgres', complete_something());
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

is( $standby->safe_psql(
		'postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'temporal_complete'"
	),
	'0',
	'nothing of ours runs on a standby');
is($standby->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE id = $later"),
	'1', 'requests can be looked at there');

my ($rc, $stdout, $stderr) = $standby->psql('postgres', 'SELECT temporal.ping()');
like($stderr, qr/cannot call Temporal during recovery/, 'ping says so');
($rc, $stdout, $stderr) = $standby->psql('postgres', complete_something());
isnt($rc, 0, 'no request can be made there');
is( $standby->safe_psql(
		'postgres', "SELECT id FROM temporal.wait_for_request($id, '1ms')"),
	$id,
	'waiting is possible there');

# An outcome on the primary ends a wait on the standby
my $session = $standby->background_psql('postgres');
$session->query_until(qr/waiting/,
	"\\echo waiting\nSELECT 'state ' || state FROM temporal.wait_for_request($later);\n");
$primary->safe_psql('postgres', <<"EOC");
WITH gone AS (DELETE FROM temporal_internal.outbox WHERE id = $later RETURNING *)
INSERT INTO temporal_internal.rejected SELECT *, now() FROM gone;
EOC
like($session->query_until(qr/state \w+/, "\n"), qr/state rejected/,
	'an outcome on the primary is seen by who waits on the standby');
$session->quit;

$primary->stop('immediate');
$standby->promote;
ok(wait_for_worker($standby, 'postgres'), 'a promoted standby gets its worker');
my $new = $standby->safe_psql('postgres', complete_something());
ok(was_tried($standby, 'postgres', $new), 'which is woken');

$standby->stop('fast');
done_testing();
