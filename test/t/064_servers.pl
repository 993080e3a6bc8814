# A request belongs to the server for which it was made, and to its role:
# whatever is renamed, dropped or made anew under their names, here, and to
# those of these names in a copy elsewhere.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $timeout = "$PostgreSQL::Test::Utils::timeout_default s";

# Nothing here may depend on the safety poll.
my $node = new_cluster('main', settings => 'temporal_complete.safety_poll_interval = 1h');
my %temporal = map { $_ => start_temporal($_) } qw(home thief);
my $closed_port = PostgreSQL::Test::Cluster::get_free_port();
my $away = "address '127.0.0.1:$closed_port'";
my %at = map { $_ => "address '" . $temporal{$_}->address . "'" } keys %temporal;

$node->safe_psql('postgres', <<"EOS");
CREATE ROLE app LOGIN;
CREATE ROLE thief LOGIN;
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO thief;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS ($away);
GRANT USAGE ON FOREIGN SERVER temporal TO app;
EOS

sub sql
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role");
}

sub errors_of
{
	my ($role, $sql) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role");

	return $stderr;
}

my $next = 0;
sub make
{
	my ($server) = @_;

	$next++;
	return sql('app', "SELECT temporal.complete_activity_by_id('workflow', 'a$next', server => '$server')");
}

sub outcome
{
	my ($id, $cluster) = @_;

	return ($cluster // $node)->safe_psql('postgres',
		"SELECT server || ' ' || state FROM temporal.wait_for_request($id, '$timeout')");
}

sub await_code
{
	my ($id, $code) = @_;

	return await("request $id to wait with $code",
		sub { $node->safe_psql('postgres',
				"SELECT coalesce(error_code, '') FROM temporal.request WHERE id = $id") eq $code });
}

sub arrived
{
	my ($where, $id) = @_;
	my %arrivals = $temporal{$where}->arrivals;

	return $arrivals{$id} // 0;
}

# --- Renamed, and another one made of that name by another role
my $id = make('temporal');
await_code($id, 'CONNECTION_FAILED');
$node->safe_psql('postgres', 'ALTER SERVER temporal RENAME TO renamed');
sql('thief', "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS ($at{thief});"
	  . 'GRANT USAGE ON FOREIGN SERVER temporal TO app');
is(outcome(make('temporal')), 'temporal rejected', 'a request of the new server');
is(arrived('thief', $id), 0, 'a request that waited does not go to who has the name of its server now');
is($node->safe_psql('postgres', "SELECT server FROM temporal.request WHERE id = $id"), 'renamed', 'the view shows the present name');
$node->safe_psql('postgres', "ALTER SERVER renamed OPTIONS (SET $at{home})");
is(outcome($id), 'renamed rejected', 'it is sent');
is(arrived('home', $id), 1, 'to its own server');

# --- Names that are exchanged
$node->safe_psql('postgres', "ALTER SERVER renamed OPTIONS (SET $away)");
sql('thief', "ALTER SERVER temporal OPTIONS (SET $away)");
my ($mine, $theirs) = (make('renamed'), make('temporal'));
await_code($_, 'CONNECTION_FAILED') foreach ($mine, $theirs);
$node->safe_psql('postgres', <<"EOS");
BEGIN;
ALTER SERVER renamed RENAME TO x;
ALTER SERVER temporal RENAME TO renamed;
ALTER SERVER x RENAME TO temporal;
ALTER SERVER temporal OPTIONS (SET $at{home});
ALTER SERVER renamed OPTIONS (SET $at{thief});
COMMIT;
EOS
is(outcome($mine), 'temporal rejected', 'names are exchanged');
is(outcome($theirs), 'renamed rejected', 'both are sent');
is(arrived('home', $mine) . arrived('thief', $theirs), '11', 'each to its own server');

# The same while no worker is there
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
$mine = make('temporal');
$node->safe_psql('postgres',
	'ALTER SERVER temporal RENAME TO x; ALTER SERVER renamed RENAME TO temporal; ALTER SERVER x RENAME TO renamed');
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
is(outcome($mine), 'renamed rejected', 'a worker that begins later');
is(arrived('home', $mine), 1, 'knows it, too');
$node->safe_psql('postgres',
	'ALTER SERVER temporal RENAME TO x; ALTER SERVER renamed RENAME TO temporal; ALTER SERVER x RENAME TO thief');

# --- Dropped, and made anew
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET $away)");
my @waiting = map { make('temporal') } 1 .. 3;
await_code($waiting[0], 'CONNECTION_FAILED');
like(errors_of('postgres', 'DROP SERVER temporal'),
	qr/WARNING:  3 requests wait for server "temporal"\n.*\nHINT:  .*temporal\.rebind_server\('temporal'/, 'DROP SERVER says who waits');
await_code($waiting[0], 'CONFIGURATION');
is($node->safe_psql('postgres', "SELECT server || ': ' || error_message FROM temporal.request WHERE id = $waiting[0]"),
	'temporal: foreign server "temporal" was dropped', 'they wait');
sql('thief', "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS ($at{thief});"
	  . 'GRANT USAGE ON FOREIGN SERVER temporal TO app');
is(outcome(make('temporal')), 'temporal rejected', 'a new server of that name');
await_code($waiting[0], 'CONFIGURATION');
is(arrived('thief', $_), 0, 'does not get them') foreach @waiting;
foreach my $role (qw(app thief monitor))
{
	like(errors_of($role, q(SELECT temporal.rebind_server('temporal'))), qr/permission denied for function rebind_server/,
		"$role may not bind them to it");
}
$node->safe_psql('postgres', "CREATE SERVER new FOREIGN DATA WRAPPER temporal_complete OPTIONS ($at{home})");
like(errors_of('postgres', q(SELECT temporal.rebind_server('temporal', 'nowhere'))), qr/server "nowhere" does not exist/, 'to one that is not there');
is($node->safe_psql('postgres', q(SELECT temporal.rebind_server('temporal', 'new'))), '3', 'the DBA may');
await_code($waiting[0], 'NOT_PERMITTED');
is(arrived('home', $waiting[0]), 0, 'it needs the right to use the other one');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER new TO app');
is(outcome($_), 'new rejected', 'then they are sent') foreach @waiting;
is(arrived('home', $_), 1, 'there') foreach @waiting;
is($node->safe_psql('postgres', q(SELECT temporal.rebind_server('temporal'))), '0', 'nothing is left');

# --- The wrapper is the extension's, whatever it is called
$node->safe_psql('postgres', <<'EOS');
ALTER FOREIGN DATA WRAPPER temporal_complete RENAME TO ours;
CREATE FOREIGN DATA WRAPPER temporal_complete;
CREATE SERVER false_one FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'x');
GRANT USAGE ON FOREIGN SERVER false_one TO app;
EOS
like(errors_of('app', q(SELECT temporal.complete_activity_by_id('w', 'a', server => 'false_one'))),
	qr/server "false_one" is not a server of Temporal/, 'another wrapper of that name');
like(errors_of('app', q(SELECT temporal.complete_activity_by_id('w', 'a', server => 'temporal_complete_request'))),
	qr/server "temporal_complete_request" (is not a server of Temporal|does not exist)/, 'another wrapper of the extension');
is(outcome(make('new')), 'new rejected', 'ours under another name');
$node->safe_psql('postgres', <<'EOS');
DROP FOREIGN DATA WRAPPER temporal_complete CASCADE;
ALTER FOREIGN DATA WRAPPER ours RENAME TO temporal_complete;
EOS

# --- A copy elsewhere: by names, and what is missing there stops nobody else
$node->safe_psql('postgres', <<"EOS");
CREATE ROLE stranger LOGIN;
CREATE SERVER unknown FOREIGN DATA WRAPPER temporal_complete OPTIONS ($away);
GRANT USAGE ON FOREIGN SERVER new, unknown TO stranger, app;
ALTER SERVER new OPTIONS (SET $away);
EOS
my $copied = make('new');
my $strange = sql('stranger', q(SELECT temporal.complete_activity_by_id('workflow', 'strange', server => 'new')));
my $astray = make('unknown');
await_code($_, 'CONNECTION_FAILED') foreach ($copied, $strange, $astray);

my $dump = scratch('dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');

my $other = new_cluster('other');
$other->safe_psql('postgres', 'DROP EXTENSION temporal_complete; CREATE ROLE first; CREATE ROLE app LOGIN; CREATE ROLE thief LOGIN');
my ($stdout, $stderr);
IPC::Run::run([ 'pg_restore', '-d', $other->connstr('postgres'), $dump ], '>', \$stdout, '2>', \$stderr);
unlike($stderr, qr/COPY|queue|outbox/, 'pg_restore where a role is missing: no request is lost');
is($other->safe_psql('postgres', "SELECT string_agg(state || ' ' || requested_by || ' ' || server, ', ' ORDER BY id) FROM temporal.request WHERE finished_at IS NULL"),
	'held app new, held stranger new, held app unknown', 'they are held');
$other->safe_psql('postgres', <<"EOS");
DROP SERVER unknown CASCADE;
ALTER SERVER new OPTIONS (SET $at{home});
GRANT USAGE ON FOREIGN SERVER new TO app;
EOS
my ($rc, $out, $err) = $other->psql('postgres', 'SELECT temporal.adopt()');
is($out, '1', 'adopt() takes those whose role and server are here');
like($err, qr/WARNING:  2 requests stay held\nDETAIL:  .*role stranger, server unknown/, 'and says what is missing for others');
# by ids they may have been sent before, so they are looked up, where nobody knows of them
is(outcome($copied, $other), 'new unconfirmed', 'the one is seen to');
$other->safe_psql('postgres', "CREATE ROLE stranger; GRANT USAGE ON FOREIGN SERVER new TO stranger; SELECT temporal.adopt()");
is(outcome($strange, $other), 'new unconfirmed', 'another one, when its role is there');
is(arrived('home', $_), 0, 'not sent on hope') foreach ($copied, $strange);
is($other->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $astray"), 'held', 'what has no server is still held');
is($other->safe_psql('postgres', q(SELECT temporal.discard_requests('unknown'))), '1', 'and can be given up');

# --- Who may dump: one who may read everybody's requests; others leave them out
$node->safe_psql('postgres', <<'EOS');
CREATE ROLE proprietor LOGIN;
CREATE DATABASE owned OWNER proprietor;
EOS
$node->safe_psql('owned', <<'EOS');
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
SELECT temporal.complete_activity_by_id('w', 'a');
EOS
my $owned = $node->connstr('owned') . ' user=proprietor';
$node->command_fails_like([ 'pg_dump', '-d', $owned ], qr/permission denied|may lack SELECT privilege/, 'pg_dump by an owner who is no superuser');
SKIP:
{
	skip 'pg_dump 14 locks tables of extensions that it leaves out', 1 if $node->pg_version < 15;
	$node->command_ok([ 'pg_dump', '-N', 'temporal_internal', '-f', $dump, '-d', $owned ], 'all but the requests');
}
$node->safe_psql('postgres', 'GRANT pg_read_all_data TO proprietor');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $owned ], 'all, with pg_read_all_data');
$other->safe_psql('postgres', 'CREATE DATABASE owned');
$other->command_ok([ 'pg_restore', '--no-owner', '-d', $other->connstr('owned'), $dump ], 'what can be restored');
is($other->safe_psql('owned', 'SELECT state FROM temporal.request'), 'held', 'with the requests');

done_testing();
