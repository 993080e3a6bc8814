# What a fourth attack found: what somebody can fill slows others, or tells of them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
$node->safe_psql('postgres', <<"EOS");
CREATE ROLE mallory LOGIN;
CREATE ROLE victim LOGIN;
CREATE ROLE lends;
CREATE ROLE lends_more;
GRANT lends TO victim;
GRANT lends_more TO lends;
CREATE SERVER shared FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', namespaces '*');
GRANT USAGE ON FOREIGN SERVER shared TO PUBLIC;
EOS

sub sql
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

# Who looks for a key that is not his own goes by his memberships, not by the
# queues of everybody, of which there may be very many.
my $queues = 1_000;
$node->safe_psql('postgres', q(SELECT temporal.pause('shared')));
sql('mallory', "SELECT count(temporal.complete_activity_by_id('w', 'a', server => 'shared', namespace => 'n' || i)) FROM generate_series(1, $queues) i");
sub looked_at
{
	my ($role, $sql) = @_;
	my ($before, $result, $after) = split(/\n/, sql($role, <<"EOS"));
BEGIN;
SELECT coalesce(sum(idx_tup_fetch + seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname = 'queue';
$sql;
SELECT sum(idx_tup_fetch + seq_tup_read) FROM pg_stat_xact_user_tables WHERE relname = 'queue';
ROLLBACK;
EOS

	return ($result, $after - $before);
}
$node->safe_psql('postgres', 'SET ROLE lends_more; ' . q(SELECT temporal.record_activity_by_id('lent', 'w', 'a', server => 'shared')));
$node->safe_psql('postgres', 'SET ROLE mallory; ' . q(SELECT temporal.record_activity_by_id('own', 'w', 'a', server => 'shared')));
my ($forgotten, $looks) = looked_at('victim', q(SELECT temporal.forget_activity('lent', 'shared')));
is($forgotten, 't', 'a key of a role whose privileges one has is found');
cmp_ok($looks, '<', 10, "without looking at the $queues queues of others");
($forgotten, $looks) = looked_at('victim', q(SELECT temporal.forget_activity('own', 'shared')));
is($forgotten, 'f', 'a key of another role is not');
cmp_ok($looks, '<', 10, 'and the same is looked at for it');
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
($forgotten, $looks) = looked_at($superuser, q(SELECT temporal.forget_activity('own', 'shared')));
is($forgotten, 't', 'a superuser has the privileges of all');
cmp_ok($looks, '<', 20, 'and looks at each role once');

# Who has very many requests wait for keys does not keep those of others from
# going on.  How many of his were noted is the clock here.
my $waits = 40_000;
my $session = $node->background_psql('postgres', extra_params => [ '-U', 'victim' ]);
my $trip = join('', map { <<"EOS" } 1 .. 4);
SELECT temporal.complete_activity_by_key('order $_', '1', wait_for_key => '1 h', server => 'keys') AS id \\gset
SELECT temporal.record_activity_by_id('order $_', 'w', 'a$_', server => 'keys') \\g /dev/null
SELECT state FROM temporal.wait_for_request(:id);
EOS
$node->safe_psql('postgres', <<"EOS");
CREATE SERVER keys FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', namespaces '*');
GRANT USAGE ON FOREIGN SERVER keys TO PUBLIC;
EOS
$session->query_safe('SELECT 1');
make_unnoted_waits($node, sub {
	sql('mallory', "SELECT count(temporal.complete_activity_by_key('k' || i, '1', wait_for_key => '1 h', server => 'keys')) FROM generate_series(1, $waits) i") });
like($session->query_safe($trip), qr/^\s*(delivered\s*){4}$/, 'requests of another role that wait for keys go on');
like($session->query_safe(<<'EOS'), qr/^\s*delivered\s*$/, 'also of very many keys that are recorded at once');
SELECT max(temporal.complete_activity_by_key('bulk ' || i, '1', wait_for_key => '1 h', server => 'keys')) AS id FROM generate_series(1, 100) i \gset
SELECT count(temporal.record_activity_by_id('bulk ' || i, 'w', 'a' || i, server => 'keys')) FROM generate_series(1, 100) i \g /dev/null
SELECT state FROM temporal.wait_for_request(:id);
EOS
my $noted = $node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.awaited_key');
note("requests that were noted meanwhile: $noted");
cmp_ok($noted, '<', $waits, "before all $waits were looked at");
$session->quit;
await('the others', sub { return $node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.awaited_key') >= $waits; });

# What is read of others' keys is not counted for who looks at his own.
sub counted
{
	my ($sql) = @_;
	my $told = sql('victim', <<"EOS");
BEGIN;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS, WAL) $sql;
SELECT relname, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE schemaname = 'temporal_internal' ORDER BY 1;
ROLLBACK;
EOS

	$told =~ s/^Planning:\n( +.*\n)*//mg;
	return $told;
}
my @looks = (
	'SELECT * FROM temporal.activity',
	q(SELECT * FROM temporal.activity WHERE key = 'many500'),
	'SELECT * FROM temporal.pause',
	q(SELECT temporal.retry_rejected(workflow_id => 'w', dry_run => true)),
	q(SELECT temporal.discard_rejected(workflow_id => 'w', dry_run => true)));
counted($_) foreach @looks;
my @before = map { counted($_) } @looks;
sql('mallory', q(SELECT count(temporal.record_activity_by_id('many' || i, 'w', 'a' || i, server => 'shared')) FROM generate_series(1, 1000) i));
sql('mallory', q(SELECT count(temporal.pause('shared', 'n' || i)) FROM generate_series(1, 100) i));
$node->safe_psql('postgres', <<'EOS');
WITH gone AS (DELETE FROM temporal_internal.outbox WHERE key IS NULL RETURNING *)
INSERT INTO temporal_internal.rejected SELECT *, now() FROM gone;
EOS
is(counted($looks[$_]), $before[$_], "what is read is not told: $looks[$_]") foreach 0 .. $#looks;

# Keys of a role that was dropped can be seen and forgotten by who may decide, and by nobody else.
$node->safe_psql('postgres', 'CREATE ROLE tenant; SET ROLE tenant; ' . q(SELECT temporal.record_activity_by_id('left behind', 'w', 'a', server => 'shared')));
$node->safe_psql('postgres', 'DROP ROLE tenant; CREATE ROLE tenant LOGIN');
my $left = q(SELECT recorded_by, state FROM temporal.activity WHERE key = 'left behind');
is($node->safe_psql('postgres', $left), 'tenant|recorded', 'the key of a role that was dropped is shown to a superuser');
is(sql('tenant', $left) . sql('tenant', q(SELECT temporal.forget_activity('left behind', 'shared'))), 'f', 'not to who has its name now');
is($node->safe_psql('postgres', q(SELECT temporal.forget_activity('left behind', 'shared'))), 't', 'and can be forgotten');
is($node->safe_psql('postgres', $left), '', 'for good');

$node->stop;
done_testing();
