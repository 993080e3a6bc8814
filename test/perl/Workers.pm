# Clusters with the extension and without Temporal, and a look at the workers.

package Workers;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_cluster worker_pid launcher_pid wait_for_worker
  wait_for_no_worker wait_until_looked_at wait_for_log_line install_extension
  complete_something was_tried);

my $workers =
  "pg_stat_activity WHERE backend_type = 'temporal_complete worker'";

# A cluster with the library loaded (but not started); more settings may follow.
sub new_cluster
{
	my ($name, $conf, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%init);
	# what is tested is never covered by the slow look around
	$node->append_conf('postgresql.conf', <<"EOC");
shared_preload_libraries = 'temporal_complete'
temporal_complete.safety_poll_interval = 1d
temporal_complete.max_workers = 40
log_min_messages = info
EOC
	$node->append_conf('postgresql.conf', $conf) if defined $conf;
	return $node;
}

# Pid of the worker of a database; '' if there is none.
sub worker_pid
{
	my ($node, $db) = @_;

	return $node->safe_psql('postgres',
		"SELECT pid FROM $workers AND datname = '$db'");
}

sub launcher_pid
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'temporal_complete launcher'"
	);
}

# Wait until a database has a worker, another one than that of pid $not.
sub wait_for_worker
{
	my ($node, $db, $not) = @_;

	$not = 0 unless $not;
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM $workers AND datname = '$db' AND pid <> $not"
	) or die "no worker in database $db";
	return worker_pid($node, $db);
}

sub wait_for_no_worker
{
	my ($node, $db) = @_;

	return $node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM $workers AND datname = '$db'");
}

# Wait until the launcher has dealt with all that it was told before: a
# database created for it gets its worker after that.
my $probes = 0;

sub wait_until_looked_at
{
	my ($node) = @_;
	my $db = 'probe' . ++$probes;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION temporal_complete');
	wait_for_worker($node, $db);
	$node->safe_psql('postgres', "DROP DATABASE $db");
	return;
}

# Wait for a line in the server log behind an offset.
sub wait_for_log_line
{
	my ($node, $pattern, $offset) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $log = slurp_file($node->logfile);
		return 1 if substr($log, $offset || 0) =~ $pattern;
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

# The extension, and a server where nobody listens.
sub install_extension
{
	my ($node, @dbs) = @_;

	$node->safe_psql($_, <<'EOC') for @dbs;
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:1', retry_initial_interval '100ms', retry_max_interval '200ms');
EOC
	return;
}

# SQL that makes a request.
sub complete_something
{
	return "SELECT temporal.complete_activity_by_id('a workflow', 'an activity', '{}')";
}

# Wait until the worker has tried to send a request.
sub was_tried
{
	my ($node, $db, $id) = @_;

	return $node->poll_query_until($db,
		"SELECT error_code IS NOT NULL FROM temporal.request WHERE id = $id");
}

1;
