# A server that answers the search for a lost request's fate with a history
# that never ends: the search does, with an honest "unconfirmed".

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use LyingServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my @ok = (':status', '200', 'content-type', 'application/grpc');

# Of DescribeWorkflowExecution: a workflow that runs.  Of
# GetWorkflowExecutionHistoryReverse: no events, and a token for the next page,
# which read as the former is an activity that waits, another one.
my $page = pack('CCCC', 2 << 3 | 2, 2, 5 << 3, 1) . pack('CCa*', 3 << 3 | 2, 4, "\x0a\x02no");

# The first connection is lost with the requests.  On others the activities are
# gone, and everything else that is asked for is a page of a history.
my $requests = 20;
my $liar = start_liar(sub {
	my ($socket, $number) = @_;

	send_all($socket, settings());
	while (my ($stream, $message) = await_request($socket))
	{
		return if $number == 0;
		send_all($socket, frame(LyingServer::WINDOW_UPDATE, 0, 0, pack('N', 65535)),
			$message =~ /postgresql:/
			? headers($stream, LyingServer::END_STREAM, @ok, 'grpc-status', '5')
			: (headers($stream, 0, @ok), message($stream, $page),
				headers($stream, LyingServer::END_STREAM, 'grpc-status', '0')));
	}
});
END { stop_liar($liar) if $liar; }

my $node = new_cluster('main');
$node->safe_psql('postgres', <<"EOS");
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
	OPTIONS (address '127.0.0.1:$liar->{port}', retry_initial_interval '1s', max_in_flight '$requests');
SELECT temporal.complete_activity_by_id('workflow', 'activity ' || i) FROM generate_series(1, $requests) i;
EOS
await_finished($node);
is($node->safe_psql('postgres', 'SELECT DISTINCT state, error_code, error_message FROM temporal.request'),
	"unconfirmed|NO_ANSWER|the workflow's history is too long to be searched",
	'what cannot be found out is unconfirmed, with the reason');
is(states($node), "unconfirmed|$requests", 'all of them');
is(connections_of($liar), 2, 'searched over one connection');

done_testing();
