# Whose objects, whose rights: what others have made under the names of ours is
# not taken for ours, and neither names nor settings of others reach what runs
# with the rights of the extension's owner.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = new_cluster('main');

$node->start;
$node->safe_psql('postgres', <<'EOS');
CREATE ROLE mallory LOGIN CREATEDB;
CREATE ROLE victim LOGIN;
SET ROLE mallory;
CREATE DATABASE prey;
CREATE DATABASE early;
EOS

sub sql
{
	my ($role, $database, $statement) = @_;

	return $node->safe_psql($database, $statement, connstr => $node->connstr($database) . " user=$role");
}

sub fails
{
	my ($role, $database, $statement, $pattern, $what) = @_;
	my ($code, $out, $err) = $node->psql($database, $statement, connstr => $node->connstr($database) . " user=$role");

	return like($err, $pattern, $what);
}

# A role that may make databases makes one with all that a worker looks at.
# Each statement on one of these tables would make it a superuser.
sub make_lures
{
	my ($database) = @_;

	sql('mallory', $database, <<'EOS');
CREATE SCHEMA temporal;
CREATE SCHEMA temporal_internal;
CREATE FUNCTION temporal.rise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    ALTER ROLE mallory SUPERUSER;
    RETURN NULL;
END $$;
CREATE FUNCTION temporal.rise(number bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF current_user <> 'mallory' THEN ALTER ROLE mallory SUPERUSER; END IF;
    RETURN number;
END $$;
CREATE SEQUENCE temporal_internal.request_id;
CREATE TABLE temporal_internal.queue (number bigint PRIMARY KEY, system_identifier bigint NOT NULL, database oid NOT NULL,
    requested_by regrole NOT NULL, server text COLLATE "C" NOT NULL, namespace text COLLATE "C" NOT NULL);
CREATE TABLE temporal_internal.outbox (id bigint PRIMARY KEY, xid xid8 NOT NULL, requested_at timestamptz NOT NULL, queue bigint NOT NULL,
    written_by xid NOT NULL, method smallint NOT NULL, maybe_sent boolean NOT NULL, request bytea NOT NULL, attempts integer,
    next_attempt_at timestamptz, error_code text, error_message text, former_identities text);
CREATE INDEX outbox_queue_idx ON temporal_internal.outbox (queue, xid, id);
CREATE TABLE temporal_internal.delivery_segment (segment smallint NOT NULL, since timestamptz NOT NULL);
INSERT INTO temporal_internal.delivery_segment VALUES (0, '2000-01-01');
CREATE TABLE temporal_internal.delivery_1 (id bigint);
CREATE TABLE temporal_internal.queue_error (queue bigint PRIMARY KEY, error_code text, error_message text, since timestamptz,
    next_attempt_at timestamptz);
INSERT INTO temporal_internal.outbox VALUES (1, '3', now(), 1, '3', 1, false, '\x00');
EOS
	sql('mallory', $database, <<"EOS") foreach qw(queue outbox delivery_segment queue_error delivery_1);
CREATE TRIGGER lure BEFORE INSERT OR UPDATE OR DELETE ON temporal_internal.$_ FOR EACH STATEMENT EXECUTE FUNCTION temporal.rise();
CREATE TRIGGER empty_lure BEFORE TRUNCATE ON temporal_internal.$_ FOR EACH STATEMENT EXECUTE FUNCTION temporal.rise();
EOS
	return;
}

sub ok_not_risen
{
	my ($what) = @_;

	is($node->safe_psql('postgres', q(SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory')), 'f', $what);
	$node->safe_psql('postgres', 'ALTER ROLE mallory NOSUPERUSER');
	return;
}

make_lures('prey');
$node->restart;
wait_until_looked_at($node);
wait_for_no_worker($node, 'prey');
ok_not_risen('nothing is run in a database without the extension');

# The extension takes no schema of others.
my ($code, $out, $err) = $node->psql('prey', 'CREATE EXTENSION temporal_complete');
like($err, qr/schema "temporal" exists already.*HINT:  Rename or drop/s, 'CREATE EXTENSION fails where there is a schema of that name');
ok_not_risen('and runs nothing there');
sql('mallory', 'prey', 'ALTER SCHEMA temporal RENAME TO other');
fails('postgres', 'prey', 'CREATE EXTENSION temporal_complete', qr/schema "temporal_internal" exists already/, 'and where there is one of the other');
sql('mallory', 'prey', 'ALTER SCHEMA temporal_internal RENAME TO other_internal');
install_extension($node, 'prey');
ok(wait_for_worker($node, 'prey'), 'when it is away, the extension can be created');
foreach my $schema (qw(temporal temporal_internal))
{
	is($node->safe_psql('prey', "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = '$schema'"),
		$node->safe_psql('postgres', 'SELECT current_user'), "schema $schema belongs to the extension's owner");
	foreach my $statement ("ALTER SCHEMA $schema RENAME TO mine", "DROP SCHEMA $schema CASCADE", "CREATE TABLE $schema.t ()",
		"ALTER SCHEMA $schema OWNER TO mallory")
	{
		fails('mallory', 'prey', $statement, qr/must be owner of schema $schema|permission denied for schema $schema/,
			"the owner of the database cannot: $statement");
	}
}

# A schema that the DBA has renamed: what then has its name is not ours.
$node->safe_psql('prey', 'ALTER SCHEMA temporal RENAME TO formerly; ALTER SCHEMA temporal_internal RENAME TO formerly_internal');
make_lures('prey');
my $worker = worker_pid($node, 'prey');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$node->safe_psql('prey', 'SELECT formerly.complete_activity_by_id(\'w\', \'a\')');
ok(wait_for_worker($node, 'prey', $worker), 'there is a worker again');
ok($node->poll_query_until('prey', 'SELECT error_code IS NOT NULL FROM formerly.request'), 'it does its work in the schema of the extension');
is($node->safe_psql('prey', 'SELECT count(*) FROM temporal_internal.outbox'), 1, 'what else is called like ours is left alone');
sql('mallory', 'prey', "CREATE VIEW temporal.request AS SELECT temporal.rise(1) AS id, 'delivered'::text AS state");
foreach my $statement ('formerly.retry_rejected()', 'formerly.discard_request(1)', 'formerly.wait_for_request(1)')
{
	($code, $out, $err) = $node->psql('prey', "SELECT $statement");
	like($err, qr/no schema of extension temporal_complete is called "temporal"/, "$statement does not take it for ours");
}
ok_not_risen('and nothing in it is run');
is( $node->safe_psql('prey', <<'EOS'), 1, 'the schemas have their names again');
DROP SCHEMA temporal, temporal_internal CASCADE;
ALTER SCHEMA formerly RENAME TO temporal;
ALTER SCHEMA formerly_internal RENAME TO temporal_internal;
SELECT count(*) FROM temporal.request;
EOS

# Overloads: somebody was allowed to make objects in the schema, or did so in his own.
install_extension($node, 'early');
$node->safe_psql('early', 'GRANT CREATE ON SCHEMA temporal TO mallory; GRANT ALL ON SCHEMA temporal_internal TO mallory');
sql('mallory', 'early', <<'EOS');
CREATE FUNCTION temporal.rise(x text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    ALTER ROLE mallory SUPERUSER;
    RETURN x;
END $$;
CREATE FUNCTION temporal_internal.queue_number(text, text, regrole) RETURNS bigint LANGUAGE sql AS $$ SELECT temporal.rise('1')::bigint $$;
CREATE FUNCTION temporal_internal.queue_number(oid, text, regrole) RETURNS bigint LANGUAGE sql AS $$ SELECT temporal.rise('1')::bigint $$;
CREATE FUNCTION temporal_internal.made_here(bigint, regclass) RETURNS boolean LANGUAGE sql AS $$ SELECT temporal.rise('t')::boolean $$;
CREATE FUNCTION temporal_internal.add_identity(varchar, bigint, bigint, oid, xid8, timestamptz) RETURNS text LANGUAGE sql
    AS $$ SELECT temporal.rise('x') $$;
CREATE FUNCTION temporal_internal.request_target(int, bytea, OUT verb text, OUT workflow_id text, OUT run_id text, OUT activity_id text)
    RETURNS record LANGUAGE sql AS $$ SELECT temporal.rise('x'), 'x', 'x', 'x' $$;
CREATE FUNCTION temporal.wake_worker(VARIADIC text[]) RETURNS void LANGUAGE sql AS $$ SELECT temporal.rise('x') $$;
CREATE FUNCTION temporal.concat_ws(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS $$ SELECT temporal.rise('x') $$;
EOS
$node->safe_psql('early', <<'EOS');
GRANT USAGE ON FOREIGN SERVER temporal TO victim;
GRANT EXECUTE ON FUNCTION temporal.adopt() TO victim;
EOS
my $rejected = $node->safe_psql('early', complete_something());
my $waiting = $node->safe_psql('early', complete_something());
ok(was_tried($node, 'early', $_), 'a request was tried') foreach $rejected, $waiting;
$node->safe_psql('early', <<"EOS");
BEGIN;
ALTER TABLE temporal_internal.queue DISABLE TRIGGER ALL;
WITH gone AS (DELETE FROM temporal_internal.outbox WHERE id = $rejected RETURNING *)
INSERT INTO temporal_internal.rejected (id, xid, requested_at, queue, written_by, method, maybe_sent, request, finished_at)
SELECT id, xid, requested_at, queue, written_by, method, maybe_sent, request, now() FROM gone;
COMMIT;
EOS
is($node->safe_psql('early', "SELECT temporal.retry_rejected('temporal')"), 1, 'retry_rejected()');
ok_not_risen('retry_rejected() calls no overload');
$node->safe_psql('early', "SELECT temporal.retry_request($waiting)");
ok_not_risen('nor does retry_request()');
$node->safe_psql('early', "BEGIN; UPDATE temporal_internal.queue SET database = 1; SELECT temporal.adopt(); ROLLBACK");
ok_not_risen('nor does adopt()');
$node->safe_psql('early', "SELECT temporal.discard_request($waiting)");
ok_not_risen('nor does discard_request()');
$node->psql('early', complete_something() . " AS id \\gset\n SELECT temporal.wait_for_request(:id, '0 s')");
ok_not_risen('nor does wait_for_request()');

# Settings that the owner of a database, or of a role, can make.  A trigger tells what the worker has.
$node->safe_psql('postgres', 'CREATE DATABASE settings OWNER mallory');
install_extension($node, 'settings');
wait_for_worker($node, 'settings');
$node->safe_psql('settings', <<'EOS');
CREATE TABLE public.told (session_role name, actor name, isolation text, settings text, work_mem text, log_min_messages text);
CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.told
    SELECT session_user, current_user, current_setting('transaction_isolation'),
           string_agg(name, ' ' ORDER BY name) FILTER (WHERE source IN ('database', 'user', 'database user', 'global')),
           current_setting('work_mem'), current_setting('log_min_messages')
      FROM pg_catalog.pg_settings;
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON temporal_internal.queue_error FOR EACH ROW EXECUTE FUNCTION public.tell();
EOS
my @settings = split(/\n/, $node->safe_psql('settings', <<'EOS'));
SELECT format('%I = %L', name, CASE vartype WHEN 'bool' THEN 'on' WHEN 'enum' THEN enumvals[1]
              WHEN 'integer' THEN CASE name WHEN 'vacuum_buffer_usage_limit' THEN '0' ELSE greatest(min_val::numeric, 1)::text END
              ELSE min_val END)
  FROM pg_catalog.pg_settings
 WHERE context = 'user' AND vartype <> 'string' AND name NOT LIKE 'debug%' AND name NOT LIKE 'transaction%'
EOS
push @settings, "role = 'mallory'", "search_path = 'public'", "session_authorization = 'mallory'",
  "client_encoding = 'LATIN1'", "TimeZone = 'Asia/Tokyo'", "DateStyle = 'German'", "application_name = 'mallory'", "local_preload_libraries = 'nothing'",
  "default_transaction_isolation = 'serializable'", "default_transaction_read_only = on";
cmp_ok(scalar(@settings), '>', 60, 'all settings that a user can make');
sql('mallory', 'settings', join(';', map { "ALTER DATABASE settings SET $_" } @settings));
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql('postgres', "ALTER ROLE ALL SET work_mem = '3MB'; ALTER ROLE $superuser SET work_mem = '5MB'; ALTER DATABASE settings SET log_min_messages = error");

# A worker that begins with all of that.  Sessions there would not get far, so the settings go away again afterwards.
$worker = worker_pid($node, 'settings');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
ok(wait_for_worker($node, 'settings', $worker), 'a worker begins in a database with such settings');
$node->safe_psql('postgres', "ALTER DATABASE settings RESET ALL; ALTER ROLE ALL RESET ALL; ALTER ROLE $superuser RESET ALL");
$node->safe_psql('settings', 'SET default_transaction_read_only = off; ' . complete_something());
ok(await_told(), 'it works');
is($node->safe_psql('settings', "SELECT DISTINCT session_role = '$superuser', actor = '$superuser', isolation, coalesce(settings, 'none'), work_mem FROM public.told"),
	't|t|read committed|none|4MB', 'none of the settings of a database or role reaches it');
$node->append_conf('postgresql.conf', "work_mem = '7MB'");
$node->reload;
ok(await_told("work_mem = '7MB'"), 'those of the configuration file do, also when it is reloaded');

sub await_told
{
	my ($condition) = @_;

	$condition //= 'true';
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $node->safe_psql('settings', "SELECT count(*) FROM public.told WHERE $condition") > 0;
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

$node->stop('fast');
done_testing();
