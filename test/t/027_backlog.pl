# A million requests wait for a server that is down, then for one that refuses
# them, then are sent: the worker's memory stays small throughout.
#
# Measured is RssAnon + RssFile of /proc/PID/status, that is the resident
# memory without RssShmem: how many pages of shared buffers a process has
# touched says nothing about its own needs.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $total = 1_000_000;
my $limit_kb = 50 * 1024;

my $node = new_cluster('main', settings => "max_wal_size = 4GB\nautovacuum = off");
my $port = PostgreSQL::Test::Cluster::get_free_port();

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (address '127.0.0.1:$port')");

my $pid = await_worker($node);
my $most = 0;

sub memory_kb
{
	my $status = slurp_file("/proc/$pid/status");
	my $kb = 0;

	$kb += $1 while $status =~ /^Rss(?:Anon|File):\s*(\d+) kB/mg;
	$most = $kb if $kb > $most;
	return $kb;
}

memory_kb();
note("at rest: $most kB");

# By task tokens: what was sent by ids is looked up before it is sent again,
# and the stub knows of no workflows.
$node->safe_psql('postgres', <<'EOS');
CREATE FUNCTION token(workflow text, activity text) RETURNS bytea LANGUAGE sql AS $$
SELECT '\x0a016e12'::bytea || set_byte('\x00', 0, length(workflow)) || workflow::bytea ||
       '\x1a01722005280132'::bytea || set_byte('\x00', 0, length(activity)) || activity::bytea $$;
EOS

# Half of them in one transaction, the others in many; for many activities,
# and a part of them for one.
$node->safe_psql('postgres', <<EOS);
SELECT count(temporal.complete_activity(token('one transaction', i::text), to_jsonb(i))) FROM generate_series(1, $total / 2) i;
EOS
memory_kb();
$node->safe_psql('postgres', <<EOS);
DO \$\$
BEGIN
	FOR n IN 1 .. ($total / 2 - 10000) / 1000 LOOP
		PERFORM temporal.complete_activity(token('many transactions', n || '-' || i), to_jsonb(i)) FROM generate_series(1, 1000) i;
		COMMIT;
	END LOOP;
	PERFORM temporal.complete_activity(token('one activity', 'a'), to_jsonb(i)) FROM generate_series(1, 10000) i;
END \$\$;
EOS
memory_kb();
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), $total, 'a million requests wait');
ok($node->poll_query_until('postgres', q(SELECT error_code = 'CONNECTION_FAILED' FROM temporal_internal.queue_error)),
	'the server is down');
cmp_ok(memory_kb(), '<', $limit_kb, "memory while the server is down ($most kB at most)");

# Its state is looked at a few times while it tries to connect.
my $since = $node->safe_psql('postgres', 'SELECT max(next_attempt_at) FROM temporal_internal.queue_error');
foreach (1 .. 2)
{
	$node->poll_query_until('postgres',
		"SELECT max(next_attempt_at) > '$since' FROM temporal_internal.queue_error");
	$since = $node->safe_psql('postgres', 'SELECT max(next_attempt_at) FROM temporal_internal.queue_error');
	memory_kb();
}
cmp_ok($most, '<', $limit_kb, "memory while it tries to connect ($most kB at most)");

# A server that refuses everything for now
my $refusing = start_stub($port, '--status', '14', '--message', 'not now');
ok($node->poll_query_until('postgres', q(SELECT error_code = 'UNAVAILABLE' FROM temporal_internal.queue_error)),
	'the server refuses requests');
memory_kb();
end_process($refusing, 'KILL');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox WHERE attempts > 0'), '<', 10000,
	'the attempts of a few requests only are used up for it');

# ... and one that takes them
start_stub($port);
$node->safe_psql('postgres', q(ALTER SERVER temporal OPTIONS (ADD max_in_flight '1000')));
await('all to be delivered',
	sub { memory_kb(); $node->safe_psql('postgres', 'SELECT NOT EXISTS (SELECT FROM temporal_internal.outbox)') eq 't' });
is($node->safe_psql('postgres', 'SELECT confirmed, count(*) FROM temporal_internal.delivery GROUP BY 1'), "t|$total",
	'all are delivered');
cmp_ok($most, '<', $limit_kb, "memory all the time ($most kB at most)");
is(worker_pid($node), $pid, 'by the same worker');

done_testing();
