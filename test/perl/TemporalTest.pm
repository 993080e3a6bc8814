# What the TAP tests share: PostgreSQL clusters with the extension, real
# Temporal servers with the SDK's worker, and the stub of a gRPC server.
#
# Needs in the environment TEMPORAL_TEST, the program built from
# test/temporal, and for the tests that use it GRPC_STUB, the one built from
# test/bench.  A test without them fails, it is not skipped.  With TRANSPORT=http
# requests travel over Temporal's HTTP API in the tests that leave it open.
#
# Nothing here sleeps for a time in which something is hoped to happen:
# conditions are awaited, for as long as PG_TEST_TIMEOUT_DEFAULT says.

package TemporalTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use File::Temp ();
use HTTP::Tiny;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(
  new_cluster
  start_temporal
  start_stub
  await
  scratch
  spawn
  end_process
  start_activities
  send_pending
  await_finished
  states
  worker_pid
  make_unnoted_waits
  await_worker
);

# Processes to be ended with the test, by pid
my %children;

sub program
{
	my ($variable) = @_;
	my $program = $ENV{$variable};

	BAIL_OUT("$variable does not name a program")
	  unless defined $program && -x $program;
	return $program;
}

# Start a program in the background; its output goes to the test's log directory.
sub spawn
{
	my ($name, @command) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/"
	  . basename_of($0) . "_$name.log";
	my $pid = fork();

	die "could not fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', $log);
		open(STDERR, '>&', \*STDOUT);
		exec(@command) or POSIX::_exit(127);
	}
	$children{$pid} = $name;
	return wantarray ? ($pid, $log) : $pid;
}

# Path of a file of this test's own: others that run at the same time have files of such names, too.
sub scratch
{
	my ($name) = @_;

	return "$PostgreSQL::Test::Utils::tmp_check/" . basename_of($0) . "_$name";
}

sub basename_of
{
	my ($path) = @_;

	$path =~ s!.*/!!;
	$path =~ s!\.[^.]*$!!;
	return $path;
}

# Send a signal to a process of spawn() and wait until it has ended.
sub end_process
{
	my ($pid, $signal) = @_;

	return unless exists $children{$pid};
	kill($signal, $pid);
	waitpid($pid, 0);
	delete $children{$pid};
	return;
}

END
{
	my $status = $?;

	foreach my $pid (keys %children)
	{
		kill('KILL', $pid);
		waitpid($pid, 0);
	}
	$? = $status;
}

# Wait until the function returns something true, and return that.
sub await
{
	my ($what, $condition) = @_;
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;

	while (1)
	{
		my $result = $condition->();

		return $result if $result;
		last if time() > $end;
		usleep(30_000);
	}
	BAIL_OUT("timed out waiting for $what");
}

# A running cluster with the extension in its database postgres.  Settings are
# lines of postgresql.conf.
sub new_cluster
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%{ $options{init} // {} });
	$node->append_conf('postgresql.conf', <<'EOC');
shared_preload_libraries = 'temporal_complete'
restart_after_crash = on
log_statement = none
max_connections = 50
max_prepared_transactions = 10
temporal_complete.max_workers = 40
EOC
	$node->append_conf('postgresql.conf', $options{settings})
	  if defined $options{settings};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION temporal_complete');
	return $node;
}

# Pid of the extension's worker for a database, or the empty string.
sub worker_pid
{
	my ($node, $database) = @_;

	$database //= 'postgres';
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE datname = '$database'"
		  . " AND backend_type LIKE 'temporal_complete worker%'");
}

# Wait until the database has a worker, other than the one of that pid if
# there is one.
sub await_worker
{
	my ($node, $database, $not) = @_;

	return await('the worker of a database',
		sub { my $pid = worker_pid($node, $database);
			$pid ne '' && (!defined $not || $pid ne $not) ? $pid : ''; });
}

sub over_http { return ($ENV{TRANSPORT} // '') eq 'http'; }

# Start a Temporal server.  Options: state => 1 keeps its state in a file, so
# that it can be started again; http => 1 has it listen for HTTP, too; arguments => [...] of "temporal-test server".
sub start_temporal
{
	my ($name, %options) = @_;
	my $self = bless {
		name => $name,
		dir => File::Temp::tempdir(CLEANUP => 1),
		arguments => [ @{ $options{arguments} // [] } ],
		http => HTTP::Tiny->new(timeout => 30),
		has_http => $options{http} || over_http(),
	}, 'TemporalTest::Temporal';

	push @{ $self->{arguments} }, '-db-filename', "$self->{dir}/temporal.db"
	  if $options{state};
	$self->start;
	return $self;
}

# Start the stub of a gRPC server; arguments are those of grpc_stub.
sub start_stub
{
	my ($port, @arguments) = @_;
	my ($pid, $log) =
	  spawn("stub_$port", program('GRPC_STUB'), '--port', $port, @arguments);

	await('the stub', sub { -s $log });
	return $pid;
}

# Start activities that wait, of workflows of the real SDK, and wait until
# their tokens are in the table pending_activity of the database postgres.
# Workflows are named prefix-0, prefix-1, ...
sub start_activities
{
	my ($temporal, $node, $prefix, $workflows, $activities, @arguments) = @_;

	$temporal->start_worker($node);
	$temporal->run(
		'start-workflows', '-prefix', $prefix, '-count', $workflows,
		'-activities', $activities, '-wait', '-pg', $node->connstr('postgres'),
		@arguments);
	return;
}

# Run a function that has requests wait for keys, which the worker then has to
# note itself, one by one, as after a restore: how many it has noted is a clock.
sub make_unnoted_waits
{
	my ($node, $make) = @_;

	$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
	$node->reload;
	await('the worker to leave', sub { worker_pid($node) eq '' });
	$make->();
	$node->safe_psql('postgres', 'DELETE FROM temporal_internal.awaited_key');
	$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
	$node->reload;
	return;
}

# Make a request for each waiting activity of workflows prefix-..., in one
# transaction, by calling a verb, a function of the token and the row p; ids are
# noted in the table sent.
sub send_pending
{
	my ($node, $prefix, $call) = @_;

	$node->safe_psql('postgres', <<EOS);
CREATE TABLE IF NOT EXISTS sent (id bigint PRIMARY KEY, workflow_id text, activity_id text);
INSERT INTO sent
SELECT $call, p.workflow_id, p.activity_id
  FROM pending_activity p WHERE p.workflow_id LIKE '$prefix-%';
EOS
	return;
}

# Wait until all requests of the outbox are finished.
sub await_finished
{
	my ($node, $where) = @_;

	$where //= 'true';
	await('requests to be finished',
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM temporal.request WHERE finished_at IS NULL AND $where"
			) eq '0';
		});
	return;
}

# Number of requests by state, such as "delivered|3".
sub states
{
	my ($node, $where) = @_;

	$where //= 'true';
	return $node->safe_psql('postgres',
		"SELECT state, count(*) FROM temporal.request WHERE $where GROUP BY 1 ORDER BY 1");
}

package TemporalTest::Temporal;

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Utils;
use Test::More;

# Start the server, on the ports that it had before if it was started before.
sub start
{
	my ($self) = @_;
	my $ready = "$self->{dir}/ready";
	my @arguments = ('-ready-file', $ready, '-http-port', $self->{has_http} ? '0' : '-1');

	push @arguments, '-port', $self->{port}, '-control-port', $self->{control_port}
	  if defined $self->{port};
	push @arguments, '-http-port', $self->{http_port} if defined $self->{http_port};
	unlink($ready);
	$self->{pid} = TemporalTest::spawn("temporal_$self->{name}",
		TemporalTest::program('TEMPORAL_TEST'),
		'server', @arguments, @{ $self->{arguments} });
	TemporalTest::await(
		"Temporal server $self->{name}",
		sub {
			die "Temporal server $self->{name} has ended"
			  if waitpid($self->{pid}, POSIX::WNOHANG()) != 0;
			return -e $ready;
		});

	my $told = JSON::PP::decode_json(PostgreSQL::Test::Utils::slurp_file($ready));

	$self->{address} = $told->{address};
	$self->{control} = $told->{control};
	$self->{http_address} = $told->{http_address};
	($self->{port}) = $told->{address} =~ /:(\d+)$/;
	($self->{http_port}) = $told->{http_address} =~ /:(\d+)$/ if $self->{has_http};
	($self->{control_port}) = $told->{control} =~ /:(\d+)$/;
	return;
}

sub address { return $_[0]->{address}; }
sub http_address { return $_[0]->{http_address}; }

# Where a foreign server for it finds it by the transport that is tested, and the
# options of one that is made.
sub foreign_address
{
	return TemporalTest::over_http() ? $_[0]->{http_address} : $_[0]->{address};
}

sub foreign_server
{
	my $address = $_[0]->foreign_address;

	return TemporalTest::over_http() ? "address '$address', transport 'http'" : "address '$address'";
}

sub kill9
{
	my ($self) = @_;

	TemporalTest::end_process($self->{pid}, 'KILL');
	return;
}

sub stop
{
	my ($self) = @_;

	TemporalTest::end_process($self->{pid}, 'TERM');
	return;
}

sub suspend { kill('STOP', $_[0]->{pid}); return; }
sub resume { kill('CONT', $_[0]->{pid}); return; }

# Run workflows and activities of the real SDK; tokens go to that cluster.
# Once for a namespace.
sub start_worker
{
	my ($self, $node, $namespace) = @_;

	$namespace //= 'default';
	return if exists $self->{workers}{$namespace};

	my $ready = "$self->{dir}/worker_$namespace";

	$self->{workers}{$namespace} =
	  TemporalTest::spawn("worker_$self->{name}_$namespace",
		$ENV{TEMPORAL_TEST}, 'worker', '-address', $self->{address},
		'-namespace', $namespace, '-pg', $node->connstr('postgres'),
		'-ready-file', $ready);
	TemporalTest::await('the worker of the SDK', sub { -e $ready });
	return;
}

# Run a command of temporal-test at this server and return the JSON values
# that it prints.
sub run
{
	my ($self, $command, @arguments) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run(
		[ $ENV{TEMPORAL_TEST}, $command, '-address', $self->{address}, @arguments ],
		'<', \undef, '>', \$out, '2>', \$err);

	die "temporal-test $command failed: $err" unless $ok;
	return map { JSON::PP::decode_json($_) } split(/\n/, $out);
}

# Results of the activities of workflows prefix-0 ..., waiting for the end of
# the workflows: "workflow/activity" => JSON of the outcome, in one line.
sub results
{
	my ($self, $prefix, $workflows) = @_;
	my $json = JSON::PP->new->canonical->allow_nonref;
	my %results;

	foreach my $run ($self->run('await-results', '-prefix', $prefix, '-count', $workflows))
	{
		foreach my $activity (@{ $run->{result} })
		{
			my $told = $activity->{result};

			$results{"$run->{workflow_id}/$activity->{activity_id}"} =
				defined $told ? $json->encode($told->{json})
			  : exists $activity->{failure} ? $json->encode($activity->{failure})
			  :   '';
		}
	}
	return %results;
}

# Events that closed the activities of workflows prefix-0 ...
sub closed
{
	my ($self, $prefix, $workflows) = @_;

	return map { @{ $_->{closed_activities} } }
	  $self->run('history', '-prefix', $prefix, '-count', $workflows);
}

sub ask
{
	my ($self, $method, $path, $body) = @_;
	my $response = $self->{http}->request($method, "$self->{control}$path",
		defined $body ? { content => JSON::PP::encode_json($body) } : {});

	die "$method $path: $response->{status} $response->{content}"
	  unless $response->{success};
	return $response->{content};
}

# Add a fault rule; see internal/fault of test/temporal.  Returns its id.
sub fault
{
	my ($self, %rule) = @_;

	return JSON::PP::decode_json($self->ask('POST', '/faults', \%rule))->{id};
}

# Switch one fault rule off, or all.
sub clear_faults
{
	my ($self, $id) = @_;

	$self->ask('DELETE', defined $id ? "/faults?id=$id" : '/faults');
	return;
}

# How often the rules that are on were applied, together.
sub applied
{
	my ($self) = @_;
	my $n = 0;

	$n += $_->{applied} foreach @{ JSON::PP::decode_json($self->ask('GET', '/faults')) };
	return $n;
}

# Account by method.
sub counters
{
	my ($self) = @_;

	return JSON::PP::decode_json($self->ask('GET', '/counters'));
}

# Account by identity, of requests that finish activities or report heartbeats:
# id of the request => number of calls that arrived.
sub arrivals
{
	my ($self, $prefix) = @_;
	my %arrivals;

	$prefix //= 'postgresql:';
	foreach my $line (split(/\n/, $self->ask('GET', "/identities?prefix=$prefix")))
	{
		my $account = JSON::PP::decode_json($line);
		my ($id) = $account->{identity} =~ m{^postgresql:[^/]*/(\d+)@};

		$arrivals{$id} += $account->{requests} if defined $id;
	}
	return %arrivals;
}

# The same, as a list of accounts by the time of their first arrival.
sub arrivals_in_order
{
	my ($self) = @_;

	return sort { $a->{first_arrival} <=> $b->{first_arrival} }
	  map { my $account = JSON::PP::decode_json($_);
		($account->{id}) = $account->{identity} =~ m{/(\d+)@};
		$account; }
	  split(/\n/, $self->ask('GET', '/identities?prefix=postgresql:'));
}

1;
