# What the other side says is shown in the encoding of the database, whole
# characters only and without control characters, and never ends the worker.
#
# Databases in UTF8, LATIN1, EUC_JP and SQL_ASCII; servers whose version,
# messages, and identities in a history are made to break something.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my @encodings = qw(UTF8 LATIN1 EUC_JP SQL_ASCII);
my $forged = "2026-01-01 00:00:00 UTC [1] FATAL:  forged";

# Fields of a message of protobuf, all of them with numbers below 16,384
sub varint
{
	my ($n) = @_;
	my $bytes = '';

	for (; $n >= 128; $n >>= 7) { $bytes .= pack('C', $n & 0x7F | 0x80); }
	return $bytes . pack('C', $n);
}
sub field { my ($number, $value) = @_; return varint($number << 3 | 2) . varint(length($value)) . $value; }
sub number { my ($number, $value) = @_; return varint($number << 3) . varint($value); }
sub percent { return join('', map { sprintf('%%%02X', ord) } split(//, $_[0])); }

my $port = 0;
sub stub
{
	my $port = PostgreSQL::Test::Cluster::get_free_port();

	start_stub($port, @_);
	return $port;
}

# é, 日, a line, a C1 control, what turns text around, a line separator, bytes that are no UTF-8
my $hostile = "caf\xC3\xA9 \xE6\x97\xA5\n$forged\r\t\x1B[31m\x7F\xC2\x9B2J\xE2\x80\xAEtxt.exe\xE2\x80\xA8\xE2\x81\xA6\xFF\xC0\x80";
my $shown = "caf\xC3\xA9 \xE6\x97\xA5 $forged  ?[31m??2J?txt.exe?????";

# a version whose 63rd and 64th byte are one character, with more of them behind it
my $version = ('v' x 62) . ("\xC3\xA9" x 30);
my $history = field(1,
	field(1, number(1, 7) . field(17, number(2, 5) . field(4, $hostile)))
	  . field(1, number(1, 5) . field(15, field(1, 'a'))));

my %port = (
	version => stub('--reply', unpack('H*', field(1, $version))),
	lines => stub('--reply', unpack('H*', field(1, "1\n$forged\xE2\x80\xAE\xC3\xA9"))),
	half => stub('--reply', unpack('H*', field(1, "1.2\xC3"))),
	rejects => stub('--status', 3, '--message', percent($hostile)),
	refuses => stub('--status', 16, '--message', percent($hostile)),
	long => stub('--status', 3, '--message', percent('x' . "\xE6\x97\xA5" x 600)),
	junk => stub('--status', 3, '--junk', 4711));

my $node = new_cluster('main', settings => 'log_min_messages = info',
	init => { extra => [ '--locale=C', '--encoding=UTF8' ] });
my %pid;

# The words as they are shown in that encoding, but in UTF-8
sub shown_in
{
	my ($encoding, $words) = @_;

	$words =~ s/\xE6\x97\xA5/?/g if $encoding eq 'LATIN1';
	return $words;
}
sub query { my ($db, $sql) = @_; return $node->safe_psql($db, "SET client_encoding = " . ($db eq 'sql_ascii' ? 'SQL_ASCII' : 'UTF8') . "; $sql"); }

foreach my $encoding (@encodings)
{
	my $db = lc($encoding);

	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING $encoding LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($db, 'CREATE EXTENSION temporal_complete');
	foreach my $name (sort keys %port)
	{
		$node->safe_psql($db, <<EOS);
CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete
    OPTIONS (address '127.0.0.1:$port{$name}', namespace 'n\xC3\xA9', retry_max_interval '1h');
EOS
	}
	$pid{$db} = await_worker($node, $db);
}

# Pings
foreach my $encoding (@encodings)
{
	my $db = lc($encoding);

	is(query($db, q(SELECT server_version, octet_length(server_version), authorized FROM temporal.ping('version'))),
		('v' x 62) . ($encoding eq 'LATIN1' ? "\xC3\xA9|63|t" : '|62|t'), "$encoding: a version that does not fit is cut between two characters");
	is(query($db, q(SELECT server_version FROM temporal.ping('lines'))),
		"1 $forged?\xC3\xA9", "$encoding: a version has no control characters");
	is(query($db, q(SELECT server_version FROM temporal.ping('half'))),
		'1.2', "$encoding: half a character is none");
	is(query($db, q(SELECT error_message FROM temporal.ping('rejects'))),
		shown_in($encoding, $shown), "$encoding: a message has no control characters");
	like(query($db, q(SELECT octet_length(error_message), error_message FROM temporal.ping('long'))),
		qr/^\d{3}\|x(\xE6\x97\xA5|\?){30,510}$/, "$encoding: a message that does not fit is cut between two characters");
	is(worker_pid($node, $db), $pid{$db}, "$encoding: the worker is the same after pings");
}

# What is recorded: refusals, errors of queues, identities of others
foreach my $encoding (@encodings)
{
	my $db = lc($encoding);
	my $history_port = stub('--status', 5, '--fail-first', 1, '--reply', unpack('H*', $history));

	query($db, "CREATE SERVER history FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$history_port')");
	query($db, "CREATE SERVER file FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1', tls_server_ca_cert_path '/no/\xC3\xA9')");
	query($db, q(SELECT temporal.complete_activity_by_id('w', 'a', server => 'rejects')));
	# a token of event 5, activity a, for whose end only the history is read
	query($db, q(SELECT temporal.complete_activity('\x0a016e1201771a0172200528013201' || 'a'::bytea, server => 'history')));
	query($db, q(SELECT temporal.complete_activity_by_id('w', 'a' || i, server => 'refuses') FROM generate_series(1, 10) i));
	query($db, q(SELECT temporal.complete_activity_by_id('w', 'a', server => 'file')));
	query($db, q(SELECT temporal.complete_activity_by_id('w', 'a' || i, server => 'junk') FROM generate_series(1, 500) i));

	await_finished_in($db, q(server IN ('rejects', 'history', 'junk')));
	is(query($db, q(SELECT error_message FROM temporal.request WHERE server = 'rejects')),
		shown_in($encoding, $shown), "$encoding: a refusal has no control characters");
	like(query($db, q(SELECT error_message FROM temporal.request WHERE server = 'history')),
		qr/\Q${\ shown_in($encoding, $shown)}\E/, "$encoding: nor has an identity");
	await("the error of a queue in $encoding",
		sub { query($db, q(SELECT count(*) FROM temporal.request WHERE server = 'refuses' AND error_code = 'UNAUTHENTICATED')) eq '10' });
	is(query($db, q(SELECT DISTINCT error_message FROM temporal.request WHERE server = 'refuses')),
		shown_in($encoding, $shown), "$encoding: nor has the error of a queue");
	await("the missing file in $encoding",
		sub { query($db, q(SELECT error_code FROM temporal.request WHERE server = 'file')) eq 'CONFIGURATION' });
	is(query($db, q(SELECT count(*) FROM temporal.request WHERE server = 'junk' AND state = 'rejected' AND error_message !~ '[\x01-\x1f\x7f]')),
		'500', "$encoding: 500 messages that are junk are shown without control characters");
	query($db, "SELECT error_message FROM temporal.ping('junk')") foreach (1 .. 20);
	is(worker_pid($node, $db), $pid{$db}, "$encoding: the worker is the same after all that");
}

sub await_finished_in
{
	my ($db, $where) = @_;

	await("requests of $db", sub {
		query($db, "SELECT count(*) FROM temporal.request WHERE finished_at IS NULL AND $where") eq '0' });
}

# A namespace that cannot be sent, since the option was changed: only who is concerned waits
my $closed = PostgreSQL::Test::Cluster::get_free_port();
$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN');
foreach my $db (qw(sql_ascii latin1))
{
	my $bad = $db eq 'sql_ascii' ? "\xFF" : 'x' x 2000;

	$node->safe_psql($db, <<EOS);
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO owner;
SET ROLE owner;
CREATE SERVER changed FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$closed');
SELECT temporal.complete_activity_by_id('w', 'a', server => 'changed');
EOS
	await("the server to be away in $db",
		sub { query($db, q(SELECT error_code FROM temporal.request WHERE server = 'changed')) eq 'CONNECTION_FAILED' });
	$node->safe_psql($db, "SET ROLE owner; ALTER SERVER changed OPTIONS (ADD namespace '$bad')");
	query($db, q(SELECT temporal.complete_activity_by_id('w', 'b' || i, server => 'rejects') FROM generate_series(1, 3) i));
	await("the namespace to be found wrong in $db",
		sub { query($db, q(SELECT error_code FROM temporal.request WHERE server = 'changed')) eq 'CONFIGURATION' });
	await_finished_in($db, q(server = 'rejects'));
	$node->safe_psql($db, "SET ROLE owner; ALTER SERVER changed OPTIONS (SET namespace 'good', SET address '127.0.0.1:$port{rejects}')");
	await_finished_in($db, q(server = 'changed'));
	is(worker_pid($node, $db), $pid{$db}, "$db: the worker is the same after a namespace that cannot be sent");
}
unlike(slurp_file($node->logfile), qr/ERROR:  namespace/, 'which is no error of the worker');

unlike(slurp_file($node->logfile), qr/^\Q$forged\E/m, 'no line of the log is forged');
unlike(slurp_file($node->logfile), qr/[\x01-\x08\x0B-\x1F\x7F]/, 'the log has no control characters');

done_testing();
