# A server that cannot read a history from its end, as Temporal's test server
# for Java, whose task tokens this one's activities have, too: it is read from
# its beginning, page by page, and searched from its end all the same.

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

# Fields of protobuf: a varint below 128, a string or message
sub number { my ($field, $value) = @_; return pack('CC', $field << 3, $value); }
sub bytes
{
	my ($field, $value) = @_;

	my $head = $field < 16 ? pack('C', $field << 3 | 2) : pack('CC', ($field & 15) << 3 | 0x82, $field >> 4);
	return $head . pack('C', length($value)) . $value;
}
sub event { my ($id, $field, $attributes) = @_; return bytes(1, number(1, $id) . bytes($field, $attributes)); }
sub page
{
	my ($events, $token) = @_;

	return bytes(1, $events) . ($token ne '' ? bytes(3, $token) : '');
}

# The history of a workflow whose activity was scheduled by event 5, in two pages; the second one says who ended it
my $begin = page(event(1, 6, '') . event(5, 15, bytes(1, 'approve')), 'second');
sub end_by { my ($identity) = @_; return page(event(6, 16, number(1, 5)) . event(7, 17, number(2, 5) . bytes(4, $identity)), ''); }

# The first connection is lost with the requests.  On others the activities are gone.
my $liar = start_liar(sub {
	my ($socket, $number) = @_;
	my (%identity, %asked);

	send_all($socket, settings());
	while (my ($stream, $message) = await_request($socket))
	{
		return if $number == 0;
		send_all($socket, frame(LyingServer::WINDOW_UPDATE, 0, 0, pack('N', 65535)));
		my ($workflow) = $message =~ /(ours|theirs|endless)/;
		if ($message =~ m{(postgresql:[\w/@]+)})
		{
			$identity{$workflow} = $1;
			send_all($socket, headers($stream, LyingServer::END_STREAM, @ok, 'grpc-status', '5'));
		}
		elsif ($asked{$workflow}++ == 0)
		{
			send_all($socket, headers($stream, LyingServer::END_STREAM, @ok, 'grpc-status', '12'));
		}
		else
		{
			my $page = $workflow eq 'endless' ? page('', 'more')
				: $message !~ /second/ ? $begin
				: end_by($workflow eq 'ours' ? $identity{$workflow} : 'a worker');

			send_all($socket, headers($stream, 0, @ok), message($stream, $page),
				headers($stream, LyingServer::END_STREAM, 'grpc-status', '0'));
		}
	}
});
END { stop_liar($liar) if $liar; }

my $node = new_cluster('main');
my $run = '6c1a0f7e-2b3d-4c5e-8f90-a1b2c3d4e5f6';
$node->safe_psql('postgres', <<"EOS");
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
	OPTIONS (address '127.0.0.1:$liar->{port}', retry_initial_interval '100ms');
CREATE FUNCTION string(s text) RETURNS bytea LANGUAGE sql AS \$\$
	SELECT pg_catalog.substring(pg_catalog.int4send(pg_catalog.octet_length(s)), 3) || pg_catalog.convert_to(s, 'UTF8') \$\$;
CREATE FUNCTION token(workflow_id text, attempt integer DEFAULT 1) RETURNS bytea LANGUAGE sql AS \$\$
	SELECT string('default') || string(workflow_id) || string('$run') || pg_catalog.int8send(5) || pg_catalog.int4send(attempt) \$\$;
SELECT temporal.complete_activity(token(w), '1') FROM unnest(ARRAY['ours', 'theirs', 'endless']) w;
EOS
await_finished($node);
is( $node->safe_psql('postgres', 'SELECT workflow_id, activity_id, run_id, state, error_code, error_message FROM temporal.request ORDER BY id'),
	"ours||$run|delivered||\n"
		. "theirs||$run|rejected|NOT_FOUND|the activity was completed by a worker\n"
		. "endless||$run|unconfirmed|NOT_FOUND|the workflow's history is too long to be searched",
	'what is in the history is found, and what has no end is given up');

# tokens of two attempts are about one activity, of which one request is in flight at a time
my $silent = start_liar(sub { my ($socket) = @_; send_all($socket, settings()); until_closed($socket); });
END { stop_liar($silent) if $silent; }
$node->safe_psql('postgres', <<"EOS");
CREATE SERVER silent FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$silent->{port}', request_timeout '1h');
SELECT temporal.fail_activity(token('same'), 'no', server => 'silent');
SELECT temporal.complete_activity(token('same', 2), server => 'silent');
SELECT temporal.complete_activity(token('other'), server => 'silent');
EOS
await("a request in flight", sub {
	$node->safe_psql("postgres", q{SELECT string_agg(workflow_id || ' ' || state, ', ' ORDER BY id) FROM temporal.request WHERE server = 'silent'})
		eq "same in_flight, same queued, other in_flight";
});
pass("the second one waits for the first");

done_testing();
