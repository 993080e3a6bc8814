# What a sixth attack found, most of it by doing all at once and comparing what is told with what was sent: each was
# untrue, or lost, once.

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
my $calls = scratch('calls');
start_stub($port, '--calls', $calls);
$node->safe_psql('postgres', <<"EOS");
CREATE ROLE app;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
GRANT USAGE ON FOREIGN SERVER temporal TO app;
EOS

sub as { my ($role, $sql) = @_; return $node->safe_psql('postgres', "SET ROLE $role; $sql"); }
sub history
{
	my ($key) = @_;

	return as('app', "SELECT string_agg(concat_ws(' ', activity_id, state, request, heartbeat_error), ', ' ORDER BY id) FROM temporal.activity_history('$key')");
}
sub delivered
{
	my ($call) = @_;
	my $id = as('app', "SELECT temporal.$call");

	$node->safe_psql('postgres', "SELECT temporal.wait_for_request($id, '180 s')");
	return $id;
}

# How many heartbeats were sent for a recording
sub heartbeats { my ($id) = @_; return scalar(grep { /RecordActivityTaskHeartbeat\S* $id$/ } split(/\n/, slurp_file($calls))); }
sub recording { my ($key, $activity) = @_; return as('app', "SELECT id FROM temporal.activity_history('$key') WHERE activity_id = '$activity'"); }
# More of them for one while others go on
sub await_heartbeats { my ($id, $more) = @_; my $goal = heartbeats($id) + $more; await("heartbeats of $id", sub { heartbeats($id) >= $goal }); return; }

my $open = $node->background_psql('postgres');
$open->query_safe('SET ROLE app');

# --- What a verdict has finished is told, also if what was recorded before it is held by somebody at that moment.
as('app', q(SELECT temporal.record_activity_by_id('held', 'w', 'old')));
$open->query_safe(q(BEGIN; SELECT temporal.forget_activity('held')));
as('app', q(SELECT temporal.record_activity_by_id('held', 'w', 'new')));
my $verdict = as('app', q(SELECT temporal.complete_activity_by_key('held')));
await('the verdict to be answered', sub { slurp_file($calls) =~ /RespondActivityTaskCompletedById $verdict$/m });
await('its recording to be gone', sub { as('app', q(SELECT count(*) FROM temporal.activity WHERE activity_id = 'new')) eq '0' });
$open->query_safe('ROLLBACK');
await_finished($node, "id = $verdict");
is(history('held'), "old replaced, new finished $verdict", 'what was finished while an older recording was held');

# --- No heartbeats for what was replaced, although its row was committed after that, or was held and stays.
$open->query_safe(q(BEGIN; SELECT temporal.record_activity_by_id('late', 'w', 'late old', heartbeat => true, heartbeat_interval => '1 s')));
as('app', q(SELECT temporal.record_activity_by_id('late', 'w', 'late new', heartbeat => true, heartbeat_interval => '1 s')));
$open->query_safe('COMMIT');
as('app', q(SELECT temporal.record_activity_by_id('kept', 'w', 'kept old', heartbeat => true, heartbeat_interval => '1 s')));
await_heartbeats(recording('kept', 'kept old'), 1);
$open->query_safe(q(BEGIN; SELECT temporal.forget_activity('kept')));
as('app', q(SELECT temporal.record_activity_by_id('kept', 'w', 'kept new')));
$open->query_safe('ROLLBACK');
is(history('kept'), 'kept old replaced, kept new recorded', 'a recording that was held when it was replaced');
my ($clock, $old, $kept) = (recording('late', 'late new'), recording('late', 'late old'), recording('kept', 'kept old'));
await_heartbeats($clock, 2);
my @before = (heartbeats($old), heartbeats($kept));
is($before[0], 0, 'none for what was replaced before it was committed');
await_heartbeats($clock, 3);
is(heartbeats($kept), $before[1], 'none for what is still there though it was replaced');
as('app', "SELECT temporal.forget_activity('$_')") foreach qw(late kept);

# --- A verdict by one key ends the heartbeats of the same activity under another one, and says so.
as('app', "SELECT temporal.record_activity_by_id('$_', 'w', 'both', heartbeat => true, heartbeat_interval => '1 s')") foreach qw(one other);
as('app', q(SELECT temporal.record_activity_by_id('clock', 'w', 'clock', heartbeat => true, heartbeat_interval => '1 s')));
await_heartbeats(recording($_, 'both'), 1) foreach qw(one other);
$verdict = delivered(q(complete_activity_by_key('one')));
is(history('one'), "both finished $verdict", 'it is finished under its key');
await('the end of the other heartbeats to be told', sub { history('other') eq 'both recorded VERDICT_DELIVERED' });
my $both = recording('other', 'both');
my $sent = heartbeats($both);
my $worker = worker_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
await_worker($node, 'postgres', $worker);
await_heartbeats(recording('clock', 'clock'), 3);
is(heartbeats($both), $sent, 'and the next worker sends none');

# --- What was wrong with a server is told no longer than it is so: also where there are heartbeats alone, or nothing any more.
my $late = PostgreSQL::Test::Cluster::get_free_port();
$node->safe_psql('postgres', <<"EOS");
CREATE SERVER late FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$late', retry_max_interval '300ms');
CREATE SERVER never FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1', retry_max_interval '300ms');
GRANT USAGE ON FOREIGN SERVER late, never TO app;
EOS
sub told
{
	my ($server) = @_;

	return $node->safe_psql('postgres', "SELECT (SELECT error_code FROM temporal.stat_server WHERE server = '$server'),"
		  . " (SELECT detail ~ 'server $server,' FROM temporal.health() WHERE check_name = 'queues')");
}
as('app', q(SELECT temporal.record_activity_by_id('late', 'w', 'late', heartbeat => true, heartbeat_interval => '1 s', server => 'late')));
my $given_up = as('app', q(SELECT temporal.complete_activity_by_id('w', 'never', server => 'never')));
await("$_ to be out of reach", sub { told($_) eq 'CONNECTION_FAILED|t' }) foreach qw(late never);
start_stub($late, '--calls', $calls);
await_heartbeats(recording('late', 'late'), 1);
await('it to be told that there are heartbeats', sub { told('late') =~ /^\|f?$/ });
as('app', "SELECT temporal.discard_request($given_up)");
await('it to be told that nothing waits', sub { told('never') =~ /^\|f?$/ });
pass('what is wrong is told as long as it is so');

$open->quit;
$node->stop;

done_testing();
