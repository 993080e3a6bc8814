# max_requests_per_second: requests wait for their turn, roles take turns, and
# nothing is refused.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
my $node = new_cluster('main', settings => 'fsync = off');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub drained { return sql("SELECT temporal.drain('$PostgreSQL::Test::Utils::timeout_default s')"); }

sql(<<"EOS");
CREATE ROLE many;
CREATE ROLE few;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', namespaces '*', max_requests_per_second '20');
GRANT USAGE ON FOREIGN SERVER temporal TO many, few;
EOS

# Of one role with many queues, and of another one, all at once
sql(<<'EOS');
CREATE TABLE begun AS SELECT clock_timestamp() AS at;
BEGIN;
SET ROLE many;
SELECT count(temporal.complete_activity_by_id('w', 'many-' || n, namespace => 'n' || n % 10)) FROM pg_catalog.generate_series(1, 60) n;
SELECT count(temporal.heartbeat_activity_by_id('w', 'beat-' || n, namespace => 'n' || n % 10)) FROM pg_catalog.generate_series(1, 20) n;
SET ROLE few;
SELECT count(temporal.complete_activity_by_id('w', 'few-' || n)) FROM pg_catalog.generate_series(1, 5) n;
COMMIT;
EOS
is(drained(), 't', 'all is sent');
is(sql(q(SELECT count(*) FILTER (WHERE state = 'delivered' AND attempts = 1) || ' of ' || count(*) FROM temporal.request)), '85 of 85', 'each once, and none is refused');
# 20 a second, and what may be sent at once: a tenth of that, and one
is(sql(q(SELECT bool_and(n - 3 <= 20 * extract(epoch FROM finished_at - at)) FROM (SELECT finished_at, row_number() OVER (ORDER BY finished_at) AS n FROM temporal.request) r, begun)), 't', 'not more than that in the time');
cmp_ok(sql(q(SELECT count(*) FROM temporal.request WHERE requested_by = 'many' AND finished_at < (SELECT max(finished_at) FROM temporal.request WHERE requested_by = 'few'))), '<=', 20, 'a role with few does not wait for one with many');

# Another limit counts at once
sql(q(ALTER SERVER temporal OPTIONS (SET max_requests_per_second '1')));
sql(q(SELECT count(temporal.complete_activity_by_id('w', 'last-' || n)) FROM pg_catalog.generate_series(1, 2000) n));
await('the first one', sub { sql(q(SELECT count(*) FROM temporal.request WHERE activity_id LIKE 'last-%' AND state = 'delivered')) > 0 });
await('the statistics', sub { sql('SELECT max_requests_per_second, rate_limited, backlog > 1000 FROM temporal.stat_server WHERE backlog > 0') eq '1|t|t' });
pass('the statistics say that they wait because of the limit');
is(sql('SELECT state, error_code FROM temporal.stat_backlog WHERE requests > 1000'), 'queued|', 'which is no error');
is(sql('SELECT DISTINCT namespaces FROM temporal.stat_server'), '*', 'they say which namespaces may be named, too');
sql(q(ALTER SERVER temporal OPTIONS (DROP max_requests_per_second)));
is(drained(), 't', 'without a limit all is sent');
is(sql(q(SELECT count(*) FROM temporal.request WHERE activity_id LIKE 'last-%' AND state = 'delivered')), '2000', 'all of it');
await('the statistics', sub { sql('SELECT count(*) FROM temporal.stat_server WHERE rate_limited OR backlog > 0') eq '0' });
is(sql('SELECT DISTINCT max_requests_per_second FROM temporal.stat_server WHERE requests > 2000'), '', 'and that there is none any more');

done_testing();
