# temporal_complete.enabled

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = new_cluster('main', "max_worker_processes = 20\n");
$node->start;

$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('postgres', 'CREATE DATABASE two');
install_extension($node, 'one', 'two');
wait_for_worker($node, $_) for qw(one two);

my $offset = -s $node->logfile;
$node->safe_psql('postgres', 'ALTER SYSTEM SET temporal_complete.enabled = off');
$node->reload;
ok(wait_for_no_worker($node, $_), "off: the worker of $_ leaves") for qw(one two);

# Neither requests nor a new extension start one; the launcher has dealt with
# them before it answers a restart
my $id = $node->safe_psql('one', complete_something());
$node->safe_psql('postgres', 'CREATE DATABASE three');
install_extension($node, 'three');
is( $node->safe_psql(
		'postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'temporal_complete worker'"
	),
	'0',
	'off: no worker is started');
is($node->safe_psql('one', "SELECT state FROM temporal.request WHERE id = $id"),
	'queued', 'off: requests are recorded and wait');
my ($rc, $stdout, $stderr) = $node->psql('one', 'SELECT temporal.ping()');
like($stderr, qr/temporal_complete\.enabled is off/, 'off: ping says so');

$node->safe_psql('postgres', 'ALTER SYSTEM RESET temporal_complete.enabled');
$node->reload;
ok(wait_for_worker($node, $_), "on: $_ has a worker") for qw(one two three);
ok(was_tried($node, 'one', $id), 'on: the request is carried on');

# Off from the start
$node->safe_psql('postgres', 'ALTER SYSTEM SET temporal_complete.enabled = off');
$node->restart;
like(launcher_pid($node), qr/^\d+$/, 'off at start: the launcher runs');
$id = $node->safe_psql('two', complete_something());
is( $node->safe_psql(
		'postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'temporal_complete worker'"
	),
	'0',
	'off at start: no worker');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET temporal_complete.enabled');
$node->reload;
ok(wait_for_worker($node, $_), "on: $_ has a worker") for qw(one two three);
ok(was_tried($node, 'two', $id), 'on: the request is carried on');

unlike(substr(slurp_file($node->logfile), $offset),
	qr/WARNING|PANIC/, 'nothing to complain about');

$node->stop('fast');
done_testing();
