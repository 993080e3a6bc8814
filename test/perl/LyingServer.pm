# A server that breaks the rules of HTTP/2 and gRPC as it is told, on a real
# socket, or by TLS.  What it does with a connection is a function; helpers here make
# frames and headers, as far as bytes have to be wrong on purpose.

package LyingServer;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);

our @EXPORT = qw(
  start_liar
  stop_liar
  connections_of
  frame
  settings
  headers
  message
  await_request
  await_stream
  answer_at_length
  send_all
  until_closed
  reset_connection
);

# Types and flags of frames
use constant {
	DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4, PING => 6,
	GOAWAY => 7, WINDOW_UPDATE => 8, CONTINUATION => 9,
	END_STREAM => 1, ACK => 1, END_HEADERS => 4,
};

# Listen on a port of this machine that is free, and do that to each connection;
# it is given the socket and the number of the connection, beginning with 0.
# Options: tls => what IO::Socket::SSL is to be told.
sub start_liar
{
	my ($lie, %options) = @_;

	# once, not by each process of a connection
	my $context;
	if ($options{tls})
	{
		require IO::Socket::SSL;
		$context = IO::Socket::SSL::SSL_Context->new(SSL_server => 1, %{ $options{tls} }) or die $IO::Socket::SSL::SSL_ERROR;
	}
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
		Listen => 64, ReuseAddr => 1) or die "could not listen: $!";
	my $count = File::Temp->new;
	my $pid = fork();

	die "could not fork: $!" unless defined $pid;
	return { pid => $pid, port => $listener->sockport, count => $count } if $pid;

	# each connection has a process, which ends with this one
	setpgrp(0, 0);
	local $SIG{CHLD} = 'IGNORE';
	local $SIG{PIPE} = 'IGNORE';
	for (my $number = 0;; $number++)
	{
		my $socket = $listener->accept or next;

		syswrite($count, '.');
		my $child = fork();
		if (defined $child && $child == 0)
		{
			close($listener);
			IO::Socket::SSL->start_SSL($socket, SSL_server => 1, SSL_reuse_ctx => $context) or POSIX::_exit(1)
			  if $context;
			eval { $lie->($socket, $number); };
			POSIX::_exit(0);
		}
		close($socket);
	}
}

# End it, with all its connections.
sub stop_liar
{
	my ($liar) = @_;
	local $?;					# an END block's own

	return unless defined $liar->{pid};
	kill('KILL', -$liar->{pid});
	kill('KILL', $liar->{pid});
	waitpid($liar->{pid}, 0);
	delete $liar->{pid};
	return;
}

# How many connections it has had
sub connections_of
{
	my ($liar) = @_;

	return -s $liar->{count}->filename;
}

sub frame
{
	my ($type, $flags, $stream, $payload) = @_;

	$payload //= '';
	return pack('CnCCN', length($payload) >> 16, length($payload) & 0xFFFF, $type, $flags, $stream) . $payload;
}

# SETTINGS, by identifier
sub settings
{
	my (%values) = @_;

	return frame(SETTINGS, 0, 0, join('', map { pack('nN', $_, $values{$_}) } sort keys %values));
}

# A block of headers, none of them compressed
sub block
{
	my (@fields) = @_;
	my $block = '';

	while (my ($name, $value) = splice(@fields, 0, 2))
	{
		$block .= pack('C', 0) . integer(length($name)) . $name . integer(length($value)) . $value;
	}
	return $block;
}

# HPACK's integers of seven bits
sub integer
{
	my ($n) = @_;
	my $bytes = '';

	return pack('C', $n) if $n < 127;
	for ($n -= 127; $n >= 128; $n >>= 7)
	{
		$bytes .= pack('C', $n & 0x7F | 0x80);
	}
	return pack('C', 127) . $bytes . pack('C', $n);
}

sub headers
{
	my ($stream, $flags, @fields) = @_;

	return frame(HEADERS, $flags | END_HEADERS, $stream, block(@fields));
}

# A message of gRPC, as DATA
sub message
{
	my ($stream, $bytes, $flags) = @_;

	return frame(DATA, $flags // 0, $stream, pack('CN', 0, length($bytes)) . $bytes);
}

# The next frame, (type, flags, stream, payload); empty at the end.  Windows of sessions are noted.
my (%unread, %windows);

sub next_frame
{
	my ($socket) = @_;
	my $state = $unread{$socket} //= { bytes => '', preface => 0 };

	while (1)
	{
		if (!$state->{preface})
		{
			if (length($state->{bytes}) >= 24)
			{
				substr($state->{bytes}, 0, 24) = '';
				$state->{preface} = 1;
				next;
			}
		}
		elsif (length($state->{bytes}) >= 9)
		{
			my ($high, $low, $type, $flags, $stream) = unpack('CnCCN', $state->{bytes});
			my $len = $high << 16 | $low;

			if (length($state->{bytes}) >= 9 + $len)
			{
				my $payload = substr($state->{bytes}, 9, $len);

				substr($state->{bytes}, 0, 9 + $len) = '';
				$windows{$socket} = ($windows{$socket} // 65535) + unpack('N', $payload) if $type == WINDOW_UPDATE && $stream == 0;
				return ($type, $flags, $stream & 0x7FFFFFFF, $payload);
			}
		}
		sysread($socket, $state->{bytes}, 65536, length($state->{bytes})) or return;
	}
}

# Has something come that was not looked at?
sub has_frame
{
	my ($socket) = @_;

	return length($unread{$socket}{bytes} // '') >= 9 || ($socket->can('pending') && $socket->pending)
	  || IO::Select->new($socket)->can_read(0);
}

# Read until a request is complete, also one that has no body; its stream, in a list with whether it has one, nothing if none comes any more.
sub await_stream
{
	my ($socket) = @_;

	while (my ($type, $flags, $stream) = next_frame($socket))
	{
		next unless ($type == DATA || $type == HEADERS) && $flags & END_STREAM;
		return wantarray ? ($stream, $type == DATA) : $stream;
	}
	return;
}

# Read until a request is complete; its stream, in a list with its last DATA, nothing if none comes any more.
sub await_request
{
	my ($socket) = @_;

	while (my ($type, $flags, $stream, $payload) = next_frame($socket))
	{
		next unless $type == DATA && $flags & END_STREAM;
		return wantarray ? ($stream, $payload) : $stream;
	}
	return;
}

# Answer every request that comes with so many bytes of a message that is said to be longer (or is JSON, if that is not
# said), to all of them at once and never more than the windows allow.  Ends when the connection does.
sub answer_at_length
{
	my ($socket, $len, $said, @fields) = @_;
	my $window_before = $windows{$socket};
	my $piece = 'x' x 16384;
	my $window = $window_before // 65535;
	my (%window, %left);

	while (1)
	{
		my @ready = grep { $left{$_} > 0 && $window{$_} >= length($piece) } keys %left;

		while (!@ready || $window < length($piece) || has_frame($socket))
		{
			my ($type, $flags, $stream, $payload) = next_frame($socket) or return;

			if ($type == WINDOW_UPDATE)
			{
				if ($stream == 0) { $window += unpack('N', $payload); }
				elsif (exists $left{$stream}) { $window{$stream} += unpack('N', $payload); }
			}
			elsif ($type == RST_STREAM)
			{
				delete $left{$stream};
			}
			elsif ($type == DATA && $flags & END_STREAM)
			{
				$left{$stream} = $len;
				$window{$stream} = 1024 * 1024;
				send_all($socket, headers($stream, 0, @fields), frame(DATA, 0, $stream, defined $said ? pack('CN', 0, $said) : '{"a":"'));
			}
			@ready = grep { $left{$_} > 0 && $window{$_} >= length($piece) } keys %left;
		}
		foreach my $stream (@ready)
		{
			last if $window < length($piece);
			send_all($socket, frame(DATA, 0, $stream, $piece));
			$left{$stream} -= length($piece);
			$window{$stream} -= length($piece);
			$window -= length($piece);
		}
	}
}

# Send all of it; dies when the other side has closed the connection.
sub send_all
{
	my ($socket, @bytes) = @_;
	my $bytes = join('', @bytes);

	for (my $sent = 0; $sent < length($bytes);)
	{
		# by TLS, that is 0
		$sent += syswrite($socket, $bytes, length($bytes) - $sent, $sent) || die "closed\n";
	}
	return;
}

# Take whatever comes until the other side closes the connection.
sub until_closed
{
	my ($socket) = @_;
	my $bytes;

	1 while sysread($socket, $bytes, 65536);
	return;
}

# Close it so that the other side gets an error.
sub reset_connection
{
	my ($socket) = @_;

	setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
	return $socket->close(SSL_no_shutdown => 1) if $socket->isa('IO::Socket::SSL');
	close($socket);
	return;
}

1;
