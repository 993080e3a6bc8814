# Nothing is sent before its commit is durable, whatever synchronous_commit is.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

# Nobody else writes WAL out in the meantime.
my $node = new_cluster('main', settings => <<'EOC');
synchronous_commit = off
wal_writer_delay = 10s
wal_writer_flush_after = 0
autovacuum = off
bgwriter_delay = 10s
wal_buffers = 16MB
EOC
my $temporal = start_temporal('main');
my $closed = '127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ")");
start_activities($temporal, $node, 'durable', 1, 20);
$node->safe_psql('postgres', 'CREATE TABLE own (id bigint); CHECKPOINT');

# The server is lost as soon as a request has arrived.
my $unknown = 0;
my ($round, $lost) = (0, 0);
while ($round < 5 || ($lost == 0 && $round < 20))
{
	$round++;

	my $session = $node->background_psql('postgres');
	my $id = $session->query_safe(
		"SELECT temporal.complete_activity(task_token, '\"durable\"') FROM pending_activity WHERE activity_id = '$round'");

	await('the request to arrive', sub { my %arrivals = $temporal->arrivals; $arrivals{$id} });
	# ... and what was committed after that is not durable
	my $walwriter = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
	stop_idle($walwriter);
	$session->query_safe("INSERT INTO own VALUES ($round)");
	kill('KILL', $walwriter);
	$node->stop('immediate');
	eval { $session->quit };
	$node->start;
	$unknown++ if $node->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE id = $id") ne '1';
	# somebody may have flushed the WAL since
	$lost++ if $node->safe_psql('postgres', "SELECT count(*) FROM own WHERE id = $round") eq '0';
}
is($unknown, 0, 'what has arrived at Temporal is known after a crash');
cmp_ok($lost, '>', 0, 'although commits are lost by these crashes');
await_finished($node);
is(states($node), 'delivered|5', 'and is delivered');

# The same where the transaction that has read the request ends with an error,
# because a row of another queue, which is looked at before it or read after
# it, is on a page that is damaged.
damaged_page('before it', 6, 0);
damaged_page('after it', 7, 63);
done_testing();

sub damaged_page
{
	my ($when, $activity, $row) = @_;

	$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
	$node->reload;
	await('the worker to leave', sub { worker_pid($node) eq '' });
	# nothing is left on that page of requests that are gone
	$node->safe_psql('postgres', 'DELETE FROM temporal_internal.outbox');
	$node->safe_psql('postgres', 'VACUUM temporal_internal.outbox');
	for (my $i = 0;; $i++)
	{
		my $server = "damaged_${activity}_$i";

		$node->safe_psql('postgres', <<"EOS");
CREATE SERVER $server FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '$closed');
DELETE FROM temporal_internal.outbox;
SELECT count(temporal.complete_activity_by_id('w', 'a', server => '$server')) FROM generate_series(1, 200);
EOS
		last if $node->safe_psql('postgres', <<"EOS") eq 't';
SELECT d.number > ALL (SELECT number FROM temporal_internal.queue t WHERE t.server_name = 'temporal')
  FROM temporal_internal.queue d WHERE d.server_name = '$server'
EOS
	}
	my $file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('temporal_internal.outbox')");
	my $block = $node->safe_psql('postgres', "SELECT (ctid::text::point)[0] FROM temporal_internal.outbox ORDER BY id OFFSET $row LIMIT 1") * 8192;
	cmp_ok($node->safe_psql('postgres', "SELECT pg_relation_size('temporal_internal.outbox')"), '>', $block + 8192, 'there are other pages');
	$node->stop;
	my $page = overwrite($file, $block, "\x7F" x 8192);
	$node->start;
	my $session = $node->background_psql('postgres');
	my $id = $session->query_safe(
		"SELECT temporal.complete_activity(task_token, '\"durable\"') FROM pending_activity WHERE activity_id = '$activity'");
	# only the worker can make it durable now
	my $walwriter = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
	stop_idle($walwriter);
	my $offset = -s $node->logfile;
	$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
	$node->reload;
	await('the request to arrive', sub { my %arrivals = $temporal->arrivals; $arrivals{$id} });
	unlike(substr(slurp_file($node->logfile), $offset), qr/crashed|terminated by signal/, 'the worker goes on after the error');
	kill('KILL', $walwriter);
	eval { $session->quit };
	await('a restart', sub { substr(slurp_file($node->logfile), $offset) =~ /redo .*ready to accept connections/s });
	$node->stop;
	like(substr(slurp_file($node->logfile), $offset), qr/ERROR:  invalid page in block/, "there was an error $when");
	overwrite($file, $block, $page);
	$node->start;
	is($node->safe_psql('postgres', "SELECT count(*) FROM temporal.request WHERE id = $id"),
		1, 'what has arrived at Temporal is known after an error and a crash');
}

# Stop the WAL writer while it holds no lock that others need.
sub stop_idle
{
	my ($walwriter) = @_;

	await('the WAL writer to be idle', sub {
		kill('STOP', $walwriter) or die "could not stop the WAL writer: $!";
		return 1 if $node->safe_psql('postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $walwriter") eq 'WalWriterMain';
		kill('CONT', $walwriter);
		return 0;
	});
}

# Overwrite a part of a file; what was there before.
sub overwrite
{
	my ($name, $position, $bytes) = @_;
	my $before;

	open(my $handle, '+<:raw', $name) or die "$name: $!";
	seek($handle, $position, 0);
	read($handle, $before, length($bytes)) == length($bytes) or die "$name: $!";
	seek($handle, $position, 0);
	print $handle ($bytes);
	close($handle) or die "$name: $!";
	return $before;
}
