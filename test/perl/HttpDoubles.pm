# Servers over HTTP/1.1 that are not what they seem: one that takes requests as
# Temporal does, and a codec server that encrypts, refuses or fails as a file
# tells it to.  What each was sent is kept in a file.

package HttpDoubles;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use File::Temp ();
use JSON::PP ();
use LyingServer;
use MIME::Base64 ();
use Time::HiRes qw(usleep);
use PostgreSQL::Test::Utils;

our @EXPORT = qw(
  read_request
  http_answer
  start_temporal_double
  start_codec_double
  encrypt
  decrypt
);

# Read a request: its first line, its body, its head; nothing if there is none.
sub read_request
{
	my ($socket) = @_;
	my $text = '';

	while ($text !~ /\r\n\r\n/)
	{
		sysread($socket, $text, 65536, length($text)) or return;
	}
	my ($head, $body) = split(/\r\n\r\n/, $text, 2);
	my ($length) = $head =~ /^content-length: *(\d+)/mi;
	while (length($body) < ($length // 0))
	{
		sysread($socket, $body, 65536, length($body)) or return;
	}
	return ((split(/\r\n/, $head))[0], $body, $head);
}

sub http_answer
{
	my ($status, $body, @headers) = @_;

	return "HTTP/1.1 $status\r\n" . join('', map { "$_\r\n" } @headers)
	  . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
}

sub keep
{
	my ($file, @what) = @_;

	open(my $out, '>>', $file) or die "could not open $file: $!";
	syswrite($out, join("\n", @what) . "\n");
	close($out);
	return;
}

# Takes everything.  Its requests are in the file {log}.
sub start_temporal_double
{
	my $log = File::Temp->new;
	my $double = start_liar(sub {
			my ($socket) = @_;

			while (my ($line, $body) = read_request($socket))
			{
				my $info = $line =~ m{/system-info};

				keep($log->filename, $line, $body) unless $info;
				send_all($socket, http_answer('200 OK', $info ? '{"serverVersion":"1.32.0"}' : '{}'));
			}
		});

	$double->{log} = $log;
	return $double;
}

# What the codec makes of a payload: no two times the same
sub encrypt
{
	my ($payload) = @_;
	my $plain = JSON::PP->new->canonical->encode($payload);

	return { metadata => { encoding => MIME::Base64::encode_base64('binary/encrypted', '') },
		data => MIME::Base64::encode_base64(int(rand(1e9)) . '!' . reverse($plain), '') };
}

sub decrypt
{
	my ($payload) = @_;
	my $text = MIME::Base64::decode_base64($payload->{data});

	return JSON::PP->new->decode(scalar reverse($text =~ s/^\d+!//r));
}

# Encodes.  The file {mode} has the name of one of %modes, or nothing; a payload
# whose data has the name of one in it is answered so, too.  Its requests are in {log}.
my %modes = (
	refuse => sub { return http_answer('400 Bad Request', "cannot encode $_[0]"); },
	large => sub { return http_answer('413 Payload Too Large', ''); },
	stumble => sub { return http_answer('500 Internal Server Error', "failed at $_[0]"); },
	busy => sub { return http_answer('503 Service Unavailable', 'later'); },
	'too-many' => sub { return http_answer('429 Too Many Requests', 'later'); },
	login => sub { return http_answer('401 Unauthorized', $_[0]); },
	forbid => sub { return http_answer('403 Forbidden', $_[0]); },
	lost => sub { return http_answer('404 Not Found', $_[0]); },
	redirect => sub { return http_answer('307 Temporary Redirect', '', 'Location: http://127.0.0.1:1/encode'); },
	html => sub { return http_answer('200 OK', "<html>$_[0]</html>", 'Content-Type: text/html'); },
	error => sub { return http_answer('200 OK', '{"error":"' . 'x' x 100 . '"}'); },
	nothing => sub { return http_answer('200 OK', '{}'); },
	fewer => sub { my ($body) = @_; pop(@{ $body->{payloads} }); return payloads($body); },
	more => sub { my ($body) = @_; push(@{ $body->{payloads} }, $body->{payloads}[0]); return payloads($body); },
	numbers => sub { return http_answer('200 OK', '{"payloads":[1]}'); },
	'no-base64' => sub { return http_answer('200 OK', '{"payloads":[{"metadata":{"encoding":"YQ=="},"data":"*"}]}'); },
	'bad-key' => sub { return http_answer('200 OK', qq({"payloads":[{"metadata":{"\xFF":"YQ=="},"data":"YQ=="}]})); },
	gzip => sub { return http_answer('200 OK', "\x1f\x8b\x08" . "\0" x 100, 'Content-Encoding: gzip'); },
	deep => sub { return http_answer('200 OK', '{"payloads":' . '[' x 30000 . ']' x 30000 . '}'); },
	inflate => sub {
		return http_answer('200 OK', JSON::PP->new->encode({ payloads => [ map { my $one = encrypt($_); $one->{metadata}{filler} = MIME::Base64::encode_base64('x' x 3800, ''); $one } @{ $_[0]{payloads} } ] }));
	},
	# after the next request, which it has read and does not answer
	closes => sub { my ($body, $socket) = @_; send_all($socket, payloads($body)); read_request($socket); close($socket); return ''; },
	reset => sub { reset_connection($_[1]); return ''; },
	hang => sub { until_closed($_[1]); return ''; },
	endless => sub {
		send_all($_[1], "HTTP/1.1 200 OK\r\n\r\n{\"payloads\":[");
		send_all($_[1], '{"data":"' . 'x' x 65536 . '"},') while 1;
	},
);

sub payloads
{
	my ($body) = @_;

	return http_answer('200 OK', JSON::PP->new->encode({ payloads => [ map { encrypt($_) } @{ $body->{payloads} } ] }));
}

sub start_codec_double
{
	my $log = File::Temp->new;
	my $mode = File::Temp->new;
	my $codec = start_liar(sub {
			my ($socket) = @_;

			while (my ($line, $text, $head) = read_request($socket))
			{
				my $body = JSON::PP->new->decode($text);
				my @plain = map { MIME::Base64::decode_base64($_->{data} // '') } @{ $body->{payloads} // [] };
				my $name = slurp_file($mode->filename);

				$body->{payloads} //= [];
				keep($log->filename, $head, join(' ', 'payloads', scalar(@plain), @plain));
				foreach my $plain (@plain)
				{
					foreach my $one (keys %modes)
					{
						$name = $one if $plain =~ /"mode-$one"/;
					}
				}
				# what only those who have payloads get
				$name = '' if $name =~ s/ with payloads// && !@plain;
				# until it is told otherwise
				usleep(10_000), $name = slurp_file($mode->filename) =~ /^slow/ ? 'slow' : '' while $name eq 'slow';
				send_all($socket, $name ne '' ? $modes{$name}->($body, $socket)
					: $line =~ m{/encode HTTP} ? payloads($body)
					: http_answer('200 OK', JSON::PP->new->encode({ payloads => [ map { decrypt($_) } @{ $body->{payloads} } ] })));
			}
		});

	$codec->{log} = $log;
	$codec->{mode} = $mode;
	return $codec;
}

1;
