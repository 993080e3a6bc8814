# The server ends each connection after two seconds, as it does every five
# minutes by default: thousands of requests pass without a retry.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $temporal = start_temporal('main', arguments => [ '-dynamic-config-value', 'frontend.keepAliveMaxConnectionAge="2s"' ]);
my $n = 500;

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (address '" . $temporal->address . "')");
start_activities($temporal, $node, 'goaway', 1, $n);
$node->safe_psql('postgres', 'CREATE TABLE sent (id bigint)');

# Requests come without a break, so that each GOAWAY finds some in flight.
#
# At the end of a connection the server waits for a second until the client
# has closed it, lest answers that are on their way are lost.  A machine that
# is so busy that the worker does not run for a second is no case for this
# test: there the server ended sessions without answering, as the log says,
# and another round is made.
my ($made, $connections, $first) = (0, 0, 0);
foreach my $round (1 .. 5)
{
	my ($enough, $connected) = ($made + 5000, $connections + 4);
	my $log_size = -s $node->logfile;

	$first = $node->safe_psql('postgres', 'SELECT coalesce(max(id), 0) FROM sent');
	while ($connections < $connected || $made < $enough)
	{
		my $waiting = $node->safe_psql('postgres', <<'EOS');
INSERT INTO sent SELECT temporal.heartbeat_activity(task_token, '"beat"') FROM pending_activity;
SELECT count(*) FROM temporal_internal.outbox;
EOS

		$made += $n;
		# ... but not without end
		$node->poll_query_until('postgres', 'SELECT count(*) < 1000 FROM temporal_internal.outbox')
		  if $waiting > 1500;
		$connections = $temporal->counters->{RecordActivityTaskHeartbeat}{connections} // 0;
	}
	await_finished($node);
	note("$made requests over $connections connections in $round rounds");
	last if slurp_file($node->logfile, $log_size) !~ /without answering all calls/;
}
my $last = $node->safe_psql('postgres', 'SELECT max(id) FROM sent');
$node->safe_psql('postgres', q(INSERT INTO sent SELECT temporal.complete_activity(task_token, '"done"') FROM pending_activity));
$made += $n;
await_finished($node);

is(states($node, q(state NOT IN ('delivered', 'superseded'))), '', 'all are delivered');
is($node->safe_psql('postgres', 'SELECT count(*) + sum(earlier_heartbeats) FROM temporal.request'), $made, '... each of them');
is($node->safe_psql('postgres',
		"SELECT DISTINCT attempts, error_code, error_message FROM temporal.request"
		  . " WHERE state = 'delivered' AND id > $first AND id <= $last"),
	'1||', 'nobody can tell that connections were ended');
my %results = $temporal->results('goaway', 1);
is(scalar(grep { $_ eq '"done"' } values %results), $n, 'all activities ended as asked');
my %arrivals = $temporal->arrivals;
is(scalar(grep { $_ > $first && $_ <= $last && $arrivals{$_} > 1 } keys %arrivals), 0, 'no request was carried out twice');
unlike(slurp_file($node->logfile), qr/temporal_complete.*(WARNING|ERROR)|(WARNING|ERROR).*(GOAWAY|connection)/i,
	'nor from the log');

done_testing();
