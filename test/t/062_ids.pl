# Ids of requests: drawing one leaves lastval() and currval() of the session
# alone, and none is given twice, whatever crashes.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', init => { allows_streaming => 1 }, settings => <<'EOC');
temporal_complete.enabled = off
restart_after_crash = off
EOC

$node->safe_psql('postgres', <<'EOS');
CREATE ROLE one LOGIN;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
GRANT USAGE ON FOREIGN SERVER temporal TO one;
GRANT CREATE ON SCHEMA public TO one;
EOS

sub one { return $node->safe_psql('postgres', $_[0], extra_params => [ '-U', 'one' ]); }
my $draw = "SELECT temporal.complete_activity_by_id('w', 'a')";

# An application's key, and a trigger that makes a request
is(one(<<'EOS'), "42|42", 'lastval() and currval() stay those of the application');
CREATE TABLE orders (id bigserial PRIMARY KEY, note text);
SELECT setval('orders_id_seq', 41) \g /dev/null
CREATE FUNCTION finish() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM temporal.complete_activity_by_id('order-' || NEW.id, 'approve'); RETURN NEW; END $$;
CREATE TRIGGER finish AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION finish();
INSERT INTO orders (note) VALUES ('x');
SELECT lastval(), currval('orders_id_seq');
EOS
my ($rc, $stdout, $stderr) = $node->psql('postgres', "$draw; SELECT lastval()", extra_params => [ '-U', 'one' ]);
like($stderr, qr/lastval is not yet defined in this session/, 'a session without one has none');
($rc, $stdout, $stderr) = $node->psql('postgres', "$draw; SELECT currval('temporal_internal.request_id')", extra_params => [ '-U', 'one' ]);
like($stderr, qr/permission denied|not yet defined/, 'nor currval()');

sub last_id { return $node->safe_psql('postgres', 'SELECT max(id) FROM temporal_internal.outbox'); }
sub draw { return one($draw); }

sub kill_all
{
	$node->stop('immediate');
	$node->start;
	return;
}

# Beside nextval(), setval() and ALTER SEQUENCE of the owner
my $before = draw();
is($node->safe_psql('postgres', "SELECT nextval('temporal_internal.request_id')"), $before + 1, 'nextval() goes on');
is(draw(), $before + 2, 'and we after it');
$node->safe_psql('postgres', "SELECT setval('temporal_internal.request_id', 1000, false)");
is(draw(), 1000, 'setval(), not called');
is(draw(), 1001, 'and on');
$node->safe_psql('postgres', 'ALTER SEQUENCE temporal_internal.request_id RESTART 2000');
is(draw(), 2000, 'ALTER SEQUENCE RESTART');
is(one("BEGIN; $draw; ROLLBACK; $draw"), "2001\n2002", 'an id that was rolled back does not come again');
is(one("BEGIN; SAVEPOINT s; $draw; ROLLBACK TO s; $draw; COMMIT"), "2003\n2004", 'nor one of a savepoint');

# Crashes: after every number of ids since the last record, and since a checkpoint
my $last = draw();
my $twice = 0;
foreach my $count (0, 1, 32, 33, 65)
{
	foreach my $checkpoint (0, 1)
	{
		$node->safe_psql('postgres', 'CHECKPOINT') if $checkpoint;
		$last = one("$draw FROM generate_series(1, $count)" =~ s/SELECT (.*) FROM/SELECT max(x) FROM (SELECT $1 AS x FROM/r . ') s') if $count > 0;
		$node->safe_psql('postgres', 'CHECKPOINT') if $checkpoint && $count == 33;
		kill_all();
		my $next = draw();
		$twice++ if $next <= $last;
		$last = $next;
	}
}
is($twice, 0, 'after a crash no id comes again');

# Many sessions at once, and the postmaster killed among them
$node->safe_psql('postgres', 'CREATE TABLE told (id bigint PRIMARY KEY, pid int); GRANT ALL ON told TO one');
foreach my $round (1 .. 3)
{
	my @sessions = map {
		IPC::Run::start([ 'psql', '-XAtq', '-U', 'one', '-d', $node->connstr('postgres'), '-c',
			"DO \$\$ BEGIN FOR i IN 1 .. 1000000 LOOP INSERT INTO told SELECT temporal.complete_activity_by_id('w', 'a'), pg_backend_pid(); COMMIT; END LOOP; END \$\$" ],
			'<', \undef, '>', \my $out, '2>', \my $err);
	} 1 .. 4;
	my $seen = $node->safe_psql('postgres', 'SELECT count(*) FROM told');

	$node->poll_query_until('postgres', "SELECT count(*) > $seen + 2000 FROM told") or die;
	my @pids = split(/\n/, $node->safe_psql('postgres',
		"SELECT substring(pg_read_file('postmaster.pid') FROM '^\\d+') UNION ALL SELECT pid::text FROM pg_stat_activity WHERE pid <> pg_backend_pid()"));
	kill('KILL', $_) foreach @pids;
	await('the processes of the server to be gone', sub { !grep { kill(0, $_) } @pids });
	eval { $_->finish } foreach @sessions;
	$node->{_pid} = undef;
	await('the server to start', sub { $node->start(fail_ok => 1) });
	$last = $node->safe_psql('postgres', 'SELECT max(id) FROM told');
	cmp_ok(draw(), '>', $last, "round $round: the next id is a new one");
}
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT o.id) FROM told JOIN temporal_internal.outbox o USING (id)'), '0', 'no id twice');
is($node->safe_psql('postgres', 'SELECT count(*) FROM told t FULL JOIN temporal_internal.outbox o USING (id) WHERE t.id > 3000 AND o.id IS NULL'), '0',
	'what was told is there');
is($node->safe_psql('postgres', <<'EOS'), '0', 'ids of a session go up');
SELECT count(*) FROM (SELECT id, lag(id) OVER (PARTITION BY pid ORDER BY o.xid) AS former FROM told JOIN temporal_internal.outbox o USING (id)) s WHERE former >= id
EOS

# A standby that is promoted goes on where the primary was
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$last = one("SELECT max(x) FROM (SELECT temporal.complete_activity_by_id('w', 'a') AS x FROM generate_series(1, 100)) s");
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
cmp_ok($standby->safe_psql('postgres', $draw), '>', $last, 'a standby that is promoted gives new ids');

done_testing();
