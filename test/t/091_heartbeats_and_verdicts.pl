# Heartbeats of recorded activities beside verdicts for them, and beside faults:
# none while a verdict may take effect, some again when it has not, and what is
# lost or fails is sent again.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => 'fsync = off');
my $temporal = start_temporal('main');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ", request_timeout '3s', retry_initial_interval '50ms', retry_max_interval '200ms')");
start_activities($temporal, $node, 'beats', 1, 4);

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub outcome { my ($id) = @_; return sql("SELECT state FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"); }
sub beats { my ($id) = @_; my %arrivals = $temporal->arrivals; return $arrivals{$id} // 0; }
sub ended { my ($activity) = @_; return sql("SELECT coalesce(heartbeat_error, '') FROM temporal.activity WHERE key = '$activity'"); }

# Record an activity, and wait until its heartbeats come
sub record
{
	my ($activity) = @_;

	sql("SELECT temporal.record_activity('$activity', task_token, heartbeat => true, heartbeat_interval => '1 s')"
		  . " FROM pending_activity WHERE activity_id = '$activity'");
	my $id = sql("SELECT max(id) FROM temporal_internal.recorded_activity WHERE key = '$activity'");
	await_more($id, 2);
	return $id;
}

sub await_more
{
	my ($id, $n) = @_;
	my $before = beats($id);

	await("$n heartbeats of $id", sub { beats($id) >= $before + $n });
	return;
}

sub complete { my ($activity) = @_; return sql("SELECT temporal.complete_activity(task_token, '1') FROM pending_activity WHERE activity_id = '$activity'"); }

# Another one whose heartbeats go on shows that those of the others could have come, too
my $witness = record(4);

# A verdict whose answer is lost has taken effect, or not: none until that is known, and none then
my $id = record(1);
$temporal->fault(method => 'RespondActivityTaskCompleted', mode => 'hang', count => 1);
my $verdict = complete(1);
await('the verdict', sub { my %arrivals = $temporal->arrivals; $arrivals{$verdict} });
my $before = beats($id);
await_more($witness, 2);
is(beats($id), $before, 'none while the answer to a verdict is awaited');
is(outcome($verdict), 'delivered', 'it had taken effect');
await_more($witness, 3);
is(beats($id), $before, 'none after it');
is(ended(1), 'VERDICT_DELIVERED', 'because of it, which the key outlives');

# A verdict that is refused leaves the activity as it was
$id = record(2);
$temporal->fault(method => 'RespondActivityTaskCompleted', mode => 'fail-before', error => 'INVALID_ARGUMENT', count => 1);
$verdict = complete(2);
is(outcome($verdict), 'rejected', 'a verdict is refused');
await_more($id, 3);
is(ended(2), '', 'heartbeats go on');

# One that certainly has no effect for long must not let the activity time out
my $rule = $temporal->fault(method => 'RespondActivityTaskCompleted', mode => 'fail-before', error => 'RESOURCE_EXHAUSTED');
$verdict = complete(2);
await('attempts of it', sub { sql("SELECT attempts FROM temporal.request WHERE id = $verdict") >= 3 });
await_more($id, 3);
pass('heartbeats go on while a verdict is put off');
$temporal->clear_faults;
is(outcome($verdict), 'delivered', 'and is delivered in the end');

# Heartbeats that fail, and such as get no answer, are sent again
$id = record(3);
$temporal->fault(method => 'RecordActivityTaskHeartbeat', identity => "postgresql:postgres/$id\@*", mode => 'fail-before', error => 'UNAVAILABLE', count => 20);
await_more($id, 21);
$temporal->fault(method => 'RecordActivityTaskHeartbeat', identity => "postgresql:postgres/$id\@*", mode => 'drop', count => 2);
await_more($id, 4);
is(ended(3), '', 'what fails is sent again');
is(sql(q(SELECT count(*) FROM temporal.request WHERE verb = 'heartbeat')), '0', 'and told to nobody');
$temporal->clear_faults;

# A server that is away for a while
$temporal->suspend;
my $late = complete(3);
await('an attempt to fail', sub { sql("SELECT attempts FROM temporal.request WHERE id = $late") >= 1 });
$temporal->resume;
is(outcome($late), 'delivered', 'a verdict when the server is back');
await_more($witness, 3);
is(ended(4), '', 'heartbeats go on as well');

done_testing();
