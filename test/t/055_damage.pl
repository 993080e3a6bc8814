# Damaged rows, outcomes that cannot be recorded, options that make no sense:
# others go on, nothing is lost, and the log is not flooded.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => "temporal_complete.safety_poll_interval = 1h\nautovacuum = off");
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
my $address = "127.0.0.1:$port";

$node->safe_psql('postgres', <<"EOS");
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '$address');
CREATE SERVER second FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '$address');
EOS

my $next = 0;

# A request; with a result of so many bytes that do not compress.
sub make
{
	my ($server, $bytes) = @_;
	my $result = 'NULL';

	$result = "(SELECT to_jsonb(string_agg(md5(i::text), '')) FROM generate_series(1, $bytes / 32) i)" if $bytes;
	$next++;
	return $node->safe_psql('postgres',
		"SELECT temporal.complete_activity_by_id('w', 'a$next', $result, server => '$server')");
}

sub ok_delivered
{
	my ($id, $what) = @_;

	return is($node->safe_psql('postgres',
			"SELECT state FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"),
		'delivered', $what);
}

# A row whose large value is lost: pages of its TOAST table are overwritten
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
make('temporal');
my $damaged = make('temporal', 20000);
my $file = $node->data_dir . '/'
  . $node->safe_psql('postgres',
	q(SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'temporal_internal.outbox'::regclass));
$node->stop;
my $size = -s $file;
cmp_ok($size, '>=', 20000, 'the value is stored out of line');
open(my $handle, '+<', $file) or die "$file: $!";
binmode($handle);
print $handle ("\0" x $size);
close($handle) or die;
$node->start;
my $behind = make('temporal');
my $behind_large = make('temporal', 20000);
my $elsewhere = make('second');
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
ok_delivered($behind, 'a request behind a damaged one is sent');
ok_delivered($behind_large, 'a large one, too');
ok_delivered($elsewhere, 'one to another server as well');
ok($node->poll_query_until('postgres', "SELECT error_code = 'DATA_CORRUPTED' FROM temporal.request WHERE id = $damaged"),
	'the view shows the damaged one, and does not stumble over it');
like($node->safe_psql('postgres', "SELECT error_message FROM temporal.request WHERE id = $damaged"),
	qr/missing chunk|unexpected chunk/, 'with what PostgreSQL says about it');
await_finished($node, "id <> $damaged");
$node->restart;
ok_delivered(make('temporal'), 'the next worker is not stopped by it either');
my $worker = worker_pid($node);
$node->safe_psql('postgres', "SELECT temporal.discard_request($damaged)");
is($node->safe_psql('postgres', "SELECT state, error_code FROM temporal.request WHERE id = $damaged"),
	'unconfirmed|DISCARDED', 'it can be discarded');

# One outcome that cannot be recorded
my $offset = -s $node->logfile;
my $culprit = $node->safe_psql('postgres', 'SELECT last_value + 1 FROM temporal_internal.request_id');
$node->safe_psql('postgres', <<"EOS");
CREATE UNIQUE INDEX obstacle ON temporal_internal.delivery_0 (id);
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed)
VALUES ($culprit, now(), now(), 0, 1, 1, 0, true);
EOS
is($node->safe_psql('postgres', <<'EOS'), 100, 'requests are made in one transaction');
SELECT count(temporal.complete_activity_by_id('w', 'b' || i)) FROM generate_series(1, 100) i;
EOS
await_finished($node, "id <> $culprit");
is($node->safe_psql('postgres', "SELECT count(*) FROM temporal_internal.delivery WHERE id >= $culprit AND queue <> 0"),
	99, 'all other outcomes are recorded');
is($node->safe_psql('postgres', "SELECT count(*) FROM temporal_internal.outbox WHERE id = $culprit"), 1, 'the request is still there');
ok_delivered(make('temporal'), 'what comes later is recorded');
my $errors = () = substr(slurp_file($node->logfile), $offset) =~ /ERROR:  duplicate key value violates unique constraint "obstacle"/g;
is($errors, 1, 'the log says so once');

# All outcomes, as when the disk is full
$offset = -s $node->logfile;
$node->safe_psql('postgres', 'DROP INDEX temporal_internal.obstacle; TRUNCATE temporal_internal.delivery_0');
$node->safe_psql('postgres', <<'EOS');
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed)
VALUES (0, now(), now(), 0, 1, 1, 0, true);
CREATE UNIQUE INDEX no_more ON temporal_internal.delivery_0 (segment);
EOS
my $first = $node->safe_psql('postgres',
	"SELECT min(temporal.complete_activity_by_id('w', 'c' || i)) FROM generate_series(1, 100) i");
await('an error', sub { substr(slurp_file($node->logfile), $offset) =~ /"no_more"/ });
make('second');
$node->safe_psql('postgres', 'DROP INDEX temporal_internal.no_more');
await_finished($node, "id <> $culprit");
is($node->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE id >= $first AND state = 'delivered'"),
	101, 'all are recorded when that is possible again');
$errors = () = substr(slurp_file($node->logfile), $offset) =~ /ERROR:  .*"no_more"/g;
is($errors, 1, 'the log says so once');

# Options that no validator has seen
my $sane = $node->safe_psql('postgres', q(SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'temporal'));
foreach my $nonsense ('{address=}', '{address=:::}', '{nonsense=1}', '{max_in_flight=-5}', '{request_timeout=soon}', '{=}')
{
	$node->safe_psql('postgres', "UPDATE pg_foreign_server SET srvoptions = '$nonsense' WHERE srvname = 'temporal'");
	my $waits = make('temporal');
	ok($node->poll_query_until('postgres', "SELECT error_code IS NOT NULL FROM temporal.request WHERE id = $waits"),
		"options $nonsense: the request waits");
	ok_delivered(make('second'), 'another server is not affected');
	$node->safe_psql('postgres', "UPDATE pg_foreign_server SET srvoptions = '$sane' WHERE srvname = 'temporal'; SELECT temporal.wake_worker()");
	ok_delivered($waits, 'options put right: it is sent');
}
is(worker_pid($node), $worker, 'the worker lives through it all');

done_testing();
