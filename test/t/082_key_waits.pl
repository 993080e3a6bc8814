# Requests that wait for their key: none is lost and none is sent twice, whichever
# is committed first, whatever crashes in between, whoever waits besides.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => "max_prepared_transactions = 10\n");
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
$node->safe_psql('postgres', <<"EOS");
CREATE ROLE app; CREATE ROLE other; CREATE ROLE boss;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
GRANT USAGE ON FOREIGN SERVER temporal TO PUBLIC;
ALTER DATABASE postgres SET temporal_complete.default_server = 'temporal';
EOS

sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', "SET ROLE $role; $sql");
}

sub record { return "SELECT temporal.record_activity_by_id('$_[0]', 'w', '" . ($_[1] // $_[0]) . "');"; }

sub complete { return "SELECT temporal.complete_activity_by_key('$_[0]', wait_for_key => '" . ($_[1] // '1 hour') . "');"; }

sub outcome { return $node->safe_psql('postgres', "SELECT state, error_code, activity_id FROM temporal.wait_for_request($_[0], '180 s')"); }

sub state_of { return $node->safe_psql('postgres', "SELECT state, error_code, activity_id FROM temporal.request WHERE id = $_[0]"); }

# The worker knows of so many
sub await_known
{
	my ($n, $node_) = @_;
	await("$n requests to be known to wait", sub { ($node_ // $node)->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.awaited_key') eq $n });
	return;
}

# The request first, then the recording
my $id = as('app', complete('a'));
await_known(1);
is(state_of($id), 'waiting||', 'a request waits for its key');
is($node->safe_psql('postgres', q(SELECT count(*) FROM temporal.health('0 s') WHERE check_name = 'oldest_request' AND status <> 'ok')), '0',
	'which is not unhealthy');
as('app', record('b'));
is(state_of($id), 'waiting||', 'another key is of no use to it');
as('app', record('a'));
is(outcome($id), 'delivered||a', 'when its key is recorded it is sent');
is(as('app', 'SELECT string_agg(key, $$ $$) FROM temporal.activity'), 'b', 'and the key is forgotten');
await_known(0);
is(as('app', complete('b') =~ s/complete/heartbeat/r) =~ /^\d+$/, 1, 'one that is recorded already need not be waited for');
as('app', q(SELECT temporal.forget_activity('b')));

# Each verb, by token and by ids
my %arguments = (complete_activity => q(, '"r"'), fail_activity => q(, 'm', 'T', '"d"', heartbeat_details => '"h"'),
	report_cancellation => q(, '"d"'), heartbeat_activity => q(, '"d"'));
foreach my $verb (sort keys %arguments)
{
	my ($by_id, $by_token) = map { as('app', "SELECT temporal.${verb}_by_key('$verb $_'$arguments{$verb}, wait_for_key => '1 hour')") } qw(ids token);
	as('app', record("$verb ids"));
	as('app', "SELECT temporal.record_activity('$verb token', '\\x0a016e1201771a017220052801320162')");
	is(outcome($by_id), "delivered||$verb ids", "$verb by ids");
	is(outcome($by_token), 'delivered||b', "$verb by token");
}
as('app', q(SELECT temporal.forget_activity(key) FROM temporal.activity));
# what was asked for is what is sent: a server that refuses has it kept whole
my $refusing = PostgreSQL::Test::Cluster::get_free_port();
start_stub($refusing, '--status', 3);
$node->safe_psql('postgres', "CREATE SERVER refusing FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$refusing'); GRANT USAGE ON FOREIGN SERVER refusing TO PUBLIC");
foreach my $verb (sort keys %arguments)
{
	my ($waiting, $direct);
	$waiting = as('app', "SELECT temporal.${verb}_by_key('$verb'$arguments{$verb}, wait_for_key => '1 hour', server => 'refusing')");
	await_known(1);
	as('app', "SELECT temporal.record_activity_by_id('$verb', 'w', 'a', 'r', server => 'refusing')");
	is(outcome($waiting), 'rejected|INVALID_ARGUMENT|a', "$verb is refused");
	$direct = as('app', "SELECT temporal.${verb}_by_key('$verb'$arguments{$verb}, server => 'refusing')");
	outcome($direct);
	is($node->safe_psql('postgres', qq(
		SELECT count(DISTINCT temporal_internal.request_arguments(method, request)::text) FROM temporal_internal.rejected WHERE id IN ($waiting, $direct))), '1',
		"$verb says the same as one that did not wait");
}
as('app', q(SELECT temporal.forget_activity(key, 'refusing') FROM temporal.activity));

# At the same time: neither sees the other before its commit, in each order
foreach my $order ('request first', 'recording first')
{
	my ($waiter, $recorder) = map { $node->background_psql('postgres') } 1 .. 2;
	$waiter->query_safe('SET ROLE app; BEGIN');
	$id = $waiter->query_safe(complete('both'));
	$recorder->query_safe('SET ROLE app; BEGIN');
	$recorder->query_safe(record('both'));
	$_->query_safe('COMMIT') for $order eq 'request first' ? ($waiter, $recorder) : ($recorder, $waiter);
	is(outcome($id), 'delivered||both', "both at once, the $order");
	$_->quit for $waiter, $recorder;
}

# A race without an order, again and again
my $races = 300;
foreach my $sql (q(SELECT temporal.complete_activity_by_key('race %d', wait_for_key => '1 hour')),
	q(SELECT temporal.record_activity_by_id('race %d', 'w', 'race %d')))
{
	my @statements = map { my $n = $_; ('-c', $sql =~ s/%d/$n/gr) } 1 .. $races;
	spawn('race', 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', 'SET ROLE app', @statements);
}
await('races to end', sub {
	$node->safe_psql('postgres', q(SELECT count(*) FROM temporal.request WHERE key ~ '^race' AND state = 'delivered')) eq $races });
is(as('app', 'SELECT count(*) FROM temporal.activity'), '0', "of $races races none was lost");

# Time is over
$id = as('app', complete('never', '0'));
is(outcome($id), 'rejected|KEY_NOT_RECORDED|', 'with no time to wait it is rejected when it was looked at');
$id = as('app', complete('never', '200 ms'));
is(outcome($id), 'rejected|KEY_NOT_RECORDED|', 'when its time is over it is rejected');
is($node->safe_psql('postgres', "SELECT error_message FROM temporal.request WHERE id = $id"),
	'no activity is recorded under the key, and the time to wait for it is over', 'in words');
as('app', record('never'));
is(state_of($id), 'rejected|KEY_NOT_RECORDED|', 'it does not come back');
as('app', "SELECT temporal.retry_request($id)");
is(outcome($id), 'delivered||never', 'unless somebody retries it');

# Given up earlier than it would wait
$id = as('app', complete('expires'));
as('app', "SELECT temporal.expire_request($id, now() + interval '300 ms')");
is(outcome($id), 'rejected|EXPIRED|', 'it can be given up before');
as('app', q(SELECT temporal.expire_request(temporal.complete_activity_by_key('expires at once', wait_for_key => '1 hour'), now() + interval '300 ms')));
$id = $node->safe_psql('postgres', q(SELECT id FROM temporal.request WHERE key = 'expires at once'));
is(outcome($id), 'rejected|EXPIRED|', 'in the transaction that makes it');
$id = as('app', complete('expires'));
as('app', "SELECT temporal.expire_request($id, now() + interval '300 ms')");
as('app', "SELECT temporal.expire_request($id, NULL)");
my $other = as('app', complete('expires', '1 s'));
is(outcome($other), 'rejected|KEY_NOT_RECORDED|', 'another one waits for a second');
is(state_of($id), 'waiting||', 'and one whose time was taken back waits on');
as('app', record('expires'));
is(outcome($id), 'delivered||expires', 'until its key is recorded');

# Who may use it
$id = as('boss', complete('theirs'));
my $mine = as('other', complete('theirs'));
await_known(2);
as('app', record('theirs'));
as('app', record('later'));
is(state_of($_), 'waiting||', 'a key of others is of no use') for $id, $mine;
$node->safe_psql('postgres', 'GRANT app TO boss');
is(outcome($id), 'delivered||theirs', 'but to who was granted their privileges meanwhile');
is(state_of($mine), 'waiting||', 'and to nobody else');
as('other', record('theirs', 'mine'));
is(outcome($mine), 'delivered||mine', 'its own key is one');
$node->safe_psql('postgres', 'GRANT other TO boss');
as('app', q(SELECT temporal.forget_activity('later')));
my $holder = $node->background_psql('postgres');
$holder->query_safe('SET ROLE boss; BEGIN');
$id = $holder->query_safe(complete('later'));
as('app', record('later'));
as('other', record('later'));
$holder->query_safe('COMMIT');
is(outcome($id), 'rejected|KEY_AMBIGUOUS|', 'several that may be meant are an error');
is($node->safe_psql('postgres', "SELECT error_message FROM temporal.request WHERE id = $id") =~ /roles "(app|other)" and "(app|other)"/, 1, 'which names them');
as($_, q(SELECT temporal.forget_activity('later'))) for qw(app other);
$holder->quit;

# Many that wait, for one key and for others; the order is that in which they were made
my $last = as('app', "SELECT max(temporal.heartbeat_activity_by_key('one', wait_for_key => '1 hour')) FROM generate_series(1, 500)");
as('other', "SELECT count(temporal.complete_activity_by_key('of other ' || n, wait_for_key => '1 hour')) FROM generate_series(1, 10000) n");
await_known(10500);
my $verdict = as('app', complete('one'));
as('app', record('one'));
is(outcome($verdict), 'delivered||one', 'a verdict behind many heartbeats');
is(outcome($last) =~ /^(delivered|superseded)/, 1, 'and these');
as('other', "SELECT count(temporal.record_activity_by_id('of other ' || n, 'w', n::text)) FROM generate_series(1, 10000) n");
await('all of them to be sent', sub {
	$node->safe_psql('postgres', q(SELECT count(*) FROM temporal.request WHERE key ~ '^of other' AND state = 'delivered')) eq '10000' });
await_known(0);

# Crashes: in between, and of the worker
$id = as('app', complete('crash'));
my $over = as('app', complete('over', '1 s'));
$node->stop('immediate');
$node->start;
await_known(1);
is(outcome($over), 'rejected|KEY_NOT_RECORDED|', 'time goes on meanwhile');
kill('KILL', worker_pid($node));
await('the server to be there again', sub { $node->psql('postgres', 'SELECT 1') == 0 });
as('app', record('crash'));
is(outcome($id), 'delivered||crash', 'what waits survives crashes, and so does its wait');

# Recorded while there is no worker
$id = as('app', complete('no worker'));
await_known(1);
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
as('app', record('no worker'));
my $second = as('app', complete('no worker, too'));
as('app', record('no worker, too'));
my $late = as('app', complete('late', '0'));
as('app', record('late'));
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
is(outcome($_) =~ s/\|.*//r, 'delivered', 'recorded while there was no worker') for $id, $second;
is(outcome($late), 'rejected|KEY_NOT_RECORDED|', 'but too late is too late');
is($node->safe_psql('postgres', "SELECT error_message FROM temporal.request WHERE id = $late"),
	'an activity was recorded under the key only when the time to wait for it was over', 'and that is what is said');

# Recorded for one that stands behind very many whose time is over, which takes longer than a look at all that wait
my $away = PostgreSQL::Test::Cluster::get_free_port();
$node->safe_psql('postgres', "CREATE SERVER away FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$away', retry_max_interval '200ms'); GRANT USAGE ON FOREIGN SERVER away TO PUBLIC");
as('app', q(SELECT count(temporal.heartbeat_activity_by_key('behind', wait_for_key => '3 s', server => 'away')) FROM generate_series(1, 20000)));
my $behind = as('app', q(SELECT temporal.complete_activity_by_key('behind', wait_for_key => '1 hour', server => 'away')));
await('their time to be over', sub { $node->safe_psql('postgres', "SELECT clock_timestamp() > max(requested_at) + interval '3 s' FROM temporal.request WHERE key = 'behind'") eq 't' });
as('app', q(SELECT temporal.record_activity_by_id('behind', 'w', 'behind', server => 'away')));
await('it to be out of reach', sub { $node->safe_psql('postgres', "SELECT error_code FROM temporal.request WHERE id = $behind") eq 'CONNECTION_FAILED' });
start_stub($away);
await('it to go on', sub { state_of($behind) =~ /^delivered/ });
is(outcome($behind), 'delivered||behind', 'one behind very many whose time is over');

# Prepared transactions
$node->safe_psql('postgres', 'SET ROLE app; BEGIN;' . complete('prepared') . "PREPARE TRANSACTION 'p'; BEGIN;" . record('prepared') . "PREPARE TRANSACTION 'q'");
$node->safe_psql('postgres', "COMMIT PREPARED 'p'");
await_known(1);
$node->safe_psql('postgres', "COMMIT PREPARED 'q'");
is($node->safe_psql('postgres', q(SELECT state FROM temporal.wait_for_request((SELECT id FROM temporal.request WHERE key = 'prepared'), '180 s'))),
	'delivered', 'both prepared');

# Given up, or sent elsewhere
$id = as('app', complete('given up'));
await_known(1);
as('app', "SELECT temporal.discard_request($id)");
await_known(0);
as('app', record('given up'));
is(state_of($id), 'unconfirmed|DISCARDED|', 'what was discarded is not sent');
$id = as('app', "SELECT temporal.complete_activity_by_key('moved', wait_for_key => '1 hour', server => 'refusing')");
await_known(1);
as('app', record('moved'));
is(state_of($id), 'waiting||', 'a key of another server is of no use');
$second = as('app', "SELECT temporal.redirect_request($id, 'temporal')");
is(outcome($second), 'delivered||moved', 'sent elsewhere it finds it');

# The key is finished before the worker has read who waits for it: the queue is paused.  It was recorded in time.
as('boss', 'SELECT temporal.pause()');
$id = as('boss', complete('unread', '5 s') =~ s/complete/heartbeat/r);
as('app', record('unread'));
is(outcome(as('app', q(SELECT temporal.complete_activity_by_key('unread')))), 'delivered||unread', 'a key is finished for which others wait');
is(as('app', q(SELECT count(*) FROM temporal.activity WHERE key = 'unread')), '0', 'and forgotten');
as('boss', 'SELECT temporal.resume()');
is(outcome($id), 'delivered||unread', 'these are for the activity that was recorded');
$id = as('boss', complete('retried', '1 s'));
is(outcome($id), 'rejected|KEY_NOT_RECORDED|', 'one whose time is over');
as('boss', 'SELECT temporal.pause()');
as('boss', "SELECT count(temporal.heartbeat_activity_by_key('unread by many', wait_for_key => '1 hour')) FROM generate_series(1, 1500)");
as('app', record('unread by many') . record('retried'));
as('boss', "SELECT temporal.retry_request($id)");
is(outcome(as('app', q(SELECT temporal.complete_activity_by_key('unread by many')))), 'delivered||unread by many', 'so it is with many of them');
is(outcome(as('app', q(SELECT temporal.complete_activity_by_key('retried')))), 'delivered||retried', 'and with what is retried');
as('boss', 'SELECT temporal.resume()');
await('all of them to be sent', sub {
	$node->safe_psql('postgres', q(SELECT DISTINCT state IN ('delivered', 'superseded') FROM temporal.request WHERE key = 'unread by many')) eq 't' });
is(outcome($id), 'delivered||retried', 'that too');

# Who has no right to a key keeps nobody from finishing it, nor others' time from being over, whatever he has locked
as('other', record('held'));
as('other', q(SELECT temporal.forget_activity('held')));
as('app', record('held'));
my @held = split(/\n/, as('other', q(SELECT temporal.heartbeat_activity_by_key('held', wait_for_key => '2 s') FROM generate_series(1, 100))));
$holder = $node->background_psql('postgres');
$holder->query_safe('SET ROLE other; BEGIN; SELECT ' . join(', ', map { "temporal.expire_request($_, now() + interval '2 s')" } @held));
as('other', record('held'));
is(outcome(as('app', q(SELECT temporal.complete_activity_by_key('held')))), 'delivered||held', 'a key is finished for which another role asks that has locked what it asked for');
is(outcome(as('app', complete('over, too', '3 s'))), 'rejected|KEY_NOT_RECORDED|', 'and the time of others is over in time');
is($node->safe_psql('postgres', q(SELECT DISTINCT state FROM temporal.request WHERE key = 'held' AND requested_by = 'other')), 'waiting', 'while those wait');
$holder->query_safe('ROLLBACK');
$holder->quit;
await('them to go on', sub {
	$node->safe_psql('postgres', q(SELECT bool_and(state IN ('delivered', 'superseded')) FROM temporal.request WHERE key = 'held' AND requested_by = 'other')) eq 't' });
pass('for their own key, which was recorded in time');
as('other', q(SELECT temporal.forget_activity('held')));

# An error on the way stops only for a while
$id = as('app', complete('locked'));
await_known(1);
$holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE temporal_internal.awaited_key');
as('app', record('locked') . record('finished'));
$second = as('app', q(SELECT temporal.complete_activity_by_key('finished')));
is(outcome(as('app', q(SELECT temporal.heartbeat_activity_by_key('locked')))) =~ s/\|.*//r, 'delivered', 'while the table is locked other requests go on');
$holder->query_safe('ROLLBACK');
is(outcome($second), 'delivered||finished', 'a key is finished when it is not any more');
is(outcome($id), 'delivered||locked', 'and it comes to those that wait');
$holder->quit;

# A dump
$id = as('app', complete('dumped'));
my $dump = scratch('waits.dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
$node->safe_psql('restored', q(SET ROLE app; SELECT temporal.record_activity('dumped', '\x0a016e1201771a017220052801320163', server => 'temporal')));
is($node->safe_psql('restored', "SELECT state FROM temporal.request WHERE id = $id"), 'held', 'a copy is held');
$node->safe_psql('restored', 'SELECT temporal.adopt()');
is($node->safe_psql('restored', "SELECT state, activity_id FROM temporal.wait_for_request($id, '180 s')"), 'delivered|c', 'after adopt() it goes on');
as('app', record('dumped'));
is(outcome($id), 'delivered||dumped', 'and so does the original');

# A worker with nothing to wait for is told of nothing, and leaves
await_known(0);
$node->append_conf('postgresql.conf', "temporal_complete.worker_idle_timeout = '1s'");
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
$id = as('app', complete('stays', '3 s'));
is(outcome($id), 'rejected|KEY_NOT_RECORDED|', 'it stays as long as something waits');

done_testing();
