# What strangers tried on what was new: the history of keys, causes of failures,
# the internal schema.  Each was a hole once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
$node->safe_psql('postgres', <<"EOS");
CREATE ROLE app; CREATE ROLE other;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
CREATE SERVER first FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
CREATE SERVER second FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
GRANT USAGE ON FOREIGN SERVER temporal, first, second TO app, other;
EOS

sub as { my ($role, $sql) = @_; return $node->safe_psql('postgres', "SET ROLE $role; $sql"); }
sub history
{
	my ($key) = @_;

	return as('app', "SELECT string_agg(concat_ws(' ', activity_id, state, request), ', ' ORDER BY id) FROM temporal.activity_history('$key')");
}
sub recorded { my ($key) = @_; return as('app', "SELECT string_agg(activity_id, ', ') FROM temporal.activity WHERE key = '$key'"); }

# The worker tidies up when another segment of outcomes is begun.
my $retention = 7;
sub tidy
{
	my $segment = 'SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1';
	my $before = $node->safe_psql('postgres', $segment);

	$node->safe_psql('postgres', "UPDATE temporal_internal.delivery_segment SET since = since - interval '3 days'");
	$retention = 15 - $retention;
	$node->append_conf('postgresql.conf', "temporal_complete.retention = '${retention}d'");
	$node->reload;
	await('another segment', sub { $node->safe_psql('postgres', $segment) ne $before });
	return;
}
sub rows { my ($key) = @_; return $node->safe_psql('postgres', "SELECT count(*) FROM temporal_internal.recorded_activity WHERE key = '$key'"); }

# --- Recorded before another one that was finished since, and committed after that: it neither counts nor comes back.
my $late = $node->background_psql('postgres');
$late->query_safe("SET ROLE app; BEGIN; SELECT temporal.record_activity_by_id('late', 'w', 'old', server => 'temporal')");
as('app', q(SELECT temporal.record_activity_by_id('late', 'w', 'new', server => 'temporal')));
my $id = as('app', q(SELECT temporal.complete_activity_by_key('late', server => 'temporal')));
await_finished($node, "id = $id");
$late->query_safe('COMMIT');
is(recorded('late'), '', 'what was recorded before, and committed late, does not count');
is(history('late'), "old replaced, new finished $id", 'and its history says so');
tidy();
await('the table to be tidied up', sub { rows('late') eq '0' });
is(recorded('late'), '', 'it does not come back');
is(history('late'), "old replaced, new finished $id", 'nor in its history');

# --- Two that need a queue for the first time make two queues: a key is in both.
my $first = $node->background_psql('postgres');
$first->query_safe("SET ROLE other; BEGIN; SELECT temporal.record_activity_by_id('twice', 'w', 'old', server => 'temporal')");
as('other', q(SELECT temporal.record_activity_by_id('twice', 'w', 'new', server => 'temporal')));
$first->query_safe('COMMIT');
$first->quit;
$id = as('other', q(SELECT temporal.complete_activity_by_key('twice', server => 'temporal')));
await_finished($node, "id = $id");
is(as('other', q(SELECT count(*) FROM temporal.activity)), '0', 'what was recorded before the finished one, into another queue of the role, does not count');
is(as('other', q(SELECT string_agg(concat_ws(' ', activity_id, state, request), ', ' ORDER BY id) FROM temporal.activity_history('twice'))),
	"old replaced, new finished $id", 'and its history says so');

# --- The same where the newer one expires
$late->query_safe("BEGIN; SELECT temporal.record_activity_by_id('gone', 'w', 'old', server => 'temporal')");
as('app', q(SELECT temporal.record_activity_by_id('gone', 'w', 'new', expires_at => clock_timestamp() + '10 ms', server => 'temporal')));
$late->query_safe('COMMIT');
await('its end', sub { history('gone') eq 'old replaced, new expired' });
tidy();
await('the table to be tidied up', sub { rows('gone') eq '0' });
is(recorded('gone'), '', 'what was replaced by one that expired does not come back');
is(history('gone'), 'old replaced, new expired', 'nor in its history');

# --- Servers that were dropped are not one server.
as('app', "SELECT temporal.record_activity_by_id('dropped', 'w', 'on_$_', server => '$_')") foreach qw(first second);
$node->safe_psql('postgres', 'DROP SERVER first; DROP SERVER second');
is(history('dropped'), 'on_first recorded, on_second recorded', 'what was recorded for one dropped server does not replace that of another');
is(as('app', q(SELECT string_agg(activity_id, ', ' ORDER BY id) FROM temporal.activity_history('dropped') WHERE state = 'recorded')),
	as('app', q(SELECT string_agg(activity_id, ', ' ORDER BY activity_id) FROM temporal.activity WHERE key = 'dropped')), 'and the view shows both');

# --- Who purges all the time, while heartbeats end, does not have outcomes recorded anew again and again.
$node->safe_psql('postgres', 'CREATE TABLE enough (); GRANT SELECT ON enough TO PUBLIC');
foreach my $n (1 .. 3)
{
	spawn("purger_$n", 'psql', '-X', '-d', $node->connstr('postgres'), '-c', 'SET ROLE other', '-c',
		q(DO $$BEGIN LOOP PERFORM temporal.purge('0'); COMMIT; EXIT WHEN EXISTS (SELECT FROM enough); END LOOP; END$$));
}
await('them to purge', sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE query ~ '^DO .*purge')) eq '3' });
$node->safe_psql('postgres', <<'EOS');
SET ROLE other;
DO $$BEGIN FOR i IN 1..200 LOOP
	PERFORM temporal.heartbeat_activity_by_id('w', 'beat' || g, server => 'temporal') FROM generate_series(1, 300) g;
	COMMIT;
END LOOP; END$$;
EOS
$id = as('app', q(SELECT temporal.complete_activity_by_id('w', 'beside', server => 'temporal')));
await_finished($node, "id = $id");
await_finished($node);
$node->safe_psql('postgres', 'INSERT INTO enough DEFAULT VALUES');
await('the purges to end', sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE query ~ '^DO .*purge')) eq '0' });
unlike(slurp_file($node->logfile), qr/ERROR:  tuple concurrently/, 'outcomes are recorded whatever is purged meanwhile');

# --- A secret in several lines, each a string of its own, is hidden to its end.
$node->append_conf('postgresql.conf', "log_statement = 'all'");
$node->reload;
await('statements to be logged', sub { $node->safe_psql('postgres', 'SHOW log_statement') eq 'all' });
$node->safe_psql('postgres', <<'EOS');
CREATE USER MAPPING FOR app SERVER temporal OPTIONS (api_key 'F1rst'
	'S3cond'   -- and more
'Th1rd', allow_plaintext_credentials 'true');
DO 'BEGIN EXECUTE $$ALTER USER MAPPING FOR app SERVER temporal OPTIONS (SET api_key ''F1rst''
 ''S3cond'', SET allow_plaintext_credentials ''false'')$$; END';
EOS
$node->safe_psql('postgres', q(SELECT 'last'));
my $log = slurp_file($node->logfile);
like($log, qr/SELECT 'last'/, 'statements are logged');
like($log, qr/CREATE USER MAPPING FOR app SERVER temporal OPTIONS \(api_key <hidden>\s+<hidden>/, 'that one too');
unlike($log, qr/F1rst|S3cond|Th1rd/, 'without any part of the secret');
like($log, qr/SET allow_plaintext_credentials ''false''/, 'but with the rest');

$late->quit;
$node->stop;

done_testing();
