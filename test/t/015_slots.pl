# Fewer worker processes than databases.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

# The launcher and one worker
my $node = new_cluster('main', <<'EOC');
max_worker_processes = 2
max_logical_replication_workers = 0
EOC
$node->start;

# Databases without the extension need no turn
$node->safe_psql('postgres', "CREATE DATABASE empty$_") for (1 .. 12);
$node->safe_psql('postgres', "CREATE DATABASE busy$_") for (1 .. 3);
install_extension($node, map { "busy$_" } (1 .. 3));
my $offset = -s $node->logfile;
$node->restart;

# All three have requests that wait, so none of them is ever done
my %id = map {
	my $db = "busy$_";
	($db => $node->safe_psql($db, complete_something()));
} (1 .. 3);
ok(was_tried($node, $_, $id{$_}), "$_ has its turn") for sort keys %id;
ok( wait_for_log_line(
		$node, qr/WARNING:  out of background worker slots for temporal_complete/, $offset),
	'a warning says that there are too few');
like(
	substr(slurp_file($node->logfile), $offset),
	qr/HINT:  Consider increasing max_worker_processes/,
	'and what to do');

# again and again
for my $db (sort keys %id)
{
	my $new = $node->safe_psql($db, complete_something());
	ok(was_tried($node, $db, $new), "$db has its turn again");
}
my $warnings = () = substr(slurp_file($node->logfile), $offset) =~ /out of background/g;
is($warnings, 1, 'there is one warning');

# Enough of them
$offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "max_worker_processes = 10\n");
$node->restart;
ok(wait_for_worker($node, $_), "$_ has a worker of its own") for sort keys %id;
wait_until_looked_at($node);
unlike(substr(slurp_file($node->logfile), $offset),
	qr/out of background/, 'with enough of them there is no warning');

# None at all
$node->append_conf('postgresql.conf', "max_worker_processes = 1\n");
$offset = -s $node->logfile;
$node->restart;
ok( wait_for_log_line(
		$node, qr/WARNING:  out of background worker slots for temporal_complete/, $offset),
	'no place at all: a warning');
my $id = $node->safe_psql('busy1', complete_something());
is($node->safe_psql('busy1', "SELECT count(*) FROM temporal.request WHERE id = $id"),
	'1', 'no place at all: requests are recorded and wait');

$node->stop('fast');
done_testing();
