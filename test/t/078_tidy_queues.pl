# Queues that nothing refers to any more go from temporal_internal.queue, however many
# were made, and no request is lost by it: not one of a transaction that is
# open or prepared meanwhile, not one of a session that remembers a number, nor
# after a crash or a promotion.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $timeout = $PostgreSQL::Test::Utils::timeout_default;
my $node = new_cluster('main', init => { allows_streaming => 1 },
	settings => "autovacuum = off\ntemporal_complete.safety_poll_interval = 1h");
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $refusing = PostgreSQL::Test::Cluster::get_free_port();
my ($stub, $log) = TemporalTest::spawn('counting', $ENV{GRPC_STUB}, '--port', $port);
await('the stub', sub { -s $log });
start_stub($refusing, '--status', '3', '--message', 'no');

$node->safe_psql('postgres', <<"EOS");
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', namespaces '*');
CREATE SERVER refusing FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$refusing', namespaces '*');
CREATE SERVER away FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1', namespaces '*');
EOS

sub value { return $node->safe_psql('postgres', @_); }

sub call
{
	my ($namespace, $server) = @_;

	$server //= 'temporal';
	return "temporal.complete_activity_by_id('w', 'a', namespace => '$namespace', server => '$server')";
}

sub ok_delivered
{
	my ($id, $what) = @_;

	return is(value("SELECT state, server FROM temporal.wait_for_request($id, '$timeout s')"), 'delivered|temporal', $what);
}

# Ten days go by: another segment of outcomes is begun.
my $retention = 7;
sub ten_days
{
	my $before = value('SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1');

	value(<<'EOS');
BEGIN;
UPDATE temporal_internal.delivery_segment SET since = since - interval '10 days';
UPDATE temporal_internal.queue SET unused_since = unused_since - interval '10 days' WHERE isfinite(unused_since);
COMMIT;
EOS
	# the worker looks when that has changed
	$retention = 15 - $retention;
	$node->append_conf('postgresql.conf', "temporal_complete.retention = '${retention}d'");
	$node->reload;
	await('another segment', sub {
			value('SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1') ne $before;
		});
	return;
}

sub count_queues
{
	my ($condition) = @_;

	return value("SELECT count(*) FROM temporal_internal.queue WHERE $condition");
}

sub await_queues
{
	my ($count, $condition) = @_;

	await("$count queues, $condition", sub { count_queues($condition) == $count });
	return pass("$count queues, $condition");
}

# Many namespaces, and some of which something is left
value('SELECT count(' . call("' || i || '") . ') FROM generate_series(1, 3000) i');
await_finished($node);
my %number;
foreach my $namespace (qw(remembered open prepared undone))
{
	ok_delivered(value('SELECT ' . call($namespace)), "a request to $namespace");
	$number{$namespace} = value("SELECT number FROM temporal_internal.queue WHERE namespace = '$namespace'");
}
my $rejected = value('SELECT ' . call('rejected', 'refusing'));
my $waiting = value('SELECT ' . call('waiting', 'away'));
await_finished($node, "server <> 'away'");
await_queues(3000, "namespace ~ '^\\d'");

my $standby = PostgreSQL::Test::Cluster->new('standby');
$node->backup('backup');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;

my $session = $node->background_psql('postgres');
ok_delivered($session->query_safe('SELECT ' . call('remembered')), 'a session finds a number');
my $open = $node->background_psql('postgres');
$open->query_safe('BEGIN');
my $open_id = $open->query_safe('SELECT ' . call('open'));
my $prepared_id = value('BEGIN; SELECT ' . call('prepared') . "; PREPARE TRANSACTION 'p'");
my $undone = $node->background_psql('postgres');
$undone->query_safe('BEGIN; SAVEPOINT s');
$undone->query_safe('SELECT ' . call('undone'));
$undone->query_safe('ROLLBACK TO s');

# They are retired; as long as somebody may use them no more is done
ten_days();
await_queues(3004, 'unused_since IS NOT NULL');
my $id = $session->query_safe('SELECT ' . call('remembered'));
ok_delivered($id, 'a session that remembers the number of a queue that was retired');
isnt(value("SELECT queue FROM temporal_internal.delivery WHERE id = $id"), $number{remembered}, 'has another one');
foreach my $i (1 .. 5)
{
	ten_days();
	# the worker has looked at it again
	ok_delivered(value('SELECT ' . call("later $i")), "a request $i turns later");
}
is(count_queues("unused_since = 'infinity' AND number IN ($number{open}, $number{prepared}, $number{undone})"), 3,
	'what open transactions may use stays');
is(count_queues("isfinite(unused_since)"), 0, 'nothing is taken for unused');
my $undone_id = $undone->query_safe('SELECT ' . call('undone'));
$undone->query_safe('COMMIT');
$open->query_safe('COMMIT');
value("COMMIT PREPARED 'p'");
ok_delivered($open_id, 'a request of a transaction that was open');
ok_delivered($prepared_id, 'one of a transaction that was prepared');
ok_delivered($undone_id, 'one of a transaction that was rolled back in part');
is(value("SELECT queue FROM temporal_internal.delivery WHERE id = $open_id"), $number{open}, 'by the number that was retired meanwhile');

# A crash between the two
await("queues to be unused", sub { count_queues('isfinite(unused_since)') > 3000 });
kill('KILL', worker_pid($node));
$session->{run}->finish;
$open->quit;
$undone->{run}->finish;
await('the server to be back', sub { ($node->psql('postgres', 'SELECT'))[0] == 0 });
await_worker($node);
ok_delivered(value('SELECT ' . call('open')), 'a request after a crash');

# Outcomes go, and then what they refer to
ten_days();
await('outcomes', sub { value('SELECT count(*) FROM temporal.request WHERE server IS NULL') eq '0' });
is(count_queues("number = $number{open}"), 1, 'what outcomes refer to stays');
is(value("SELECT namespace FROM temporal.request WHERE id = $open_id"), 'open', 'and is shown');
ten_days() foreach 1 .. 3;
await_queues(0, "namespace ~ '^\\d'");
is(count_queues("number IN ($number{open}, $number{prepared}, $number{undone}, $number{remembered})"), 0, 'those that were used last are gone, too');
is(value("SELECT namespace, server, state FROM temporal.request WHERE id = $rejected"), 'rejected|refusing|rejected',
	'a queue with a request that was rejected stays');
is(value("SELECT namespace, server FROM temporal.request WHERE id = $waiting"), 'waiting|away', 'one with a request that waits stays');
is(value('SELECT count(*) FROM temporal.request WHERE server IS NULL'), 0, 'nothing refers to a queue that is gone');
cmp_ok(count_queues('true'), '<', 50, 'few are left');

# Many that come and go at once, also when the table is not as it was made; all is sent
value('ALTER TABLE temporal_internal.queue ADD COLUMN note text');
sub sent
{
	my $before = -s $log;

	kill('USR1', $stub);
	await('counts of a stub', sub { -s $log > $before && slurp_file($log) =~ /\}\n\z/ });
	return slurp_file($log) =~ /.*"requests": (\d+)/s ? $1 : 0;
}
my $sent = sent();
my $script = $node->basedir . '/random.sql';
append_to_file($script, "\\set n random(1, 2500)\nSELECT " . call("r' || :n || '") . ";\n");
# before the table is small enough to be let alone
value('SELECT count(' . call("s' || i || '") . ') FROM generate_series(1, 2000) i');
my ($bench, $bench_log) = TemporalTest::spawn('pgbench', 'pgbench', '-n', '-M', 'prepared', '-c', '4', '-t', '10000', '-f', $script,
	'-d', $node->connstr('postgres'));
my $turns = 0;
while (waitpid($bench, POSIX::WNOHANG()) == 0)
{
	ten_days();
	$turns++;
}
is($?, 0, "many requests, in $turns turns") or diag(slurp_file($bench_log));
await('all to be finished', sub { value('SELECT count(*) FROM temporal_internal.outbox') eq '1' });
is(value('SELECT state FROM temporal.request WHERE finished_at IS NULL'), 'retrying', 'but for the one that waits for its server');
cmp_ok(sent() - $sent, '>=', 42000, 'all were sent');
is(value('SELECT count(*) FROM temporal.request WHERE server IS NULL'), 0, 'nothing refers to a queue that is gone');
foreach my $i (1 .. 6)
{
	ten_days();
	# a turn is over before the next one
	await('a pass', sub { count_queues("namespace ~ '^[rs]\\d' AND (unused_since IS NULL OR unused_since = 'infinity')") eq '0' });
}
await_queues(0, "namespace ~ '^[rs]\\d'");

# A promotion
value('ALTER TABLE temporal_internal.queue DROP COLUMN note');
value('SELECT count(' . call("p' || i || '") . ') FROM generate_series(1, 2000) i');
await_finished($node, "server <> 'away'");
my $at_standby = $standby->background_psql('postgres');
$at_standby->query_safe("SELECT count(*) FROM temporal.request");
ten_days();
await_queues(2000, "namespace ~ '^p' AND unused_since IS NOT NULL");
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
$node = $standby;
$retention = 7;    # as when the backup was made
# the old server may have sent what is there when the worker begins
value('SELECT state FROM temporal.wait_for_request(' . value('SELECT ' . call('begun')) . ", '$timeout s')");
ok_delivered($at_standby->query_safe('SELECT ' . call('p1')), 'a session at a standby that was promoted');
is(count_queues("namespace = 'p1' AND unused_since IS NULL"), 1, 'makes a queue anew');
foreach my $i (1 .. 6)
{
	ten_days();
	await('a pass', sub { count_queues("namespace ~ '^p\\d' AND unused_since = 'infinity'") eq '0' });
}
await_queues(0, "namespace ~ '^p\\d'");
$at_standby->quit;

done_testing();
