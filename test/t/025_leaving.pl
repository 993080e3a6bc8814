# DROP EXTENSION, DROP DATABASE and a fast shutdown end although Temporal does
# not answer, in whichever way it does not.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket qw(SOCK_STREAM inet_aton pack_sockaddr_in);
use TemporalTest;
use Test::More;
use Time::HiRes qw(time);

my $node = new_cluster('main', settings => 'max_worker_processes = 40');

# A real server that is suspended while requests are in flight
my $temporal = start_temporal('suspended');

# One that takes requests and never answers
my $hanging_port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($hanging_port, '--hang');

# One that takes connections and never says anything
my $silent_port = PostgreSQL::Test::Cluster::get_free_port();
my $silent = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', LocalPort => $silent_port)
  or die "could not listen: $!";

# One whose packets are lost: the queue of connections is full, so that the
# kernel drops all that asks for more.
my $lost_port = PostgreSQL::Test::Cluster::get_free_port();
my $lost = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => $lost_port)
  or die "could not listen: $!";
my @fillers;
foreach (1 .. 8)
{
	socket(my $filler, Socket::AF_INET, SOCK_STREAM, 0) or die "socket: $!";
	$filler->blocking(0);
	connect($filler, pack_sockaddr_in($lost_port, inet_aton('127.0.0.1')));
	push @fillers, $filler;
}

# Connections to a port that are in a state of the kernel's table
sub connections
{
	my ($port, $state) = @_;
	my $wanted = sprintf(':%04X %s', $port, $state);

	return scalar(grep { / [0-9A-F]+:[0-9A-F]+ [0-9A-F]+\Q$wanted\E / }
		  split(/\n/, slurp_file('/proc/net/tcp')));
}

sub in_flight
{
	my ($database) = @_;

	return $node->safe_psql($database, 'SELECT count(*) FROM temporal_internal.in_flight_requests()') > 0;
}

my $syn_sent = '02';
my $established = '01';
my %silence = (
	suspended => { server => $temporal->foreign_server, reached => \&in_flight },
	hanging => { server => "address '127.0.0.1:$hanging_port'", reached => \&in_flight },
	silent => {
		server => "address '127.0.0.1:$silent_port'",
		reached => sub { connections($silent_port, $established) > 0 }
	},
	lost => {
		server => "address '127.0.0.1:$lost_port'",
		reached => sub { connections($lost_port, $syn_sent) > scalar(@fillers) - 2 }
	},
);


sub make_database
{
	my ($database, $kind) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, <<EOS);
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS ($silence{$kind}{server}, request_timeout '10min', connect_timeout '10min');
EOS
	return;
}

sub make_requests
{
	my ($database, $kind) = @_;

	$node->safe_psql($database,
		q(SELECT count(temporal.complete_activity_by_id('w', i::text)) FROM generate_series(1, 50) i));
	await("$database to send", sub { $silence{$kind}{reached}->($database) });
	return;
}

my @kinds = sort keys %silence;
foreach my $kind (@kinds)
{
	foreach my $what (qw(extension database shutdown))
	{
		make_database("${kind}_$what", $kind);
		next unless $kind eq 'suspended';
		# ... by which it has a connection
		$node->safe_psql("${kind}_$what",
			q(SELECT temporal.complete_activity_by_id('w', 'first') AS id \gset
			  SELECT temporal.wait_for_request(:id)));
	}
}
$temporal->suspend;
foreach my $kind (@kinds)
{
	make_requests("${kind}_$_", $kind) foreach qw(extension database shutdown);
}

foreach my $kind (@kinds)
{
	my $start = time();

	$node->safe_psql("${kind}_extension", 'DROP EXTENSION temporal_complete CASCADE');
	pass(sprintf('%s: DROP EXTENSION (%.1f s)', $kind, time() - $start));
	await('the worker to leave', sub { worker_pid($node, "${kind}_extension") eq '' });

	# It can come back
	$node->safe_psql("${kind}_extension", 'CREATE EXTENSION temporal_complete');
	isnt(await_worker($node, "${kind}_extension"), '', "$kind: CREATE EXTENSION brings a worker again");

	$start = time();
	$node->safe_psql('postgres', "DROP DATABASE ${kind}_database");
	pass(sprintf('%s: DROP DATABASE (%.1f s)', $kind, time() - $start));

	isnt(worker_pid($node, "${kind}_shutdown"), '', "$kind: a worker still waits for an answer");
	is($node->safe_psql("${kind}_shutdown", 'SELECT count(*) FROM temporal_internal.outbox'), '50',
		"$kind: and there is none");
}

my $start = time();
$node->stop('fast');
pass(sprintf('fast shutdown (%.1f s)', time() - $start));
$temporal->resume;

# At a shutdown the launcher tells a worker, and so does the postmaster, also
# while it exits
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $restarted = new_cluster('restarted', settings => 'fsync = off');

start_stub($port);
$restarted->safe_psql('postgres', "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port')");
for my $i (1 .. 30)
{
	$restarted->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('w', 'a')");
	await_worker($restarted, 'postgres') if $i % 2;
	$restarted->restart;
}
unlike(slurp_file($restarted->logfile), qr/terminated by signal/, 'restarts: no worker crashes');

done_testing();
