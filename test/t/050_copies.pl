# Copies of a database, by pg_dump or as template of another one, send nothing
# of what was requested in the original, until adopt() is called there.  Also
# then every request has the outcome that is true, whoever sent it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $other = new_cluster('other');
my $temporal = start_temporal('main');

$node->safe_psql('postgres', <<"EOS");
CREATE ROLE app;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (${\($temporal->foreign_server)});
GRANT USAGE ON FOREIGN SERVER temporal TO app;
EOS
$other->safe_psql('postgres', 'CREATE ROLE app');

# Of what is requested in the original, one is sent by it, one by each copy; each
# copy has one of its own.
my @requested = qw(original restored elsewhere cloned);
my @own = qw(own_restored own_elsewhere own_cloned);

start_activities($temporal, $node, 'copy', 1, @requested + @own,
	map { ('-activity-id', $_) } (@requested, @own));
start_activities($temporal, $node, 'fails', 1, 1, '-activity-id', 'failing',
	'-options', '{"retry_initial_ms": 3600000, "retry_maximum_ms": 3600000}');

# Nothing is sent before the copies are made
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });

my %id = map {
	$_ => $node->safe_psql('postgres', <<"EOS");
SET ROLE app;
SELECT temporal.complete_activity_by_id('copy-0', '$_', to_jsonb('$_'::text))
EOS
} @requested;
$id{failing} = $node->safe_psql('postgres',
	q(SELECT temporal.fail_activity(task_token, 'no') FROM pending_activity WHERE activity_id = 'failing'));

# A pause goes along, and counts once requests may be sent there
$node->safe_psql('postgres', "SELECT temporal.pause('temporal', requested_by => 'app')");

my $dump = scratch('dump');
$node->command_ok(
	[ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
# ... which must have no sessions
$node->safe_psql('template1', <<'EOS');
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = 'postgres';
CREATE DATABASE clone TEMPLATE postgres;
EOS
foreach my $copy ([ $node, 'restored' ], [ $other, 'elsewhere' ])
{
	my ($cluster, $database) = @$copy;

	$cluster->safe_psql('postgres', "CREATE DATABASE $database");
	$cluster->command_ok(
		[ 'pg_restore', '--exit-on-error', '-d', $cluster->connstr($database), $dump ],
		"pg_restore into $database");
}

# The original goes on; the answer to its failure is lost, it does not matter
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->safe_psql('postgres', "SELECT temporal.resume('temporal', requested_by => 'app')");
$node->safe_psql('postgres', "SELECT temporal.discard_request($_)")
  foreach @id{ qw(restored elsewhere cloned) };
$node->reload;
await_finished($node);
is(states($node, 'error_code IS NULL'), 'delivered|2', 'the original goes on');
is(states($node, q(error_code = 'DISCARDED')), 'unconfirmed|3', 'what is discarded there is not sent');

# The copies
my @copies = ([ $node, 'restored', 'restored' ], [ $other, 'elsewhere', 'elsewhere' ], [ $node, 'clone', 'cloned' ]);

foreach my $copy (@copies)
{
	my ($cluster, $database, $mine) = @$copy;
	my $ids = join(',', values %id);
	my $sql = "SELECT string_agg(DISTINCT state || ' ' || requested_by, ', ') FROM temporal.request WHERE id IN ($ids)";

	is($cluster->safe_psql($database, $sql), 'held app, held postgres', "$database: what was requested is held");

	# What is requested in the copy is sent, with an id of its own, from the same queue
	my $own = $cluster->safe_psql($database, <<"EOS");
SET ROLE app;
SELECT temporal.complete_activity_by_id('copy-0', 'own_$mine', to_jsonb('own_$mine'::text))
EOS
	ok((grep { $_ == $own } values %id) == 0, "$database: ids are new");
	is($cluster->safe_psql($database, "SELECT state FROM temporal.wait_for_request($own, '180 s')"),
		'delivered', "$database: what is requested there is sent");
	is($cluster->safe_psql($database, $sql), 'held app, held postgres', "$database: the rest is still held");
	my $log = slurp_file($cluster->logfile);
	like($log, qr/LOG:  5 requests of another cluster or database are held\n.*HINT:  .*temporal\.adopt\(\)/,
		"$database: the log says so");
}

my %arrivals = $temporal->arrivals;
is($arrivals{$_} // 0, 0, "copies did not send what was requested for \"$_\"")
  foreach qw(restored elsewhere cloned);
is($arrivals{ $id{$_} }, 1, "nor \"$_\" again") foreach qw(original failing);

my ($rc, $stdout, $stderr) = $node->psql('clone', 'SET ROLE app; SELECT temporal.adopt()');
like($stderr, qr/permission denied for function adopt/, 'not everybody may adopt');

foreach my $copy (@copies)
{
	my ($cluster, $database, $mine) = @$copy;
	my @not_mine = grep { !/original|failing|$mine/ } keys %id;

	$cluster->safe_psql($database, "SELECT temporal.discard_request($id{$_})") foreach @not_mine;
	is($cluster->safe_psql($database, 'BEGIN; SELECT temporal.adopt(); ROLLBACK'), '3', "$database: adopt()");
	is($cluster->safe_psql($database, 'SELECT temporal.adopt()'), '3', "$database: adopt() after ROLLBACK");
	is($cluster->safe_psql($database, 'SELECT temporal.adopt()'), '0', "$database: adopt() again");
	is($cluster->safe_psql($database, "SELECT state FROM temporal.wait_for_request($id{failing}, '180 s')"),
		'delivered', "$database: what is not paused is delivered");
	is($cluster->safe_psql($database, "SELECT count(*), bool_and(error_code = 'PAUSED') FROM temporal.request WHERE finished_at IS NULL"),
		'2|t', "$database: what is paused is not");
	is($cluster->safe_psql($database, "SELECT temporal.resume('temporal', requested_by => 'app')"), 't', "$database: resume()");
	is($cluster->safe_psql($database, "SELECT state FROM temporal.wait_for_request($id{$_}, '180 s')"),
		'delivered', "$database: \"$_\" is delivered")
	  foreach ($mine, 'original');
}

# By the server: each activity was ended once, as asked, by the one that should
my %results = $temporal->results('copy', 1);
is_deeply(\%results, { map { ("copy-0/$_" => "\"$_\"") } (@requested, @own) }, 'results are right');

my %by = map { $_->{activity_id} => $_->{identity} } $temporal->closed('copy', 1);
my %database = (original => 'postgres', cloned => 'clone', own_cloned => 'clone',
	restored => 'restored', own_restored => 'restored', elsewhere => 'elsewhere', own_elsewhere => 'elsewhere');
like($by{$_}, qr{^postgresql:$database{$_}/}, "\"$_\" was ended by database $database{$_}")
  foreach sort keys %database;

# A copy that adopts what somebody else has finished meanwhile is not told that it was itself
$node->safe_psql('postgres', 'CREATE DATABASE late');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('late'), $dump ], 'pg_restore');
$node->safe_psql('late', "SELECT temporal.adopt(); SELECT temporal.resume('temporal', requested_by => 'app')");
is($node->safe_psql('late', "SELECT state, error_code FROM temporal.wait_for_request($id{cloned}, '180 s')"),
	'rejected|NOT_FOUND', 'what another copy has finished is rejected');
like($node->safe_psql('late', "SELECT error_message FROM temporal.request WHERE id = $id{cloned}"),
	qr{completed by postgresql:clone/$id{cloned}@}, 'with the name of that copy');

# A copy that takes its original's place, even its OID, does not send again what the original has sent
SKIP:
{
	skip 'PostgreSQL 14 chooses the OIDs of databases', 3 if $node->pg_version < 15;

	start_activities($temporal, $node, 'swap', 1, 1, '-activity-id', 'swap');
	$node->safe_psql('postgres', 'CREATE DATABASE swap');
	my $oid = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = 'swap'");
	$node->safe_psql('swap', <<"EOS");
CREATE EXTENSION temporal_complete;
SELECT setval('temporal_internal.request_id', 1000000);
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (${\($temporal->foreign_server)});
EOS
	$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
	$node->reload;
	await('the workers to leave', sub { worker_pid($node, 'swap') eq '' });
	my $sent = $node->safe_psql('swap', "SELECT temporal.complete_activity_by_id('swap-0', 'swap')");
	$node->safe_psql('postgres', 'CREATE DATABASE kept TEMPLATE swap');
	$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
	$node->reload;
	is($node->safe_psql('swap', "SELECT state FROM temporal.wait_for_request($sent, '180 s')"), 'delivered', 'the original sends it');
	$node->safe_psql('postgres', 'DROP DATABASE swap WITH (FORCE)');
	$node->safe_psql('postgres', "CREATE DATABASE swap TEMPLATE kept OID = $oid");
	is($node->safe_psql('swap', "SELECT state FROM temporal.wait_for_request($sent, '180 s')"),
		'delivered', 'the copy finds that it was');
	%arrivals = $temporal->arrivals;
	is($arrivals{$sent}, 1, 'and does not send it again');
}

done_testing();
