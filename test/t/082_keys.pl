# Keys: what was recorded is committed with its transaction, survives crashes, is
# finished by its key, goes along with a dump, and is seen by nobody else.

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
my $refusing = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
start_stub($refusing, '--status', 3);

my $setup = <<"EOS";
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
CREATE SERVER refusing FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$refusing');
GRANT USAGE ON FOREIGN SERVER temporal, refusing TO PUBLIC;
EOS
$node->safe_psql('postgres', "CREATE ROLE app; CREATE ROLE other; CREATE ROLE gone; $setup");

sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', "SET ROLE $role; $sql");
}

sub record
{
	my ($key, $activity, $server) = @_;
	return sprintf(q(SELECT temporal.record_activity_by_id('%s', 'w', '%s', server => '%s')),
		$key, $activity // 'a', $server // 'temporal');
}

sub keys_of { return as($_[0], q(SELECT coalesce(string_agg(key || '=' || activity_id, ' ' ORDER BY key), '') FROM temporal.activity)); }

sub state_of { return $node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($_[0], '180 s')"); }

sub error_of
{
	my ($role, $sql) = @_;
	my (undef, undef, $stderr) = $node->psql('postgres', "SET ROLE $role; $sql");
	return $stderr;
}

# A verdict that is delivered forgets the key; heartbeats and refused verdicts do not
as('app', record('a'));
my $id = as('app', q(SELECT temporal.heartbeat_activity_by_key('a', server => 'temporal')));
is(state_of($id), 'delivered', 'a heartbeat by key is delivered');
is(keys_of('app'), 'a=a', 'and leaves the key');
$id = as('app', q(SELECT temporal.complete_activity_by_key('a', '1', server => 'temporal')));
is(state_of($id), 'delivered', 'a completion by key is delivered');
is(keys_of('app'), '', 'and the key is forgotten');
is($node->safe_psql('postgres', "SELECT key, activity_id, requested_by FROM temporal.request WHERE id = $id"),
	'a|a|app', 'its request still says which key it was');
as('app', record('r', 'a', 'refusing'));
$id = as('app', q(SELECT temporal.complete_activity_by_key('r', server => 'refusing')));
is(state_of($id), 'rejected', 'a completion by key is refused');
is(keys_of('app'), 'r=a', 'and leaves the key');
is($node->safe_psql('postgres', "SELECT key FROM temporal.request WHERE id = $id"), 'r', 'which the request still has');
as('app', q(SELECT temporal.forget_activity('r', 'refusing')));

# What was recorded anew, for another activity, is not forgotten with the one before it
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
as('app', record('b'));
$id = as('app', q(SELECT temporal.complete_activity_by_key('b', server => 'temporal')));
my $failed = as('app', record('c') . q(; SELECT temporal.fail_activity_by_key('c', 'no', server => 'temporal')));
$failed =~ s/^\s+//;
my $again = as('app', record('d') . q(; SELECT temporal.complete_activity_by_key('d', server => 'temporal')));
$again =~ s/^\s+//;
as('app', record($_)) for qw(c d);
as('app', record('b', 'new'));
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
is(state_of($_), 'delivered', "request $_ is delivered") for ($id, $failed, $again);
is(keys_of('app'), 'b=new c=a',
	'the key of a new activity stays, and that of another attempt after a failure; that of the activity that was completed goes');
as('app', "SELECT temporal.forget_activity('$_', 'temporal')") for qw(b c);

# What was finished does not come back by what was recorded before it and is committed later
my $late = $node->background_psql('postgres');
$late->query_safe('SET ROLE app; BEGIN; ' . record('late', 'before'));
as('app', record('late', 'after'));
$id = as('app', q(SELECT temporal.complete_activity_by_key('late', server => 'temporal')));
is(state_of($id), 'delivered', 'a key is finished while an older recording is not committed');
is(keys_of('app'), '', 'and is forgotten');
$late->query_safe('COMMIT');
is(keys_of('app'), '', 'it does not come back when that is committed');
like(error_of('app', q(SELECT temporal.complete_activity_by_key('late', server => 'temporal'))), qr/no activity is recorded/, 'nor to be named');
is(as('app', q(SELECT temporal.forget_activity('late', 'temporal'))), 'f', 'nor to be forgotten');
as('app', record('late', 'new'));
is(keys_of('app'), 'late=new', 'a new recording counts');
as('app', q(SELECT temporal.forget_activity('late', 'temporal')));
is(keys_of('app'), '', 'until it is forgotten');

# What has expired goes when another segment of outcomes is begun; one that stands for a finished one later
$late->query_safe('BEGIN; SELECT pg_current_xact_id()');
as('app', record('finished'));
$id = as('app', q(SELECT temporal.complete_activity_by_key('finished', server => 'temporal')));
state_of($id);
as('app', q(SELECT temporal.record_activity_by_id('expired', 'w', 'a', expires_at => clock_timestamp() + '10 ms', server => 'temporal')));
as('app', record('kept'));
sub rows { return $node->safe_psql('postgres', 'SELECT count(*), count(*) FILTER (WHERE expires_at > \'-infinity\') FROM temporal_internal.recorded_activity'); }
my $retention = 7;
sub ten_days
{
	my $segment = 'SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1';
	my $before = $node->safe_psql('postgres', $segment);
	$node->safe_psql('postgres', q(UPDATE temporal_internal.delivery_segment SET since = since - interval '10 days'));
	# the worker looks when that has changed
	$retention = 15 - $retention;
	$node->append_conf('postgresql.conf', "temporal_complete.retention = '${retention}d'");
	$node->reload;
	await('another segment', sub { $node->safe_psql('postgres', $segment) ne $before });
	return;
}
is(rows(), '3|1', 'three rows, of which one has expired');
ten_days();
await('what has expired to be buried', sub { rows() eq '3|0' });
$late->query_safe('COMMIT');
ten_days();
await('what was buried to be removed', sub { rows() eq '1|0' });
is(keys_of('app'), 'kept=a', 'what has not expired stays');
as('app', q(SELECT temporal.forget_activity('kept', 'temporal')));
$late->quit;

# A row that somebody is about to remove does not stop the worker, and its rollback leaves no key behind
as('app', record('e'));
as('app', record('f'));
my $holder = $node->background_psql('postgres');
$holder->query_safe(q(SET ROLE app; BEGIN; SELECT temporal.forget_activity('e', 'temporal')));
$id = as('app', q(SELECT temporal.complete_activity_by_key('e', server => 'temporal')));
is(state_of(as('app', q(SELECT temporal.complete_activity_by_key('f', server => 'temporal')))), 'delivered',
	'another key is not held up');
$holder->query_safe('ROLLBACK');
is(state_of($id), 'delivered', 'the outcome is recorded when the other transaction has ended');
is(keys_of('app'), '', 'and the key is forgotten');
$holder->quit;

# Transactions
$node->safe_psql('postgres', 'SET ROLE app; BEGIN; ' . record('rolled_back') . '; ROLLBACK');
$node->safe_psql('postgres', 'SET ROLE app; BEGIN; ' . record('prepared') . q(; PREPARE TRANSACTION 'p'));
$node->safe_psql('postgres', 'SET ROLE app; BEGIN; ' . record('never') . q(; PREPARE TRANSACTION 'q'));
is(keys_of('app'), '', 'nothing is recorded before the commit');
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', q(COMMIT PREPARED 'p'));
$node->safe_psql('postgres', q(ROLLBACK PREPARED 'q'));
is(keys_of('app'), 'prepared=a', 'COMMIT PREPARED records, also after a crash');
as('app', record('committed'));
$node->stop('immediate');
$node->start;
is(keys_of('app'), 'committed=a prepared=a', 'what was committed survives a crash');

# Others
is(keys_of('other'), '', 'keys of others are not to be seen');
is(error_of('other', q(SELECT temporal.complete_activity_by_key('committed', server => 'temporal'))) =~ s/committed/KEY/gr,
	error_of('other', q(SELECT temporal.complete_activity_by_key('no_such', server => 'temporal'))) =~ s/no_such/KEY/gr,
	'whether others have a key is not told');
is(as('other', q(SELECT temporal.forget_activity('committed', 'temporal'))), 'f', 'nor can it be forgotten');
as('other', record('committed', 'of_other'));
is(keys_of('app'), 'committed=a prepared=a', 'nor taken by recording');
like(error_of('other', 'SELECT FROM temporal_internal.recorded_activity'), qr/permission denied/, 'the table is granted to nobody');
like($node->safe_psql('postgres', 'SET ROLE other; EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT FROM temporal.activity'),
	qr/rows=1(?:\.00)? /, 'EXPLAIN ANALYZE counts only what may be seen');

# A dump
my $dump = scratch('keys.dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
sub restored { return $node->safe_psql('restored', "SET ROLE app; $_[0]"); }
is(restored('SELECT key, state FROM temporal.activity ORDER BY key'), "committed|held\nprepared|held", 'a copy is held');
is((restored(q(SELECT temporal.forget_activity('committed', 'temporal')))), 'f', 'and cannot be named');
restored(record('committed', 'recorded_here'));
$node->safe_psql('restored', 'SELECT temporal.adopt()');
is(restored('SELECT key, activity_id, state FROM temporal.activity ORDER BY key'),
	"committed|recorded_here|recorded\nprepared|a|recorded", 'adopt() takes keys along, but for one that was recorded there since');
$id = restored(q(SELECT temporal.complete_activity_by_key('prepared', server => 'temporal')));
is($node->safe_psql('restored', "SELECT state FROM temporal.wait_for_request($id, '180 s')"), 'delivered', 'they can be named');
is(restored('SELECT key FROM temporal.activity'), 'committed', 'and are forgotten');
is(keys_of('app'), 'committed=a prepared=a', 'the original has its own');

# Roles and servers that are dropped
as('gone', record('k'));
$node->safe_psql('postgres', 'DROP ROLE gone');
is($node->safe_psql('postgres', q(SELECT recorded_by, state FROM temporal.activity WHERE key = 'k')), 'gone|recorded',
	'what a dropped role has recorded is shown to who may decide');
is(as('app', q(SELECT count(*) FROM temporal.activity WHERE key = 'k')), '0', 'and belongs to nobody');
$node->safe_psql('postgres', 'DROP SERVER temporal CASCADE');
is(keys_of('app'), 'committed=a prepared=a', 'keys of a dropped server are still seen');
like(error_of('app', q(SELECT temporal.complete_activity_by_key('committed', server => 'temporal'))),
	qr/server "temporal" does not exist/, 'and cannot be named');
$node->safe_psql('postgres', $setup =~ s/CREATE SERVER refusing.*?;\n//sr =~ s/, refusing//r);
$node->safe_psql('postgres', q(SELECT temporal.rebind_server('temporal')));
$id = as('app', q(SELECT temporal.complete_activity_by_key('committed', server => 'temporal')));
is(state_of($id), 'delivered', 'after rebind_server() they are there again');

done_testing();
