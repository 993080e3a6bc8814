# Ready-made triggers with the rights of ordinary roles, on foreign tables, and
# when what they name changes while they are at work.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => 'temporal_complete.enabled = off');
my $token = "'\\x0a016e1201771a0172200528013201' || 'a'::bytea";

$node->safe_psql('postgres', qq(
	CREATE ROLE app LOGIN;
	CREATE ROLE mallory LOGIN;
	CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete;
	GRANT USAGE ON FOREIGN SERVER temporal TO app;
	CREATE SCHEMA app AUTHORIZATION app;
	CREATE SCHEMA mallory AUTHORIZATION mallory;
	SET ROLE app;
	CREATE TABLE app.orders (id integer, status text, task_token bytea);
	SELECT temporal.bind_table('app.orders', token_column => 'task_token', when_sql => 'NEW.status = ''done''');
	INSERT INTO app.orders VALUES (1, 'new', $token);
	GRANT SELECT, UPDATE ON app.orders TO mallory;
	GRANT USAGE ON SCHEMA app TO mallory;
	SET ROLE mallory;
	CREATE TABLE mallory.orders (id integer, status text, task_token bytea);
));

# Run as a role; what went wrong
sub error_as
{
	my ($role, $sql) = @_;
	my (undef, undef, $err) = $node->psql('postgres', "SET SESSION AUTHORIZATION $role; $sql");
	return $err;
}
sub waiting { return $node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'); }

#
# Rights
#
like(error_as('mallory', "SELECT temporal.bind_table('mallory.orders', token_column => 'task_token')"),
	qr/permission denied for foreign server temporal/, 'without USAGE nobody binds');
like(error_as('app', "SELECT temporal.bind_table('mallory.orders', token_column => 'task_token')"),
	qr/permission denied for (schema mallory|table orders)/, 'nor a table of others');
like(error_as('mallory', "SELECT temporal.unbind_table('app.orders')"),
	qr/permission denied for table orders/, 'nor unbinds one');
like(error_as('mallory', "UPDATE app.orders SET status = 'done'"),
	qr/permission denied for foreign server temporal/, 'USAGE is needed by who changes the row');
is(waiting(), '0', 'nothing was asked for');
is(error_as('app', "UPDATE app.orders SET status = 'done'"), '', 'who has it may');
is(waiting(), '1', 'one request');
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER temporal FROM app');
like(error_as('app', "UPDATE app.orders SET status = 'done'"),
	qr/permission denied for foreign server temporal/, 'until it is revoked');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER temporal TO app');

# what stands in the condition is an expression, with the rights and the search_path of who binds
is(error_as('app', q(
	SET search_path = app;
	CREATE FUNCTION app.wanted(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$ SELECT $1 = 'wanted' $$;
	SELECT temporal.unbind_table('orders');
	SELECT temporal.bind_table('orders', token_column => 'task_token', when_sql => 'wanted(NEW.status)');
	UPDATE orders SET status = 'wanted';)), '', 'a function in the condition');
is(waiting(), '2', 'was asked');

# rolled back with the change, and with a part of it
is(error_as('app', q(BEGIN; UPDATE app.orders SET status = 'wanted'; ROLLBACK;)), '', 'rolled back');
is(error_as('app', q(BEGIN; SAVEPOINT a; UPDATE app.orders SET status = 'wanted'; ROLLBACK TO a; COMMIT;)), '', 'in part');
is(waiting(), '2', 'never happened');

#
# The same session sees what has become of the table
#
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('SET ROLE app');
$session->query_safe(q(UPDATE app.orders SET status = 'wanted'));
$node->safe_psql('postgres', 'ALTER TABLE app.orders RENAME COLUMN task_token TO token');
my (undef, $failed) = $session->query(q(UPDATE app.orders SET status = 'wanted'));
is($failed, 1, 'a renamed column is missed');
$session->{stderr} = '';
$node->safe_psql('postgres', 'ALTER TABLE app.orders RENAME COLUMN token TO task_token');
$node->safe_psql('postgres', 'ALTER TABLE app.orders ALTER COLUMN task_token TYPE text USING encode(task_token, \'hex\')');
(undef, $failed) = $session->query(q(UPDATE app.orders SET status = 'wanted'));
is($failed, 1, 'and one of another type');
$session->{stderr} = '';
$node->safe_psql('postgres', 'ALTER TABLE app.orders ALTER COLUMN task_token TYPE bytea USING decode(task_token, \'hex\')');
$session->query_safe(q(UPDATE app.orders SET status = 'wanted'));
is(waiting(), '4', 'and all is well again');
$session->quit;

#
# A trigger that changes its own table's definition while it is used by the statement
#
$node->safe_psql('postgres', q{
	CREATE TABLE nested (id integer, status text, task_token bytea);
	SELECT temporal.bind_table('nested', token_column => 'task_token', trigger_name => 'a');
	CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		COMMENT ON TABLE nested IS 'touched';
		IF NEW.id < 20 THEN
			UPDATE nested SET id = id + 1;
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER b AFTER UPDATE ON nested FOR EACH ROW EXECUTE FUNCTION touch();
	INSERT INTO nested VALUES (1, 'new', } . $token . q{);
	UPDATE nested SET id = 2});
is($node->safe_psql('postgres', 'SELECT id FROM nested'), '20', 'nested changes');
is(waiting(), '23', 'each is asked for');

#
# Foreign tables
#
my $port = $node->port;
my $host = $node->host;
$node->safe_psql('postgres', qq(
	CREATE EXTENSION postgres_fdw;
	CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres');
	CREATE USER MAPPING FOR CURRENT_USER SERVER loopback;
	CREATE TABLE far (id integer, status text, task_token bytea);
	INSERT INTO far VALUES (1, 'new', $token);
	CREATE FOREIGN TABLE near (id integer, status text, task_token bytea) SERVER loopback OPTIONS (table_name 'far');
	SELECT temporal.bind_table('near', token_column => 'task_token', when_sql => 'NEW.status = ''done''');
	UPDATE near SET status = 'done'));
is(waiting(), '24', 'a foreign table');

# what binds is dumped with the table
my ($dump) = run_command([ 'pg_dump', '--no-sync', '-t', 'app.orders', '-d', $node->connstr('postgres') ]);
like($dump, qr/^CREATE TRIGGER temporal_complete AFTER UPDATE ON app\.orders .*temporal\.complete_activity_trigger\('token_column=task_token'\);$/m,
	'is dumped');

$node->stop;
done_testing();
