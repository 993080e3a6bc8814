# Who may have what sent where: functions with their owner's rights and what
# their caller sets, rights that are taken away while requests wait, and
# namespaces.  Everything is done by ordinary roles.

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
my $temporal = start_temporal('main', arguments => [ '-namespace', 'default', '-namespace', 'second' ]);
my $evil = start_temporal('evil');
my $closed_port = PostgreSQL::Test::Cluster::get_free_port();
my $slow = "retry_initial_interval '1h', retry_max_interval '1h'";

$node->safe_psql('postgres', <<"EOS");
CREATE ROLE boss LOGIN;
CREATE ROLE clerk LOGIN;
CREATE ROLE helper LOGIN IN ROLE boss;
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO clerk;
GRANT ALL ON SCHEMA public TO boss;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (${\($temporal->foreign_server)}, $slow);
CREATE SERVER other FOREIGN DATA WRAPPER temporal_complete OPTIONS (${\($temporal->foreign_server)}, $slow);
GRANT USAGE ON FOREIGN SERVER temporal, other TO boss;

SET ROLE clerk;
CREATE SERVER evil FOREIGN DATA WRAPPER temporal_complete OPTIONS (${\($evil->foreign_server)});
GRANT USAGE ON FOREIGN SERVER evil TO boss;
RESET ROLE;

SET ROLE boss;
CREATE TABLE orders (id text, request bigint);
GRANT INSERT ON orders TO clerk, helper;
CREATE FUNCTION approve() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS \$\$
BEGIN
    NEW.request := temporal.complete_activity_by_id('order-' || NEW.id, 'approve', '"secret of boss"');
    RETURN NEW;
END \$\$;
CREATE TRIGGER approve BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION approve();
CREATE FUNCTION approve_by_clause(text) RETURNS bigint LANGUAGE sql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp SET temporal_complete.default_server = 'other' AS
  'SELECT temporal.complete_activity_by_id(\$1, ''approve'')';
CREATE FUNCTION approve_by_body(text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS \$\$
BEGIN
    PERFORM set_config('temporal_complete.default_server', 'other', true);
    RETURN temporal.complete_activity_by_id(\$1, 'approve');
END \$\$;
EOS

sub sql
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role");
}

sub fails
{
	my ($role, $sql, $pattern, $what) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role");

	return like($stderr, $pattern, $what);
}

sub outcome
{
	my ($id) = @_;

	return $node->safe_psql('postgres',
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
	my ($id) = @_;
	my %arrivals = $temporal->arrivals;

	return $arrivals{$id} // 0;
}

# --- What a caller sets does not steer what is sent with the owner's rights.
my $refused = qr/ERROR:  no server given\nDETAIL:  .* may not decide where requests of role "boss" go/;
my $steer = q(temporal_complete.default_server = 'evil');
my $insert = q(INSERT INTO orders VALUES ('1'));

fails('clerk', "SET $steer; $insert", $refused, 'SET by the caller');
fails('clerk', "BEGIN; SET LOCAL $steer; $insert; COMMIT", $refused, 'SET LOCAL by the caller');
fails('clerk', "SELECT set_config('temporal_complete.default_server', 'evil', false); $insert", $refused, 'set_config() by the caller');
fails('clerk', "BEGIN; SAVEPOINT s; SET $steer; RELEASE s; $insert; COMMIT", $refused, 'SET in a subtransaction');
fails('clerk', "CREATE TEMP TABLE t (); CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE plpgsql SET $steer AS \$\$ BEGIN $insert; END \$\$; SELECT pg_temp.f()",
	$refused, 'a clause of a function of the caller');
{
	local $ENV{PGOPTIONS} = '-c temporal_complete.default_server=evil';
	fails('clerk', $insert, $refused, 'an option of the connection');
}
sql('clerk', "ALTER ROLE clerk SET $steer");
fails('clerk', $insert, $refused, 'ALTER ROLE by the caller');
fails('clerk', "RESET temporal_complete.default_server; $insert", $refused, 'which RESET goes back to');
sql('clerk', 'ALTER ROLE clerk RESET ALL');
fails('clerk', "SET $steer; SELECT approve_by_clause('x')", qr/^$/, 'the clause of the function counts');
fails('clerk', "SET $steer; SELECT approve_by_body('x')", qr/^$/, 'and what its body sets');

# The caller's own requests go where the caller says
my $own = sql('clerk', "SET $steer; SELECT temporal.complete_activity_by_id('mine', 'approve')");
is(outcome($own), 'evil rejected', 'the caller decides about requests of its own');

# What the configuration, the owner or one with the owner's privileges says counts
is(outcome(sql('clerk', 'INSERT INTO orders VALUES (2) RETURNING 0') eq '0'
		? $node->safe_psql('postgres', q(SELECT request FROM orders WHERE id = '2')) : 0),
	'temporal rejected', 'the default');
is(outcome(sql('clerk', "SET $steer; SELECT approve_by_clause('x')")), 'other rejected', 'a SET clause of the function');
is(outcome(sql('clerk', "SET $steer; SELECT approve_by_body('x')")), 'other rejected', 'the body of the function');
sql('helper', q(SET temporal_complete.default_server = 'other'; INSERT INTO orders VALUES ('3')));
is(outcome($node->safe_psql('postgres', q(SELECT request FROM orders WHERE id = '3'))), 'other rejected',
	'one who has the privileges of the owner');
$node->safe_psql('postgres', q(ALTER DATABASE postgres SET temporal_complete.default_server = 'other'));
sql('clerk', q(INSERT INTO orders VALUES ('4')));
is(outcome($node->safe_psql('postgres', q(SELECT request FROM orders WHERE id = '4'))), 'other rejected', 'ALTER DATABASE');
fails('clerk', "SET $steer; $insert", $refused, 'which the caller cannot change');
sql('clerk', "SET $steer; RESET temporal_complete.default_server; INSERT INTO orders VALUES ('5')");
is(outcome($node->safe_psql('postgres', q(SELECT request FROM orders WHERE id = '5'))), 'other rejected', 'but go back to');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL');
is(scalar(keys %{ { $evil->arrivals } }), 1, 'the server of the caller got its own request only');

# --- Rights that are taken away while requests wait
$node->safe_psql('postgres', <<"EOS");
CREATE ROLE app LOGIN;
CREATE ROLE via_group LOGIN;
CREATE ROLE grp;
CREATE ROLE noinherit LOGIN NOINHERIT IN ROLE grp;
CREATE ROLE goner LOGIN;
GRANT grp TO via_group;
GRANT USAGE ON FOREIGN SERVER temporal TO app, grp, goner;
EOS
fails('noinherit', q(SELECT temporal.complete_activity_by_id('w', 'a')), qr/permission denied for foreign server temporal/,
	'a member that does not inherit USAGE may not use the server');

# One request is in flight, others wait behind it, the worker is busy
$node->safe_psql('postgres', q(ALTER SERVER temporal OPTIONS (ADD max_in_flight '1')));
$temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'delay', delay_ms => 5000, count => 1);
my @ids = split(/\n/, sql('app', q(SELECT temporal.complete_activity_by_id('busy', i::text) FROM generate_series(1, 50) i)));
await('the first request to be in flight', sub { arrived($ids[0]) == 1 });
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER temporal FROM app');
await_code($ids[1], 'NOT_PERMITTED');
await_code($ids[49], 'NOT_PERMITTED');
is($node->safe_psql('postgres', "SELECT DISTINCT state || ': ' || error_message FROM temporal.request WHERE id IN (" . join(',', @ids[ 1 .. 49 ]) . ')'),
	'retrying: role "app" may no longer use foreign server "temporal"', 'the others wait, and say why');
is(arrived($ids[$_]), 0, "request $_ was not sent") foreach (1, 49);
is(sql('app', "SELECT count(*) FROM temporal.request WHERE id = $ids[1] AND error_code = 'NOT_PERMITTED'"), '1', 'the role sees it');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER temporal TO app');
is(outcome($ids[$_]), 'temporal rejected', "GRANT: request $_ is sent at once") foreach (1, 49);
is(outcome($ids[0]), 'temporal rejected', 'what was in flight is looked up, and ends');
is(arrived($ids[0]), 1, 'without being sent again');

# A worker that sleeps: the server is away, the right goes, the server comes back
sub while_away
{
	my ($role, $take, $message, $give) = @_;

	$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$closed_port')");
	my $id = sql($role, q(SELECT temporal.complete_activity_by_id('away', 'a')));
	await_code($id, 'CONNECTION_FAILED');
	$node->safe_psql('postgres', $take);
	$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '" . $temporal->foreign_address . "')");
	await_code($id, 'NOT_PERMITTED');
	is($node->safe_psql('postgres', "SELECT error_message FROM temporal.request WHERE id = $id"), $message, "$take: the request waits");
	is(arrived($id), 0, 'and was not sent');
	return $id unless defined $give;
	$node->safe_psql('postgres', $give);
	is(outcome($id), 'temporal rejected', "$give: it is sent at once");
	return $id;
}
while_away('app', 'REVOKE USAGE ON FOREIGN SERVER temporal FROM app',
	'role "app" may no longer use foreign server "temporal"', 'GRANT USAGE ON FOREIGN SERVER temporal TO app');
while_away('via_group', 'REVOKE grp FROM via_group',
	'role "via_group" may no longer use foreign server "temporal"', 'GRANT grp TO via_group');
while_away('via_group', 'REVOKE USAGE ON FOREIGN SERVER temporal FROM grp',
	'role "via_group" may no longer use foreign server "temporal"', 'GRANT USAGE ON FOREIGN SERVER temporal TO grp');

# A role that is gone
my $left = while_away('goner', 'DROP OWNED BY goner; DROP ROLE goner', 'role "goner" was dropped');
is(sql('monitor', "SELECT requested_by || ' ' || state FROM temporal.request WHERE id = $left"), 'goner retrying', 'pg_monitor sees it');
is(sql('app', "SELECT count(*) FROM temporal.request WHERE id = $left"), '0', 'others do not');
is(sql('app', q(SELECT temporal.discard_requests('temporal', 'goner'))), '0', 'nor may they give it up');
is(sql('monitor', q(SELECT temporal.discard_requests(NULL))), '0', 'not even pg_monitor');
$node->safe_psql('postgres', 'CREATE ROLE goner LOGIN; GRANT USAGE ON FOREIGN SERVER temporal TO goner');
is(sql('goner', "SELECT count(*) FROM temporal.request WHERE id = $left"), '0', 'a new role of that name does not see it');
my $probe = sql('goner', q(SELECT temporal.complete_activity_by_id('away', 'b')));
is(outcome($probe), 'temporal rejected', 'but sends requests of its own');
await_code($left, 'NOT_PERMITTED');
is($node->safe_psql('postgres', q(SELECT temporal.discard_requests('temporal', 'goner'))), '1', 'the owner of the extension gives it up');
is(outcome($left), 'temporal unconfirmed', 'then it is finished');
is(arrived($left), 0, 'it was never sent');

# Giving up many at once, of what one's own
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER temporal FROM app, boss');
$node->safe_psql('postgres', "GRANT USAGE ON FOREIGN SERVER temporal TO app, boss; ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$closed_port')");
sql($_, q(SELECT temporal.complete_activity_by_id('away', i::text) FROM generate_series(1, 10) i)) foreach qw(app boss);
sql('boss', q(SELECT temporal.complete_activity_by_id('away', 'a', server => 'temporal', namespace => 'default')));
is(sql('app', q(SELECT temporal.discard_requests('other'))), '0', 'discard_requests() of another server');
is(sql('app', q(SELECT temporal.discard_requests('temporal', 'boss'))), '0', 'discard_requests() of another role');
is(sql('app', q(BEGIN; SELECT temporal.discard_requests('temporal'); ROLLBACK)), '10', 'discard_requests() is rolled back');
is(sql('app', q(SELECT temporal.discard_requests('temporal'))), '10', 'discard_requests() of what is one\'s own');
is(sql('helper', q(SELECT temporal.discard_requests(NULL, 'boss'))), '11', 'and of roles whose privileges one has');
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '" . $temporal->foreign_address . "')");

# --- Namespaces
my $not_named = qr/ERROR:  namespace "second" may not be named for server "temporal"/;
fails('app', q(SELECT temporal.complete_activity_by_id('w', 'a', namespace => 'second')), $not_named, 'only the own namespace may be named');
is(outcome(sql('app', q(SELECT temporal.complete_activity_by_id('w', 'a', namespace => 'default')))), 'temporal rejected', 'which may');
$node->safe_psql('postgres', q(ALTER SERVER temporal OPTIONS (ADD namespaces 'third, second')));
my $named = sql('app', q(SELECT temporal.complete_activity_by_id('w', 'a', namespace => 'second')));
is(outcome($named), 'temporal rejected', 'one that is listed, too');
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$closed_port')");
$named = sql('app', q(SELECT temporal.complete_activity_by_id('w', 'b', namespace => 'second')));
await_code($named, 'CONNECTION_FAILED');
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET namespaces 'third', SET address '" . $temporal->foreign_address . "')");
await_code($named, 'NOT_PERMITTED');
is($node->safe_psql('postgres', "SELECT error_message FROM temporal.request WHERE id = $named"),
	'namespace "second" may not be named for foreign server "temporal"', 'one that is no longer listed waits');
is(arrived($named), 0, 'and was not sent');
$node->safe_psql('postgres', q(ALTER SERVER temporal OPTIONS (SET namespaces '*')));
is(outcome($named), 'temporal rejected', 'until it is listed again');

# Requests that named none go where the option says when they are sent
$node->safe_psql('postgres', q(ALTER SERVER temporal OPTIONS (ADD namespace 'defualt')));
my @order = split(/\n/, sql('app', q(SELECT temporal.complete_activity_by_id('mistyped', 'a') FROM generate_series(1, 5))));
await_code($order[0], 'NOT_FOUND');
is($node->safe_psql('postgres', "SELECT DISTINCT namespace FROM temporal.request WHERE id = $order[4]"), 'defualt', 'a mistyped namespace');
$node->safe_psql('postgres', q(ALTER SERVER temporal OPTIONS (SET namespace 'default')));
is(outcome($_), 'temporal rejected', 'the option is put right: sent at once') foreach @order;
my %wanted = map { $_ => 1 } @order;
is_deeply([ grep { $wanted{$_} } map { $_->{id} } $temporal->arrivals_in_order ], \@order, 'in their order');

is(scalar(keys %{ { $evil->arrivals } }), 1, 'nothing else went to the server of the caller');

done_testing();
