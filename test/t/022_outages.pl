# Temporal goes away and comes back, in several ways: everything is delivered,
# and another server's requests are in the meantime.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $temporal = start_temporal('main', state => 1);
my $other_port = PostgreSQL::Test::Cluster::get_free_port();

start_stub($other_port);
$node->safe_psql('postgres', <<EOS);
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (@{[$temporal->foreign_server]}, request_timeout '2s');
CREATE SERVER other FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:$other_port');
EOS

my $n = 300;

start_activities($temporal, $node, $_, 1, $n) foreach qw(stopped killed suspended);

sub other_is_served
{
	my ($what) = @_;

	is( $node->safe_psql('postgres', <<'EOS'),
SELECT temporal.complete_activity_by_id('w', 'a', server => 'other') AS id \gset
SELECT state, attempts FROM temporal.wait_for_request(:id);
EOS
		'delivered|1', "$what: requests to another server are delivered");
	return;
}

sub all_delivered
{
	my ($prefix) = @_;
	my %results;

	await_finished($node, "workflow_id = '$prefix-0'");
	is(states($node, "workflow_id = '$prefix-0'"), "delivered|$n", "$prefix: all are delivered when it is back");
	%results = $temporal->results($prefix, 1);
	is(scalar(grep { $_ eq "\"$prefix\"" } values %results), $n, "$prefix: all activities ended as asked");
	return;
}

sub await_error
{
	my ($prefix) = @_;

	ok($node->poll_query_until('postgres',
			"SELECT count(*) FILTER (WHERE error_message IS NOT NULL) > 0 AND count(finished_at) < $n"
			  . " FROM temporal.request WHERE workflow_id = '$prefix-0' HAVING count(*) = $n"),
		"$prefix: requests wait, the view says why");
	return;
}

# Stopped before the requests are made
$temporal->stop;
send_pending($node, 'stopped', q(temporal.complete_activity(p.task_token, '"stopped"')));
await_error('stopped');
other_is_served('stopped');
is($node->safe_psql('postgres', q(SELECT max(attempts) FROM temporal.request WHERE workflow_id = 'stopped-0')),
	'0', 'stopped: no attempts are used up for it');
$temporal->start;
all_delivered('stopped');

# Killed while they are under way: some have been carried out and not answered.
my $rule = $temporal->fault(method => 'RespondActivityTask*', mode => 'hang', probability => 0.2);
send_pending($node, 'killed', q(temporal.complete_activity(p.task_token, '"killed"')));
await('requests without an answer', sub { $temporal->applied > 5 });
$temporal->kill9;
await_error('killed');
other_is_served('killed');
$temporal->start;
all_delivered('killed');

# Suspended: connections stay open, and what lies in the sockets is carried out
# later, after its sender has given it up.
$temporal->suspend;
send_pending($node, 'suspended', q(temporal.complete_activity(p.task_token, '"suspended"')));
await_error('suspended');
other_is_served('suspended');
$temporal->resume;
all_delivered('suspended');

is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), '0', 'the outbox is empty');

done_testing();
