# Look-ups in temporal.request among many outcomes read few pages of them, and
# plans are chosen that do.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $total = 200_000;
my $node = new_cluster('main', settings => "temporal_complete.enabled = off\nautovacuum = off");

$node->safe_psql('postgres', <<'EOS');
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
CREATE ROLE many;
CREATE ROLE few;
GRANT USAGE ON FOREIGN SERVER temporal TO many, few;
EOS
foreach my $role ('many', 'few')
{
	$node->safe_psql('postgres', "SET ROLE $role; SELECT temporal.complete_activity_by_id('waiting', '$role')");
}

# Outcomes of four segments, of whom one in 10,000 is of the role few, and what went wrong
$node->safe_psql('postgres', <<"EOS");
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed, activity_id, workflow_id, run_uuid)
SELECT g, now() - ($total - g) * interval '1 s', now() - ($total - g) * interval '1 s', q.number, 1, 2, g * 4 / ($total + 1), true,
       'act-' || g, 'order-' || md5((g / 3)::text)::uuid, md5(g::text)::uuid
  FROM generate_series(3, $total) g
       JOIN temporal_internal.queue q ON q.requested_by_name = CASE WHEN g % 10000 = 0 THEN 'few' ELSE 'many' END;
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed, rejected, activity_id, workflow_id)
SELECT $total + g, now(), now() - g * interval '1 h', o.queue, 1, 2, 3, CASE WHEN g % 2 = 0 THEN false END, CASE WHEN g % 2 = 1 THEN true END, 'act', 'wrong'
  FROM generate_series(1, 50) g, temporal_internal.outbox o WHERE o.id = 1;
INSERT INTO temporal_internal.rejected (id, xid, requested_at, queue, written_by, method, maybe_sent, request, attempts, error_code, finished_at)
SELECT $total + 50 + g, xid, requested_at, queue, written_by, method, g % 2 = 0, request, 1, 'NOT_FOUND', now() - g * interval '1 h'
  FROM temporal_internal.outbox o, generate_series(1, 50) g WHERE o.id = 1;
SELECT setval('temporal_internal.request_id', $total + 200);
EOS
$node->safe_psql('postgres', 'VACUUM ANALYZE');
$node->safe_psql('postgres', $_) foreach split(/\n/, $node->safe_psql('postgres', <<'EOS'));
SELECT format('SELECT brin_summarize_new_values(%L::regclass)', i.indexrelid::regclass)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
 WHERE a.amname = 'brin' AND c.relkind = 'i' AND i.indrelid::regclass::text ~ '^temporal_internal.delivery_'
EOS
my $pages = $node->safe_psql('postgres', q(SELECT sum(pg_relation_size(oid))::bigint / 8192 FROM pg_class WHERE relname ~ '^delivery_[0-3]$'));
my $workflow = $node->safe_psql('postgres', "SELECT 'order-' || md5(($total / 2 / 3)::text)::uuid");

# How many pages are read, by whom all is counted for
sub pages_read
{
	my ($query) = @_;
	my $explain = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS) $query;";
	# the first time catalogs are read for it
	my $plan = $node->safe_psql('postgres', "$query \\g /dev/null\n$explain");
	my ($counts) = $plan =~ /Buffers: shared (.*)/;
	my $result = 0;

	$result += $1 while $counts =~ /(?:hit|read)=(\d+)/g;
	return $result;
}

# name of the query, query, what is passed down, how many rows the role few sees and all there are
foreach my $case (
	[ 'a workflow', "WHERE workflow_id = '$workflow'", 'workflow_id', 1, 3 ],
	[ 'an activity of a workflow', "WHERE workflow_id = '$workflow' AND activity_id = 'act-100000'", 'workflow_id', 1, 1 ],
	[ 'workflows', "WHERE workflow_id IN ('$workflow', 'waiting')", 'workflow_id', 2, 55 ],
	[ 'no workflow', "WHERE workflow_id = 'nothing'", 'workflow_id', 0, 0 ],
	[ 'workflows of a table', "JOIN (VALUES ('$workflow'), ('nothing')) w (w) ON workflow_id = w", 'workflow_id', 1, 3 ],
	[ 'the newest', 'ORDER BY id DESC LIMIT 20', 'newest first', 20, 20 ],
	[ 'the newest of a page', 'ORDER BY id DESC LIMIT 20 OFFSET 40', 'newest first', 0, 20 ],
	[ 'the newest that went wrong', q(WHERE state = 'rejected' ORDER BY id DESC LIMIT 20), 'state, newest first|state', 0, 20 ],
	[ 'what is not finished', 'WHERE finished_at IS NULL', 'state', 1, 2 ],
	[ 'what waits', q(WHERE state IN ('queued', 'retrying')), 'state', 1, 2 ],
	[ 'what was rejected', q(WHERE state = 'rejected'), 'state', 0, 50 ],
	[ 'what was rejected lately', q(WHERE state = 'rejected' AND finished_at > now() - interval '5.5 h'), 'finished_at, state', 0, 6 ],
	[ 'what went wrong', q(WHERE state IN ('rejected', 'unconfirmed') ORDER BY finished_at DESC LIMIT 5), 'state', 0, 5 ],
	[ 'what went wrong or waits', q(WHERE state IN ('rejected', 'unconfirmed', 'queued')), 'state', 1, 102 ],
	[ 'the latest id', 'WHERE id = (SELECT max(id) FROM temporal.request)', 'newest first', 1, 1 ])
{
	my ($name, $condition, $lookup, $own, $of_all) = @$case;
	my $query = "SELECT * FROM temporal.request r $condition";

	like($node->safe_psql('postgres', "EXPLAIN (COSTS OFF) $query"), qr/Look-up: (?:$lookup)$/m, "$name: the plan");
	cmp_ok(pages_read($query), '<', $pages / 10, "$name: few of $pages pages are read");
	# OFFSET 0 keeps a condition where it is
	my $plain = $query =~ s/temporal\.request r/(SELECT * FROM temporal.request OFFSET 0) r/r;
	foreach my $reader ([ few => $own ], [ postgres => $of_all ])
	{
		is($node->safe_psql('postgres', "SET ROLE $reader->[0]; SELECT count(*) FROM ($query) q"), $reader->[1], "$name: rows for $reader->[0]");
		is($node->safe_psql('postgres', "SET ROLE $reader->[0]; SELECT * FROM ($query) q ORDER BY id"),
			$node->safe_psql('postgres', "SET ROLE $reader->[0]; SELECT * FROM ($plain) q ORDER BY id"), "$name: the same rows for $reader->[0]");
	}
}

# Nothing is read as a whole for them, but the tables that are small; here, too, only those who may see all get counts
is($node->safe_psql('postgres', <<"EOS"), '', 'no segment is read as a whole');
BEGIN;
SELECT count(*) FROM temporal.request WHERE workflow_id = '$workflow' \\g /dev/null
SELECT * FROM temporal.request ORDER BY id DESC LIMIT 100 \\g /dev/null
SELECT count(*) FROM temporal.request WHERE state IN ('rejected', 'queued') \\g /dev/null
SELECT count(*) FROM temporal.request WHERE finished_at IS NULL \\g /dev/null
SELECT relname FROM pg_stat_xact_user_tables WHERE schemaname = 'temporal_internal' AND relname ~ '^delivery' AND seq_scan > 0;
COMMIT;
EOS

# All of them, newest first: for whom there are few among many, and for whom there are all
foreach my $reader ([ few => $total / 10000 + 1 ], [ postgres => $total + 100 ])
{
	is($node->safe_psql('postgres', <<"EOS"), "$reader->[1]|t", "all requests, newest first, for $reader->[0]");
SET ROLE $reader->[0];
SET enable_sort = off;
SELECT count(*), bool_and(coalesce(id < before, true)) FROM (SELECT id, lag(id) OVER (ORDER BY id DESC) AS before FROM temporal.request) r;
EOS
}

# A statement that is prepared, with a value that the plan does not know
foreach my $mode ('force_generic_plan', 'force_custom_plan')
{
	is($node->safe_psql('postgres', <<"EOS"), "3\n0\n0\n3", "prepared, $mode");
SET plan_cache_mode = $mode;
PREPARE p(text) AS SELECT count(*) FROM temporal.request WHERE workflow_id = \$1;
EXECUTE p('$workflow');
EXECUTE p('nothing');
EXECUTE p(NULL);
EXECUTE p('$workflow');
EOS
}

# What a query sees is as of its beginning, also in windows that it reads later
is($node->safe_psql('postgres', <<"EOS"), join("\n", $total + 100, 3099), 'a cursor sees what was there when it was opened');
SET enable_sort = off;
BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM temporal.request WHERE id > $total - 3000 ORDER BY id DESC;
FETCH 1 FROM c;
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed)
SELECT v.id, now(), now(), q.number, 1, 2, 3, true FROM (VALUES ($total - 2990), ($total + 150)) v (id), temporal_internal.queue q WHERE q.requested_by_name = 'many';
CREATE FUNCTION rest() RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE c refcursor := 'c'; n bigint; id bigint;
BEGIN
    n := 0;
    LOOP FETCH c INTO id; EXIT WHEN NOT FOUND; n := n + 1; END LOOP;
    RETURN n;
END \$\$;
SELECT rest();
ROLLBACK;
EOS

# Who reads on with another role gets what the first one may see
is($node->safe_psql('postgres', <<"EOS"), join("\n", $total, $total - 10000, $total - 20000), 'a cursor that is read with another role');
SET enable_sort = off;
BEGIN;
SET ROLE few;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM temporal.request ORDER BY id DESC;
FETCH 1 FROM c;
RESET ROLE;
FETCH 2 FROM c;
COMMIT;
EOS

# Names that cannot be told by their bytes alone, and such as are part of others: decoded or not, the same are found
$node->safe_psql('postgres', q(SELECT temporal.complete_activity_by_id(w, 'odd') FROM unnest(ARRAY['what?', 'wer ä', 'waiting-too', '', 'odd']) w));
foreach my $odd ('what?', 'wer ä', 'waiting-too', 'waiting', '', 'odd', 'wait', 'what', '?')
{
	is($node->safe_psql('postgres', "SELECT count(*), string_agg(activity_id, ',' ORDER BY id) FROM temporal.request WHERE workflow_id = '$odd'"),
		$node->safe_psql('postgres', "SELECT count(*), string_agg(activity_id, ',' ORDER BY id) FROM (SELECT * FROM temporal.request OFFSET 0) r WHERE workflow_id = '$odd'"),
		"a workflow '$odd'");
}

# Equal by a collation that knows several ways of writing is not equal by bytes
SKIP:
{
	my ($rc, $stdout, $stderr) = $node->psql('postgres',
		q(CREATE COLLATION lax (provider = icu, locale = 'und-u-ks-level2', deterministic = false)));
	skip 'this PostgreSQL has no ICU', 2 if $rc != 0;
	is($node->safe_psql('postgres', q(SELECT count(*) FROM temporal.request WHERE workflow_id = 'WRONG' COLLATE lax)), '50',
		'a collation that is not deterministic finds other ways of writing of a workflow');
	is($node->safe_psql('postgres', q(SELECT count(*) FROM temporal.request WHERE state = 'Rejected' COLLATE lax)), '50', 'and of a state');
}

done_testing();
