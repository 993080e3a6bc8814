# Heartbeats of recorded activities: they are sent as often as was said, for as
# long as there is something that lives, and never for what has ended.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $calls = scratch('calls');
# each heartbeat is answered that the activity is asked to cancel, and paused
start_stub($port, '--calls', $calls, '--reply', '08011001');
my $gone = PostgreSQL::Test::Cluster::get_free_port();
my $calls_of_gone = scratch('calls_of_gone');
start_stub($gone, '--calls', $calls_of_gone, '--status', 5);
my $node = new_cluster('main', init => { allows_streaming => 1 }, settings => "fsync = off\nmax_prepared_transactions = 10\n");

sub sql { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }

# What was called since a place in the file: lines of [ms, method, id]
sub called
{
	my ($since, $file) = @_;

	return map { [ split / / ] } split(/\n/, slurp_file($file // $calls, $since // 0));
}
sub here { return -s $calls // 0; }
sub beats { my ($id, $since) = @_; return grep { $_->[1] =~ /Heartbeat/ && $_->[2] == $id } called($since); }

# Wait until there were so many for a recording since then, and say when
sub await_beats
{
	my ($id, $n, $since) = @_;

	await("$n heartbeats of $id", sub { return scalar(beats($id, $since)) >= $n; });
	return map { $_->[0] } beats($id, $since);
}

sub setup
{
	my ($server_port) = @_;

	return <<"EOS";
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$server_port');
GRANT USAGE ON FOREIGN SERVER temporal TO app;
EOS
}
sql("CREATE ROLE app LOGIN; CREATE ROLE other; ALTER ROLE app SET temporal_complete.default_server = 'temporal';" . setup($port));
my $app = $node->connstr('postgres') . ' user=app';
sub app { my ($sql) = @_; return $node->safe_psql('postgres', $sql, connstr => $app); }

sub record
{
	my ($key, %options) = @_;
	my $more = $options{more} // '';

	return "SELECT temporal.record_activity_by_id('$key', 'w', '$key', heartbeat => true,"
	  . " heartbeat_interval => '" . ($options{interval} // '1 s') . "'$more)";
}
sub id_of { my ($key, $database) = @_; return sql("SELECT max(id) FROM temporal_internal.recorded_activity WHERE key = '$key'", $database); }
sub recorded { my ($key, %options) = @_; app(record($key, %options)); return id_of($key); }
sub told { my ($key) = @_; return app("SELECT cancel_requested, activity_paused, activity_reset, heartbeat_error FROM temporal.activity WHERE key = '$key'"); }

# None of a recording come any more, for as long as another one that began later has some
sub no_more
{
	my ($id, $name) = @_;
	my $since = here();
	my $witness = recorded('witness');

	await_beats($witness, 3, $since);
	is(scalar(beats($id, $since)), 0, $name);
	app(q(SELECT temporal.forget_activity('witness')));
	return;
}

# As often as was said
my $first = recorded('first');
my @times = await_beats($first, 6);
# the first comes at once; each of the others has its second, in which a busy machine may be late for it
cmp_ok($times[5] - $times[1], '>=', 3000, "not more often than once a second, but for the first: @times");
is(told('first'), 't|t|f|', 'what they are answered is seen');
is(sql('SELECT count(*) FROM temporal.request'), '0', 'they are no requests');
is(sql('SELECT count(*) FROM temporal_internal.heartbeat_answer'), '1', 'and no row is written for each');
await('the statistics', sub { sql('SELECT background_heartbeats FROM temporal.stat_server') >= 5 });
pass('they are counted');

# New ones begin at once, before another one has had two more: their timeout is running
my $from = here();
await_beats($first, 1, $from);
$from = here();
my @new = split(/\n/, app(q(SELECT temporal.record_activity_by_id('new ' || n, 'w', 'new ' || n, heartbeat => true) FROM pg_catalog.generate_series(1, 30) n;
SELECT id FROM temporal.activity WHERE key LIKE 'new %')) =~ s/^\s+//r);
await_beats($_, 1, $from) foreach @new;
my $second = (beats($first, $from))[1];
my %begun = map { $_->[2] => 1 } grep { !defined $second || $_->[0] < $second->[0] } called($from);
is(scalar(grep { $begun{$_} } @new), 30, 'new ones begin at once');
app(q(SELECT count(temporal.forget_activity(key)) FROM temporal.activity WHERE key LIKE 'new %'));

# Nothing before the commit, nothing after a rollback
my $as_app = q(SET ROLE app; SET temporal_complete.default_server = 'temporal');
my $open = $node->background_psql('postgres');
$open->query_safe($as_app);
$open->query_safe('BEGIN; ' . record('open'));
$open->query_safe('ROLLBACK');
$open->query_safe('BEGIN; ' . record('open'));
my $since = here();
await_beats($first, 2, $since);
my %known = map { $_ => 1 } ($first, @new);
is(scalar(grep { $_->[1] =~ /Heartbeat/ && !$known{ $_->[2] } } called()), 0, 'none for what is not committed');
$open->query_safe('COMMIT');
await_beats(id_of('open'), 1);
pass('some when it is');
$open->quit;
app(q(SELECT temporal.forget_activity('open')));

# forget_activity(), expiry, another recording
my $id = recorded('forgotten');
await_beats($id, 1);
app(q(SELECT temporal.forget_activity('forgotten')));
no_more($id, 'none for what was forgotten');
$id = recorded('expired', more => q(, expires_at => clock_timestamp() + '2 s'));
await_beats($id, 1);
await('the expiry', sub { app(q(SELECT state FROM temporal.activity WHERE key = 'expired')) eq 'expired' });
no_more($id, 'none for what has expired');
$id = recorded('again');
await_beats($id, 1);
my $new = recorded('again');
await_beats($new, 1);
no_more($id, 'none for what another one was recorded in place of');
await_beats($new, 3);
app(q(SELECT temporal.forget_activity('again')));

# Verdicts: by key, by ids, of another role; a heartbeat is none
$id = recorded('by_key');
await_beats($id, 1);
my $verdict = app(q(SELECT temporal.complete_activity_by_key('by_key')));
is(sql("SELECT state FROM temporal.wait_for_request($verdict)"), 'delivered', 'a verdict by key');
no_more($id, 'none after it');
$id = recorded('by_id');
await_beats($id, 1);
app(q(SELECT temporal.heartbeat_activity_by_id('w', 'by_id')));
await_beats($id, 3);
sql('GRANT USAGE ON FOREIGN SERVER temporal TO other');
$verdict = sql(q(SET ROLE other; SELECT temporal.fail_activity_by_id('w', 'by_id', 'no', server => 'temporal')));
is(sql("SELECT state FROM temporal.wait_for_request($verdict)"), 'delivered', q(a verdict by another role's ids));
my ($at) = map { $_->[0] } grep { $_->[2] == $verdict } called();
no_more($id, 'none after it');
is(scalar(grep { $_->[0] > $at } beats($id)), 0, 'also none at once');
is(told('by_id'), 't|t|f|VERDICT_DELIVERED', 'which is seen');

# Temporal says that the activity is gone
sql("CREATE SERVER gone FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$gone'); GRANT USAGE ON FOREIGN SERVER gone TO app");
$id = recorded('gone', more => q(, server => 'gone'));
await('the answer', sub { told('gone') eq 'f|f|f|NOT_FOUND' });
await_beats($first, 3, here());
is(scalar(grep { $_->[2] == $id } called(0, $calls_of_gone)), 1, 'none for what is gone');
is(sql(q(SELECT count(*) FROM temporal.request WHERE server = 'gone')), '0', 'and that is nobody\'s error');

# Who wants to hear of that does
my $listener = $node->background_psql('postgres');
$listener->query('LISTEN temporal_complete');
sql('ALTER SYSTEM SET temporal_complete.notify = on');
sql('SELECT pg_reload_conf()');
my $heard = '';
my $heard_of = recorded('heard', more => q(, server => 'gone'));
await('a notification', sub { $heard .= $listener->query('SELECT 1 AS nothing'); $heard =~ /"activity_gone": \[\d+\]/ });
like($heard, qr/"activity_gone": \[$heard_of\]/, 'a notification says which one is gone');
is(app(q(SELECT id FROM temporal.activity WHERE key = 'heard')), $heard_of, 'whose id is to be seen');
my $asked = recorded('asked');
await('a notification', sub { $heard .= $listener->query('SELECT 1 AS nothing'); $heard =~ /"activity_cancel_requested": \[$asked\]/ });
pass('and which one is asked to end');
app(q(SELECT temporal.forget_activity('asked')));
$listener->quit;

# while_session
my $session = $node->background_psql('postgres');
$session->query_safe($as_app);
$session->query_safe(record('session', more => ', while_session => true'));
$id = id_of('session');
await_beats($id, 3);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
sql("SELECT pg_terminate_backend($pid)");
await('the end of the session', sub { sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") eq '0' });
no_more($id, 'none when the session has ended');
is(told('session'), 't|t|f|SESSION_ENDED', 'which is seen');
my (undef, undef, $error) = $node->psql('postgres', 'BEGIN; ' . record('p', more => ', while_session => true') . q(; PREPARE TRANSACTION 'p'), connstr => $app);
like($error, qr/cannot PREPARE a transaction that has recorded an activity with while_session/, 'it is not for prepared transactions');

# pause(), revoked rights, a server that is dropped
app('SELECT temporal.pause()');
no_more_while('paused', sub { app('SELECT temporal.resume()') });
sql('REVOKE USAGE ON FOREIGN SERVER temporal FROM app');
no_more_while('without USAGE', sub { sql('GRANT USAGE ON FOREIGN SERVER temporal TO app') });

# Until it ends: nothing is sent, which is known when what another role asks for later was
sub no_more_while
{
	my ($name, $end) = @_;
	my $from;

	for my $n (0 .. 3)
	{
		my $request = sql(q(SET ROLE other; SELECT temporal.complete_activity_by_id('w', 'x', server => 'temporal')));
		sql("SELECT FROM temporal.wait_for_request($request)");
		$from //= here();
		sql('SELECT pg_sleep(0.5)') if $n < 3;
	}
	is(join(' ', map { "$_->[0] $_->[2]" } grep { $_->[1] =~ /Heartbeat/ } called($from)), '', "none $name");
	my $then = here();
	$end->();
	await_beats($first, 2, $then);
	pass("some again when it is not so");
	return;
}

# Crashes: of the worker, and of all
$since = here();
kill('KILL', worker_pid($node));
await('the server', sub { $node->psql('postgres', 'SELECT 1') == 0 });
await_beats($first, 2, $since);
pass('they go on after a crash of the worker');
is(scalar(beats($id, $since)), 0, 'not for a session of before');
$since = here();
$node->stop('immediate');
$node->start;
await_beats($first, 2, $since);
pass('they go on after a restart');
is(join(' ', map { $_->[2] } grep { $_->[1] =~ /Heartbeat/ && $_->[2] != $first } called($since)), '', 'and nothing else begins again');

# The postmaster is killed: those that it started leave by themselves, and at once
$since = here();
my $postmaster = (split(/\n/, slurp_file($node->data_dir . '/postmaster.pid')))[0];
$node->kill9;
await('its end', sub { !kill(0, $postmaster) });
await('another start', sub { system('pg_ctl', '-s', '-w', '-D', $node->data_dir, '-l', $node->logfile, 'start') == 0 });
$node->_update_pid(1);
await_beats($first, 2, $since);
pass('they go on when the postmaster was killed');

# Budget
sql(q(ALTER SERVER temporal OPTIONS (ADD max_heartbeats_per_second '5')));
# it counts once the worker has looked at the options, which it does before it sends a request
my $after_that = app(q(SELECT temporal.complete_activity_by_id('w', 'after that')));
app("SELECT FROM temporal.wait_for_request($after_that)");
app(q(SELECT count(temporal.record_activity_by_id('many ' || n, 'w', 'many ' || n, heartbeat => true, heartbeat_interval => '1 s')) FROM pg_catalog.generate_series(1, 50) n));
$since = here();
await('some heartbeats', sub { scalar(grep { $_->[1] =~ /Heartbeat/ } called($since)) >= 40 });
@times = map { $_->[0] } grep { $_->[1] =~ /Heartbeat/ } called($since);
cmp_ok(scalar(@times), '<=', ($times[-1] - $times[0]) / 200 + 3, 'not more than the budget: ' . scalar(@times));
sql('ALTER SERVER temporal OPTIONS (DROP max_heartbeats_per_second)');
my @many = split(/\n/, sql(q(SELECT id FROM temporal_internal.recorded_activity WHERE key LIKE 'many %')));
await_beats($_, 1, $since) foreach @many;
pass('each gets its turn');

# A copy is silent until it is adopted
my $dump = scratch('heartbeats.dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
sql('CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
my $copies = PostgreSQL::Test::Cluster::get_free_port();
my $calls_of_copies = scratch('calls_of_copies');
start_stub($copies, '--calls', $calls_of_copies);
sql("ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$copies'); ALTER SERVER gone OPTIONS (SET address '127.0.0.1:$copies')", 'restored');
my $request = sql(q(SELECT temporal.complete_activity_by_id('w', 'x', server => 'temporal')), 'restored');
is(sql("SELECT state FROM temporal.wait_for_request($request)", 'restored'), 'delivered', 'a request of the copy');
await_beats($first, 2, here());
is(scalar(called(0, $calls_of_copies)), 1, 'none of a copy');
sql('SELECT temporal.adopt()', 'restored');
await('some of the copy', sub { grep { $_->[2] == $first } called(0, $calls_of_copies) });
pass('until it was adopted');
sql('DROP DATABASE restored');

# A standby, and its promotion
$node->backup('standby');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'standby', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
$node->stop('immediate');
$since = here();
$standby->promote;
await_beats($_, 1, $since) foreach ($first, @many);
pass('they go on after a promotion');

# None from when something that was committed after it is carried out
$standby->safe_psql('postgres', 'DROP SERVER temporal CASCADE');
$standby->safe_psql('postgres', setup($port));
$standby->safe_psql('postgres', record('witness'), connstr => $standby->connstr('postgres') . ' user=app');
$id = $standby->safe_psql('postgres', q(SELECT max(id) FROM temporal_internal.recorded_activity WHERE key = 'witness'));
await_beats($id, 1, $since);
$since = here();
await_beats($id, 4, $since);
is(join(' ', grep { $_ != $id } map { $_->[2] } called($since)), '', 'none when the server is dropped, also if another one is called so');

done_testing();
