# Statistics agree with what became of requests, also when workers come and go;
# who may see which; who finds no room.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => 'temporal_complete.max_statistics = 16');

# a token of an activity whose id has four characters
my $token = "'\\x0a016e1201771a0172200528013204'::bytea";
my %stub;
my %port;

sub stub
{
	my ($name, @arguments) = @_;

	end_process($stub{$name}, 'TERM') if defined $stub{$name};
	$port{$name} //= PostgreSQL::Test::Cluster::get_free_port();
	$stub{$name} = start_stub($port{$name}, @arguments);
	return;
}

sub server
{
	my ($name, $options) = @_;

	$node->safe_psql('postgres', "CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete OPTIONS"
		  . " (address '127.0.0.1:$port{$name}', retry_initial_interval '50ms', retry_max_interval '1s', request_timeout '1s'$options)");
	return;
}

# Requests for different activities
sub request
{
	my ($server, $n, $verb) = @_;

	$verb //= 'complete_activity';
	$node->safe_psql('postgres', "SELECT temporal.$verb($token || convert_to(lpad(n::text, 4, '0'), 'UTF8'), server => '$server')"
		  . " FROM generate_series(1, $n) n");
	return;
}

sub stat_of
{
	my ($columns, $where) = @_;

	return $node->safe_psql('postgres', "SELECT $columns FROM temporal.stat_server WHERE $where ORDER BY server");
}

# What waits, by state and code
sub backlog
{
	return $node->safe_psql('postgres', 'SELECT server, state, error_code, requests FROM temporal.stat_backlog ORDER BY 1, 2, 3');
}

# The same by reading the requests
sub backlog_read
{
	return $node->safe_psql('postgres', 'SELECT server, state, error_code, count(*) FROM temporal.request WHERE finished_at IS NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3');
}

# Until what was counted is this
sub await_stat
{
	my ($columns, $where, $expected, $what) = @_;

	await($what, sub { stat_of($columns, $where) eq $expected });
	pass($what);
	return;
}

is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal.stat_server'), '0', 'before there are requests there is nothing');

stub('good');
stub('bad', '--status', '3', '--message', 'this is secret');
stub('shaky', '--status', '13', '--fail-first', '5');
stub('busy', '--status', '8');
stub('deaf', '--hang');
server('good', '');
server('bad', '');
server('shaky', '');
server('busy', ", expire_after '1s'");
server('deaf', '');

request('good', 300);
request('good', 7, 'heartbeat_activity');
request('bad', 20);
request('shaky', 4);
request('busy', 3);
request('deaf', 1, 'heartbeat_activity');

# what was sent once without an answer, and is then refused, is unconfirmed
await_stat('ambiguous > 0 AND retries > 0', "server = 'deaf'", 't', 'a call without an answer is ambiguous');
stub('deaf', '--status', '3');
await_finished($node);

my $counted = 'requests, delivered, rejected, unconfirmed, expired, heartbeats';

await_stat($counted, "server = 'good'", '307|307|0|0|0|7', 'what is delivered is counted');
await_stat($counted, "server = 'bad'", '20|0|20|0|0|0', 'what is rejected is counted');
await_stat($counted, "server = 'shaky'", '4|4|0|0|0|0', 'what is delivered in the end is counted');
await_stat($counted, "server = 'busy'", '3|0|3|0|3|0', 'what has expired is counted');
await_stat($counted, "server = 'deaf'", '1|0|0|1|0|1', 'what is unconfirmed is counted');
is(stat_of('retries, calls', "server = 'shaky'"), '5|9', 'retries are counted, and calls');
is(stat_of('calls, bytes > 307 * 10, retries, ambiguous', "server = 'good'"), '307|t|0|0', 'calls without failures');

sub agrees
{
	return $node->safe_psql('postgres', <<'EOS');
SELECT count(*) FROM
  (SELECT server, count(*) AS requests, count(*) FILTER (WHERE state = 'delivered') AS delivered,
          count(*) FILTER (WHERE state = 'rejected') AS rejected, count(*) FILTER (WHERE state = 'unconfirmed') AS unconfirmed,
          count(*) FILTER (WHERE error_code = 'EXPIRED') AS expired, count(*) FILTER (WHERE verb = 'heartbeat') AS heartbeats
     FROM temporal.request GROUP BY server) r
  FULL JOIN temporal.stat_server s USING (server)
 WHERE (r.requests, r.delivered, r.rejected, r.unconfirmed, r.expired, r.heartbeats)
       IS DISTINCT FROM (s.requests, s.delivered, s.rejected, s.unconfirmed, s.expired, s.heartbeats)
EOS
}
is(agrees(), '0', 'statistics and requests agree');

is($node->safe_psql('postgres', "SELECT count(*), min(le), max(count) = 307, bool_and(ordered) FROM"
		  . " (SELECT le, count, count >= lag(count, 1, 0::bigint) OVER (ORDER BY le) AS ordered FROM temporal.stat_latency WHERE server = 'good') l"),
	'15|0.005|t|t', 'latencies are cumulative');
is($node->safe_psql('postgres', "SELECT count FROM temporal.stat_latency WHERE server = 'good' AND le = 'Infinity'"),
	'307', 'the last class has all');

# what is so now
await_stat('connected, backlog, in_flight, error_code', "server = 'good'", 't|0|0|', 'a server that is connected, with nothing to do');
is(stat_of('last_error_code, last_error_message', "server = 'bad'"), 'INVALID_ARGUMENT|this is secret', 'the last error');
is(stat_of('last_delivered_time >= last_call_time - interval \'1 min\', last_error_time', "server = 'good'"), 't|', 'times of what was last');

end_process($stub{good}, 'TERM');
request('good', 500);
await_stat('backlog, in_flight, connected, error_code, error_since <= now(), oldest_request_time <= now()', "server = 'good'",
	'500|0|f|CONNECTION_FAILED|t|t', 'a backlog, and why');

is(backlog(), 'good|retrying|CONNECTION_FAILED|500', 'the same by state and code');

# a worker that has to leave and the next one
my $pid = worker_pid($node);
my $before = stat_of($counted, 'true');
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
is(stat_of($counted, 'true'), $before, 'statistics survive the worker');
is(stat_of('backlog, in_flight, connected', "server = 'good'"), '500|0|f', 'and what it left');
stub('good');
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
await_worker($node, 'postgres', $pid);
await_finished($node);
await_stat($counted . ', backlog', "server = 'good'", '807|807|0|0|0|7|0', 'the next one goes on with them');
is(agrees(), '0', 'statistics and requests agree after another worker');

# pg_stat_activity
await('an idle worker', sub {
	$node->safe_psql('postgres', "SELECT state, query FROM pg_stat_activity WHERE pid = " . worker_pid($node)) eq 'idle|waiting for requests';
});
pass('an idle worker says so');
stub('deaf', '--hang');
$node->safe_psql('postgres', "ALTER SERVER deaf OPTIONS (SET request_timeout '300s')");
request('deaf', 1);
await('a worker that waits for Temporal', sub {
	$node->safe_psql('postgres', "SELECT state, query FROM pg_stat_activity WHERE pid = " . worker_pid($node)) eq 'active|waiting for Temporal';
});
pass('a worker that waits for Temporal says so');
await_stat('in_flight', "server = 'deaf'", '1', 'what is in flight');
is($node->safe_psql('postgres', "SELECT datname, state, pid = " . worker_pid($node) . ", queues > 0, requests, in_flight, start_time < now() FROM temporal.stat_worker"),
	'postgres|working|t|t|1|1|t', 'the worker');
end_process($stub{deaf}, 'TERM');
await('a worker that backs off', sub {
	$node->safe_psql('postgres', "SELECT state, query FROM pg_stat_activity WHERE pid = " . worker_pid($node)) eq 'active|backing off';
});
pass('a worker that backs off says so');
await('the statistics of what waits', sub { backlog() eq backlog_read() });
is(backlog(), 'deaf|retrying|CONNECTION_FAILED|1', 'what was sent without an answer, by state and code');

# what is given up is counted when that commits, and not before
my $discard = "SELECT temporal.discard_requests('deaf');";
$node->safe_psql('postgres', "BEGIN; $discard ROLLBACK; BEGIN; SAVEPOINT a; $discard ROLLBACK TO a; COMMIT");
is(stat_of('discarded', "server = 'deaf'"), '0', 'not what was rolled back');
$node->safe_psql('postgres', "BEGIN; SAVEPOINT a; $discard RELEASE a; COMMIT");
is(stat_of('discarded', "server = 'deaf'"), '1', 'a request that waits');
$node->safe_psql('postgres', "SELECT temporal.discard_request((SELECT id FROM temporal.request WHERE server = 'bad' AND state = 'rejected' LIMIT 1))");
$node->safe_psql('postgres', "SELECT temporal.discard_rejected('bad')");
is(stat_of('discarded, rejected', "server = 'bad'"), '20|20', 'and such that were rejected');
# the worker notices that it is gone when it would send it
stub('deaf');
await('the statistics of what waits', sub { backlog() eq '' });
pass('nothing waits');

# a request of its own that fails again and again, while others are delivered
stub('busy', '--status', '8');
$node->safe_psql('postgres', "ALTER SERVER busy OPTIONS (DROP expire_after)");
request('busy', 1);
await('one that is tried again', sub { backlog() eq 'busy|retrying|RESOURCE_EXHAUSTED|1' });
is(backlog_read(), backlog(), 'its code is that of temporal.request');
$node->safe_psql('postgres', "SELECT temporal.discard_requests('busy')");

# more than are counted at once
$node->safe_psql('postgres', "SELECT temporal.pause('good')");
request('good', 25000);
await('all to be counted', sub { backlog() eq 'good|queued|PAUSED|25000' });
is(backlog_read(), backlog(), 'many that wait');
$node->safe_psql('postgres', "SELECT temporal.discard_requests('good'); SELECT temporal.resume('good')");
await('the statistics of what waits', sub { backlog() eq '' });
is(stat_of('discarded', "server = 'good'"), '25000', 'none of them any more');

# who sees what
$node->safe_psql('postgres', <<'EOS');
CREATE ROLE requester LOGIN;
CREATE ROLE friend LOGIN IN ROLE requester;
CREATE ROLE stranger LOGIN;
CREATE ROLE reader LOGIN IN ROLE pg_read_all_stats;
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
GRANT USAGE ON FOREIGN SERVER good, bad TO requester, stranger;
SET ROLE requester;
SELECT temporal.complete_activity('\x0a016e1201771a017220052801320141', server => 'good');
SELECT temporal.complete_activity('\x0a016e1201771a017220052801320142', server => 'bad');
EOS
await_finished($node);
await_stat('requests', "server = 'bad'", '21', 'requests of another role');

sub seen_by
{
	my ($role, $query) = @_;

	return $node->safe_psql('postgres', "SET ROLE $role; $query");
}
my $seen = "SELECT server, requests, last_error_message FROM temporal.stat_server WHERE server IN ('good', 'bad') ORDER BY 1";
is(seen_by('requester', $seen), "bad|1|this is secret\ngood|1|", 'a role sees what concerns its own requests');
is(seen_by('friend', $seen), "bad|1|this is secret\ngood|1|", 'so do its members');
is(seen_by('stranger', $seen), '', 'USAGE on the server shows nothing of others');
is(seen_by('stranger', 'SELECT count(*) FROM temporal.stat_latency'), '0', 'nor do latencies');
$node->safe_psql('postgres', "SELECT temporal.pause('good'); SET ROLE requester; SELECT temporal.complete_activity_by_id('w', 'waits', server => 'good')");
await('the statistics of what waits', sub { backlog() eq 'good|queued|PAUSED|1' });
my $waiting = 'SELECT server, requests FROM temporal.stat_backlog';
is(join(' ', map { seen_by($_, $waiting) } qw(requester friend reader monitor)), 'good|1 good|1 good|1 good|1', 'what waits is seen likewise');
is(seen_by('stranger', $waiting), '', 'and not by others');
$node->safe_psql('postgres', "SELECT temporal.discard_requests('good'); SELECT temporal.resume('good')");
await('the statistics of what waits', sub { backlog() eq '' });
is(seen_by('reader', $seen), "bad|21|\ngood|808|", 'pg_read_all_stats sees all, but no messages of requests that it does not see');
is(seen_by('monitor', $seen), "bad|21|this is secret\ngood|808|", 'pg_monitor sees all');
is(seen_by('stranger', 'SELECT datname, pid IS NOT NULL, state, requests, in_flight, queues, start_time FROM temporal.stat_worker'),
	'postgres|t|working||||', 'that there is a worker is no secret, what it does is one');
foreach my $role ('stranger', 'reader', 'monitor')
{
	my ($status, undef, $error) = $node->psql('postgres', "SET ROLE $role; SELECT temporal.stat_reset()");

	like($error, qr/permission denied for function stat_reset/, "$role cannot reset");
}

# resetting
my ($status, undef, $error) = $node->psql('postgres', "SELECT temporal.stat_reset('nowhere')");
like($error, qr/server "nowhere" of foreign-data wrapper "temporal_complete" does not exist/, 'a server that is not there');
my $reset = stat_of('stats_reset', "server = 'good'");
$node->safe_psql('postgres', "SELECT temporal.stat_reset('bad')");
is(stat_of("requests, last_error_code, stats_reset > '$reset'", "server = 'bad'"), '0||t', 'a server is reset');
is(stat_of('requests, stats_reset', "server = 'good'"), "808|$reset", 'others are not');
$node->safe_psql('postgres', 'SELECT temporal.stat_reset()');
is($node->safe_psql('postgres', "SELECT sum(requests), min(stats_reset) > '$reset' FROM temporal.stat_server"), '0|t', 'all are reset');

# one role does not take the places of others: 16 places, of which 6 are used so far
$node->safe_psql('postgres', "ALTER SERVER good OPTIONS (ADD namespaces '*')");
$node->safe_psql('postgres', "GRANT USAGE ON FOREIGN SERVER good TO friend");
$node->safe_psql('postgres', 'SET ROLE stranger; SELECT count(temporal.complete_activity_by_id(\'w\' || n, \'a\', server => \'good\', namespace => \'n\' || n))'
	  . ' FROM generate_series(1, 30) n');
await_finished($node);
$node->safe_psql('postgres', "SET ROLE friend; SELECT temporal.complete_activity_by_id('w', 'a', server => 'good')");
await_finished($node);
await('all of them to be counted', sub { $node->safe_psql('postgres', 'SELECT sum(requests) FROM temporal.stat_server') eq '31' });
ok($node->safe_psql('postgres', 'SELECT requests FROM temporal.stat_server WHERE server IS NULL') > 0,
	'what finds no room is counted together');
is(seen_by('friend', "SELECT requests FROM temporal.stat_server WHERE server = 'good'"), '1', 'there is room for another role');
is(seen_by('stranger', 'SELECT count(*) FROM temporal.stat_server WHERE server IS NULL'), '0', 'whose that is nobody learns');

# what was dropped makes room
$node->safe_psql('postgres', 'DROP SERVER shaky, busy, deaf CASCADE');
is($node->safe_psql('postgres', "SELECT count(*) FROM temporal.stat_server WHERE server NOT IN ('good', 'bad')"), '0', 'a server that was dropped is not shown');

# a crash
my $begun = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
kill('KILL', worker_pid($node));
await('the end of the crash', sub { my ($rc, $out) = eval { $node->psql('postgres', 'SELECT count(*) FROM temporal.stat_server') }; defined $rc && $rc == 0 && $out eq '0' });
request('good', 1);
await_stat("requests, stats_reset > '$begun'", "server = 'good'", '1|t', 'after a crash it is counted anew, and that is shown');

$node->stop;

# without the library
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM temporal.stat_server), (SELECT count(*) FROM temporal.stat_worker)'), '0|0',
	'without the library there are none');
$node->safe_psql('postgres', 'SELECT temporal.stat_reset()');
$node->stop;

done_testing();
