# temporal_complete.notify: listeners hear of requests that somebody may have to
# see to, once that is recorded, and never stop the worker.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $temporal = start_temporal('main');
my $node = new_cluster('main', settings => "fsync = off\nwal_level = replica\nmax_wal_senders = 2");
my $listener = $node->background_psql('postgres', on_error_stop => 0);

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub setting { my ($name, $value) = @_; sql("ALTER SYSTEM SET $name = $value"); sql('SELECT pg_reload_conf()'); return; }

# A request that ends rejected
sub reject { return sql(q(SELECT temporal.complete_activity_by_key('nobody records it', wait_for_key => '10 ms'))); }
sub drained { return sql("SELECT temporal.drain('$PostgreSQL::Test::Utils::timeout_default s')"); }

# What was heard since the last time: the payloads
my $heard = '';
sub hear { $heard .= $listener->query('SELECT 1 AS nothing'); return; }
sub await_heard
{
	my ($pattern) = @_;

	await("a notification like $pattern", sub { hear(); $heard =~ $pattern });
	my @payloads = $heard =~ /notification "temporal_complete" with payload "(.*)" received/g;
	$heard = '';
	return @payloads;
}

sql(sprintf(q(CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (%s)), $temporal->foreign_server));
$listener->query('LISTEN temporal_complete');

# Off by default
my $unheard = reject();
is(drained(), 't', 'one is rejected');
setting('temporal_complete.notify', 'on');
my $rejected = reject();
is(drained(), 't', 'another one, with the setting on');
is(join(' ', await_heard(qr/rejected/)), qq({"rejected": [$rejected]}), 'is told of, and nothing else');

# What a heartbeat was answered
start_activities($temporal, $node, 'asked', 1, 1, '-options', '{"wait_for_cancellation": true}');
$temporal->run('cancel', 'asked-0');
await('the request to cancel to be seen',
	sub { sql(q(SELECT temporal.heartbeat_activity(task_token) FROM pending_activity)); drained();
		sql(q(SELECT count(*) FROM temporal.request WHERE cancel_requested)) > 0 });
my ($asked) = await_heard(qr/cancel_requested/);
my $beat = sql('SELECT min(id) FROM temporal.request WHERE cancel_requested');
is($asked, qq({"cancel_requested": [$beat]}), 'an activity that is asked to end');

# Many at once are told of together, as far as there is room
sql(q(SELECT count(temporal.complete_activity_by_key('nobody', wait_for_key => '10 ms')) FROM generate_series(1, 1000)));
is(drained(), 't', 'many');
my $last = sql('SELECT max(id) FROM temporal.request');
my @many = await_heard(qr/\b$last\b|"more": true/);
cmp_ok(scalar(@many), '<', 100, 'are told of together');
is(scalar(grep { length($_) >= 8000 } @many), 0, 'in no more than fits');

# Nobody's commit stops the worker: this one has the lock of notifications, and waits for a standby.
setting('synchronous_standby_names', 'nobody');
my $stuck = $node->background_psql('postgres', on_error_stop => 0);
$stuck->query_until(qr/going/, "\\echo going\nSET synchronous_commit = on; BEGIN; CREATE TABLE made (i int); NOTIFY something; COMMIT;\n");
await('a commit that waits', sub { sql(q(SET synchronous_commit = local; SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep')) > 0 });
$node->append_conf('postgresql.conf', 'synchronous_commit = local');
$node->reload;
$rejected = sql(q(SET synchronous_commit = local; SELECT temporal.complete_activity_by_key('nor this', wait_for_key => '10 ms')));
is(sql("SET synchronous_commit = local; SELECT state FROM temporal.wait_for_request($rejected)"), 'rejected', 'the worker goes on');
setting('synchronous_standby_names', q(''));
is((await_heard(qr/rejected/))[-1], qq({"rejected": [$rejected]}), 'and tells when it can');
$stuck->quit;

$listener->quit;
done_testing();
