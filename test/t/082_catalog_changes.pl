# An ordinary role has very many queues that look at options and rights again
# when catalogs change, and changes these all the time: others' requests do not
# wait for that.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $many = 300;
my $at_once = 64;

my $node = new_cluster('main', settings => 'temporal_complete.safety_poll_interval = 1h');
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);

$node->safe_psql('postgres', <<"EOS");
CREATE ROLE mallory LOGIN;
CREATE ROLE alice LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO mallory;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
GRANT USAGE ON FOREIGN SERVER temporal TO alice;
EOS

sub sql
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

# A token: the double knows no workflows.
sub is_delivered
{
	my ($what) = @_;
	my $id = sql('alice', q(SELECT temporal.complete_activity('\x0a0464656661120177a2060161'::bytea, '1')));

	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM temporal_internal.outbox WHERE id = $id");
	return is(sql('alice', "SELECT state FROM temporal.request WHERE id = $id"), 'delivered', $what);
}

# Each look at a queue that cannot send is noted, those of a turn in one transaction.
sub looks
{
	my ($condition) = @_;

	return $node->safe_psql('postgres', "SELECT count(*) FROM temporal_internal.queue_error WHERE $condition");
}

sub await_looks
{
	my ($what, $condition) = @_;

	await($what, sub { looks($condition) == $many });
	cmp_ok($node->safe_psql('postgres', 'SELECT max(n) FROM (SELECT count(*) FROM temporal_internal.queue_error GROUP BY xmin::text) AS t (n)'),
		'<=', $at_once, "$what: a part of them in a turn");
	return;
}

# Some time after which all of them look again
sub remember
{
	$node->safe_psql('postgres', 'DROP TABLE IF EXISTS before; CREATE TABLE before AS SELECT queue, next_attempt_at FROM temporal_internal.queue_error');
	return 'next_attempt_at > (SELECT b.next_attempt_at FROM before b WHERE b.queue = queue_error.queue)';
}

is_delivered('the first request');
sql('mallory', <<"EOS");
SET client_min_messages = error;
DO \$\$
BEGIN
    FOR i IN 1 .. $many LOOP
        EXECUTE format('CREATE SERVER his_%s FOREIGN DATA WRAPPER temporal_complete', i);
        PERFORM temporal.complete_activity_by_id('w', 'a', server => 'his_' || i);
        EXECUTE format('DROP SERVER his_%s', i);
    END LOOP;
END \$\$;
CREATE SERVER his FOREIGN DATA WRAPPER temporal_complete;
EOS
await_looks('those that are new', 'true');

my $again = remember();
sql('mallory', q(ALTER SERVER his OPTIONS (ADD namespace 'x'); CREATE USER MAPPING FOR mallory SERVER his; DROP SERVER his CASCADE));
is_delivered('a request after servers and user mappings were changed');
is(looks($again), 0, 'for which no queue of another server looks again');

sql('mallory', q(ALTER ROLE mallory PASSWORD 'x'));
is_delivered('a request after a role was changed');
await_looks('those that may be concerned', $again);

my $worker = await_worker($node, 'postgres');
$again = remember();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
await_worker($node, 'postgres', $worker);
is_delivered('a request to the next worker');
await_looks('those that it finds', $again);

$node->stop('fast');
done_testing();
