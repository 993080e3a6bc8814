# What sessions ask Temporal: nothing that a server answers, or does not, and
# nobody who gives up again and again, takes the place of others.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Credentials;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');

# A foreign server, which all may use, with a stub behind it
sub start_server
{
	my ($name, @arguments) = @_;
	my ($port) = start_listening(@arguments);

	$node->safe_psql('postgres',
		"CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', request_timeout '1h', connect_timeout '2s');
		 GRANT USAGE ON FOREIGN SERVER $name TO PUBLIC");
	return;
}

$node->safe_psql('postgres', 'CREATE ROLE one LOGIN; CREATE ROLE other LOGIN');

# an answer that is none
start_server('empty');
my ($rc, $stdout, $stderr) = as($node, 'other', "SELECT * FROM temporal.pending_activities('w', server => 'empty')");
like($stderr, qr/^psql:<stdin>:1: ERROR:  the server's description cannot be read\nDETAIL:  It is not what Temporal sends\.$/m, 'an empty description');
($rc, $stdout, $stderr) = as($node, 'other', "SELECT * FROM temporal.describe_activity('a', server => 'empty')");
like($stderr, qr/ERROR:  the server's description cannot be read$/m, 'of a standalone activity');
start_server('broken', '--reply', '12ffffffff0f00');
($rc, $stdout, $stderr) = as($node, 'other', "SELECT * FROM temporal.pending_activities('w', server => 'broken')");
like($stderr, qr/ERROR:  the server's description cannot be read$/m, 'bytes that are no message');

# an activity with times and states that cannot be: shown without them
start_server('strange', '--reply', unpack('H*', "\x12\x00" . "\x1a\x16" . "\x0a\x02a\xff" . "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" . "\x4a\x05\x08\xff\xff\xff\x7f"));
($rc, $stdout, $stderr) = as($node, 'other',
	"SELECT activity_id, state IS NULL, scheduled_time IS NULL OR isfinite(scheduled_time), attempt FROM temporal.pending_activities('w', server => 'strange')");
is("$stdout$stderr", 'a?|t|t|0', 'what cannot be shown is not');

# a server that cannot be reached
$node->safe_psql('postgres', "CREATE SERVER away FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1'); GRANT USAGE ON FOREIGN SERVER away TO PUBLIC");
($rc, $stdout, $stderr) = as($node, 'other', "SELECT * FROM temporal.pending_activities('w', server => 'away')");
like($stderr, qr/ERROR:  server "away" could not be asked: CONNECTION_FAILED$/m, 'nobody listens');

# a role that gives up again and again on a server that never answers
start_server('silent', '--hang-path', 'Describe');
for my $i (1 .. 6)
{
	($rc, $stdout, $stderr) = as($node, 'one', "SET statement_timeout = '300ms'; SELECT * FROM temporal.pending_activities('w', server => 'silent')");
	like($stderr, qr/canceling statement due to statement timeout/, "given up, $i");
}
($rc, $stdout, $stderr) = as($node, 'one', "SET statement_timeout = '300ms'; SELECT * FROM temporal.pending_activities('w', server => 'empty')");
like($stderr, qr/statement timeout/, 'its own wait for these, elsewhere too');
($rc, $stdout, $stderr) = as($node, 'other', "SELECT * FROM temporal.pending_activities('w', server => 'empty')");
like($stderr, qr/description cannot be read/, 'those of another role do not');
($rc, $stdout, $stderr) = as($node, 'one', "SELECT server_version FROM temporal.ping('empty')");
is($rc, 0, 'nor does its own ping');

# requests go on meanwhile
my $id = $node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('w', 'a', server => 'empty')");
is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id, '60 s')"), 'delivered', 'nor do requests');

$node->stop;
done_testing();
