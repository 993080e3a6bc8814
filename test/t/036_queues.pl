# The queue of a role, server and namespace is made by the first transaction
# that needs it: nobody waits for that transaction, and it can be rolled back.

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
my $create_server =
  "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', namespaces '*')";
$node->safe_psql('postgres', $create_server);

# A request to a namespace; returns its id.
sub make
{
	my ($session, $namespace) = @_;

	return $session->query_safe(
		"SELECT temporal.complete_activity_by_id('w', 'a', namespace => '$namespace')");
}

sub numbers
{
	my ($namespace) = @_;

	return split(/\n/, $node->safe_psql('postgres',
		"SELECT number FROM temporal_internal.queue WHERE namespace = '$namespace' ORDER BY number"));
}

sub queue_of
{
	my ($id) = @_;

	return $node->safe_psql('postgres', "SELECT queue FROM temporal_internal.delivery WHERE id = $id");
}

sub ok_delivered
{
	my ($id, $what) = @_;

	return is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id, '180 s')"),
		'delivered', $what);
}

my @sessions = map { $node->background_psql('postgres') } 1 .. 3;

# Two sessions begin at once, the one that is first ends last
$_->query_safe('BEGIN') foreach @sessions[ 0, 1 ];
my $first = make($sessions[0], 'shared');
my $second = make($sessions[1], 'shared');
$sessions[1]->query_safe('COMMIT');
ok_delivered($second, 'a request need not wait for another one that is not committed');
$sessions[0]->query_safe('COMMIT');
ok_delivered($first, 'and the other one is sent, too');
my @both = numbers('shared');
is(scalar(@both), 2, 'both have made a queue');
my $third = make($sessions[2], 'shared');
ok_delivered($third, 'a request of a third session');
is(queue_of($third), $both[0], 'later on the smaller number is used');
is(scalar(numbers('shared')), 2, 'and no other one is made');

# Rolled back, in part and as a whole
$sessions[0]->query_safe('BEGIN');
$sessions[0]->query_safe('SAVEPOINT s');
make($sessions[0], 'undone');
$sessions[0]->query_safe('ROLLBACK TO s');
my $undone = make($sessions[0], 'undone');
$sessions[0]->query_safe('ROLLBACK');
is(scalar(numbers('undone')), 0, 'a queue is rolled back');
$undone = make($sessions[0], 'undone');
ok_delivered($undone, 'the session makes it again');
is(scalar(numbers('undone')), 1, 'once');

# Many requests of the statement that makes it
my $statement = "SELECT count(temporal.complete_activity_by_id('w', i::text, namespace => 'many')) FROM generate_series(1, 1000) i";
$sessions[0]->query_safe($statement);
is(scalar(numbers('many')), 1, 'a statement makes one queue');
await_finished($node);

# A session that goes on when the extension is new
my $before = make($sessions[0], 'shared');
ok_delivered($before, 'a request before the extension is dropped');
$node->safe_psql('postgres',
	"DROP EXTENSION temporal_complete CASCADE; CREATE EXTENSION temporal_complete; $create_server");
my $after = make($sessions[0], 'shared');
ok_delivered($after, 'and one when it has been created again, in a session that knew the former queue');

# Requests whose queue nobody knows: they are held, and stop nobody
$node->safe_psql('postgres', <<'EOS');
INSERT INTO temporal_internal.outbox (id, xid, requested_at, queue, written_by, method, maybe_sent, request)
VALUES (nextval('temporal_internal.request_id'), pg_current_xact_id(), now(), 1, temporal_internal.writing_transaction(), 2, false, '\x00');
SELECT temporal.wake_worker();
EOS
ok_delivered(make($sessions[0], 'another'), 'a new queue beside one that nobody knows');
is(states($node, 'server IS NULL'), 'held|1', 'a request whose queue nobody knows is held');

$_->quit foreach @sessions;
done_testing();
