# What was recorded under a key can be followed: which attempt, recorded when and
# by whom, and how it ended, each once, whoever ended it and however; by those
# who may see the key, for as long as outcomes are kept.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', init => { allows_streaming => 1 }, settings => "max_prepared_transactions = 10\n");
my %port = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(temporal refusing gone);
start_stub($port{temporal});
start_stub($port{refusing}, '--status', 3);
start_stub($port{gone}, '--status', 5);

my $setup = join(' ', map {
	"CREATE SERVER $_ FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port{$_}');"
	  . "GRANT USAGE ON FOREIGN SERVER $_ TO PUBLIC;" } sort keys %port);
$node->safe_psql('postgres', <<"EOS");
CREATE ROLE app; CREATE ROLE other; CREATE ROLE boss; CREATE ROLE watcher; CREATE ROLE leaver;
GRANT app TO boss; GRANT pg_monitor TO watcher;
$setup
CREATE FUNCTION token(workflow_id text, attempt integer) RETURNS bytea LANGUAGE sql AS \$\$
SELECT decode('0a24', 'hex') || '6f2a3ba0-3a4b-4b53-8a38-5f3a8d0f9a11'::bytea
    || '\\x12'::bytea || decode(lpad(to_hex(length(\$1)), 2, '0'), 'hex') || \$1::bytea
    || '\\x2005'::bytea || '\\x28'::bytea || decode(lpad(to_hex(\$2), 2, '0'), 'hex')
    || '\\x3206'::bytea || 'charge'::bytea
\$\$;
EOS

sub as { my ($role, $sql) = @_; return $node->safe_psql('postgres', "SET ROLE $role; $sql"); }
sub record
{
	my ($key, $attempt, %options) = @_;
	my $server = $options{server} // 'temporal';

	return "SELECT temporal.record_activity('$key', token('w-$key', $attempt), server => '$server'" . ($options{more} // '') . ')';
}
sub verdict
{
	my ($role, $call, $server) = @_;
	my $id = as($role, "SELECT temporal.$call, server => '" . ($server // 'temporal') . "')");

	is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id, '180 s')"),
		($server // '') eq 'refusing' ? 'rejected' : 'delivered', "$call)");
	return $id;
}
sub history
{
	my ($role, $key) = @_;

	return as($role, "SELECT string_agg(concat_ws(' ', attempt, state, request, verb, heartbeat_error), ', ' ORDER BY n)"
		  . " FROM ROWS FROM (temporal.activity_history('$key')) WITH ORDINALITY"
		  . ' AS h(server, namespace, workflow_id, activity_id, run_id, attempt, recorded_at, recorded_by, state, ended_at, request, verb, heartbeat_error, id, n)');
}

# Attempts, and the verdict of the last one
as('app', record('a', $_)) for 1 .. 2;
is(history('app', 'a'), '1 replaced, 2 recorded', 'a second attempt');
verdict('app', q{heartbeat_activity_by_key('a'});
my $id = verdict('app', q{complete_activity_by_key('a'});
is(history('app', 'a'), "1 replaced, 2 finished $id complete", 'and its completion');
is(as('app', q(SELECT DISTINCT server, namespace, workflow_id, activity_id, recorded_by, recorded_at < ended_at FROM temporal.activity_history('a'))),
	'temporal|default|w-a|charge|app|t', 'what was recorded, by whom, and that it ended after it');
is(as('app', "SELECT h.ended_at = r.finished_at FROM temporal.activity_history('a') h JOIN temporal.request r ON r.id = h.request"), 't',
	'it ends when the outcome is known');
as('app', record('a', 3));
my $failed = verdict('app', q{fail_activity_by_key('a', 'no'});
is(history('app', 'a'), "1 replaced, 2 finished $id complete, 3 finished $failed fail", 'the key is used again');

# By ids there is no attempt
as('app', q(SELECT temporal.record_activity_by_id('ids', 'w', 'x', 'run', server => 'temporal')));
$id = verdict('app', q{report_cancellation_by_key('ids'});
is(as('app', q(SELECT workflow_id, activity_id, run_id, attempt, state, verb FROM temporal.activity_history('ids'))),
	'w|x|run||finished|report_cancellation', 'what was recorded by its ids');

# A refused verdict ends nothing
as('app', record('r', 1, server => 'refusing'));
verdict('app', q{complete_activity_by_key('r'}, 'refusing');
is(history('app', 'r'), '1 recorded', 'what is refused does not end it');

# Replaced while its verdict is on its way: both are told
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
as('app', record('both', 1));
my $asked = as('app', q(SELECT temporal.fail_activity_by_key('both', 'no', server => 'temporal')));
as('app', record('both', 2));
# of one activity a completion ends also the attempt that was recorded since
as('app', record('all', 1));
my $all = as('app', q(SELECT temporal.complete_activity_by_key('all', server => 'temporal')));
as('app', record('all', 2));
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
await_finished($node, "key IN ('both', 'all')");
is(history('app', 'both'), "1 replaced $asked fail, 2 recorded", 'it was replaced, and its request is told');
is(history('app', 'all'), "1 replaced $all complete, 2 finished $all complete", 'a completion ends all attempts of the activity');

# Somebody is changing the request when its outcome is known: the key is forgotten before that is recorded
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
as('app', record('held', 1));
$id = as('app', q(SELECT temporal.complete_activity_by_key('held', server => 'temporal')));
my $holder = $node->background_psql('postgres');
$holder->query_safe("SET ROLE app; BEGIN; SELECT temporal.expire_request($id, 'infinity')");
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
await('the key to be forgotten', sub { as('app', q(SELECT count(*) FROM temporal.activity WHERE key = 'held')) eq '0' });
is(history('app', 'held'), "1 finished $id", 'what a verdict has finished whose outcome is not recorded yet');
$holder->query_safe('ROLLBACK');
$holder->quit;
await_finished($node, "key = 'held'");
is(history('app', 'held'), "1 finished $id complete", 'is told with it when it is');

# Who ends it by the privileges of another role
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
as('app', record('of_app', 1));
$id = as('boss', q(SELECT temporal.fail_activity_by_key('of_app', 'no', server => 'temporal')));
as('app', record('of_app', 2));
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
await_finished($node, "key = 'of_app'");
is(history('app', 'of_app'), "1 replaced $id fail, 2 recorded", 'it was replaced while a verdict of boss was on its way');
as('boss', record('b', 1));
as('app', record('c', 1));
as('app', record('d', 1));
$id = verdict('boss', q{complete_activity_by_key('c'});
is(as('boss', q(SELECT temporal.forget_activity('d', 'temporal'))), 't', 'boss forgets a key of app');
is(history('app', 'c'), "1 finished $id complete", 'app sees what boss did with its key');
is(as('app', q(SELECT recorded_by FROM temporal.activity_history('c'))), 'app', 'which is its own');
is(as('app', "SELECT count(*) FROM temporal.request WHERE id = $id"), '0', 'but not the request');
is(history('app', 'd'), '1 forgotten', 'nor who has forgotten it');
is(history('boss', 'b'), '1 recorded', 'boss sees its own');
is(history('boss', 'c'), "1 finished $id complete", q(and app's));
is(history('app', 'b'), '', q(app does not see boss's));
is(history('other', $_), '', "another role sees nothing of $_") for qw(a b c d);
is(history('watcher', 'a'), '', 'nor who sees all requests');
my (undef, undef, $error) = $node->psql('postgres', 'SET ROLE watcher; SELECT FROM temporal_internal.ended_activity');
like($error, qr/permission denied/, 'the table is granted to nobody');
as('other', record('a', 7));
is(history('other', 'a'), '7 recorded', 'another role has the same key for itself');
my $plan = $node->safe_psql('postgres', q(SET ROLE other; EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off) SELECT FROM temporal.activity_history('a')));
like($plan, qr/rows=1(?:\.00)? /, 'EXPLAIN ANALYZE counts only what may be seen');
is(as('app', q(SET temporal_complete.default_server = 'temporal'; CREATE TEMP TABLE seen (x text);
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$BEGIN INSERT INTO seen VALUES ($1); RETURN true; END$$;
SELECT count(*) FROM temporal.activity_history('b') h WHERE pg_temp.leak(h.workflow_id);
SELECT count(*) FROM seen)) =~ s/\s+/ /r, '0 0', 'a function of the reader is not run on what others have');

# Transactions
as('app', record('t', 1));
as('app', 'BEGIN; ' . record('t', 2) . q(; SELECT temporal.forget_activity('t', 'temporal'); ROLLBACK));
is(history('app', 't'), '1 recorded', 'nothing has happened after a rollback');
as('app', 'BEGIN; SAVEPOINT s; ' . record('t', 2) . '; ROLLBACK TO s; ' . record('t', 3) . '; COMMIT');
is(history('app', 't'), '1 replaced, 3 recorded', 'nor after ROLLBACK TO');
as('app', q(BEGIN; SELECT temporal.forget_activity('t', 'temporal'); PREPARE TRANSACTION 'p'));
is(history('app', 't'), '1 replaced, 3 recorded', 'nor before COMMIT PREPARED');
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', q(COMMIT PREPARED 'p'));
is(history('app', 't'), '1 replaced, 3 forgotten', 'it is told after that, also after a crash');
as('app', record('u', 1));
as('app', 'BEGIN; ' . record('u', 2) . q(; PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'));
is(history('app', 'u'), '1 recorded', 'and not after ROLLBACK PREPARED');
# two at once: each has what it replaced, or the worker tells
$holder = $node->background_psql('postgres');
$holder->query_safe('SET ROLE app; BEGIN; ' . record('u', 2));
as('app', record('u', 3));
$holder->query_safe('COMMIT');
is(history('app', 'u'), '1 replaced, 2 replaced, 3 recorded', 'two that record at once');
$id = verdict('app', q{complete_activity_by_key('u'});
is(history('app', 'u'), "1 replaced, 2 replaced, 3 finished $id complete", 'each is told once');

# The table is locked
as('app', record('l', 1));
$holder->query_safe('RESET ROLE; BEGIN; LOCK TABLE temporal_internal.ended_activity');
$id = verdict('app', q{complete_activity_by_key('l'});
$holder->query_safe('COMMIT');
is(history('app', 'l'), "1 finished $id complete", 'a verdict while the table is locked');

# Why it had no heartbeats any more
as('app', record('h', 1, server => 'gone', more => q(, heartbeat => true, heartbeat_interval => '1 s')));
await('the answer', sub { history('app', 'h') eq '1 recorded NOT_FOUND' });
as('app', record('h', 2, server => 'gone'));
is(history('app', 'h'), '1 replaced NOT_FOUND, 2 recorded', 'that it was gone at Temporal stays with it');

# Expiry: when its time was over, once, however long its row has to stay; and then as outcomes go
sub segment { return $node->safe_psql('postgres', 'SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1'); }
my $retention = 7;
sub days
{
	my ($days) = @_;
	my $before = segment();

	$node->safe_psql('postgres', "UPDATE temporal_internal.delivery_segment SET since = since - interval '$days days'");
	# the worker looks when that has changed
	$retention = 15 - $retention;
	$node->append_conf('postgresql.conf', "temporal_complete.retention = '${retention}d'");
	$node->reload;
	await('another segment', sub { segment() ne $before });
	return;
}
sub expired_rows { return $node->safe_psql('postgres', q(SELECT count(*) FROM temporal_internal.recorded_activity WHERE key = 'x')); }
$holder->query_safe('BEGIN; SELECT pg_current_xact_id()');
as('app', record('x', 1, more => q(, expires_at => clock_timestamp() + '10 ms')));
await('its end', sub { history('app', 'x') eq '1 expired' });
my $told = q(SELECT state, ended_at, recorded_at FROM temporal.activity_history('x'));
my $before = as('app', $told);
days(3);
await('its row to be buried', sub { $node->safe_psql('postgres', q(SELECT count(*) FROM temporal_internal.ended_activity WHERE key = 'x')) eq '1' });
is(as('app', $told), $before, 'what has expired is told once, and the same');
is(expired_rows(), '1', 'while its row stays');
$holder->query_safe('COMMIT');
$holder->quit;
days(3);
await('its row to be removed', sub { expired_rows() eq '0' });
is(as('app', $told), $before, 'and after it');
is(history('app', 'both'), "1 replaced $asked fail, 2 recorded", 'what ended shortly ago is kept');
$node->safe_psql('postgres', q(UPDATE temporal_internal.ended_activity SET ended_at = ended_at - interval '20 days'));
days(3);
await('the old ones to be removed', sub { $node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.ended_activity') eq '0' });
is(history('app', 'both'), '2 recorded', 'what ended before outcomes that are kept is not told any more');

# purge() is for the own ones
as('app', record('both', 3));
as('other', record('a', 8));
as('app', q(SELECT temporal.purge('0 s')));
is(history('app', 'both'), '3 recorded', 'purge() removes it');
is(history('other', 'a'), '7 replaced, 8 recorded', 'but not that of others');

# Elsewhere
as('app', record('both', 4));
my $dump = scratch('history.dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
sub restored { return $node->safe_psql('restored', "SET ROLE app; $_[0]"); }
my $states = q(SELECT string_agg(concat_ws(' ', attempt, state), ', ' ORDER BY id) FROM temporal.activity_history('both'));
is(restored($states), '4 held', 'a dump has no more than outcomes: what is recorded');
restored(record('both', 5));
is(restored($states), '4 held, 5 recorded', 'it is recorded there, too');
$node->safe_psql('restored', 'SELECT temporal.adopt()');
is(restored($states), '4 replaced, 5 recorded', 'which counts after adopt()');
$node->backup('standby');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'standby', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SET ROLE app; $states"), '3 replaced, 4 recorded', 'it is seen on a standby');

# Dropped roles
as('leaver', record('left', $_)) for 1 .. 2;
$node->safe_psql('postgres', 'DROP ROLE leaver');
is($node->safe_psql('postgres', q(SELECT string_agg(concat_ws(' ', recorded_by, attempt, state), ', ') FROM temporal.activity_history('left'))),
	'leaver 1 replaced, leaver 2 recorded', 'what a dropped role has recorded is told to who may decide');
is(history('boss', 'left'), '', 'and to nobody else');

done_testing();
