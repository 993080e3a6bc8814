# Under pg_upgrade nothing of ours runs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = new_cluster('main');
$node->start;
install_extension($node, 'postgres');
wait_for_worker($node, 'postgres');
my $id = $node->safe_psql('postgres', complete_something());
$node->stop;

# as pg_upgrade starts the clusters
my @pg_ctl = ('pg_ctl', '--wait', '-D', $node->data_dir, '-l', $node->logfile);
system_or_bail(@pg_ctl, '-o', '-b', 'start');
is( $node->safe_psql(
		'postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'temporal_complete'"
	),
	'0',
	'nothing runs');
is($node->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE id = $id"),
	'1', 'requests can be looked at');
system_or_bail(@pg_ctl, 'stop');

$node->start;
ok(was_tried($node, 'postgres', $id), 'afterwards they are carried on');
$node->stop('fast');
done_testing();
