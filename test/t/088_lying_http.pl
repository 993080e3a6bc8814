# Servers that lie over HTTP/JSON, each in its own way, all at once.  Nothing
# counts as delivered, or as refused for good, that was not answered so; no
# request is sent again behind the worker's back; memory is bounded; an honest
# server is served all the while, and takes everything in the end.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use File::Temp ();
use HttpDoubles;
use LyingServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $requests = 4;				# to each liar
my $max_memory = 160 * 1024;	# of the worker, kB, besides what is shared

my $info = http_answer('200 OK', '{"serverVersion":"1.32.0"}');

# Tell the version, and answer all else by that function of its first line and its socket.
sub lying
{
	my ($lie) = @_;

	return sub {
		my ($socket) = @_;

		while (my ($line) = read_request($socket))
		{
			send_all($socket, $line =~ m{/system-info} ? $info : $lie->($line, $socket));
		}
	};
}

# The same answer to all but the question for the version
sub always
{
	my @answer = @_;

	return lying(sub { return http_answer(@answer); });
}

my %lies = (
	# the first answer is none of Temporal's
	'login page' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], http_answer('200 OK', '<html>Who are you?</html>', 'Content-Type: text/html')) while read_request($_[0]);
	} },
	'redirect at once' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], http_answer('302 Found', '', 'Location: http://127.0.0.1:1/')) while read_request($_[0]);
	} },
	'not HTTP' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], map { chr(($_ * 7919) % 251) } 1 .. 65536);
		until_closed($_[0]);
	} },
	'silence' => { code => 'CONNECTION_FAILED', lie => sub { until_closed($_[0]); } },
	'endless headers' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], "HTTP/1.1 200 OK\r\n");
		send_all($_[0], 'X-More: ' . 'y' x 8000 . "\r\n") while 1;
	} },
	'interim answers for ever' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], "HTTP/1.1 103 Early Hints\r\nX: " . 'y' x 1000 . "\r\n\r\n") while 1;
	} },

	# the answer to a request is none
	'200 with an error' => { code => 'NO_ANSWER', lie => always('200 OK', '{"code":5,"message":"gone","details":[]}') },
	'200 with HTML' => { code => 'NO_ANSWER', lie => always('200 OK', '<html></html>') },
	'200 with nothing' => { code => 'NO_ANSWER', lie => always('200 OK', '') },
	'200 with a list' => { code => 'NO_ANSWER', lie => always('200 OK', '[{}]') },
	'200 cut off' => { code => 'NO_ANSWER', lie => always('200 OK', '{"a":') },
	'200 with deep nesting' => { code => 'NO_ANSWER', lie => always('200 OK', '{"a":' . '[' x 30000 . ']' x 30000 . '}') },
	'200 with two objects' => { code => 'NO_ANSWER', lie => always('200 OK', '{}{"code":5}') },
	'204' => { code => 'UNKNOWN', lie => lying(sub { return "HTTP/1.1 204 No Content\r\n\r\n"; }) },
	'redirect' => { code => 'UNKNOWN', lie => always('307 Temporary Redirect', '', 'Location: http://127.0.0.1:1/') },
	'a proxy\'s 404' => { code => 'UNIMPLEMENTED', lie => always('404 Not Found', '<html></html>') },
	'no such path' => { code => 'UNIMPLEMENTED', lie => always('404 Not Found', '{"code":5,"message":"Not Found","details":[]}') },
	'a proxy\'s 503' => { code => 'UNAVAILABLE', lie => always('503 Service Unavailable', 'later') },
	'a proxy\'s 401' => { code => 'UNAUTHENTICATED', lie => always('401 Unauthorized', 'who?') },
	'an error without a code' => { code => 'INTERNAL', lie => always('400 Bad Request', '{"message":"no"}') },
	'an error of no known code' => { code => 'UNKNOWN', lie => always('400 Bad Request', '{"code":4711,"message":"no"}') },
	'closed after the request' => { code => 'NO_ANSWER', lie => lying(sub { close($_[1]); return ''; }) },
	'reset after the request' => { code => 'NO_ANSWER', lie => lying(sub { reset_connection($_[1]); return ''; }) },
	'length too long' => { code => 'NO_ANSWER', lie => lying(sub {
		send_all($_[1], "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}");
		close($_[1]);
		return '';
	}) },
	'two lengths' => { code => 'NO_ANSWER', lie => lying(sub {
		return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}"; }) },
	'chunks of nonsense' => { code => 'NO_ANSWER', lie => lying(sub {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n{}\r\n0\r\n\r\n"; }) },
	'gzip that nobody asked for' => { code => 'NO_ANSWER', lie => lying(sub {
		return http_answer('200 OK', "\x1f\x8b\x08" . "\0" x 100, 'Content-Encoding: gzip'); }) },
	'endless body' => { code => 'NO_ANSWER', lie => lying(sub {
		send_all($_[1], "HTTP/1.1 200 OK\r\n\r\n{");
		send_all($_[1], '"a":"' . 'x' x 65536 . '",') while 1;
	}) },
);

my $node = new_cluster('main');

sub send_requests
{
	my ($server, $count) = @_;

	return $node->safe_psql('postgres', <<"EOS");
SELECT temporal.complete_activity('\\x0a016e1201771a01722005280132'::bytea || set_byte('\\x00', 0, length(id)) || id::bytea,
           to_jsonb(id), server => '$server')
  FROM (SELECT 'activity ' || i AS id FROM generate_series(1, $count) i) a
EOS
}

my $honest = start_liar(lying(sub { return http_answer('200 OK', '{}'); }));
my %by_server;
my @names = sort keys %lies;

foreach my $i (0 .. $#names)
{
	my $lie = $lies{ $names[$i] };

	$lie->{server} = "liar_$i";
	$lie->{liar} = start_liar($lie->{lie});
	$node->safe_psql('postgres', "CREATE SERVER liar_$i FOREIGN DATA WRAPPER temporal_complete"
		  . " OPTIONS (transport 'http', address '127.0.0.1:$lie->{liar}{port}', connect_timeout '" . ($lie->{code} eq 'CONNECTION_FAILED' ? '1s' : '30s') . "', request_timeout '2s',"
		  . " retry_initial_interval '50ms', retry_max_interval '200ms')");
}
END { stop_liar($_) foreach grep { $_ } $honest, map { $_->{liar} } values %lies; }
$node->safe_psql('postgres', "CREATE SERVER honest FOREIGN DATA WRAPPER temporal_complete"
	  . " OPTIONS (transport 'http', address '127.0.0.1:$honest->{port}')");
send_requests('honest', 1);
await_finished($node);

my $worker = worker_pid($node);
my $most = 0;

sub look_at_memory
{
	my ($rss) = slurp_file("/proc/$worker/status") =~ /^RssAnon:\s+(\d+) kB/m;

	$most = $rss if $rss > $most;
	return;
}

send_requests($_->{server}, $requests) foreach values %lies;
foreach my $name (@names)
{
	my $lie = $lies{$name};

	await("the lie \"$name\"", sub {
			look_at_memory();
			return $node->safe_psql('postgres', 'SELECT count(*) > 0 FROM temporal.request'
				  . " WHERE server = '$lie->{server}' AND error_code = '$lie->{code}'") eq 't';
		});
	pass("told: $name");
}
is($node->safe_psql('postgres', <<'EOS'), '', 'no lie was believed');
SELECT server, state, error_code, count(*) FROM temporal.request
 WHERE server <> 'honest' AND finished_at IS NOT NULL GROUP BY 1, 2, 3
EOS

send_requests('honest', 200);
await_finished($node, "server = 'honest'");
is(states($node, "server = 'honest'"), 'delivered|201', 'an honest server is served all the while');
is(worker_pid($node), $worker, 'the worker has gone on');
look_at_memory();
note("memory of the worker: at most $most kB");
cmp_ok($most, '<', $max_memory, 'its memory is bounded');

# A connection that was kept is lost after the request: libcurl would send it again by itself.
my $posts = File::Temp->new;
my $swallows = start_liar(sub {
		my ($socket) = @_;

		while (my ($line) = read_request($socket))
		{
			syswrite($posts, '.') if $line =~ /^POST/;
			last if $line =~ /^POST/;
			send_all($socket, $info);
		}
		close($socket);
	});
END { stop_liar($swallows) if $swallows; }
$node->safe_psql('postgres', "CREATE SERVER swallows FOREIGN DATA WRAPPER temporal_complete"
	  . " OPTIONS (transport 'http', address '127.0.0.1:$swallows->{port}', retry_initial_interval '1h', retry_max_interval '1h')");
send_requests('swallows', 1);
await('an attempt', sub {
		return $node->safe_psql('postgres', "SELECT attempts FROM temporal.request WHERE server = 'swallows'") eq '1';
	});
is(-s $posts->filename, 1, 'one attempt is one request');

# The same, and there is nothing to connect to any more: that it could not be
# sent again does not mean that it was not sent.
my $vanishes = start_liar(sub {
		my ($socket) = @_;

		while (my ($line) = read_request($socket))
		{
			if ($line =~ /^POST/)
			{
				kill('KILL', getppid());
				close($socket);
				return;
			}
			send_all($socket, $info);
		}
	});
END { stop_liar($vanishes) if $vanishes; }
$node->safe_psql('postgres', "CREATE SERVER vanishes FOREIGN DATA WRAPPER temporal_complete"
	  . " OPTIONS (transport 'http', address '127.0.0.1:$vanishes->{port}', retry_initial_interval '1h', retry_max_interval '1h')");
send_requests('vanishes', 1);
await('it to be noticed', sub {
		return $node->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE server = 'vanishes' AND error_code IS NOT NULL") eq '1';
	});
is($node->safe_psql('postgres', "SELECT attempts, error_code FROM temporal.request WHERE server = 'vanishes'"),
	'1|NO_ANSWER', 'a request whose connection is lost is not taken for one that was never sent');

# Honest ones take the liars' places.
$node->safe_psql('postgres', "ALTER SERVER $_ OPTIONS (SET address '127.0.0.1:$honest->{port}')")
  foreach 'swallows', 'vanishes', map { $_->{server} } values %lies;
# unless that has it sent already
$node->psql('postgres', "SELECT temporal.retry_request(id) FROM temporal.request WHERE server IN ('swallows', 'vanishes')");
await_finished($node);
is(states($node, "state <> 'delivered'"), '', 'everything is delivered in the end');
is(worker_pid($node), $worker, 'by the same worker');
$node->stop;

done_testing();
