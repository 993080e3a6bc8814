# What a third attack found, on what came after the second: each of these once
# got an ordinary role what it must not have.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use File::Temp ();
use List::Util qw(sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');

$node->safe_psql('postgres', <<'EOS');
CREATE ROLE mallory LOGIN;
CREATE ROLE victim LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO mallory;
GRANT CREATE ON SCHEMA public TO mallory;
EOS

sub sql
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

# Whose names stand in a text that others read does not write lines of it, nor statements to be copied.
sql('mallory', <<"EOS");
SET client_min_messages = error;
CREATE SERVER "s'); ALTER ROLE mallory SUPERUSER; SELECT ('
x" FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1', namespaces '*');
SELECT temporal.complete_activity_by_id('w', 'a', server => E's\\'); ALTER ROLE mallory SUPERUSER; SELECT (\\'\\nx', namespace => E'x: UNAVAILABLE\\nserver temporal, role victim, namespace x');
EOS
my $detail = await('health() tells of a server',
	sub { return $node->safe_psql('postgres', q(SELECT detail FROM temporal.health() WHERE check_name = 'queues')); });
is(() = $detail =~ /^server/mg, 1, 'each line of health() is its own');
unlike($detail, qr/\n/, 'names are on one line');

my (undef, undef, $stderr) = $node->psql('postgres', <<'EOS');
DROP SERVER "s'); ALTER ROLE mallory SUPERUSER; SELECT ('
x";
EOS
like($stderr, qr/rebind_server\('s''\); ALTER ROLE/, 'what a hint says to type has names as literals');

# A condition is one expression, also with a comment at its end.
sql('mallory', 'CREATE TABLE mine (token bytea, status text)');
(undef, undef, $stderr) = $node->psql('postgres', <<"EOS", extra_params => [ '-U', 'mallory' ]);
SET temporal_complete.default_server = other;
CREATE SERVER other FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
SELECT temporal.bind_table('mine', 'fail', token_column => 'token', when_sql => 'true) --',
    message => E'x\\n EXECUTE FUNCTION suppress_redundant_updates_trigger() --');
EOS
like($stderr, qr/syntax error/, 'a comment in a condition does not hide what follows it');
is(sql('mallory', q(SELECT temporal.bind_table('mine', 'fail', token_column => 'token', when_sql => 'true --', message => 'x', server => 'other'))),
	'temporal_fail', 'but a comment may stand there');
is(sql('mallory', q(SELECT string_agg(tgfoid::regproc::text, ', ') FROM pg_trigger WHERE tgrelid = 'mine'::regclass)),
	'temporal.fail_activity_trigger', 'it is our function that fires');

# Who has very many queues, and has all of them looked at all the time, gets no
# more of the worker than others do.  What he commits meanwhile takes ids of
# transactions, so these are the clock; how many is a matter of the machine.
my $many = 2_000;
my $trips = 200;
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
$node->safe_psql('postgres', <<"EOS");
CREATE SERVER shared FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', namespaces '*');
CREATE SERVER keys FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
GRANT USAGE ON FOREIGN SERVER shared, keys TO mallory, victim;
CREATE FUNCTION token(id text) RETURNS bytea LANGUAGE sql IMMUTABLE
    RETURN '\\x0a016e1201771a01722005280132'::bytea || set_byte('\\x00', 0, length(id)) || id::bytea;
EOS
sql('mallory', <<"EOS");
SELECT count(temporal.complete_activity(token('q' || i), '1', server => 'shared', namespace => 'n' || i)) FROM generate_series(1, $many) i;
EOS
await_finished($node, "server = 'shared'");

my $prepared = File::Temp->new;
print $prepared "BEGIN; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';\n" for 1 .. 200_000;
$prepared->flush;
my $loop = spawn('prepared', 'psql', '-XAqt', '-d', $node->connstr('postgres') . ' user=mallory', '-f', $prepared->filename);
my $xid = 'SELECT pg_snapshot_xmax(pg_current_snapshot())';
my $trip = q{SELECT temporal.complete_activity(token('v'), '1', server => 'shared') AS id \gset
SELECT state FROM temporal.wait_for_request(:id);
};
sql('victim', $trip);
# how many queues a turn reads is what others wait for, whatever the machine
$node->append_conf('postgresql.conf', 'log_min_messages = debug2');
$node->reload;
my $reads = qr/queues that were read in a turn: (\d+)/;
await('the worker to say what it reads', sub { sql('victim', $trip); slurp_file($node->logfile) =~ $reads });
my $logged = -s $node->logfile;
my @told = split(/\n/, sql('victim', "$xid;\n" . $trip x $trips . "$xid;"));
end_process($loop, 'KILL');
is(join(' ', @told[ 1 .. $trips ]), join(' ', ('delivered') x $trips), 'another role is served');
my $others = ($told[-1] - $told[0]) / $trips;
note("transactions of the other role for each request: $others");
my @reads = sort { $a <=> $b } slurp_file($node->logfile, $logged) =~ /$reads/g;
$node->append_conf('postgresql.conf', 'log_min_messages = warning');
$node->reload;
cmp_ok(sum(@reads), '>', $many, 'meanwhile all queues were looked at');
cmp_ok($reads[-1], '<', 200, 'some in a turn');
note('queues read for each request of the other role: ' . sum(@reads) / $trips);
cmp_ok(sum(@reads) / $trips, '<', $many / 4, 'and who commits does not wait until it is his turn among them');

# Nor does who lets very many requests wait for keys: that each is noted is the clock here.
my $waits = 60_000;
my $session = $node->background_psql('postgres', extra_params => [ '-U', 'victim' ]);
$session->query_safe('SELECT 1');
make_unnoted_waits($node, sub {
	sql('mallory', "SELECT count(temporal.complete_activity_by_key('k' || i, '1', wait_for_key => '1 h', server => 'keys')) FROM generate_series(1, $waits) i") });
like($session->query_safe($trip x 4), qr/^(delivered\n?){4}$/, 'another role is served while many requests for keys are read');
my $noted = $node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.awaited_key');
note("requests that were noted meanwhile: $noted");
cmp_ok($noted, '<', $waits, 'before all of them were');
$session->quit;
await('the others', sub { return $node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.awaited_key') == $waits; });

$node->stop;
done_testing();
