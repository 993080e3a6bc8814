# Many more databases than worker processes: they take turns, every one's
# requests arrive, and the log says once what to raise.
#
# TEST_DATABASES says how many; there is room for some five workers.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $databases = $ENV{TEST_DATABASES} // 25;
my $node = new_cluster('main', settings => "max_worker_processes = 8\nfsync = off");
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);

$node->safe_psql('postgres', 'CREATE DATABASE base');
$node->safe_psql('base', "CREATE EXTENSION temporal_complete; CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port')");
$node->safe_psql('postgres', 'ALTER DATABASE base IS_TEMPLATE true ALLOW_CONNECTIONS false');
$node->safe_psql('postgres', "CREATE DATABASE db$_ TEMPLATE base STRATEGY file_copy") foreach (1 .. $databases);

# In each of them a few requests, again and again
my %waiting;
foreach my $round (1 .. 2)
{
	foreach my $db (1 .. $databases)
	{
		$waiting{"$db $round"} = $node->safe_psql("db$db",
			"SELECT max(temporal.complete_activity_by_id('w', 'a' || i)) FROM generate_series(1, 10) i");
	}
}
foreach my $turn (sort keys %waiting)
{
	my ($db) = split(/ /, $turn);

	await("request $waiting{$turn} of database $db",
		sub {
			$node->safe_psql("db$db", "SELECT state FROM temporal.wait_for_request($waiting{$turn}, '10 s')") eq 'delivered';
		});
}
my $delivered = 0;
$delivered += $node->safe_psql("db$_", q(SELECT count(*) FROM temporal.request WHERE state = 'delivered'))
  foreach (1 .. $databases);
is($delivered, 20 * $databases, "all requests of $databases databases are delivered");

my $warnings = () = slurp_file($node->logfile) =~ /WARNING:  out of background worker slots for temporal_complete\n.*DETAIL.*\n.*HINT:  Consider increasing max_worker_processes/g;
is($warnings, 1, 'the log says once what to raise');

done_testing();
