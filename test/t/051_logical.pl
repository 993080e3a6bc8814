# A logical subscriber of FOR ALL TABLES has a copy of what waits at the
# publisher, sends none of it, and is in nobody's way.  It goes on when it
# takes over.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $publisher = new_cluster('publisher', init => { allows_streaming => 'logical' });
my $subscriber = new_cluster('subscriber', settings => 'max_worker_processes = 20');
my $temporal = start_temporal('main');
my $closed_port = PostgreSQL::Test::Cluster::get_free_port();

$publisher->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ", retry_max_interval '1s')");
start_activities($temporal, $publisher, 'logical', 1, 3, map { ('-activity-id', $_) } qw(sent waiting later));
sub request_for
{
	my ($cluster, $activity) = @_;

	return $cluster->safe_psql('postgres',
		"SELECT temporal.complete_activity_by_id('logical-0', '$activity', to_jsonb('$activity'::text))");
}

# One is sent; others wait, and why is in queue_error
my $sent = request_for($publisher, 'sent');
await_finished($publisher);
$publisher->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$closed_port')");
my $waiting = request_for($publisher, 'waiting');
$publisher->poll_query_until('postgres',
	"SELECT error_code = 'CONNECTION_FAILED' FROM temporal.request WHERE id = $waiting") or die;

$publisher->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
my ($tables) = run_command(
	[ 'pg_dump', '-s', '-t', 'pending_activity', '-d', $publisher->connstr('postgres') ]);
$subscriber->safe_psql('postgres', $tables);
$subscriber->safe_psql('postgres',
	"CREATE SUBSCRIPTION everything CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION everything");
$subscriber->wait_for_subscription_sync($publisher, 'everything');

is($subscriber->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $waiting"),
	'held', 'the subscriber shows what waits at the publisher');
is($subscriber->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $sent"),
	'delivered', 'and what was delivered');

# More comes, and the subscriber's worker looks at it
my $later = request_for($publisher, 'later');
$publisher->wait_for_catchup('everything');
$subscriber->safe_psql('postgres', 'SELECT temporal.wake_worker()');
await('the log',
	sub { slurp_file($subscriber->logfile) =~ /LOG:  \d requests? of another cluster or database (is|are) held/ });
is($subscriber->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $later"),
	'held', 'what comes later is held, too');

# The publisher can change all of its tables, and what it changes arrives
$publisher->safe_psql('postgres', q(UPDATE temporal_internal.delivery_segment SET since = since - interval '1 year'));
$publisher->safe_psql('postgres', "SELECT pg_terminate_backend($_, 60000)") foreach worker_pid($publisher);
await_worker($publisher);
ok($publisher->poll_query_until('postgres', 'SELECT max(segment) = 1 FROM temporal_internal.delivery_segment'),
	'the publisher begins another segment of its outcomes');
$publisher->safe_psql('postgres', "SELECT temporal.discard_request($later)");
$publisher->wait_for_catchup('everything');
is($subscriber->safe_psql('postgres', "SELECT state, error_code FROM temporal.request WHERE id = $later"),
	'unconfirmed|DISCARDED', 'what is finished there is finished here');
# its new worker finds out anew
ok($subscriber->poll_query_until('postgres',
		q(SELECT string_agg(error_code, ' ') IS NOT DISTINCT FROM 'CONNECTION_FAILED' FROM temporal_internal.queue_error)),
	'the only error of a queue is that of the publisher');
unlike(slurp_file($subscriber->logfile), qr/ERROR/, 'nobody is in the way of replication');
my %arrivals = $temporal->arrivals;
is_deeply([ keys %arrivals ], [$sent], 'the subscriber has sent nothing');

# The subscriber takes over: what the publisher did not send, and its own
$publisher->stop('immediate');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION everything DISABLE');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION everything SET (slot_name = NONE)');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION everything');
$subscriber->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ")");
is($subscriber->safe_psql('postgres', 'SELECT temporal.adopt()'), '1', 'adopt()');
is($subscriber->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($waiting, '180 s')"),
	'delivered', 'what waited is delivered');
my $new = request_for($subscriber, 'later');
cmp_ok($new, '>', $later, 'ids go on, although sequences are not replicated');
is($subscriber->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($new, '180 s')"),
	'delivered', 'a request of its own is delivered');

my %results = $temporal->results('logical', 1);
is_deeply(\%results, { map { ("logical-0/$_" => "\"$_\"") } qw(sent waiting later) }, 'results are right');

done_testing();
