# Servers that choose HTTP/2 for HTTP/JSON and then lie, each in its own way, all
# at once.  Nothing counts as delivered, or as refused for good, that was not
# answered so; what the server says that it did not process is sent again, and of
# what it may have processed that is told; memory is bounded; an honest server is
# served all the while, and takes everything in the end.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Credentials;
use HttpDoubles ();
use LyingServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $requests = 4;				# to each liar
my $max_memory = 160 * 1024;	# of the worker, kB, besides what is shared
my $certs = make_certificates('server');
my %tls = (tls => { SSL_cert_file => "$certs/server.crt", SSL_key_file => "$certs/server.key", SSL_alpn_protocols => ['h2'] });

sub json
{
	my ($stream, $status, $body, @headers) = @_;

	return headers($stream, 0, ':status', $status, 'content-type', 'application/json', @headers)
	  . frame(LyingServer::DATA, LyingServer::END_STREAM, $stream, $body);
}

sub reset_stream { my ($stream, $code) = @_; return frame(LyingServer::RST_STREAM, 0, $stream, pack('N', $code)); }

sub goaway { my ($last, $code, $words) = @_; return frame(LyingServer::GOAWAY, 0, 0, pack('NN', $last, $code) . ($words // '')); }

# Bodies as long as they like
my $wide = frame(LyingServer::WINDOW_UPDATE, 0, 0, pack('N', 0x7FFF0000));

# Tell the version, and answer all else by that function of its stream and socket.
sub lying
{
	my ($lie) = @_;

	return sub {
		my ($socket, $number) = @_;

		send_all($socket, settings(), $wide);
		while (my ($stream, $has_body) = await_stream($socket))
		{
			send_all($socket, $has_body ? $lie->($stream, $socket, $number) : json($stream, '200', '{"serverVersion":"1.32.0"}'));
		}
	};
}

# The same answer to all but the question for the version
sub always
{
	my @answer = @_;

	return lying(sub { return json($_[0], @answer); });
}

# An honest answer, to be cut off somewhere
my $honest_answer = json(3, '200', '{}');

my %lies = (
	# the first answer is none of Temporal's, or none of HTTP/2
	'login page' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], settings());
		while (my $stream = await_stream($_[0])) { send_all($_[0], json($stream, '200', '<html></html>')); }
	} },
	'HTTP/1.1 all the same' => { code => 'NOT_HTTP2', lie => sub {
		send_all($_[0], "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
		until_closed($_[0]);
	} },
	'not HTTP' => { code => 'NOT_HTTP2', lie => sub {
		send_all($_[0], map { chr(($_ * 7919) % 251) } 1 .. 65536);
		until_closed($_[0]);
	} },
	'silence' => { code => 'CONNECTION_FAILED', lie => sub { until_closed($_[0]); } },
	'silence after SETTINGS' => { code => 'CONNECTION_FAILED', lie => sub { send_all($_[0], settings()); until_closed($_[0]); } },
	'GOAWAY at once' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], settings(), goaway(0, 0));
		until_closed($_[0]);
	} },
	'reset of the first call' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], settings());
		while (my $stream = await_stream($_[0])) { send_all($_[0], reset_stream($stream, 2)); }
	} },
	'endless headers' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], settings());
		my $stream = await_stream($_[0]) or return;
		send_all($_[0], frame(LyingServer::HEADERS, 0, $stream, LyingServer::block(':status', '200')));
		send_all($_[0], frame(LyingServer::CONTINUATION, 0, $stream, LyingServer::block('x', 'y' x 16000))) while 1;
	} },
	'PING flood' => { code => 'CONNECTION_FAILED', lie => sub {
		send_all($_[0], settings());
		send_all($_[0], (frame(LyingServer::PING, 0, 0, 'xxxxxxxx')) x 1000) while 1;
	} },

	# the answer to a request is none
	'200 with an error' => { code => 'NO_ANSWER', lie => always('200', '{"code":5,"message":"gone","details":[]}') },
	'200 with HTML' => { code => 'NO_ANSWER', lie => always('200', '<html></html>') },
	'200 with nothing' => { code => 'NO_ANSWER', lie => always('200', '') },
	'200 without a body' => { code => 'NO_ANSWER', lie => lying(sub { return headers($_[0], LyingServer::END_STREAM, ':status', '200'); }) },
	'200 cut off' => { code => 'NO_ANSWER', lie => always('200', '{"a":') },
	'gzip that nobody asked for' => { code => 'NO_ANSWER', lie => always('200', "\x1f\x8b\x08" . "\0" x 100, 'content-encoding', 'gzip') },
	'length too long' => { code => 'NO_ANSWER', lie => always('200', '{}', 'content-length', '100') },
	'length too short' => { code => 'NO_ANSWER', lie => always('200', '{}' . ' ' x 50, 'content-length', '2') },
	'two lengths' => { code => 'NO_ANSWER', lie => always('200', '{}', 'content-length', '2', 'content-length', '40') },
	'header of HTTP/1.1' => { code => 'NO_ANSWER', lie => always('200', '{}', 'Transfer-Encoding', 'chunked') },
	'no status' => { code => 'NO_ANSWER', lie => lying(sub {
		return headers($_[0], 0, 'content-type', 'application/json') . frame(LyingServer::DATA, LyingServer::END_STREAM, $_[0], '{}'); }) },
	'interim answers for ever' => { code => 'NO_ANSWER', lie => lying(sub {
		send_all($_[1], headers($_[0], 0, ':status', '103', 'x', 'y' x 1000)) foreach 1 .. 5000;
		return '';
	}) },
	'only an interim answer' => { code => 'NO_ANSWER', lie => lying(sub {
		return headers($_[0], 0, ':status', '103') . frame(LyingServer::DATA, LyingServer::END_STREAM, $_[0], '{}'); }) },
	'no end' => { code => 'NO_ANSWER', lie => lying(sub {
		return headers($_[0], 0, ':status', '200') . frame(LyingServer::DATA, 0, $_[0], '{}'); }) },
	'the end of another stream' => { code => 'NO_ANSWER', lie => lying(sub { return json($_[0] + 100, '200', '{}'); }) },
	'204' => { code => 'UNKNOWN', lie => lying(sub { return headers($_[0], LyingServer::END_STREAM, ':status', '204'); }) },
	'redirect' => { code => 'UNKNOWN', lie => always('307', '', 'location', 'http://127.0.0.1:1/') },
	'a proxy\'s 503' => { code => 'UNAVAILABLE', lie => always('503', 'later') },
	'a proxy\'s 401' => { code => 'UNAUTHENTICATED', lie => always('401', 'who?') },
	'a proxy\'s 404' => { code => 'UNIMPLEMENTED', lie => always('404', '<html></html>') },
	'huge headers' => { code => 'NO_ANSWER', lie => lying(sub { return json($_[0], '200', '{}', map { ("x-$_" => 'y' x 8000) } 1 .. 20); }) },
	'endless body' => { code => 'NO_ANSWER', timeout => '15s', lie => sub {
		my ($socket) = @_;

		send_all($socket, settings());
		my $stream = await_stream($socket) or return;
		send_all($socket, json($stream, '200', '{"serverVersion":"1.32.0"}'));
		answer_at_length($socket, 1024 * 1024 * 1024, undef, ':status', '200');
	} },

	# streams and connections that end, some of them before or in the middle of the answer
	(map { my $code = $_; ("reset with code $code" => { code => 'NO_ANSWER', lie => lying(sub { return reset_stream($_[0], $code); }) }) } 0, 1, 2, 5, 8, 11),
	'answered, then reset' => { code => 'NO_ANSWER', lie => lying(sub {
		return headers($_[0], 0, ':status', '200') . frame(LyingServer::DATA, 0, $_[0], '{}') . reset_stream($_[0], 0); }) },
	'closed after the request' => { code => 'NO_ANSWER', lie => lying(sub { close($_[1]); return ''; }) },
	'connection reset after the request' => { code => 'NO_ANSWER', lie => lying(sub { reset_connection($_[1]); return ''; }) },
	'cut at each byte' => { code => 'NO_ANSWER', connections => length($honest_answer), lie => lying(sub {
		my (undef, $socket, $number) = @_;

		send_all($socket, substr($honest_answer, 0, $number % length($honest_answer)));
		close($socket);
		return '';
	}) },
	'GOAWAY, and no answer' => { code => 'NO_ANSWER', lie => lying(sub {
		send_all($_[1], goaway($_[0], 0));
		close($_[1]);
		return '';
	}) },
	# what was not processed is sent again, over another connection
	'GOAWAY below the request' => { code => '', connections => 5, lie => lying(sub { return goaway($_[0] - 2, 0); }) },
	'refuses everything' => { code => '', lie => lying(sub { return reset_stream($_[0], 7); }) },
);

my $node = new_cluster('main');

sub send_requests
{
	my ($server, $count, $size) = @_;

	$size //= 1;
	return $node->safe_psql('postgres', <<"EOS");
SELECT temporal.complete_activity('\\x0a016e1201771a01722005280132'::bytea || set_byte('\\x00', 0, length(id)) || id::bytea,
           to_jsonb(repeat(id, $size)), server => '$server')
  FROM (SELECT 'activity ' || i AS id FROM generate_series(1, $count) i) a
EOS
}

my $honest = start_liar(lying(sub { return json($_[0], '200', '{}'); }), %tls);
my @names = sort keys %lies;
my @others;

foreach my $i (0 .. $#names)
{
	my $lie = $lies{ $names[$i] };

	$lie->{server} = "liar_$i";
	$lie->{liar} = start_liar($lie->{lie}, %tls);
	$node->safe_psql('postgres', "CREATE SERVER liar_$i FOREIGN DATA WRAPPER temporal_complete"
		  . " OPTIONS (transport 'http', address '127.0.0.1:$lie->{liar}{port}', tls_server_ca_cert_path '$certs/ca.crt',"
		  . " connect_timeout '" . ($lie->{code} =~ /CONNECTION_FAILED|NOT_HTTP2/ ? '1s' : '30s') . "', request_timeout '" . ($lie->{timeout} // '2s') . "',"
		  # a connection costs this test more than the worker
		  . ($lie->{connections} ? " retry_initial_interval '50ms', retry_max_interval '200ms')" : " retry_initial_interval '500ms', retry_max_interval '2s')"));
}
END { stop_liar($_) foreach grep { $_ } $honest, @others, map { $_->{liar} } values %lies; }
$node->safe_psql('postgres', "CREATE SERVER honest FOREIGN DATA WRAPPER temporal_complete"
	  . " OPTIONS (transport 'http', address '127.0.0.1:$honest->{port}', tls_server_ca_cert_path '$certs/ca.crt')");
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
			return 0 if $lie->{connections} && connections_of($lie->{liar}) < $lie->{connections};
			return 1 if $lie->{code} eq '';
			return $node->safe_psql('postgres', 'SELECT count(*) > 0 FROM temporal.request'
				  . " WHERE server = '$lie->{server}' AND error_code = '$lie->{code}'") eq 't';
		});
	pass("told: $name");
}
is($node->safe_psql('postgres', <<'EOS'), '', 'no lie was believed');
SELECT server, state, error_code, count(*) FROM temporal.request
 WHERE server <> 'honest' AND finished_at IS NOT NULL GROUP BY 1, 2, 3
EOS
foreach my $name (grep { $lies{$_}{code} eq '' } @names)
{
	is($node->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE server = '$lies{$name}{server}'"
			  . " AND error_code = 'NO_ANSWER'"), '0', "$name: nobody takes that for processed");
}

send_requests('honest', 200);
await_finished($node, "server = 'honest'");
is(states($node, "server = 'honest'"), 'delivered|201', 'an honest server is served all the while');
is(worker_pid($node), $worker, 'the worker has gone on');
look_at_memory();
note("memory of the worker: at most $most kB");
cmp_ok($most, '<', $max_memory, 'its memory is bounded');

# A server that wants HTTP/1.1 instead: it gets that, whenever it says so.  What it answers over HTTP/2 to the question for
# the version and to requests, or to the headers of these; after that it may close the connection.
my $info = sub { return json($_[0], '200', '{"serverVersion":"1.32.0"}'); };
my $reset = sub { return reset_stream($_[0], 13); };
my %wants = (
	'at once' => { first => $reset },
	'at once, and is gone' => { first => sub { return reset_stream($_[0], 13) . goaway($_[0], 0); }, closes => 1 },
	'at once, by GOAWAY' => { first => sub { return goaway(0, 13); } },
	'for requests' => { request => $reset },
	'for requests, and is gone' => { request => sub { return reset_stream($_[0], 13) . goaway($_[0], 0); }, closes => 1 },
	'for requests, by GOAWAY' => { request => sub { return goaway($_[0] - 2, 13); } },
	'for requests that are not sent yet' => { head => $reset, size => 30_000 },
	'for many requests' => { request => $reset, requests => 200 },
);
my $n = 0;

foreach my $when (sort keys %wants)
{
	my $want = $wants{$when};
	my $over_http2 = File::Temp->new;
	my $wants = start_liar(sub {
			my ($socket, $number) = @_;

			# should it be led to and fro for ever
			return if $number > 100;
			if (($socket->alpn_selected // '') eq 'h2')
			{
				syswrite($over_http2, '.');
				send_all($socket, settings());
				while (my ($type, $flags, $stream) = LyingServer::next_frame($socket))
				{
					my $is_call = $type == LyingServer::HEADERS || $type == LyingServer::DATA;
					my $ends = $is_call && $flags & LyingServer::END_STREAM;
					my $answer = $ends && $type == LyingServer::HEADERS ? $want->{first} // $info
					  : $ends ? $want->{request}
					  : $is_call && $type == LyingServer::HEADERS ? $want->{head} : undef;

					next unless $answer;
					send_all($socket, $answer->($stream));
					return if $want->{closes} && $answer != $info;
				}
				return;
			}
			while (my ($line) = HttpDoubles::read_request($socket))
			{
				send_all($socket, HttpDoubles::http_answer('200 OK', $line =~ /system-info/ ? '{"serverVersion":"1.32.0"}' : '{}'));
			}
		}, tls => { %{ $tls{tls} }, SSL_alpn_protocols => [ 'h2', 'http/1.1' ] });
	my $server = 'wants_' . $n++;
	push @others, $wants;
	my $requests = $want->{requests} // 3;

	$node->safe_psql('postgres', "CREATE SERVER $server FOREIGN DATA WRAPPER temporal_complete OPTIONS (transport 'http',"
		  . " address '127.0.0.1:$wants->{port}', tls_server_ca_cert_path '$certs/ca.crt', retry_initial_interval '50ms', retry_max_interval '200ms')");
	send_requests($server, $requests, $want->{size});
	await('requests', sub {
			return 1 if connections_of($wants) > 100 || -s $over_http2->filename > 5;
			return $node->safe_psql('postgres', 'SELECT count(*) = 0 FROM temporal.request'
				  . " WHERE server = '$server' AND finished_at IS NULL") eq 't';
		});
	is(states($node, "server = '$server'"), "delivered|$requests", "a server that wants HTTP/1.1 $when");
	is(-s $over_http2->filename, 1, 'is asked for HTTP/2 once');
	cmp_ok($node->safe_psql('postgres', "SELECT max(attempts) FROM temporal.request WHERE server = '$server'"), '<=', 2, 'nothing is tried again and again');
	cmp_ok(connections_of($wants), '<=', 1 + 16, 'it has few connections');
	stop_liar($wants);
}

# Servers that repeat what they were sent where they can: in the debug data of GOAWAY, and in headers that nghttp2 quotes
# when it says what is wrong with them.  It can be cut off in the middle of the secret.
my %repeats = (
	GOAWAY => sub {
		my ($socket, $key) = @_;

		send_all($socket, settings(), goaway(0, 2, "not good: $key"));
		until_closed($socket);
	},
	header => sub {
		my ($socket, $key) = @_;

		send_all($socket, settings());
		while (my ($stream, $has_body) = await_stream($socket))
		{
			send_all($socket, $has_body ? headers($stream, 0, ':status', '200', ':path', $key) . frame(LyingServer::DATA, 0, 0, 'x') : $info->($stream));
		}
	},
);
my @repeating;

foreach my $transport ('http', 'grpc')
{
	foreach my $how (sort keys %repeats)
	{
		foreach my $len (20, 1000)
		{
			my $key = 'S3cret-' . 'k' x $len;
			my $server = lc("repeats_${transport}_${how}_$len");
			my $liar = start_liar(sub { $repeats{$how}->($_[0], $key); }, %tls);

			push @others, $liar;
			push @repeating, { server => $server, how => $how };
			write_file("$certs/key_$len", $key);
			$node->safe_psql('postgres', "CREATE SERVER $server FOREIGN DATA WRAPPER temporal_complete OPTIONS (transport '$transport',"
				  . " address '127.0.0.1:$liar->{port}', tls_server_ca_cert_path '$certs/ca.crt', retry_initial_interval '500ms', retry_max_interval '2s');"
				  . " CREATE USER MAPPING FOR CURRENT_USER SERVER $server OPTIONS (api_key_path '$certs/key_$len',"
				  # a secret that hiding does not change
				  . " grpc_meta_stars '********')");
			send_requests($server, 1);
		}
	}
}
foreach my $repeating (@repeating)
{
	my $words = $repeating->{how} eq 'GOAWAY' ? 'not good: ' : 'value: \[';

	my $message = await("what $repeating->{server} says", sub {
			return $node->safe_psql('postgres', "SELECT error_message FROM temporal.request WHERE server = '$repeating->{server}'"
				  . " AND error_message ~ '$words'");
		});
	like($message, qr/$words\*{20}/, "$repeating->{server}: secrets are hidden");
}
unlike($node->safe_psql('postgres', "SELECT string_agg(error_message, ' ') FROM temporal.request"), qr/S3cret/, 'no secret is told');
unlike(slurp_file($node->logfile), qr/S3cret/, '... nor logged');
$node->safe_psql('postgres', "SELECT temporal.discard_requests('$_->{server}')") foreach @repeating;

# Honest ones take the liars' places.
$node->safe_psql('postgres', "ALTER SERVER $_ OPTIONS (SET address '127.0.0.1:$honest->{port}')")
  foreach map { $_->{server} } values %lies;
await_finished($node);
is(states($node, "state <> 'delivered' AND server NOT LIKE 'repeats%'"), '', 'everything is delivered in the end');
is(worker_pid($node), $worker, 'by the same worker');
$node->stop;

done_testing();
