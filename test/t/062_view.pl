# What ordinary roles learn from the views about requests of others: nothing,
# whatever they put into a query.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

# nothing is sent: the requests of the victim wait, or are put where outcomes are
my $node = new_cluster('main', settings => 'temporal_complete.enabled = off');

$node->safe_psql('postgres', <<'EOS');
CREATE ROLE victim LOGIN;
CREATE ROLE snoop LOGIN;
CREATE ROLE friend LOGIN IN ROLE victim;
CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
CREATE ROLE gone LOGIN;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
GRANT USAGE ON FOREIGN SERVER temporal TO victim, snoop, gone;
GRANT CREATE, TEMP ON DATABASE postgres TO snoop;
EOS

# the same three requests, waiting, rejected and delivered, of each role
sub make_requests
{
	my ($role, $word) = @_;

	$node->safe_psql('postgres', <<"EOS");
SET ROLE $role;
SELECT temporal.complete_activity_by_id('$word-waiting', 'act-$word', '"payload-$word"');
SELECT temporal.complete_activity_by_id('$word-rejected', 'act-$word', '"payload-$word"');
SELECT temporal.complete_activity_by_id('$word-delivered', 'act-$word', '"payload-$word"');
RESET ROLE;
WITH gone AS (DELETE FROM temporal_internal.outbox o USING temporal_internal.every_request r
               WHERE o.id = r.id AND r.workflow_id = '$word-rejected' RETURNING o.*)
INSERT INTO temporal_internal.rejected (id, xid, requested_at, queue, written_by, method, maybe_sent, request, attempts, error_code, error_message, finished_at)
SELECT id, xid, requested_at, queue, written_by, method, maybe_sent, request, 1, 'NOT_FOUND', 'message-$word', now() FROM gone;
WITH gone AS (DELETE FROM temporal_internal.outbox o USING temporal_internal.every_request r
               WHERE o.id = r.id AND r.workflow_id = '$word-delivered' RETURNING o.*)
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed, activity_id, workflow_id)
SELECT id, requested_at, now(), queue, 1, method, 0, true, 'act-$word', '$word-delivered' FROM gone;
EOS
	return;
}

my $has_internal = $node->safe_psql('postgres', "SELECT to_regclass('temporal_internal.every_request') IS NOT NULL");
$node->safe_psql('postgres', 'CREATE VIEW temporal_internal.every_request AS TABLE temporal.request') if $has_internal ne 't';

make_requests('victim', 'hidden');
make_requests('snoop', 'own');
make_requests('gone', 'orphan');
$node->safe_psql('postgres', 'VACUUM ANALYZE');

# a queue that is not there, and a role that is not there any more
$node->safe_psql('postgres', <<'EOS');
REVOKE ALL ON FOREIGN SERVER temporal FROM gone;
DROP ROLE gone;
INSERT INTO temporal_internal.outbox (id, xid, requested_at, queue, written_by, method, maybe_sent, request)
SELECT 900001, xid, requested_at, 77, written_by, method, maybe_sent, request FROM temporal_internal.outbox ORDER BY id LIMIT 1;
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed, activity_id, workflow_id)
VALUES (900002, now(), now(), 77, 1, 2, 0, true, 'act-hidden', 'hidden-homeless');
EOS

my %ids = map { split(/\|/) } split(/\n/, $node->safe_psql('postgres', 'SELECT workflow_id, id FROM temporal_internal.every_request WHERE id < 900001'));

sub visible
{
	my ($role) = @_;

	return $node->safe_psql('postgres', "SET ROLE $role; SELECT count(*), count(*) FILTER (WHERE requested_by IS NULL) FROM temporal.request");
}
is(visible('snoop'), '3|0', 'a role sees its own requests');
is(visible('friend'), '3|0', 'a member of a role sees those of that role');
is(visible('watcher'), '11|2', 'pg_monitor sees all, also those of roles that were dropped and of queues that are lost');

# Functions that tell what they are given, and look cheap
$node->safe_psql('postgres', <<'EOS');
SET ROLE snoop;
CREATE SCHEMA lair;
CREATE FUNCTION lair.leak(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
$$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
CREATE FUNCTION lair.leak_id(bigint, bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS
$$ BEGIN RAISE NOTICE 'leaked id %', $1; RETURN true; END $$;
CREATE FUNCTION lair.leak_text(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS
$$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
CREATE OPERATOR lair.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = lair.leak_text, RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR lair.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = lair.leak_id, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE DOMAIN lair.trap AS text CHECK (lair.leak(VALUE));
CREATE TABLE lair.mine AS SELECT generate_series(1001, 1100)::bigint AS id, 'own-guess'::text AS workflow_id;
-- names that it has guessed
CREATE TABLE lair.words AS SELECT 'hidden-' || w AS word FROM unnest('{waiting,rejected,delivered}'::text[]) w;
CREATE OPERATOR lair.= (LEFTARG = text, RIGHTARG = text, FUNCTION = lair.leak_text, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE VIEW lair.over AS SELECT * FROM temporal.request WHERE lair.leak(workflow_id);
CREATE FUNCTION lair.query(q text) RETURNS SETOF text LANGUAGE plpgsql AS
$$ BEGIN RETURN QUERY EXECUTE q; END $$;
EOS

my @attacks = (
	q(WHERE lair.leak(workflow_id)),
	q(WHERE lair.leak(id)),
	q(WHERE lair.leak(requested_by)),
	q(WHERE lair.leak(error_message)),
	q(WHERE lair.leak(r)),
	q(WHERE lair.leak(state) AND lair.leak(activity_id) LIMIT 100),
	q(WHERE workflow_id OPERATOR(lair.===) 'x'),
	q(WHERE id OPERATOR(lair.=) 5),
	q(WHERE activity_id::lair.trap IS NOT NULL),
	q(WHERE (workflow_id || activity_id)::int > 0),
	q(WHERE workflow_id::int > 0),
	q(WHERE activity_id::regclass IS NOT NULL),
	q(WHERE (workflow_id || activity_id)::int > 0 LIMIT 1),
	q(WHERE id IN (1, 2, 3, 4, 5, 6, 7, 8, 9) AND lair.leak(workflow_id)),
	q(WHERE id = ANY ('{1,2,3,4,5,6,7,8,9}') AND lair.leak(workflow_id)),
	q(JOIN lair.mine m USING (id) WHERE lair.leak(r.workflow_id)),
	q(JOIN lair.mine m ON m.id OPERATOR(lair.=) r.id),
	q(JOIN lair.mine m ON m.workflow_id OPERATOR(lair.===) r.workflow_id),
	q(RIGHT JOIN lair.mine m USING (id) WHERE lair.leak(r.workflow_id)),
	q(, LATERAL (SELECT lair.leak(r.workflow_id)) l),
	q(WHERE EXISTS (SELECT FROM lair.mine m WHERE m.id = r.id AND lair.leak(r.workflow_id))),
	q(ORDER BY lair.leak(workflow_id)),
	q(GROUP BY workflow_id HAVING lair.leak(workflow_id)),
	q(WHERE workflow_id = (SELECT max(word) FROM lair.words) AND lair.leak(workflow_id)),
	q(WHERE workflow_id = ANY (ARRAY(SELECT word FROM lair.words)) AND lair.leak(workflow_id)),
	q(WHERE workflow_id = ANY (ARRAY(SELECT word FROM lair.words)) AND (workflow_id || activity_id)::int > 0),
	q(WHERE workflow_id = ANY (ARRAY(SELECT word FROM lair.words)) AND lair.leak(id) ORDER BY id DESC LIMIT 5),
	q(WHERE workflow_id OPERATOR(lair.=) 'x'),
	q(WHERE workflow_id OPERATOR(lair.=) ANY ('{x,y}')),
	q(WHERE workflow_id::lair.trap = 'x'),
	q(JOIN lair.words w ON w.word = r.workflow_id WHERE lair.leak(r.workflow_id)),
	q(JOIN lair.words w ON r.workflow_id OPERATOR(lair.=) w.word),
	q(RIGHT JOIN lair.words w ON w.word = r.workflow_id AND lair.leak(r.activity_id)),
	q(, LATERAL (SELECT * FROM lair.words w WHERE w.word = r.workflow_id OFFSET 0) w WHERE lair.leak(r.activity_id)),
	q(WHERE lair.leak(workflow_id) ORDER BY id DESC LIMIT 5),
	q(WHERE lair.leak(error_message) AND state = 'rejected' ORDER BY id DESC LIMIT 5),
	q(WHERE state = 'rejected' AND lair.leak(workflow_id)),
	q(WHERE state IN ('rejected', 'unconfirmed') AND lair.leak(r)),
	q(WHERE state OPERATOR(lair.===) 'rejected'),
	q(WHERE state OPERATOR(lair.=) ANY ('{rejected,queued}')),
	q(WHERE state::lair.trap = 'rejected'),
	q(WHERE finished_at IS NULL AND lair.leak(workflow_id)),
	q(WHERE finished_at IS NULL AND (workflow_id || activity_id)::int > 0),
	q(WHERE finished_at > now() - interval '1 day' AND state = 'rejected' AND lair.leak(error_message)),
	(map { "WHERE id = $ids{$_} AND lair.leak(workflow_id)" } grep { /hidden/ } sort keys %ids),
	(map { "WHERE id = $ids{$_} AND (workflow_id || activity_id)::int > 0" } grep { /hidden/ } sort keys %ids),
);
my @forms = (
	sub { "SELECT count(*) FROM temporal.request r $_[0]" },
	sub { "SELECT r.workflow_id FROM temporal.request r $_[0]" },
	sub { "EXPLAIN (ANALYZE, VERBOSE) SELECT count(*) FROM temporal.request r $_[0]" },
	sub { "SET plan_cache_mode = force_generic_plan; PREPARE p AS SELECT count(*) FROM temporal.request r $_[0]; EXECUTE p; EXPLAIN EXECUTE p" },
	sub { "BEGIN; DECLARE c CURSOR FOR SELECT count(*) FROM temporal.request r $_[0]; FETCH ALL c; COMMIT" },
	sub { "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_sort = off; SELECT count(*) FROM temporal.request r $_[0]" },
	sub { "SELECT lair.query(\$q\$SELECT count(*)::text FROM temporal.request r $_[0]\$q\$)" },
);
my $secret = qr/hidden-|act-hidden|message-hidden|orphan|victim|leaked id (?:1|2|3|7|8|9|90000[12])\b/;

sub leaks
{
	my ($sql, $what) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', "SET client_min_messages = debug1; $sql",
		extra_params => [ '-U', 'snoop' ]);
	# what the snoop has written itself comes back in messages about its statement
	my ($told) = grep { $_ =~ $secret } grep { !/^(?:LINE \d+|STATEMENT|CONTEXT|SQL statement)/ } split(/\n/, "$stdout\n$stderr");

	return is($told, undef, $what);
}

foreach my $attack (@attacks)
{
	leaks($_->($attack), "nothing: " . $_->($attack)) foreach @forms;
}
leaks('SELECT * FROM lair.over', 'a view on the view');
leaks('COPY (SELECT * FROM temporal.request r WHERE lair.leak(r)) TO STDOUT', 'COPY');
leaks("SELECT * FROM temporal.wait_for_request($ids{'hidden-delivered'}, '0')", 'wait_for_request()');

# What EXPLAIN ANALYZE counts is the same, be there such a request of others or not
sub explained
{
	my ($condition) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres',
		"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT * FROM temporal.request WHERE $condition",
		extra_params => [ '-U', 'snoop' ], on_error_stop => 1);

	die $stderr if $rc != 0;
	$stdout =~ s/'[^']*'|\b9?0*\d{4,}\b|\bid = \S+/?/g;
	return $stdout;
}
foreach my $pair (
	[ q(workflow_id = 'hidden-delivered'), q(workflow_id = 'no-such-thing') ],
	[ q(workflow_id = 'hidden-rejected'), q(workflow_id = 'no-such-thing') ],
	[ q(workflow_id = 'hidden-waiting'), q(workflow_id = 'no-such-thing') ],
	[ q(workflow_id > 'hidden' AND workflow_id < 'hiddeo'), q(workflow_id > 'nosuch' AND workflow_id < 'nosuci') ],
	[ q(requested_by = 'victim'), q(requested_by = 'watcher') ],
	[ q(workflow_id = 'hidden-rejected' AND state = 'rejected'), q(workflow_id = 'no-such-thing' AND state = 'rejected') ],
	[ q(workflow_id IN ('hidden-rejected', 'hidden-waiting', 'orphan-delivered')), q(workflow_id IN ('no-such-thing', 'nor-this', 'nor-that')) ],
	[ q(workflow_id = 'hidden-waiting' AND finished_at IS NULL), q(workflow_id = 'no-such-thing' AND finished_at IS NULL) ],
	[ q(error_message = 'message-hidden'), q(error_message = 'no such message') ],
	[ q(activity_id = 'act-hidden'), q(activity_id = 'no-such-thing') ],
	(map { [ "id = $ids{$_}", 'id = 4711' ] } grep { /hidden/ } sort keys %ids),
	[ 'id = 900001', 'id = 4711' ], [ 'id = 900002', 'id = 4711' ])
{
	is(explained($pair->[0]), explained($pair->[1]), "EXPLAIN ANALYZE does not tell: $pair->[0]");
}

# Nor what was read for it in buffers and in the counts of tables
sub counted
{
	my ($condition) = @_;
	my $stdout = $node->safe_psql('postgres', <<"EOS", extra_params => [ '-U', 'snoop' ]);
SET enable_sort = off;
BEGIN;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS) SELECT * FROM temporal.request WHERE $condition;
SELECT relname, s.seq_scan, s.seq_tup_read, s.idx_scan, s.idx_tup_fetch
  FROM pg_stat_xact_user_tables s WHERE schemaname = 'temporal_internal' ORDER BY 1;
COMMIT;
EOS

	$stdout =~ s/^Planning:\n( +.*\n)*//mg;
	$stdout =~ s/'[^']*'|\bid = \S+//g;
	return $stdout;
}
is(counted("id = $ids{$_}"), counted('id = 4711'), "what is read for the id of $_ is not told") foreach grep { /hidden/ } sort keys %ids;
foreach my $form (
	q(workflow_id = '%s'),
	q(workflow_id IN ('%s', 'x')),
	q(workflow_id = '%s' AND state = 'rejected'),
	q(workflow_id = '%s' AND finished_at IS NULL),
	q(workflow_id = '%s' ORDER BY id DESC LIMIT 5),
	q(state = 'rejected' AND error_message = '%s'))
{
	foreach my $word ('hidden-waiting', 'hidden-rejected', 'hidden-delivered', 'message-hidden')
	{
		is(counted(sprintf($form, $word)), counted(sprintf($form, 'no-such-thing')), "what is read is not told: $form, $word");
	}
}

# Nothing else than the view is to be read, not even by who may name it, and nothing is in the statistics
my ($rc, $stdout, $stderr) = $node->psql('postgres', 'SELECT * FROM temporal_internal.outbox', extra_params => [ '-U', 'snoop' ]);
like($stderr, qr/permission denied for schema temporal_internal/, 'what is internal has a schema of its own');
$node->safe_psql('postgres', 'GRANT USAGE ON SCHEMA temporal_internal TO snoop');
foreach my $object ('temporal_internal.outbox', 'temporal_internal.rejected', 'temporal_internal.delivery', 'temporal_internal.delivery_0',
	'temporal_internal.last_heartbeat', 'temporal_internal.queue', 'temporal_internal.queue_here', 'temporal_internal.queue_error', 'temporal_internal.every_request', 'temporal_internal.visible_request',
	'temporal_internal.in_flight_requests()', q(temporal_internal.made_here(1, 1)), q(temporal_internal.method_verb(2::smallint)),
	q(temporal_internal.request_target(2::smallint, '\\x')))
{
	($rc, $stdout, $stderr) = $node->psql('postgres', "SELECT * FROM $object", extra_params => [ '-U', 'snoop' ]);
	like($stderr, qr/permission denied for (?!schema)/, "$object cannot be used");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stats WHERE schemaname = 'temporal_internal'", extra_params => [ '-U', 'snoop' ]),
	'0', 'pg_stats shows nothing');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stats_ext WHERE schemaname = 'temporal_internal'", extra_params => [ '-U', 'snoop' ]),
	'0', 'nor pg_stats_ext');
foreach my $write ('DELETE FROM temporal.request', q(UPDATE temporal.request SET state = 'x'), 'INSERT INTO temporal.request (id) VALUES (1)')
{
	my ($rc, $stdout, $stderr) = $node->psql('postgres', $write, extra_params => [ '-U', 'snoop' ]);
	like($stderr, qr/permission denied/, "no $write");
}

# In a function with its owner's rights it is the owner's requests that are seen, as with any view
is($node->safe_psql('postgres', <<'EOS'), '3', 'a SECURITY DEFINER function shows what its owner may see');
CREATE FUNCTION count_requests() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM temporal.request';
ALTER FUNCTION count_requests() OWNER TO snoop;
SET ROLE victim;
SELECT count_requests();
EOS

# The same through cursors that live longer than what made them
is($node->safe_psql('postgres', <<'EOS', extra_params => [ '-U', 'snoop' ]), "own-delivered\nown-rejected\nown-waiting", 'cursors');
BEGIN;
SAVEPOINT s;
DECLARE plain SCROLL CURSOR FOR SELECT workflow_id FROM temporal.request ORDER BY id DESC;
DECLARE kept CURSOR WITH HOLD FOR SELECT workflow_id FROM temporal.request ORDER BY id DESC;
DECLARE lost CURSOR FOR SELECT workflow_id FROM temporal.request;
FETCH 1 FROM plain;
RELEASE SAVEPOINT s;
SAVEPOINT t;
DECLARE back CURSOR FOR SELECT workflow_id FROM temporal.request;
MOVE 1 FROM back;
MOVE 1 FROM lost;
ROLLBACK TO t;
MOVE 1 FROM lost;
FETCH 1 FROM plain;
COMMIT;
FETCH 2 FROM kept \g /dev/null
FETCH 1 FROM kept;
EOS

# By id, however it is given, tables are not read as a whole, also in joins
my $own = $ids{'own-delivered'};
my $by_id = $node->safe_psql('postgres', <<"EOS", extra_params => [ '-U', 'snoop' ]);
SET enable_seqscan = off;
BEGIN;
CREATE TEMP TABLE want AS SELECT $own AS id, ${own}::bigint AS big;
ANALYZE want;
PREPARE one(bigint) AS SELECT workflow_id FROM temporal.request WHERE id = \$1;
PREPARE several(bigint[]) AS SELECT workflow_id FROM temporal.request WHERE id = ANY (\$1) ORDER BY id;
SELECT workflow_id FROM temporal.request WHERE id = $own;
SELECT workflow_id FROM temporal.request WHERE $own = id;
SELECT workflow_id FROM temporal.request WHERE id = ${own}::bigint;
SELECT workflow_id FROM temporal.request WHERE id = ${own}::smallint;
SELECT workflow_id FROM temporal.request WHERE id IN (1, $own, 4711);
SELECT workflow_id FROM temporal.request WHERE id IN ($own, NULL);
SELECT workflow_id FROM temporal.request WHERE id = (SELECT max(id) FROM want);
SELECT workflow_id FROM temporal.request WHERE id IN (SELECT id FROM want);
SELECT workflow_id FROM temporal.request r JOIN want w ON r.id = w.id;
SELECT workflow_id FROM temporal.request r JOIN want w ON r.id = w.big;
SELECT workflow_id FROM want w LEFT JOIN temporal.request r ON r.id = w.big;
SELECT workflow_id FROM want w, LATERAL (SELECT * FROM temporal.request r WHERE r.id = w.id OFFSET 0) l;
EXECUTE one($own);
EXECUTE several('{$own,4711}');
SELECT count(*) FROM temporal.request WHERE id = NULL;
SELECT count(*) FROM temporal.request WHERE id = ANY (NULL::bigint[]);
SELECT sum(seq_scan) FROM pg_stat_xact_user_tables WHERE schemaname = 'temporal_internal' AND relname ~ '^(outbox|rejected|delivery_.)\$';
COMMIT;
EOS
is($by_id, ("own-delivered\n" x 14) . "0\n0\n0", 'by id');

done_testing();
