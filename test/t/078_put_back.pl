# Requests that come back where they were made, from a dump or a copy that
# was taken before they were sent: what is known of their queues is true, and
# what was sent by ids since is not sent again without a look.  The stub knows
# no workflows, so what is looked up ends unconfirmed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $path = scratch('put_back');
start_stub($port);

$node->safe_psql('postgres', <<"EOS");
CREATE ROLE app;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', request_timeout '1s');
GRANT USAGE ON FOREIGN SERVER temporal TO app;
EOS

sub send_to
{
	my ($on) = @_;

	$node->append_conf('postgresql.conf', "temporal_complete.enabled = $on");
	$node->reload;
	if ($on eq 'on')
	{
		await_finished($node);
	}
	else
	{
		await('the worker to leave', sub { worker_pid($node) eq '' });
	}
	return;
}

sub make
{
	my ($workflow) = @_;

	return $node->safe_psql('postgres', "SET ROLE app; SELECT temporal.complete_activity_by_id('$workflow', 'a')");
}

# What has left of a request, and what comes back
sub outcome { return $node->safe_psql('postgres', "SELECT state, error_code FROM temporal.wait_for_request($_[0], '180 s')"); }

# A dump, restored where it was made
send_to('off');
my $dumped = make('dumped');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$path.dump", '-d', $node->connstr('postgres') ], 'pg_dump');
send_to('on');
is(states($node), 'delivered|1', 'what was dumped is delivered after that');
$node->command_ok([ 'pg_restore', '--clean', '--if-exists', '--exit-on-error', '-d', $node->connstr('postgres'), "$path.dump" ],
	'pg_restore --clean');
is($node->safe_psql('postgres', q(SELECT temporal.rebind_server('temporal'))), '1', 'rebind_server()');
await_finished($node);
is(states($node), 'unconfirmed|1', 'it is not sent again without a look');


# Rows that somebody keeps and puts back by hand
my $kept;
sub put_back
{
	my ($table, $columns) = @_;

	$node->safe_psql('postgres', "COPY temporal_internal.$table ($columns) FROM '$path.$table'");
	# of transactions that it has read already: the worker looks at everything when it begins
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($_, 60000)") foreach worker_pid($node);
	await_worker($node);
	await_finished($node);
	return;
}
send_to('off');
$kept = make('kept');
$node->safe_psql('postgres', "COPY (SELECT * FROM temporal_internal.outbox WHERE id = $kept) TO '$path.outbox'");
my $columns = $node->safe_psql('postgres',
	"SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'temporal_internal.outbox'::regclass AND attnum > 0");
send_to('on');
is(outcome($kept), 'delivered|', 'a row that is kept is delivered');
$node->safe_psql('postgres', "DELETE FROM temporal_internal.delivery WHERE id = $kept");
put_back('outbox', $columns);
is(states($node, "id = $kept"), 'unconfirmed|1', 'and not sent again when it is put back');

# What was rejected, was retried then, and comes back as it was
$node->safe_psql('postgres', "SELECT temporal.discard_request($_)") foreach $dumped, $kept;
send_to('off');
my $refused = make('refused');
$node->safe_psql('postgres', <<"EOS");
WITH gone AS (DELETE FROM temporal_internal.outbox RETURNING *)
INSERT INTO temporal_internal.rejected SELECT * FROM (SELECT (gone).*, now() FROM gone) g;
UPDATE temporal_internal.rejected SET error_code = 'NOT_FOUND', written_by = temporal_internal.writing_transaction();
COPY temporal_internal.rejected TO '$path.rejected';
SELECT temporal.retry_request($refused);
EOS
send_to('on');
is(outcome($refused), 'delivered|', 'what was rejected, and is retried, is sent without a look');
$node->safe_psql('postgres', "DELETE FROM temporal_internal.delivery WHERE id = $refused");
put_back('rejected', "$columns, finished_at");
$node->safe_psql('postgres', "SELECT temporal.retry_request($refused)");
like(outcome($refused), qr/^unconfirmed/, 'but not if the row was put back');

$node->stop;
done_testing();
