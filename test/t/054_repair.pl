# retry_request(), retry_rejected() and discard_request(): what they do, and for
# whom.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => 'temporal_complete.safety_poll_interval = 1h');
my $temporal = start_temporal('main');
my $closed_port = PostgreSQL::Test::Cluster::get_free_port();

$node->safe_psql('postgres', <<"EOS");
CREATE ROLE one LOGIN;
CREATE ROLE two LOGIN;
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (${\($temporal->foreign_server)}, retry_initial_interval '1h', retry_max_interval '1h');
CREATE SERVER away FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$closed_port');
GRANT USAGE ON FOREIGN SERVER temporal, away TO one, two;
EOS

sub sql
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', "SET ROLE $role; $sql");
}

sub fails
{
	my ($role, $sql, $pattern, $what) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', "SET ROLE $role; $sql");

	return like($stderr, $pattern, $what);
}

sub request_for
{
	my ($role, $workflow, $activity, $server) = @_;

	$server //= 'temporal';
	return sql($role, "SELECT temporal.complete_activity_by_id('$workflow', '$activity', '\"$role\"', server => '$server')");
}

sub outcome
{
	my ($id) = @_;

	return $node->safe_psql('postgres',
		"SELECT state || ' ' || coalesce(error_code, '') FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')");
}

# What is too early is rejected; sent again when the activity is there
my $early = request_for('one', 'repair-0', 'early');
my $other = request_for('two', 'repair-0', 'other');
is(outcome($early), 'rejected NOT_FOUND', 'no such activity: rejected');
is(outcome($other), 'rejected NOT_FOUND', 'of another role, too');
start_activities($temporal, $node, 'repair', 1, 3, map { ('-activity-id', $_) } qw(early other third));

my $none = qr/there is no request \d+ that waits, was rejected or is unconfirmed/;
foreach my $role (qw(two monitor))
{
	fails($role, "SELECT temporal.retry_request($early)", $none, "$role may not retry the request of another role");
	fails($role, "SELECT temporal.discard_request($early)", $none, "$role may not discard it");
}
fails('one', 'SELECT temporal.retry_request(4711)', $none, 'no such request');
is(sql('monitor', 'SELECT temporal.retry_rejected()'), '0', 'retry_rejected() sees no requests of others');

sql('one', "BEGIN; SELECT temporal.retry_request($early); ROLLBACK");
is(outcome($early), 'rejected NOT_FOUND', 'retry_request() is rolled back');
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER temporal FROM one');
fails('one', "SELECT temporal.retry_request($early)", $none, 'who may no longer use the server may not retry');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER temporal TO one');
sql('one', "SELECT temporal.retry_request($early)");
is(outcome($early), 'delivered ', 'retry_request(): delivered');
is($node->safe_psql('postgres', "SELECT requested_by FROM temporal.request WHERE id = $early"), 'one', 'for the role that made it');
fails('one', "SELECT temporal.retry_request($early)", $none, 'what is delivered cannot be retried');

is(sql('two', q(SELECT temporal.retry_rejected('away'))), '0', 'retry_rejected() of another server');
is(sql('two', q(SELECT temporal.retry_rejected('temporal', 'EXPIRED'))), '0', 'retry_rejected() of another error');
is(sql('two', q(SELECT temporal.retry_rejected('temporal', 'NOT_FOUND'))), '1', 'retry_rejected()');
is(outcome($other), 'delivered ', 'retry_rejected(): delivered');

# Nothing of what a caller has in his search path is used
sql('postgres', <<'EOS');
CREATE SCHEMA trap;
GRANT ALL ON SCHEMA trap TO two;
SET ROLE two;
CREATE FUNCTION trap.pg_has_role(oid, regrole, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION trap.eq(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR trap.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.eq);
EOS

# Those that wait
my @waiting = map { request_for($_, 'repair-0', 'third', 'away') } qw(one one two);
$node->poll_query_until('postgres', "SELECT count(*) = 3 FROM temporal.request WHERE error_code = 'CONNECTION_FAILED'") or die;
fails('two', "SET search_path = trap, pg_catalog; SELECT temporal.discard_request($waiting[0])", $none,
	'the search path of the caller does not matter');
sql('one', "SELECT temporal.discard_request($waiting[0])");
is(outcome($waiting[0]), 'unconfirmed DISCARDED', 'a request that waits is discarded');
is($node->safe_psql('postgres', "SELECT activity_id FROM temporal.request WHERE id = $waiting[0]"),
	'third', 'whose end is known');
fails('one', "SELECT temporal.discard_request($waiting[0])", $none, 'once');
$node->safe_psql('postgres', "ALTER SERVER away OPTIONS (SET address '" . $temporal->address . "')");
is(outcome($waiting[1]), 'delivered ', 'the next one for the activity is sent');
is(outcome($waiting[2]), 'rejected NOT_FOUND', 'the one after it is too late');
my %arrivals = $temporal->arrivals;
is($arrivals{$waiting[0]} // 0, 0, 'what was discarded was not sent');

sql('two', "SELECT temporal.discard_request($waiting[2])");
is(outcome($waiting[2]), 'rejected DISCARDED', 'a request that was rejected stays rejected');
is($node->safe_psql('postgres', "SELECT count(*) FROM temporal_internal.rejected WHERE id = $waiting[2]"), '0', 'its payload is removed');
fails('two', "SELECT temporal.retry_request($waiting[2])", $none, 'and it cannot be retried');

# One that is in flight, and one that would wait long
$temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'delay', delay_ms => 1500, count => 1);
my $slow = request_for('one', 'repair-0', 'none');
await('the request to be in flight',
	sub { $node->safe_psql('postgres', 'SELECT temporal_internal.in_flight_requests()') eq $slow });
fails('one', "SELECT temporal.discard_request($slow)", qr/request $slow is being sent/, 'what is in flight cannot be discarded');
is(outcome($slow), 'rejected NOT_FOUND', 'but ends');
$temporal->clear_faults;
$temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'fail-before', count => 1);
my $late = request_for('one', 'repair-0', 'none');
$node->poll_query_until('postgres', "SELECT attempts = 1 FROM temporal.request WHERE id = $late") or die;
sql('one', "SELECT temporal.retry_request($late)");
is(outcome($late), 'rejected NOT_FOUND', 'retry_request() of one that waits: it is tried now');

# What waits behind a request that is discarded goes on at once
$temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'fail-before', count => 1);
my $head = request_for('one', 'repair-0', 'queue');
$node->poll_query_until('postgres', "SELECT attempts = 1 FROM temporal.request WHERE id = $head") or die;
my $tail = request_for('one', 'repair-0', 'queue');
sql('one', "SELECT temporal.discard_request($head)");
is(outcome($tail), 'rejected NOT_FOUND', 'what waits behind a discarded request goes on');
like($node->safe_psql('postgres', "SELECT error_message FROM temporal.request WHERE id = $head"),
	qr/may have been sent/, 'a request that was tried before it was discarded says so');

# adopt() and rebind_server() are about other requests than one that waits, by
# task token, so that it would be sent at once
$temporal->fault(method => 'RespondActivityTaskCompleted', mode => 'fail-before', count => 1);
my $kept = $node->safe_psql('postgres',
	"SELECT temporal.complete_activity(task_token, server => 'temporal') FROM pending_activity WHERE activity_id = 'early'");
$node->poll_query_until('postgres', "SELECT attempts = 1 FROM temporal.request WHERE id = $kept") or die;
$node->safe_psql('postgres', <<"EOS");
CREATE SERVER dropped FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$closed_port');
GRANT USAGE ON FOREIGN SERVER dropped TO one;
EOS
my $bound = request_for('one', 'repair-0', 'bound', 'dropped');
$node->safe_psql('postgres', 'DROP SERVER dropped');
$node->poll_query_until('postgres', "SELECT error_code = 'CONFIGURATION' FROM temporal.request WHERE id = $bound") or die;
is($node->safe_psql('postgres', 'SELECT temporal.adopt()'), '0', 'adopt() of nothing');
is($node->safe_psql('postgres', q(SELECT temporal.rebind_server('dropped', 'temporal'))), '1', 'rebind_server()');
is(outcome($bound), 'rejected NOT_FOUND', 'what was bound to another server is sent');
is($node->safe_psql('postgres', "SELECT attempts, next_attempt_at > now() + '10 min' FROM temporal.request WHERE id = $kept"),
	'1|t', 'what waits for its next attempt still does');
is($node->safe_psql('postgres', 'SELECT temporal.wake_worker()'), '', 'wake_worker()');
is(outcome($kept), 'rejected NOT_FOUND', 'wakes it');

my %results = $temporal->results('repair', 1);
is_deeply(\%results,
	{ 'repair-0/early' => '"one"', 'repair-0/other' => '"two"', 'repair-0/third' => '"one"' }, 'results are right');

done_testing();
