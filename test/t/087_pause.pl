# pause() and resume(): nothing that is paused arrives, across a crash, a
# restart and a promotion; all of it arrives once it is resumed.  Who may what
# is in sql/11_pause.sql.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $stub = start_stub($port);
my $stub_log = "$PostgreSQL::Test::Utils::log_path/087_pause_stub_$port.log";
my $node = new_cluster('main', init => { allows_streaming => 1 }, settings => 'fsync = off');
my $app = $node->connstr('postgres') . ' user=app';

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub app { my ($sql) = @_; return $node->safe_psql('postgres', $sql, connstr => $app); }
sub outcome { my ($id) = @_; return sql("SELECT state FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"); }

# By token: the stub knows no workflows, in which others would be looked up.  One activity: they are in order.
my $token = q(decode('CiQ2YzFhMGY3ZS0yYjNkLTRjNWUtOGY5MC1hMWIyYzNkNGU1ZjYSCG9yZGVyLTQyGiQwMTk4YzBkZS0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDEgBSgBMgE1QgpDaGFyZ2VDYXJkSggIARCLgEAYAQ==', 'base64'));
sub request { my ($namespace) = @_; return app("SELECT temporal.complete_activity($token, namespace => $namespace)"); }
sub told { my ($where) = @_; return sql("SELECT string_agg(DISTINCT state || ' ' || coalesce(error_code, ''), ',') FROM temporal.request WHERE $where"); }

# Calls that the stub has seen
sub arrived
{
	my $before = -s $stub_log;

	kill('USR1', $stub);
	await('the counts of the stub', sub { -s $stub_log > $before });
	my ($last) = slurp_file($stub_log, $before) =~ /"requests": (\d+)/;
	return $last;
}

sql(<<"EOS");
CREATE ROLE app LOGIN;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', namespace 'shop', namespaces 'free');
GRANT USAGE ON FOREIGN SERVER temporal TO app;
EOS
is(outcome(request('NULL')), 'delivered', 'a request');
is(outcome(request(q('free'))), 'delivered', 'and one of another namespace');

# What is rolled back, and what another role pauses for itself, is nothing
app('BEGIN; SELECT temporal.pause(); ROLLBACK');
app('BEGIN; SAVEPOINT s; SELECT temporal.pause(); ROLLBACK TO s; COMMIT');
sql(q(CREATE ROLE other; GRANT USAGE ON FOREIGN SERVER temporal TO other; SET ROLE other; SELECT temporal.pause()));
is(outcome(request('NULL')), 'delivered', 'a pause that was rolled back, or is of another role, is none');

# Paused: by the namespace into which they go, whether they name it or not
app(q(SELECT temporal.pause('temporal', 'shop')));
my $before = arrived();
my @paused = map { (request('NULL'), request(q('shop'))) } 1 .. 3;
is(outcome(request(q('free'))), 'delivered', 'what is not paused is delivered');
my $paused = 'id IN (' . join(', ', @paused) . ')';
await('the state', sub { told($paused) eq 'queued PAUSED' });
is(arrived(), $before + 1, 'and nothing else has arrived');
is(sql("SELECT count(*) FROM temporal.request WHERE $paused AND attempts = 0 AND next_attempt_at IS NULL AND error_message = 'paused by app'"), '6', 'no attempt was made, and none is planned');
is(sql(q(SELECT check_name || ' ' || status FROM temporal.health() WHERE status <> 'ok' AND detail LIKE '%role app%')), 'paused warning', 'health() says that, and no more');
await('the statistics', sub { sql(q(SELECT count(*) FROM temporal.stat_server WHERE namespace = 'shop' AND error_code = 'PAUSED' AND error_since IS NOT NULL AND backlog = 6 AND retries = 0 AND last_error_time IS NULL)) eq '1' });
await('the state of the worker', sub { sql(q(SELECT query FROM pg_stat_activity WHERE backend_type LIKE 'temporal_complete worker%')) eq 'paused' });
unlike(slurp_file($node->logfile), qr/PAUSED/, 'the log does not take it for a failure');

# Also for the next worker, for the next server, and for the one that takes its place
kill('KILL', worker_pid($node));
# psql that is not let in may be gone before it has read the statement
await('the server to be back', sub { eval { ($node->psql('postgres', 'SELECT 1'))[0] == 0 } });
await_worker($node, 'postgres');
is(outcome(request(q('free'))), 'delivered', 'after a crash: what is not paused is delivered');
is(told($paused), 'queued PAUSED', 'the others are paused');
$node->restart;
is(outcome(request(q('free'))), 'delivered', 'after a restart: what is not paused is delivered');
await('the state', sub { told($paused) eq 'queued PAUSED' });
is(arrived(), $before + 3, 'and nothing else has arrived');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
my (undef, undef, $error) = $standby->psql('postgres', 'SELECT temporal.resume()');
like($error, qr/cannot execute resume\(\) during recovery/, 'a standby is no place to resume');
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
$node = $standby;
$app = $node->connstr('postgres') . ' user=app';
is(outcome(request(q('free'))), 'delivered', 'after a promotion: what is not paused is delivered');
await('the state', sub { told($paused) eq 'queued PAUSED' });

# Another pause of the same holds on; the last one that ends lets all go, in order
sql(q(SELECT temporal.pause('temporal')));
await('the pause of all', sub { told($paused) eq 'queued PAUSED' && sql("SELECT error_message LIKE 'paused by %' AND error_message <> 'paused by app' FROM temporal.request WHERE id = $paused[0]") eq 't' });
is(app('SELECT temporal.resume()'), 't', 'the role resumes');
my $free = request(q('free'));
await('the other namespace to be paused', sub { told("id = $free") eq 'queued PAUSED' });
is(told($paused), 'queued PAUSED', 'and what an operator has paused stays so');
is(arrived(), $before + 4, 'nothing has arrived');
sql("BEGIN; SELECT temporal.resume('temporal'); PREPARE TRANSACTION 'p'");
is(told("id = $free"), 'queued PAUSED', 'a resumption that is prepared is none');
sql("COMMIT PREPARED 'p'");
is(outcome($paused[-1]), 'delivered', 'resumed');
is(outcome($free), 'delivered', 'also there');
is(sql("SELECT string_agg(id::text, ',' ORDER BY finished_at, id) FROM temporal.request WHERE $paused AND state = 'delivered' AND attempts = 1"), join(',', @paused), 'each once, in the order in which they were made');
is(arrived(), $before + 4 + @paused + 1, 'so many calls arrived');

# By an operator, for the role; and nothing is left of it
sql(q(SELECT temporal.pause('temporal', requested_by => 'app'); SELECT temporal.resume('temporal', requested_by => 'app')));
is(outcome(request('NULL')), 'delivered', 'paused and resumed at once');
is(sql('SELECT string_agg(requested_by, \',\') FROM temporal.pause'), 'other', 'what is left');
await('no error to be left', sub { sql('SELECT count(*) FROM temporal_internal.queue_error') eq '0' });

done_testing();
