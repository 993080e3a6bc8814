# What is not committed is not sent; what is committed is sent once.  Judged by
# what arrives at the Temporal server, and by what its workflows are told.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $temporal = start_temporal('main');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ")");

# One activity for each case, and one that is completed last of all: when it
# has arrived, what was made before it and has not arrived is not coming.
my @cases = qw(commit rollback savepoint failing exception caught prepared
  rolled_back_prepared implicit nested procedure deferred terminated last);

start_activities($temporal, $node, 'gate', 1, scalar(@cases),
	map { ('-activity-id', $_) } @cases);
$node->safe_psql('postgres', <<'EOS');
CREATE TABLE asked (case_name text, id bigint);
CREATE FUNCTION ask(case_name text, result text) RETURNS bigint LANGUAGE sql AS $$
  WITH made AS (SELECT temporal.complete_activity(task_token, to_jsonb(result)) AS id
                  FROM pending_activity WHERE activity_id = case_name)
  INSERT INTO asked SELECT case_name, id FROM made RETURNING id
$$;
EOS

# Statements that may fail
sub try
{
	my ($sql) = @_;

	$node->psql('postgres', $sql, on_error_stop => 0);
	return;
}

try(q(BEGIN; SELECT ask('commit', 'committed'); COMMIT));
try(q(BEGIN; SELECT ask('rollback', 'wrong'); ROLLBACK));
try(q(BEGIN; SAVEPOINT s; SELECT ask('savepoint', 'wrong'); ROLLBACK TO s;
	SELECT ask('savepoint', 'after the savepoint'); COMMIT));
try(q(SELECT ask('failing', 'wrong') / 0));
try(q(DO $$
BEGIN
	PERFORM ask('exception', 'wrong');
	RAISE division_by_zero;
END $$));
try(q(DO $$
BEGIN
	BEGIN
		PERFORM ask('caught', 'wrong');
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		PERFORM ask('caught', 'by the handler');
	END;
END $$));
try(q(SELECT ask('implicit', 'by a statement alone')));
try(q(BEGIN; SAVEPOINT a; SAVEPOINT b; SELECT ask('nested', 'released'); RELEASE b; RELEASE a; COMMIT));
try(q(DO $$
BEGIN
	PERFORM ask('procedure', 'wrong');
	ROLLBACK;
	PERFORM ask('procedure', 'before COMMIT in a block');
	COMMIT;
	PERFORM ask('procedure', 'second');
	ROLLBACK;
END $$));

# The constraint fails at COMMIT, after the request was made
$node->safe_psql('postgres', <<'EOS');
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
EOS
try(q(BEGIN; INSERT INTO child VALUES (1); SELECT ask('deferred', 'wrong'); COMMIT));

# A session that is terminated
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('BEGIN');
$session->query_safe(q(SELECT ask('terminated', 'wrong')));
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 60000)");

# Two-phase commit
$node->safe_psql('postgres', q(BEGIN; SELECT ask('prepared', 'prepared'); PREPARE TRANSACTION 'first'));
$node->safe_psql('postgres', q(BEGIN; SELECT ask('rolled_back_prepared', 'wrong'); PREPARE TRANSACTION 'second'));

$node->safe_psql('postgres', q(SELECT ask('last', 'last')));
my %id = map { split(/\|/) } split(/\n/, $node->safe_psql('postgres', 'SELECT case_name, id FROM asked'));
my $last = $node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id{last})");
is($last, 'delivered', 'a request is delivered');

my @sent = qw(commit savepoint caught implicit nested procedure last);
my %arrivals = $temporal->arrivals;
is_deeply(\%arrivals, { map { $id{$_} => 1 } @sent },
	'what was committed has arrived once, nothing else has, nothing of prepared transactions');
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), '0',
	'nothing is left in the outbox');

$node->safe_psql('postgres', q(COMMIT PREPARED 'first'));
$id{prepared} = $node->safe_psql('postgres', q(SELECT id FROM asked WHERE case_name = 'prepared'));
is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id{prepared})"),
	'delivered', 'COMMIT PREPARED sends');

# ... also when the server was restarted, and the session that prepared is gone
$node->safe_psql('postgres', q(ROLLBACK PREPARED 'second'));
$node->safe_psql('postgres', q(BEGIN; SELECT ask('rolled_back_prepared', 'prepared before a restart'); PREPARE TRANSACTION 'third'));
$node->restart;
await_worker($node);
%arrivals = $temporal->arrivals;
is_deeply(\%arrivals, { map { $id{$_} => 1 } @sent, 'prepared' },
	'ROLLBACK PREPARED sends nothing, neither does a restart');
$node->safe_psql('postgres', q(COMMIT PREPARED 'third'));
$id{rolled_back_prepared} = $node->safe_psql('postgres', q(SELECT id FROM asked WHERE case_name = 'rolled_back_prepared'));
is($node->safe_psql('postgres', "SELECT state, attempts FROM temporal.wait_for_request($id{rolled_back_prepared})"),
	'delivered|1', 'COMMIT PREPARED after a restart sends');

# Rollbacks in between have left no wake behind: complete the rest, the
# workflow is told what was committed.
$node->safe_psql('postgres', q(SELECT ask(c, 'late') FROM unnest('{rollback,failing,exception,deferred,terminated}'::text[]) c));
my %results = $temporal->results('gate', 1);
is_deeply(\%results,
	{
		'gate-0/commit' => '"committed"',
		'gate-0/rollback' => '"late"',
		'gate-0/savepoint' => '"after the savepoint"',
		'gate-0/failing' => '"late"',
		'gate-0/exception' => '"late"',
		'gate-0/caught' => '"by the handler"',
		'gate-0/prepared' => '"prepared"',
		'gate-0/rolled_back_prepared' => '"prepared before a restart"',
		'gate-0/implicit' => '"by a statement alone"',
		'gate-0/nested' => '"released"',
		'gate-0/procedure' => '"before COMMIT in a block"',
		'gate-0/deferred' => '"late"',
		'gate-0/terminated' => '"late"',
		'gate-0/last' => '"last"',
	},
	'workflows are told what was committed');
await_finished($node);
is(states($node), 'delivered|14', 'all requests are delivered');

%arrivals = $temporal->arrivals;
is_deeply([ grep { $_ != 1 } values %arrivals ], [], 'no request arrived twice');

done_testing();
