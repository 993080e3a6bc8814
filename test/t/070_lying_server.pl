# Servers that lie: each breaks the rules of HTTP/2 or gRPC in its own way, all
# at once.  The worker goes on, with bounded memory; nothing counts as
# delivered that was not answered with grpc-status 0; an honest server is
# served all the while; and once honest ones have taken the liars' places,
# everything is delivered.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use File::Temp ();
use LyingServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $requests = 8;				# to each liar

# Memory of the worker, kB, besides what is shared: two liars fill up what a
# channel may hold, 64 MiB, and others a little.
my $max_memory = 256 * 1024;

my @ok = (':status', '200', 'content-type', 'application/grpc');

# Answer every request with frames made by a function of the stream.
sub answering
{
	my ($answer) = @_;

	return sub {
		my ($socket) = @_;

		send_all($socket, settings());
		while (my $stream = await_request($socket))
		{
			send_all($socket, $answer->($stream));
		}
	};
}

# Send the same again and again until the connection is closed.
sub flooding
{
	my (@bytes) = @_;

	return sub {
		my ($socket) = @_;

		send_all($socket, settings());
		send_all($socket, @bytes) while 1;
	};
}

# An honest answer and what comes before it, to be cut off somewhere
my $honest = settings()
  . headers(1, 0, @ok)
  . message(1, '')
  . headers(1, LyingServer::END_STREAM, 'grpc-status', '0');

# What a liar does, and after how many connections or attempts it has shown it
my %lies = (
	'HTTP/1.1' => { connections => 3, lie => sub {
		my ($socket) = @_;

		send_all($socket, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
		until_closed($socket);
	} },
	'garbage' => { connections => 3, lie => sub {
		my ($socket) = @_;

		send_all($socket, map { chr(($_ * 7919) % 251) } 1 .. 65536);
		until_closed($socket);
	} },
	'silence' => { connections => 2, lie => sub { until_closed($_[0]); } },
	'one byte at a time, never an answer' => { attempts => 1, lie => sub {
		my ($socket) = @_;
		my $stream;

		foreach my $byte (split(//, settings()))
		{
			send_all($socket, $byte);
			select(undef, undef, undef, 0.05);
		}
		while ($stream = await_request($socket))
		{
			foreach my $byte (split(//, headers($stream, 0, @ok)))
			{
				send_all($socket, $byte);
				select(undef, undef, undef, 0.05);
			}
		}
	} },
	'wrong content type' => { attempts => 1, lie => answering(sub {
		return headers($_[0], 0, ':status', '200', 'content-type', 'text/html')
		  . message($_[0], '')
		  . headers($_[0], LyingServer::END_STREAM, 'grpc-status', '0');
	}) },
	'no status' => { attempts => 1, lie => answering(sub {
		return headers($_[0], 0, @ok) . message($_[0], '', LyingServer::END_STREAM);
	}) },
	'status without message' => { attempts => 1, lie => answering(sub {
		return headers($_[0], LyingServer::END_STREAM, @ok, 'grpc-status', '0');
	}) },
	'two messages' => { attempts => 1, lie => answering(sub {
		return headers($_[0], 0, @ok) . message($_[0], '') . message($_[0], '')
		  . headers($_[0], LyingServer::END_STREAM, 'grpc-status', '0');
	}) },
	'message cut short' => { attempts => 1, lie => answering(sub {
		return headers($_[0], 0, @ok)
		  . LyingServer::frame(LyingServer::DATA, 0, $_[0], pack('CN', 0, 100) . 'x' x 50)
		  . headers($_[0], LyingServer::END_STREAM, 'grpc-status', '0');
	}) },
	'odd status' => { attempts => 1, lie => answering(sub {
		return headers($_[0], 0, @ok) . message($_[0], '')
		  . headers($_[0], LyingServer::END_STREAM, 'grpc-status', ('', '-0', '0x0', ' 0', '000', '99')[ $_[0] / 2 % 6 ]);
	}) },
	'status, then a reset' => { attempts => 1, lie => answering(sub {
		return headers($_[0], 0, @ok, 'grpc-status', '0') . message($_[0], '')
		  . frame(LyingServer::RST_STREAM, 0, $_[0], pack('N', 2));
	}) },
	'status before the message' => { attempts => 1, lie => answering(sub {
		return headers($_[0], 0, @ok, 'grpc-status', '0') . message($_[0], '', LyingServer::END_STREAM);
	}) },
	'status in an interim answer' => { attempts => 1, lie => answering(sub {
		return headers($_[0], 0, ':status', '103', 'grpc-status', '0')
		  . headers($_[0], 0, @ok) . message($_[0], '', LyingServer::END_STREAM);
	}) },
	'two statuses' => { attempts => 1, lie => answering(sub {
		return headers($_[0], 0, @ok) . message($_[0], '')
		  . headers($_[0], LyingServer::END_STREAM, 'grpc-status', '14', 'grpc-status', '0');
	}) },
	'answers to other streams' => { connections => 2, lie => answering(sub {
		my $other = $_[0] + 100;

		return headers($other, 0, @ok) . message($other, '')
		  . headers($other, LyingServer::END_STREAM, 'grpc-status', '0');
	}) },
	'endless headers' => { connections => 2, lie => sub {
		my ($socket) = @_;
		my $stream;

		send_all($socket, settings());
		$stream = await_request($socket) or return;
		send_all($socket, frame(LyingServer::HEADERS, 0, $stream, LyingServer::block(@ok)));
		send_all($socket, frame(LyingServer::CONTINUATION, 0, $stream,
				LyingServer::block('x', 'y' x 16000))) while 1;
	} },
	'endless interim answers' => { attempts => 1, lie => sub {
		my ($socket) = @_;
		my $stream;

		send_all($socket, settings());
		$stream = await_request($socket) or return;
		foreach my $i (1 .. 20000)
		{
			send_all($socket, headers($stream, 0, ':status', '103', 'x', 'y' x 1000));
		}
		until_closed($socket);
	} },
	'reply of 100 MB' => { attempts => 1, lie => sub {
		my ($socket) = @_;

		send_all($socket, settings());
		answer_at_length($socket, 100 * 1024 * 1024, 100 * 1024 * 1024, @ok);
	} },
	'many large replies' => { requests => 100, attempts => 1, timeout => '15s', lie => sub {
		my ($socket) = @_;

		# each just within the limit, but all at once
		send_all($socket, settings());
		answer_at_length($socket, 7 * 1024 * 1024, 8 * 1024 * 1024 - 1, @ok);
	} },
	'reset at each byte' => { connections => length($honest), lie => sub {
		my ($socket, $number) = @_;

		# SETTINGS first, for without them no request comes
		my $begun = length(settings());
		my $cut = $number % length($honest);

		send_all($socket, substr($honest, 0, $cut < $begun ? $cut : $begun));
		if ($cut >= $begun)
		{
			await_request($socket) or return;
			send_all($socket, substr($honest, $begun, $cut - $begun));
		}
		# what was sent arrives first
		select(undef, undef, undef, 0.01);
		reset_connection($socket);
	} },
	'closed at each byte' => { connections => length($honest), lie => sub {
		my ($socket, $number) = @_;
		my $cut = $number % length($honest);

		send_all($socket, substr($honest, 0, $cut));
		close($socket);
	} },
	'GOAWAY at once' => { connections => 3, lie => sub {
		my ($socket) = @_;

		send_all($socket, settings(), map { frame(LyingServer::GOAWAY, 0, 0, pack('NN', $_, 0)) } (0x7FFFFFFF, 101, 1, 0));
		until_closed($socket);
	} },
	'GOAWAY for each request' => { connections => 5, lie => sub {
		my ($socket) = @_;

		send_all($socket, settings());
		await_request($socket) or return;
		send_all($socket, map { frame(LyingServer::GOAWAY, 0, 0, pack('NN', 0, 11) . 'too_many_pings') } 1 .. 100);
		until_closed($socket);
	} },
	'no window for bodies' => { attempts => 1, lie => sub {
		my ($socket) = @_;

		send_all($socket, settings(4 => 0));
		until_closed($socket);
	} },
	'no streams' => { connections => 1, lie => sub {
		my ($socket) = @_;

		send_all($socket, settings(3 => 0));
		until_closed($socket);
	} },
	'never reads' => { requests => 60, payload => 200_000, attempts => 1, lie => sub {
		my ($socket) = @_;

		send_all($socket, settings(4 => 0x7FFFFFFF), frame(LyingServer::WINDOW_UPDATE, 0, 0, pack('N', 0x7FFF0000)));
		sleep(3600);
	} },
	'SETTINGS flood' => { connections => 2, lie => flooding((settings(3 => 100)) x 1000) },
	'PING flood' => { connections => 2, lie => flooding((frame(LyingServer::PING, 0, 0, 'xxxxxxxx')) x 1000) },
	'empty frames' => { connections => 2, lie => flooding((frame(LyingServer::DATA, 0, 1, '')) x 1000) },
	'frame too large' => { connections => 2, lie => sub {
		my ($socket) = @_;

		send_all($socket, settings(), frame(LyingServer::DATA, 0, 1, 'x' x 1_000_000)) while 1;
	} },
	'refuses everything' => { connections => 1, lie => answering(sub {
		return frame(LyingServer::RST_STREAM, 0, $_[0], pack('N', 7));
	}) },
	'resets everything' => { attempts => 1, lie => answering(sub {
		return frame(LyingServer::RST_STREAM, 0, $_[0], pack('N', 2));
	}) },
);

my $node = new_cluster('main');
my @names = sort keys %lies;
my %servers;

# Requests to a server; their ids
# By task token: what was sent by ids is looked up before it is sent again, which
# needs a server that knows of workflows.
sub send_requests
{
	my ($server, $count, $size, $role) = @_;

	my $as = defined $role ? "SET ROLE $role;" : '';
	return split(/\n/, $node->safe_psql('postgres', <<"EOS"));
$as
SELECT temporal.complete_activity('\\x0a016e1201771a01722005280132'::bytea || set_byte('\\x00', 0, length(id)) || id::bytea,
           to_jsonb(repeat('x', $size)), server => '$server')
  FROM (SELECT 'activity ' || i AS id FROM generate_series(1, $count) i) a
EOS
}

foreach my $i (0 .. $#names)
{
	my $lie = $lies{ $names[$i] };

	$lie->{liar} = start_liar($lie->{lie});
	$lie->{server} = "liar_$i";
	$lie->{role} = "role_$i";
	$node->safe_psql('postgres', "CREATE SERVER liar_$i FOREIGN DATA WRAPPER temporal_complete"
		  . " OPTIONS (address '127.0.0.1:$lie->{liar}{port}', connect_timeout '1s', request_timeout '" . ($lie->{timeout} // '2s') . "',"
		  . " retry_initial_interval '50ms', retry_max_interval '200ms');"
		  # what has to be told over very many connections is not kept from them by the share that others have
		  . " CREATE ROLE role_$i; GRANT USAGE ON FOREIGN SERVER liar_$i TO role_$i");
}
END { stop_liar($_->{liar}) foreach grep { $_->{liar} } values %lies; }

my $honest_port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($honest_port);
$node->safe_psql('postgres', 'CREATE SERVER honest FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (address '127.0.0.1:$honest_port')");
send_requests('honest', 1, 1);
await_finished($node);

my $worker = worker_pid($node);
my $most = 0;

# The worker's own memory; the most that was seen is kept.
sub look_at_memory
{
	my ($rss) = slurp_file("/proc/$worker/status") =~ /^RssAnon:\s+(\d+) kB/m;

	$most = $rss if $rss > $most;
	return $rss;
}

my $before = look_at_memory();

send_requests($_->{server}, $_->{requests} // $requests, $_->{payload} // 1,
	($_->{connections} // 0) > 50 ? $_->{role} : undef) foreach values %lies;
foreach my $name (@names)
{
	my $lie = $lies{$name};
	my $seen = '';

	await("the lie \"$name\"", sub {
			look_at_memory();
			return 1 if defined $lie->{connections} && connections_of($lie->{liar}) >= $lie->{connections};
			return 0 unless $lie->{attempts};
			return $node->safe_psql('postgres', 'SELECT count(*) > 0 FROM temporal.request'
				  . " WHERE server = '$lie->{server}' AND attempts >= $lie->{attempts}") eq 't';
		});
	pass("told: $name");
}

# What no server has answered well is not delivered, nor has it failed for good.
is($node->safe_psql('postgres', <<'EOS'), '', 'no lie was believed');
SELECT server, state, error_code, count(*) FROM temporal.request
 WHERE server <> 'honest' AND finished_at IS NOT NULL GROUP BY 1, 2, 3
EOS
my $started = time();
send_requests('honest', 500, 100);
await_finished($node, "server = 'honest'");
is(states($node, "server = 'honest'"), 'delivered|501', 'an honest server is served all the while');

is(worker_pid($node), $worker, 'the worker has gone on');
note("memory of the worker: $before kB before, at most $most kB");
cmp_ok($most, '<', $max_memory, 'its memory is bounded');

# Honest servers take the liars' places.
foreach my $lie (values %lies)
{
	stop_liar($lie->{liar});
	start_stub($lie->{liar}{port});
}
await_finished($node);
is(states($node, "state <> 'delivered'"), '', 'everything is delivered in the end');
is(worker_pid($node), $worker, 'by the same worker');
look_at_memory();
note("memory of the worker in the end: at most $most kB");

# Of some hundred connections nothing is left open.
my $connections = 0;
$connections += connections_of($_->{liar}) foreach values %lies;
my @open = glob("/proc/$worker/fd/*");
note("$connections connections to liars; the worker has " . scalar(@open) . ' open files');
cmp_ok($connections, '>', 8 * @names, 'there were many connections');
cmp_ok(scalar(@open), '<', 4 * @names + 40, 'no file is left open');
$node->stop;

done_testing();
