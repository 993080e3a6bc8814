# What is looked up, and not answered, or with nothing in it: that ends, and
# never as if the answer had said something.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');

# A server that leaves it open what became of the first request; it answers as told after that
sub start_server
{
	my ($name, $options, @arguments) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();

	start_stub($port, '--status', '14', '--fail-first', '1', @arguments);
	$node->safe_psql('postgres',
		"CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', request_timeout '1s', retry_initial_interval '100ms'$options)");
	return;
}

sub outcome
{
	my ($server, $workflow) = @_;
	my $id = $node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('$workflow', 'a', server => '$server')");

	return $node->safe_psql('postgres',
		"SELECT state, error_code, error_message FROM temporal.wait_for_request($id, '60 s')");
}

start_server('silent', ", expire_after '4s'", '--hang-path', 'Describe');
like(outcome('silent', 'w'), qr/^unconfirmed\|EXPIRED\|the activity's state cannot be read/, 'a look that is never answered ends when the request expires');
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.rejected WHERE maybe_sent'), '1', 'which is kept whole');

start_server('empty', '');
like(outcome('empty', ''), qr/^unconfirmed\|NO_ANSWER\|/, 'an empty description of a standalone activity proves no end');

sub field
{
	my ($number, $bytes) = @_;

	die unless length($bytes) < 128 && $number < 16;
	return chr($number << 3 | 2) . chr(length($bytes)) . $bytes;
}

# That an activity was scheduled by a workflow, of which nothing else is said
my $time = field(2, "\x08" . "\x80\x94\xeb\xdc\x03");	# in 2001
my $history = field(1, field(1, "\x08\x05" . $time . "\x7a" . chr(3) . field(1, 'a'))
	  . field(1, "\x08\x01" . $time . "\x32\x00"));
start_server('half', '', '--reply', unpack('H*', $history));
like(outcome('half', 'w'), qr/^unconfirmed\|NO_ANSWER\|the workflow's description/, 'nor does one of a workflow that says nothing of it');

$node->stop;
done_testing();
