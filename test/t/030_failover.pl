# A standby sends nothing; the promoted one goes on where the primary was when
# it crashed, with requests in flight and outcomes that were not replicated.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $primary = new_cluster('primary',
	init => { allows_streaming => 1 }, settings => 'shared_buffers = 16MB');
my $temporal = start_temporal('main');
my $n = 500;

$primary->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ")");
start_activities($temporal, $primary, 'failover', 1, $n);
$primary->safe_psql('postgres', 'CREATE TABLE sent (id bigint, workflow_id text, activity_id text)');

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub complete
{
	my ($node, $from, $to) = @_;

	return $node->safe_psql('postgres', <<EOS);
INSERT INTO sent
SELECT temporal.complete_activity(task_token, to_jsonb('activity ' || activity_id)), workflow_id, activity_id
  FROM pending_activity WHERE activity_id::int BETWEEN $from AND $to
EOS
}

# Connections of which requests came are those of the primary.  Of those by HTTP
# the server knows nothing, but how often it got each.
$temporal->fault(method => 'RespondActivityTask*', mode => 'delay', delay_ms => 100);
complete($primary, 1, 100);
await_finished($primary);
# outcomes are not flushed at once
ok($standby->poll_query_until('postgres', q(SELECT count(*) = 100 FROM temporal.request WHERE state = 'delivered')),
	'the standby shows what was delivered');
if (TemporalTest::over_http())
{
	my %arrivals = $temporal->arrivals;

	is(scalar(grep { $_ == 1 } values %arrivals), 100, 'each was sent once');
}
else
{
	is($temporal->counters->{RespondActivityTaskCompleted}{connections}, 1, 'one server sent it all');
}
is($standby->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'temporal_complete worker%')),
	'0', 'the standby has no worker');

# The standby does not get to know of outcomes from here on, except for some.
complete($primary, 101, $n);
$primary->wait_for_catchup($standby);
$primary->poll_query_until('postgres', 'SELECT count(*) > 10 FROM temporal_internal.in_flight_requests()');
$primary->stop('immediate');
is($standby->safe_psql('postgres', "SELECT count(*) > 0 FROM temporal.request WHERE state = 'queued'"), 't',
	'requests wait on the standby');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.in_flight_requests()'), '0', 'and are not sent');

$standby->promote;
$temporal->clear_faults;
await_finished($standby);
is(states($standby), "delivered|$n", 'the promoted standby delivers all');
my %results = $temporal->results('failover', 1);
my @wrong = grep { my ($activity) = m{/(.*)}; $results{$_} ne "\"activity $activity\"" } keys %results;
is(scalar(keys %results), $n, 'all activities have ended');
is_deeply(\@wrong, [], 'as they were asked to');

done_testing();
