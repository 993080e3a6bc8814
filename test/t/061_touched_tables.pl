# What the owner of our tables may do with them: columns, indexes, triggers,
# constraints, other access methods, maintenance inside and beside open
# transactions, locks.  Every committed request is delivered, every index has
# all rows, and what cannot be is an error in words.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_cluster('main',
	settings => "temporal_complete.safety_poll_interval = 1h\nautovacuum = off\nlog_min_messages = debug1");
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $refusing = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
# NOT_FOUND by an unknown method: refused for good
start_stub($refusing, '--status', '3', '--message', 'no');

$node->safe_psql('postgres', <<"EOS");
CREATE EXTENSION amcheck;
CREATE ROLE app LOGIN;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
CREATE SERVER refusing FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$refusing');
CREATE SERVER away FOREIGN DATA WRAPPER temporal_complete
    OPTIONS (address '127.0.0.1:1', retry_initial_interval '100ms', retry_max_interval '200ms');
GRANT USAGE ON FOREIGN SERVER temporal, refusing, away TO app;
EOS

my $app = $node->connstr('postgres') . ' user=app';
my $next = 0;

sub call
{
	my ($server) = @_;

	$next++;
	return "temporal.complete_activity_by_id('w', 'a$next', to_jsonb(repeat('x', 10)), server => '" . ($server // 'temporal') . "')";
}

# A request of the role app, in a session of its own
sub make { return $node->safe_psql('postgres', 'SELECT ' . call(@_), connstr => $app); }

# An error for the role app
sub make_fails
{
	my ($pattern, $what) = @_;
	my ($code, $out, $err) = $node->psql('postgres', 'SELECT ' . call(), connstr => $app);

	return like($err, $pattern, $what);
}

sub state_of { return $node->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $_[0]"); }

sub ok_finished
{
	my ($id, $state, $what) = @_;

	$node->poll_query_until('postgres', "SELECT finished_at IS NOT NULL FROM temporal.request WHERE id = $id");
	return is(state_of($id), $state, $what);
}

# All B-trees have all rows, those of partial indexes included
sub ok_indexes
{
	my ($what) = @_;
	my ($code, $out, $err) = $node->psql('postgres', <<'EOS');
SELECT bt_index_check(i.indexrelid, true)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
 WHERE t.relnamespace = 'temporal'::regnamespace AND c.relkind = 'i' AND i.indisvalid
   AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree') AND t.relname <> 'pg_toast'
EOS
	return is($err, '', "$what: indexes have all rows");
}

my $old = $node->background_psql('postgres');
my $session = $node->background_psql('postgres');
my $worker;

# Requests of an old session and of a new one, that end in each way, while a table is like that
sub ok_work
{
	my ($what) = @_;
	my $from_old = $old->query_safe('SELECT ' . call());
	my $from_new = make();
	my $rejected = make('refusing');
	my $waiting = make('away');

	ok_finished($from_old, 'delivered', "$what: a request of an old session");
	ok_finished($from_new, 'delivered', "$what: of a new one");
	ok_finished($rejected, 'rejected', "$what: one that is refused");
	$node->poll_query_until('postgres', "SELECT error_code IS NOT NULL FROM temporal.request WHERE id = $waiting");
	is(state_of($waiting), 'retrying', "$what: one that has to wait");
	ok_indexes($what);
	$node->safe_psql('postgres', "SELECT temporal.retry_request($rejected); SELECT temporal.discard_request($waiting)", connstr => $app);
	ok_finished($waiting, 'unconfirmed', "$what: and is discarded");
	ok_finished($rejected, 'rejected', "$what: one that is retried");
	return;
}

ok_work('as made');
unlike(slurp_file($node->logfile), qr/differs from how temporal_complete made it/, 'the tables are as this library knows them');
$worker = worker_pid($node);
my @tables = qw(queue outbox rejected delivery delivery_segment last_worker queue_error queue_pause recheck);

# Columns
foreach my $table (@tables)
{
	$node->safe_psql('postgres', "ALTER TABLE temporal_internal.$table ADD COLUMN note text DEFAULT 'noted', ADD COLUMN at timestamptz NOT NULL DEFAULT clock_timestamp()");
}
ok_work('added columns');
is($node->safe_psql('postgres', "SELECT count(*) FROM temporal_internal.delivery WHERE note IS NULL"), 0, 'which get their defaults');
$node->safe_psql('postgres', "ALTER TABLE temporal_internal.$_ DROP COLUMN note, DROP COLUMN at") foreach @tables;
ok_work('columns that were dropped again');

# Indexes
$node->safe_psql('postgres', <<'EOS');
CREATE FUNCTION public.tells(x bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF current_user = 'app' THEN RAISE EXCEPTION 'called as app'; END IF;
    RETURN x % 10;
END $$;
CREATE INDEX odd_expression ON temporal_internal.outbox (public.tells(id));
CREATE INDEX odd_text ON temporal_internal.outbox ((octet_length(request)), lower(error_message));
CREATE INDEX odd_partial ON temporal_internal.outbox (id) WHERE attempts > 0;
CREATE INDEX odd_rejected ON temporal_internal.rejected ((error_code || error_message)) WHERE error_code IS NOT NULL;
CREATE INDEX odd_delivery ON temporal_internal.delivery (lower(workflow_id)) WHERE confirmed;
CREATE INDEX odd_queue ON temporal_internal.queue (lower(server_name)) WHERE namespace IS NULL;
CREATE INDEX odd_error ON temporal_internal.queue_error (lower(error_code));
EOS
# what they call runs as the owner of the table, not as the caller
ok_work('indexes on expressions, and partial ones');
$node->safe_psql('postgres', "DROP INDEX temporal_internal.odd_expression, temporal_internal.odd_text, temporal_internal.odd_partial, temporal_internal.odd_rejected, temporal_internal.odd_delivery, temporal_internal.odd_queue, temporal_internal.odd_error");

# Triggers, as pg_repack and others see rows: a copy that they keep is the table.
foreach my $table (qw(outbox rejected queue_error queue))
{
	my $key = { queue => 'number', queue_error => 'queue' }->{$table} // 'id';

	$node->safe_psql('postgres', <<"EOS");
CREATE TABLE public.copy_of_$table AS TABLE temporal_internal.$table;
CREATE FUNCTION public.log_$table() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
    IF TG_OP <> 'INSERT' THEN DELETE FROM public.copy_of_$table c WHERE c.$key = OLD.$key; END IF;
    IF TG_OP <> 'DELETE' THEN INSERT INTO public.copy_of_$table SELECT NEW.*; END IF;
    RETURN NULL;
END \$\$;
CREATE TRIGGER z_repack AFTER INSERT OR UPDATE OR DELETE ON temporal_internal.$table FOR EACH ROW EXECUTE FUNCTION public.log_$table();
ALTER TABLE temporal_internal.$table ENABLE ALWAYS TRIGGER z_repack;
EOS
}
ok_work('triggers');
make('away');
$node->poll_query_until('postgres', q(SELECT count(*) > 0 FROM temporal_internal.outbox o JOIN temporal_internal.queue_error e ON e.queue = o.queue));
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
foreach my $table (qw(outbox rejected queue_error queue))
{
	is($node->safe_psql('postgres', "SELECT count(*) FROM (TABLE temporal_internal.$table EXCEPT TABLE public.copy_of_$table) x"), 0, "triggers of $table saw every row that is there");
	is($node->safe_psql('postgres', "SELECT count(*) FROM (TABLE public.copy_of_$table EXCEPT TABLE temporal_internal.$table) x"), 0, 'and every one that has gone');
	$node->safe_psql('postgres', "DROP TRIGGER z_repack ON temporal_internal.$table");
}
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
$worker = await_worker($node);

# Triggers that suppress, rules, constraints, policies: words, in the caller's transaction
$node->safe_psql('postgres', <<'EOS');
CREATE FUNCTION public.suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER suppress BEFORE INSERT ON temporal_internal.outbox FOR EACH ROW EXECUTE FUNCTION public.suppress();
EOS
make_fails(qr/a row of table "temporal_internal.outbox" of temporal_complete was not written/, 'a trigger that suppresses requests');
$node->safe_psql('postgres', 'DROP TRIGGER suppress ON temporal_internal.outbox; CREATE RULE nothing AS ON INSERT TO temporal_internal.outbox DO INSTEAD NOTHING');
make_fails(qr/cannot write table "temporal_internal.outbox".*HINT/s, 'a rule');
$node->safe_psql('postgres', 'DROP RULE nothing ON temporal_internal.outbox; ALTER TABLE temporal_internal.outbox ADD CONSTRAINT small CHECK (octet_length(request) < 1) NOT VALID');
make_fails(qr/violates check constraint "small"/, 'a constraint');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.outbox DROP CONSTRAINT small');

# Unlogged tables: what a crash would lose is not written
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.outbox SET UNLOGGED');
make_fails(qr/table "temporal_internal.outbox" of temporal_complete is unlogged.*HINT.*SET LOGGED/s, 'an unlogged table of requests');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.outbox SET LOGGED; ALTER TABLE temporal_internal.rejected SET UNLOGGED');
my $end_of_log = -s $node->logfile;
my $unrecorded = make('refusing');
ok($node->wait_for_log(qr/table "temporal_internal.rejected" of temporal_complete is unlogged/, $end_of_log), 'one of requests that were refused');
isnt(state_of($unrecorded), 'rejected', 'what was refused stays where it is not lost');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.rejected SET LOGGED');
ok_finished($unrecorded, 'rejected', 'until that is put right');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.queue SET UNLOGGED');
make_fails(qr/table "temporal_internal.queue" of temporal_complete is unlogged.*HINT.*SET LOGGED/s, 'one that says whose they are, of a queue that is known');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.queue SET LOGGED');
SKIP:
{
	skip 'sequences are logged before version 15', 1 if $node->pg_version < 15;
	$node->safe_psql('postgres', 'ALTER SEQUENCE temporal_internal.request_id SET UNLOGGED');
	make_fails(qr/sequence "temporal_internal.request_id" of temporal_complete is unlogged.*HINT.*SET LOGGED/s, 'a sequence that would begin anew');
	$node->safe_psql('postgres', 'ALTER SEQUENCE temporal_internal.request_id SET LOGGED');
}

# Columns that are not what they were
foreach my $change (['RENAME xid TO x', 'RENAME x TO xid'], ['RENAME former_identities TO f', 'RENAME f TO former_identities'])
{
	$node->safe_psql('postgres', "ALTER TABLE temporal_internal.outbox $change->[0]");
	make_fails(qr/table "temporal_internal.outbox" is not as this version of temporal_complete knows it.*HINT/s, $change->[0]);
	$node->safe_psql('postgres', "ALTER TABLE temporal_internal.outbox $change->[1]");
}
ok_work('columns that are back');

# Its indexes: one that is missing is named, and another one of its kind does as well.
my $offset = -s $node->logfile;
$node->safe_psql('postgres', 'DROP INDEX temporal_internal.outbox_queue_idx');
my $unread = make();
$node->wait_for_log(qr/table temporal_internal.outbox lacks an index that temporal_complete needs\n.*HINT:  Run CREATE INDEX ON temporal_internal.outbox \(queue, xid, id\)/, $offset);
is(state_of($unread), 'queued', 'without the index of queues a request waits');
$node->safe_psql('postgres', 'CREATE INDEX another_name ON temporal_internal.outbox (queue, xid, id)');
ok_finished($unread, 'delivered', 'an index of another name will do');
$node->safe_psql('postgres', 'ALTER INDEX temporal_internal.another_name RENAME TO outbox_queue_idx');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.outbox DROP CONSTRAINT outbox_pkey; ALTER TABLE temporal_internal.queue DROP CONSTRAINT queue_pkey; DROP INDEX temporal_internal.queue_server_idx, temporal_internal.delivery_id_idx');
ok_finished(make(), 'delivered', 'without its other indexes');
ok_finished($old->query_safe('SELECT ' . call()), 'delivered', 'also in an old session');
$node->safe_psql('postgres', <<'EOS');
ALTER TABLE temporal_internal.outbox ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE temporal_internal.queue ADD CONSTRAINT queue_pkey PRIMARY KEY (number);
CREATE INDEX queue_server_idx ON temporal_internal.queue (server, requested_by, namespace);
CREATE INDEX delivery_id_idx ON temporal_internal.delivery USING brin (id) WITH (pages_per_range = 16);
CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
EOS

# Another access method, which happens to be heap's
if ($node->pg_version >= 15)
{
	$node->safe_psql('postgres', "ALTER TABLE temporal_internal.$_ SET ACCESS METHOD other_heap") foreach qw(outbox rejected queue queue_error);
	ok_work('another access method');
	$node->safe_psql('postgres', "ALTER TABLE temporal_internal.$_ SET ACCESS METHOD heap") foreach qw(outbox rejected queue queue_error);
}
is(worker_pid($node), $worker, 'one worker lives through it all');

# Maintenance beside a transaction that has made requests: it waits for its end, or lets its rows be.
my @statements = ('REINDEX INDEX CONCURRENTLY temporal_internal.outbox_queue_idx', 'REINDEX INDEX CONCURRENTLY temporal_internal.outbox_pkey',
	'REINDEX INDEX CONCURRENTLY temporal_internal.queue_pkey', 'REINDEX INDEX CONCURRENTLY temporal_internal.queue_server_idx',
	'CREATE INDEX CONCURRENTLY beside ON temporal_internal.outbox (requested_at)', 'DROP INDEX CONCURRENTLY temporal_internal.beside',
	'CREATE INDEX beside ON temporal_internal.outbox (lower(error_code))', 'REINDEX TABLE temporal_internal.outbox', 'DROP INDEX temporal_internal.beside',
	'VACUUM FULL temporal_internal.outbox', 'VACUUM FULL temporal_internal.queue', 'CLUSTER temporal_internal.outbox USING outbox_pkey', 'TRUNCATE temporal_internal.outbox',
	'ALTER TABLE temporal_internal.outbox ADD COLUMN note text', 'ALTER TABLE temporal_internal.outbox DROP COLUMN note');
my $number = 0;

foreach my $statement (@statements)
{
	my $truncates = $statement =~ /^TRUNCATE/;
	# a new role, so that the transaction makes its queue, too
	my $role = 'maker' . ++$number;

	$node->safe_psql('postgres', "CREATE ROLE $role; GRANT USAGE ON FOREIGN SERVER temporal TO $role");
	$session->query_safe("BEGIN; SET LOCAL ROLE $role; SELECT count(*) FROM (SELECT " . call() . ' FROM generate_series(1, 10)) x');
	my $beside = $node->background_psql('postgres', on_error_stop => 0);

	$beside->query_until(qr/go/, "\\echo go\n$statement;\n");
	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid())) or fail("$statement waits");
	$session->query_safe('COMMIT');
	$beside->quit;
	if ($truncates)
	{
		is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), 0, 'TRUNCATE waited, and then had its way');
	}
	else
	{
		$node->poll_query_until('postgres', "SELECT count(*) = 10 FROM temporal.request WHERE requested_by::text = '$role' AND state = 'delivered'")
		  or fail("$statement: requests are delivered");
	}
	ok_indexes("$statement, beside an open transaction");
}
await_finished($node, q(state <> 'retrying'));

# The same inside the transaction that has made requests
foreach my $statement ('REINDEX TABLE temporal_internal.outbox', 'REINDEX TABLE temporal_internal.queue', 'CLUSTER temporal_internal.outbox USING outbox_pkey',
	'CREATE INDEX beside ON temporal_internal.outbox (lower(error_code))', 'DROP INDEX temporal_internal.beside', 'ALTER TABLE temporal_internal.outbox ADD COLUMN note text',
	'ALTER TABLE temporal_internal.outbox DROP COLUMN note', 'ALTER TABLE temporal_internal.outbox ALTER former_identities SET STORAGE EXTERNAL')
{
	my $id = $session->query_safe('BEGIN; SELECT ' . call());

	$session->query_safe($statement);
	my $second = $session->query_safe('SELECT ' . call() . '; COMMIT');
	ok_finished($id, 'delivered', "$statement, inside");
	ok_finished($second, 'delivered', 'and what is made after it');
	ok_indexes($statement);
}

# A lock on one table delays what needs that table, nothing else.
my $known = make();
ok_finished($known, 'delivered', 'a queue that the worker knows');
$old->query_safe('SELECT ' . call('refusing'));
foreach my $table (qw(rejected queue_error queue delivery_segment last_worker recheck))
{
	my $locker = $node->background_psql('postgres');

	$locker->query_safe("BEGIN; LOCK TABLE temporal_internal.$table");
	my $refused = $table eq 'queue' ? undef : $old->query_safe('SELECT ' . call('refusing'));
	my $waits = $table eq 'queue' ? undef : $old->query_safe('SELECT ' . call('away'));
	my $id = $old->query_safe('SELECT ' . call());

	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM temporal_internal.delivery WHERE id = $id"), "LOCK TABLE $table: others are delivered");
	$locker->query_safe('COMMIT');
	$locker->quit;
	ok_finished($refused, 'rejected', 'what needs the table comes later') if defined $refused;
	$node->safe_psql('postgres', "SELECT temporal.discard_request($waits)") if defined $waits;
}
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE temporal_internal.delivery');
my $delivered = $old->query_safe('SELECT ' . call());
my $refused = $old->query_safe('SELECT ' . call('refusing'));
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM temporal_internal.rejected WHERE id = $refused"), 'LOCK TABLE delivery: refusals are recorded');
$locker->query_safe('COMMIT');
ok_finished($delivered, 'delivered', 'what needs it comes later');
$locker->query_safe('BEGIN; LOCK TABLE temporal_internal.outbox');
usleep(10_000);
$locker->query_safe('COMMIT');
ok_finished(make(), 'delivered', 'after LOCK TABLE outbox');

is(worker_pid($node), $worker, 'it is still the same worker');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'nothing crashed');
ok_indexes('in the end');
$old->quit;
$session->quit;

# The next segment of outcomes is emptied, and begun, also where tables have changed.
$node->safe_psql('postgres', <<'EOS');
CREATE TABLE public.emptied (role name);
CREATE FUNCTION public.tell_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.emptied VALUES (current_user);
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER TRUNCATE ON temporal_internal.delivery_1 FOR EACH STATEMENT EXECUTE FUNCTION public.tell_emptied();
ALTER TABLE temporal_internal.delivery_segment ADD COLUMN note text DEFAULT 'x';
ALTER TABLE temporal_internal.delivery ADD COLUMN note text DEFAULT 'x';
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed)
VALUES (0, now(), now(), 0, 1, 1, 1, true);
UPDATE temporal_internal.delivery_segment SET since = since - interval '30 days';
EOS
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
make();
ok($node->poll_query_until('postgres', 'SELECT max(segment) = 1 FROM temporal_internal.delivery_segment'), 'the next segment is begun');
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.delivery WHERE id = 0'), 0, 'it is empty then');
is($node->safe_psql('postgres', 'SELECT count(*) FROM public.emptied'), 1, 'its triggers were told');
ok_finished(make(), 'delivered', 'and it is filled');
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM temporal_internal.delivery_1'), 't', 'with what ends now');

# Whatever became of them, the extension can be dropped.
make('away');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.queue RENAME server TO s; ALTER TABLE temporal_internal.outbox RENAME xid TO x; DROP INDEX temporal_internal.outbox_queue_idx');
$node->safe_psql('postgres', 'DROP SERVER away; DROP EXTENSION temporal_complete CASCADE');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_namespace WHERE nspname = 'temporal')), 0, 'its schema goes with it');
$node->stop('fast');
done_testing();
