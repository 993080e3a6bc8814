# temporal.health(): each thing that can be wrong is made, found, and mended as
# the hint says where that can be typed; nothing else is found meanwhile.

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
my $token = "'\\x0a016e1201771a017220052801320141'";

# What is found, such as "held:warning"
sub found
{
	my ($arguments) = @_;

	$arguments //= '';
	return $node->safe_psql('postgres',
		"SELECT string_agg(check_name || ':' || status, ' ') FROM temporal.health($arguments) WHERE status <> 'ok'");
}

sub await_found
{
	my ($expected, $what) = @_;

	await($what, sub { found() eq $expected });
	pass($what);
	return;
}

sub hint
{
	my ($check) = @_;

	return $node->safe_psql('postgres', "SELECT hint FROM temporal.health() WHERE check_name = '$check'");
}

sub detail_like
{
	my ($check, $pattern) = @_;

	like($node->safe_psql('postgres', "SELECT detail FROM temporal.health() WHERE check_name = '$check'"), $pattern, "$check: the detail");
	return;
}

# Type a hint, statement by statement, for not all of them may be together in a transaction
sub follow
{
	my ($check) = @_;
	my $hint = hint($check);

	$node->safe_psql('postgres', $_) foreach grep { !/^\s*--/ } split(/;/, $hint =~ s/--.*//r);
	return;
}

sub set
{
	my ($line) = @_;

	$node->append_conf('postgresql.conf', $line);
	$node->reload;
	return;
}

is(found(), '', 'nothing is wrong');
is($node->safe_psql('postgres', 'SELECT count(*), count(detail), count(hint) FROM temporal.health()'), '22|0|0', 'each check has its row');
$node->safe_psql('postgres', 'SELECT temporal.check_health()');

# who may
$node->safe_psql('postgres', 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE stranger LOGIN');
is($node->safe_psql('postgres', 'SET ROLE monitor; SELECT count(*) FROM temporal.health()'), '22', 'pg_monitor may look');
foreach my $function ('health', 'check_health', 'health_facts', 'summary_problems', 'raise_unhealthy')
{
	my $arguments = $function eq 'raise_unhealthy' ? "''" : '';
	my $schema = $function =~ /^(?:check_)?health$/ ? 'temporal' : 'temporal_internal';
	my ($status, undef, $error) = $node->psql('postgres', "SET ROLE stranger; SELECT $schema.$function($arguments)");

	like($error, qr/permission denied for (?:function $function|schema temporal_internal)/, "others may not call $function");
}

# a server that is not there
$node->safe_psql('postgres', "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', connect_timeout '1s')");
$node->safe_psql('postgres', "SELECT temporal.complete_activity($token)");
await_found('queues:critical', 'a server that cannot be reached');
detail_like('queues', qr/^server temporal, role \w+, namespace default: CONNECTION_FAILED since /);
is(hint('queues'), q{SELECT * FROM temporal.ping('temporal')}, 'the hint for that');
my ($status, undef, $error) = $node->psql('postgres', 'SELECT temporal.check_health()');
like($error, qr/ERROR:  temporal_complete is not healthy\nDETAIL:  queues critical: server temporal, /, 'check_health() says it');

# it waits for long
$node->safe_psql('postgres', "UPDATE temporal_internal.outbox SET requested_at = now() - interval '1 hour'");
await_found('queues:critical oldest_request:warning', 'a request that waits for long');
is(found("oldest_request => '2 hours'"), 'queues:critical', 'what long is can be said');

# switched off, or left out
set('temporal_complete.enabled = off');
await_found('enabled:warning queues:critical oldest_request:warning', 'off');
follow('enabled');
await_found('queues:critical oldest_request:warning', 'and on');
$node->safe_psql('postgres', "ALTER SYSTEM SET temporal_complete.databases = 'template1'; SELECT pg_reload_conf()");
await_found('listed:warning queues:critical oldest_request:warning', 'not listed');
is(hint('listed'), 'ALTER SYSTEM SET temporal_complete.databases = template1, postgres; SELECT pg_reload_conf()', 'the hint for that');
follow('listed');
await_found('queues:critical oldest_request:warning', 'listed');

# no worker: another database has the only place
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION temporal_complete');
$node->safe_psql('other', "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port')");
$node->safe_psql('postgres', 'ALTER SYSTEM SET temporal_complete.enabled = off; SELECT pg_reload_conf()');
await('workers to leave', sub { worker_pid($node) eq '' && worker_pid($node, 'other') eq '' });
$node->safe_psql('other', "SELECT temporal.complete_activity($token)");
$node->safe_psql('postgres', q{ALTER SYSTEM SET temporal_complete.databases = 'other'});
$node->safe_psql('postgres', q{ALTER SYSTEM SET temporal_complete.max_workers = 1});
$node->safe_psql('postgres', 'ALTER SYSTEM SET temporal_complete.enabled = on; SELECT pg_reload_conf()');
await_worker($node, 'other');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET temporal_complete.databases; SELECT pg_reload_conf()');
await_found('slots:critical worker:critical queues:critical oldest_request:warning', 'no place for a worker');
# the two take turns, so it is said and taken back again and again
my $hint = await('the hint for that', sub { hint('slots') });
like($hint, qr/^ALTER SYSTEM SET temporal_complete\.max_workers = [23]; SELECT pg_reload_conf\(\)$/, 'the number to set');
$node->safe_psql('postgres', $_) foreach split(/;/, $hint);
await_found('queues:critical oldest_request:warning', 'a place for it');

# all is delivered
my $stub = start_stub($port);
await_finished($node);
await_found('', 'the server is there');

# outcomes
foreach my $maybe_sent ('false', 'true')
{
	$node->safe_psql('postgres', <<"EOS");
INSERT INTO temporal_internal.rejected (id, xid, written_by, requested_at, queue, method, maybe_sent, request, attempts, error_code, finished_at)
SELECT 90000, '1', '3', now(), number, 1, $maybe_sent, '', 1, 'NOT_FOUND', now() FROM temporal_internal.queue LIMIT 1
EOS
	my $state = $maybe_sent eq 'true' ? 'unconfirmed' : 'rejected';

	is(found(), "$state:warning", $state);
	detail_like($state, qr/^1 requests (?:were|are) $state since /);
	is($node->safe_psql('postgres', 'SELECT id FROM (' . hint($state) . ') h'), '90000', "$state: the hint shows it");
	is(found("since => '0'"), '', 'that it was long ago can be said');
	$node->safe_psql('postgres', 'DELETE FROM temporal_internal.rejected');
}

# a copy: the queue was made elsewhere
set('temporal_complete.enabled = off');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET temporal_complete.enabled; SELECT pg_reload_conf()');
await('the worker to leave', sub { worker_pid($node) eq '' });
$node->safe_psql('postgres', "SELECT temporal.complete_activity($token); UPDATE temporal_internal.queue SET system_identifier = 1");
is(found(), 'enabled:warning held:warning', 'requests that are held');
$node->safe_psql('postgres', hint('held'));
is(found(), 'enabled:warning', 'they are adopted');
follow('enabled');
await_finished($node);
is(found(), '', 'and sent');

# tests without Temporal
$node->safe_psql('postgres', "SET temporal_complete.delivery = off; SELECT temporal.complete_activity($token)");
is(found(), 'suppressed:warning', 'requests that are suppressed');
follow('suppressed');
$node->safe_psql('postgres', 'DELETE FROM temporal_internal.outbox');

# retention that is held up
$node->safe_psql('postgres', "UPDATE temporal_internal.delivery_segment SET since = since - interval '8 days'");
is(found(), 'retention:warning', 'a segment that is too old');
$node->safe_psql('postgres', hint('retention'));
$node->safe_psql('postgres', "UPDATE temporal_internal.delivery_segment SET since = since + interval '8 days'");

# bloat
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.outbox SET (autovacuum_enabled = off)');
$node->safe_psql('postgres', "SELECT count(temporal.complete_activity_by_id('w', n::text)) FROM generate_series(1, 3000) n");
await_finished($node);
is(found('bloat => 100000'), 'bloat:warning', 'an outbox that is mostly empty');
is(found(), '', 'which is not large');
$node->safe_psql('postgres', $_) foreach split(/;/, $node->safe_psql('postgres', q{SELECT hint FROM temporal.health(bloat => 100000) WHERE check_name = 'bloat'}));
is(found('bloat => 100000'), '', 'it was vacuumed');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.outbox RESET (autovacuum_enabled)');

# A summary that was cancelled leaves something behind for which look-ups read the range, and which is in the way of
# another one; the values take long to be looked at.
$node->safe_psql('postgres', <<'EOS');
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed, workflow_id)
SELECT i, now(), now(), q.number, 1, 2, 0, true, repeat(i::text, 10000)
  FROM generate_series(100000, 102500) i, (SELECT number FROM temporal_internal.queue LIMIT 1) q
EOS
sub cancel_summary
{
	my $index = 'temporal_internal.delivery_0_workflow_id_idx';

	await('a summary that is cancelled',
		sub {
			$node->psql('postgres', "SELECT brin_desummarize_range('$index', 32); SET statement_timeout = '5ms'; SELECT brin_summarize_range('$index', 32)");
			return found() eq 'summaries:warning';
		});
	return;
}
cancel_summary();
detail_like('summaries', qr/^temporal_internal\.delivery_0_workflow_id_idx: \d+ ranges of pages without a summary, 1 whose summary was cancelled/);
like(hint('summaries'), qr/^SELECT brin_desummarize_range\('temporal_internal\.delivery_0_workflow_id_idx', 32\); SELECT brin_summarize_new_values/, 'the hint for that');
follow('summaries');
is(found(), '', 'summarized');
cancel_summary();
set('temporal_complete.enabled = off');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET temporal_complete.enabled; SELECT pg_reload_conf()');
await('the worker to leave', sub { worker_pid($node) eq '' });
set('temporal_complete.enabled = on');
$node->safe_psql('postgres', "SELECT temporal.complete_activity($token)");
await_finished($node);
await_found('', 'the next worker mends it');

# tables
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.rejected RENAME error_code TO problem');
is(found(), 'missing:critical', 'a table with other columns');
detail_like('missing', qr/: rejected$/);
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.rejected RENAME problem TO error_code');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.rejected SET UNLOGGED');
is(found() =~ s/ tables:warning//r, 'unlogged:critical', 'an unlogged table');
is(hint('unlogged'), 'ALTER TABLE temporal_internal.rejected SET LOGGED', 'the hint for that');
follow('unlogged');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.rejected ADD mine text');
is(found(), 'tables:warning', 'a table with another column');
is(hint('tables'), '\d+ temporal_internal.rejected', 'the hint for that');
$node->safe_psql('postgres', 'ALTER TABLE temporal_internal.rejected DROP mine');

# versions
$node->safe_psql('postgres', "UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'temporal_complete'");
like(found(), qr/\bversion:warning/, 'another version');
is(hint('version'), 'ALTER EXTENSION temporal_complete UPDATE', 'the hint for that');
$node->safe_psql('postgres', "UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'temporal_complete'");

# what is remembered of crashes
my $database = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = 'postgres'");
append_to_file($node->data_dir . '/pg_stat_tmp/temporal_complete.crashes', "$database 4 0\n");
like(found(), qr/^crashes:critical/, 'workers that crashed');
unlink($node->data_dir . '/pg_stat_tmp/temporal_complete.crashes');

# without the library
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
like(found(), qr/^preloaded:critical/, 'not preloaded');
follow('preloaded');
$node->restart;
unlike(found(), qr/preloaded/, 'preloaded');

$node->stop;
done_testing();
