# For scripts: drain(), redirect_request() and purge() where a worker is at
# work.  Whose requests each may touch is in sql/10_scripts.sql.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $refusing_port = PostgreSQL::Test::Cluster::get_free_port();
my $closed_port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
start_stub($refusing_port, '--status', '3', '--message', 'no');
my $slow_port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($slow_port, '--delay', '1500');
my $node = new_cluster('main', settings => 'fsync = off');
$node->safe_psql('postgres', <<"EOS");
CREATE ROLE one LOGIN;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
CREATE SERVER refusing FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$refusing_port');
CREATE SERVER slow FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$slow_port');
CREATE SERVER away FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$closed_port');
GRANT USAGE ON FOREIGN SERVER temporal, away TO one;
EOS

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub request_for { my ($activity, $server) = @_; return sql("SELECT temporal.complete_activity_by_id('w', '$activity', server => '$server')"); }
# By token: the stub knows no workflows, in which others would be looked up
my $token = q(decode('CiQ2YzFhMGY3ZS0yYjNkLTRjNWUtOGY5MC1hMWIyYzNkNGU1ZjYSCG9yZGVyLTQyGiQwMTk4YzBkZS0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDEgBSgBMgE1QgpDaGFyZ2VDYXJkSggIARCLgEAYAQ==', 'base64'));
sub token_request_for { my ($server) = @_; return sql("SELECT temporal.complete_activity($token, server => '$server')"); }
sub outcome { my ($id) = @_; return sql("SELECT state || ' ' || coalesce(error_code, '') FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"); }

# drain()
sql(q(SELECT count(temporal.complete_activity_by_id('w', 'many-' || n, server => 'temporal')) FROM generate_series(1, 2000) n));
is(sql('SELECT temporal.drain()'), 't', 'drain() waits');
is(sql(q(SELECT count(*) FROM temporal.request WHERE state = 'delivered')), '2000', 'until all has ended');
my $waiting = token_request_for('away');
is(sql(q(SELECT temporal.drain('10 ms'))), 'f', 'drain() gives up when the time is over');
is(sql(q(SET ROLE one; SELECT temporal.drain())), 't', 'what the caller may not see does not count');
my ($drained, $draining_error) = ('', '');
my $draining = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'BEGIN ISOLATION LEVEL REPEATABLE READ', '-c', 'SELECT 1', '-c', 'SELECT temporal.drain()' ],
	'>', \$drained, '2>', \$draining_error);
await('drain() to wait', sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT temporal.drain()' AND state = 'active' AND wait_event_type IS NOT NULL)) eq '1' });
await('the error of the connection', sub { sql("SELECT error_code FROM temporal.request WHERE id = $waiting") eq 'CONNECTION_FAILED' });

# A request that finds its key while drain() waits is still one that was there before.
sql('GRANT USAGE ON FOREIGN SERVER slow TO one');
my $keyed = sql(q(SET ROLE one; SELECT temporal.complete_activity_by_key('k', wait_for_key => '1 hour', server => 'slow')));
my $after = '';
my $draining_key = IPC::Run::start([ 'psql', '-XAtq', '-U', 'one', '-d', $node->connstr('postgres'),
		'-c', 'SELECT temporal.drain()', '-c', "SELECT state FROM temporal.request WHERE id = $keyed" ], '>', \$after);
await('drain() to wait for it',
	sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT temporal.drain()' AND usename = 'one' AND wait_event_type IS NOT NULL)) eq '1' });
sql("SET ROLE one; SELECT temporal.record_activity('k', $token, server => 'slow')");
await('the key to be found', sub { sql("SELECT state FROM temporal.request WHERE id = $keyed") ne 'waiting' });
# any outcome has drain() look again
is(outcome(request_for('meanwhile', 'temporal')), 'delivered ', 'another one is delivered meanwhile');
$draining_key->finish;
is($after, "t\ndelivered\n", 'drain() waits for a request that waits for its key');

# redirect_request()
my $there = sql("SELECT temporal.redirect_request($waiting, 'temporal')");
is(outcome($there), 'delivered ', 'what waited for another server is sent to the right one');
is(outcome($waiting), 'unconfirmed REDIRECTED', 'and ended there');
like(sql("SELECT decisions FROM temporal.request WHERE id = $there"), qr/^redirected from $waiting by /, 'each names the other');
like(sql("SELECT decisions || error_message FROM temporal.request WHERE id = $waiting"), qr/^redirected as $there by .*as request $there$/, 'both ways');
is(sql('SELECT temporal.drain()'), 't', 'nothing waits any more');
$draining->finish;
is($drained, "1\nt\n", 'drain() in a transaction with one snapshot sees the end') or diag($draining_error);
my $refused = request_for('second', 'refusing');
is(outcome($refused), 'rejected INVALID_ARGUMENT', 'what was refused');
$there = sql("SELECT temporal.redirect_request($refused, 'temporal')");
is(outcome($there), 'delivered ', 'is sent elsewhere');
is(outcome($refused), 'rejected INVALID_ARGUMENT', 'and was refused all the same');
my (undef, undef, $error) = $node->psql('postgres', "SELECT temporal.redirect_request($refused, 'temporal')");
like($error, qr/there is no request $refused that waits/, 'once');

# What follows for the same activity goes on
my $head = token_request_for('away');
my $tail = token_request_for('away');
sql("SELECT temporal.redirect_request(id, 'temporal') FROM temporal.request WHERE id IN ($head, $tail) ORDER BY id");
is(sql('SELECT temporal.drain()'), 't', 'both of one activity are sent');
is(sql(q(SELECT count(*) FROM temporal.request WHERE decisions LIKE 'redirected from%' AND state = 'delivered')), '4', 'and delivered');

# Prepared transactions made requests, too
sql(q(BEGIN; SELECT temporal.complete_activity_by_id('w', 'prepared', server => 'temporal'); PREPARE TRANSACTION 'p'));
is(sql('SELECT temporal.drain()'), 't', 'what is prepared was not committed before');
sql(q(COMMIT PREPARED 'p'));
is(sql('SELECT temporal.drain()'), 't', 'and is awaited when it is');
is(sql(q(SELECT state FROM temporal.request WHERE activity_id = 'prepared')), 'delivered', 'it has ended then');

# expire_request(): given up by then, whether it was never sent or again and again in vain
my $failing_port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($failing_port, '--status', '14', '--message', 'not now');
sql("CREATE SERVER failing FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$failing_port', retry_max_interval '200ms')");
my $failing = token_request_for('failing');
await('attempts', sub { sql("SELECT attempts > 1 FROM temporal.request WHERE id = $failing") eq 't' });
sql("SELECT temporal.expire_request($failing, clock_timestamp() + interval '100 ms')");
is(outcome($failing), 'unconfirmed EXPIRED', 'what fails again and again is given up');
sql("SELECT temporal.acknowledge_request($failing)");
sql(q(CREATE SERVER later FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1')));
my $never = sql("BEGIN; SELECT temporal.complete_activity($token, server => 'later') AS id \\gset\nSELECT temporal.expire_request(:id, clock_timestamp() + interval '100 ms'); COMMIT; SELECT :id");
$never =~ s/\s//g;
my ($in_time, $lifted) = map { request_for($_, 'later') } qw(in-time lifted);
sql("SELECT temporal.expire_request($in_time, 'tomorrow'), temporal.expire_request($lifted, clock_timestamp() + interval '100 ms')");
sql("SELECT temporal.expire_request($lifted, NULL)");
is(sql("SELECT count(*) FROM temporal.request WHERE id = $never AND expires_at IS NOT NULL"), '1', 'when is shown');
await('the time', sub { sql("SELECT expires_at < clock_timestamp() FROM temporal.request WHERE id = $never") eq 't' });
sql("ALTER SERVER later OPTIONS (SET address '127.0.0.1:$port')");
is(outcome($never), 'rejected EXPIRED', 'what could not be sent in time is not sent');
is(outcome($in_time), 'delivered ', 'what can be is');
is(outcome($lifted), 'delivered ', 'and what has no such time any more');
sql("SELECT temporal.retry_request($never)");
is(outcome($never), 'delivered ', 'who retries it means it again');

# purge()
my $kept = outcome(request_for('third', 'refusing'));
is(sql(q(SELECT temporal.purge('1 day'))), '0', 'purge() of what is older');
cmp_ok(sql(q(SELECT temporal.purge('0 s'))), '>', 2000, 'purge() of all');
is(sql('SELECT string_agg(state, \',\') FROM temporal.request'), 'rejected', 'but not of what waits for a decision');
is(outcome(request_for('fourth', 'temporal')), 'delivered ', 'the worker goes on');

done_testing();
