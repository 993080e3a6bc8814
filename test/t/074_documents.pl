# What the documents say of Temporal and of PostgreSQL is so: of cancellations
# that nobody asked for, of tokens and namespaces, of failures that are
# retried, of tokens as text, and of triggers and rows that move.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $temporal = start_temporal('main', arguments => [ '-namespace', 'default', '-namespace', 'other' ]);
my $node = new_cluster('main', settings => 'fsync = off');

$node->safe_psql('postgres', "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (" . $temporal->foreign_server . ", namespaces '*', retry_initial_interval '10ms', retry_max_interval '100ms')");

# Make a request and wait for its end: state|code|message
sub outcome
{
	my ($call) = @_;
	my $id = $node->safe_psql('postgres', "SELECT temporal.$call");

	return $node->safe_psql('postgres',
		"SELECT state, error_code, error_message FROM temporal.wait_for_request($id, '20 s')");
}
sub token { my ($where) = @_; return $node->safe_psql('postgres', "SELECT quote_literal(task_token) FROM pending_activity WHERE $where"); }

# Cancellation
start_activities($temporal, $node, 'w', 4, 1, '-options', '{"retry_initial_ms": 10}');
$temporal->run('start-activities', '-prefix', 's', '-count', 1, '-wait', '-pg', $node->connstr('postgres'));
like(outcome('report_cancellation(' . token(q(workflow_id = 'w-0')) . ')'), qr/^rejected\|INVALID_ARGUMENT\|/,
	'a cancellation that nobody asked for: INVALID_ARGUMENT for an activity of a workflow');
like(outcome('report_cancellation(' . token(q(activity_id = 's-0')) . ')'), qr/^rejected\|INVALID_ARGUMENT\|/,
	'and for a standalone one');

# Namespaces
like(outcome('complete_activity(' . token(q(workflow_id = 'w-0')) . q(, namespace => 'other') . ")"), qr/^rejected\|INVALID_ARGUMENT\|/,
	'a token of another namespace than the one that is named');
like(outcome('complete_activity(' . token(q(workflow_id = 'w-0')) . q(, namespace => 'nobody') . ")"), qr/^(?:retrying|in_flight)\|NOT_FOUND\|/,
	'a namespace that there is not: tried again, slowly');

# Failures
my $first = token(q(workflow_id = 'w-1' AND attempt = 1));
is(outcome("fail_activity($first, 'not now')"), 'delivered||', 'a failure that is retried is delivered');
await('the next attempt', sub { token(q(workflow_id = 'w-1' AND attempt = 2)) ne '' });
like(outcome("complete_activity($first, '1')"), qr/^rejected\|NOT_FOUND\|/, 'and the former token is of no use');
is(outcome('complete_activity(' . token(q(workflow_id = 'w-1' AND attempt = 2)) . q(, '1') . ")"), 'delivered||', 'the new one is');

# Tokens as text
my $base64 = $node->safe_psql('postgres', q(SELECT translate(encode(task_token, 'base64'), E'\n', '') FROM pending_activity WHERE workflow_id = 'w-2'));
my (undef, undef, $error) = $node->psql('postgres', "SELECT temporal.complete_activity('$base64')");
like($error, qr/task_token is not a task token.*HINT:.*temporal\.task_token\(token\)/s, 'a token in base64 is none');
is(outcome("complete_activity(decode('$base64', 'base64'))"), 'delivered||', 'a token in base64 is decoded first');

# Null and nothing
start_activities($temporal, $node, 'n', 2, 1);
is(outcome('complete_activity(' . token(q(workflow_id = 'n-0')) . q(, 'null') . ")"), 'delivered||', 'JSON null');
is(outcome('complete_activity(' . token(q(workflow_id = 'n-1')) . q(, to_jsonb(NULL::text)) . ")"), 'delivered||', 'SQL NULL');
my %results = $temporal->results('n', 2);
is_deeply([ map { $results{$_} } sort keys %results ], [ 'null', '' ], 'JSON null is a payload, SQL NULL is none');

# Rows that move to another partition
$node->safe_psql('postgres', <<'EOS');
CREATE TABLE orders (id int, status text, task_token bytea) PARTITION BY LIST (status);
CREATE TABLE orders_open PARTITION OF orders FOR VALUES IN ('waiting');
CREATE TABLE orders_done PARTITION OF orders FOR VALUES IN ('approved', 'refused');
CREATE TABLE fired (event text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO fired VALUES (TG_WHEN || ' ' || TG_OP || ' ' || TG_LEVEL);
    RETURN NEW;
END $$;
CREATE TRIGGER a_update AFTER UPDATE OF status ON orders FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER a_insert AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER a_delete AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER b_update BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER s_update AFTER UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION note();
INSERT INTO orders VALUES (1, 'waiting');
TRUNCATE fired;
EOS
sub fired_by { my ($sql) = @_; return $node->safe_psql('postgres', "TRUNCATE fired; $sql; SELECT string_agg(event, ', ' ORDER BY event) FROM fired"); }
is(fired_by(q(UPDATE orders SET status = 'approved' WHERE id = 1)),
	'AFTER DELETE ROW, AFTER INSERT ROW, AFTER UPDATE STATEMENT, BEFORE UPDATE ROW',
	'what fires when an UPDATE moves a row to another partition');
is(fired_by(q(UPDATE orders SET status = 'refused' WHERE id = 1)),
	'AFTER UPDATE ROW, AFTER UPDATE STATEMENT, BEFORE UPDATE ROW',
	'and when it stays in its partition');
is(fired_by(q(SET session_replication_role = replica; UPDATE orders SET status = 'waiting' WHERE id = 1)), '',
	'nothing fires in sessions that replicate');
$node->safe_psql('postgres', "ALTER TABLE $_ ENABLE ALWAYS TRIGGER a_insert") foreach (qw(orders));
is(fired_by(q(SET session_replication_role = replica; UPDATE orders SET status = 'approved' WHERE id = 1)), 'AFTER INSERT ROW',
	'but triggers that are enabled ALWAYS');

# Dumps by the owner of a database
$node->safe_psql('postgres', 'CREATE ROLE boss LOGIN');
$node->safe_psql('postgres', 'CREATE ROLE dumper LOGIN IN ROLE pg_read_all_data');
$node->safe_psql('postgres', 'CREATE DATABASE shop OWNER boss');
$node->safe_psql('shop', 'CREATE EXTENSION temporal_complete');
$node->safe_psql('shop', 'CREATE TABLE public.mine AS SELECT 1 AS i; ALTER TABLE public.mine OWNER TO boss');

sub dump_as { my ($role, @arguments) = @_; return [ 'pg_dump', '-h', $node->host, '-p', $node->port, '-U', $role, '-f', '/dev/null', @arguments, 'shop' ]; }
command_fails_like(dump_as('boss'), qr{permission denied for (schema|sequence|table)|may lack SELECT privilege}, 'the owner of a database cannot dump our tables');
SKIP:
{
	skip 'pg_dump 14 locks tables of extensions that it leaves out', 1 if $node->pg_version < 15;
	command_ok(dump_as('boss', '-N', 'temporal_internal'), 'but all else');
}
command_ok(dump_as('dumper'), 'a role of pg_read_all_data dumps all');

done_testing();
