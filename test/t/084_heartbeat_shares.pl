# Of the heartbeats of each activity one outcome is kept, in a table that must
# stay small: a role that has them for very many activities, under long names or
# in many namespaces, takes no room that those of others need.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => "autovacuum = off\nfsync = off");
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

my @roles = qw(many few third);
sql("CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', namespaces '*')");
sql("CREATE ROLE $_; GRANT USAGE ON FOREIGN SERVER temporal TO $_") foreach @roles;

# Heartbeats for so many activities of that role, from one on, and their end
sub beat
{
	my ($role, $from, $to, $call) = @_;

	$call //= q(temporal.heartbeat_activity_by_id('w', i::text, server => 'temporal'));
	sql("SET ROLE $role; SELECT count($call) FROM generate_series($from, $to) i");
	await_finished($node, "requested_by = '$role'");
	return;
}

# How many activities of a role have a row there, and how many outcomes of its heartbeats are kept one by one
sub of_role
{
	my ($role, $table, $where) = @_;

	return sql("SELECT count(*) FROM temporal_internal.$table t JOIN temporal_internal.queue q ON q.number = t.queue"
		  . " WHERE q.requested_by_name = '$role'" . ($where // ''));
}
sub rows { return of_role($_[0], 'last_heartbeat'); }
sub one_by_one { return of_role($_[0], 'delivery', ' AND t.method IN (SELECT method FROM temporal_internal.last_heartbeat)'); }

# More than there is room for: long names, in several namespaces
my $long = q(temporal.heartbeat_activity_by_id(repeat('w', 200), i::text, server => 'temporal', namespace => 'n' || i % 20));
my $too_many = 7000;
beat('many', 1, $too_many, $long);
my $most = rows('many');
cmp_ok($most, '>', $too_many / 3, 'one role alone has most of the room');
is($most + one_by_one('many'), $too_many, 'and of further activities they are kept one by one');

# Others have theirs, and keep them
beat('few', 1, 100) foreach 1 .. 3;
is(rows('few') . '|' . one_by_one('few'), '100|0', 'those of another role have room');
is(sql(q(SELECT sum(earlier_heartbeats) FROM temporal.request WHERE requested_by = 'few')), '200', '... and are counted');

# One that wants as much gets nearly as much, from the first one as that goes on
await('as much room for a third one', sub {
	beat('third', 1, $too_many, $long);
	return 1 if rows('third') > 0.6 * rows('many');
	beat('many', 1, $too_many, $long);
	sql('VACUUM temporal_internal.last_heartbeat');
	return 0;
});
cmp_ok(rows('many'), '<', 0.8 * $most, 'the first one has given way');
cmp_ok(rows('many'), '>', $most / 3, '... but has its part');
beat('few', 1, 100);
is(rows('few') . '|' . one_by_one('few'), '100|0', 'the other one keeps its own');
cmp_ok(sql(q(SELECT pg_relation_size('temporal_internal.last_heartbeat') / 8192)), '<', 1024, 'the table stays small');

# After a restart it is known who has what
my @rows = map { rows($_) } @roles;
$node->restart;
beat('few', 101, 110);
is(rows('few'), $rows[1] + 10, 'there is room after a restart');
beat('many', $too_many + 1, $too_many + 1000, $long);
cmp_ok(rows('many'), '<=', $rows[0], '... not for who has much');

# Who has purged his outcomes has room again when VACUUM has been there
sql(q(SET ROLE many; SELECT temporal.purge('0')));
is(rows('many'), 0, 'purged');
sql('VACUUM temporal_internal.last_heartbeat');
await('room', sub { beat('many', 1, 1000, $long); return rows('many') > 900; });

# Activities that begin and end all the time leave theirs to VACUUM: until then it is their role's
my $end = q(temporal.complete_activity_by_id(repeat('w', 200), i::text, '1', server => 'temporal', namespace => 'n' || i % 20));
foreach my $round (1 .. 4)
{
	beat('many', 1, $too_many, $_) foreach $long, $end;
}
is(rows('many'), 0, 'all have ended');
beat('few', 1, 200);
is(rows('few'), 200, 'others keep theirs, and have room');
cmp_ok(sql(q(SELECT pg_relation_size('temporal_internal.last_heartbeat') / 8192)), '<', 1024, 'the table stays small');

# While a snapshot keeps what was replaced, who replaces very much gives way, and the table does not grow for all
sql('VACUUM temporal_internal.last_heartbeat');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
my $rounds = 0;
await('what replaces very much to leave', sub {
	beat('many', 1, 1000, $long);
	return ++$rounds > 20 && rows('many') < 100;
});
beat('few', 1, 200);
is(rows('few'), 200, 'others stay');
cmp_ok(sql(q(SELECT pg_relation_size('temporal_internal.last_heartbeat') / 8192)), '<', 1024, '... and the table stays small');
$holder->query_safe('COMMIT');
$holder->quit;

done_testing();
