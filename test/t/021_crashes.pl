# The worker, backends and the whole server are killed in the midst of 5,000
# requests: every activity ends as asked, every request has one outcome.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;
use Time::HiRes qw(usleep);

my ($workflows, $activities) = (10, 500);
my $total = $workflows * $activities;

my $node = new_cluster('main');
my $temporal = start_temporal('main');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ", request_timeout '2s')");
start_activities($temporal, $node, 'crash', $workflows, $activities);
$node->safe_psql('postgres',
	'CREATE TABLE sent (workflow_id text, activity_id text, id bigint, PRIMARY KEY (workflow_id, activity_id));'
	  . ' CREATE INDEX ON pending_activity (workflow_id, activity_id)');

# Answers take long enough for crashes to find requests in flight; some do not
# come at all although the request was carried out.
$temporal->fault(method => 'RespondActivityTask*', mode => 'hang', probability => 0.1, count => 60);
$temporal->fault(method => 'RespondActivityTask*', mode => 'delay', delay_ms => 100);

# Somebody goes on making requests, whatever happens to the server.
my $requester = fork();
die "could not fork: $!" unless defined $requester;
if ($requester == 0)
{
	my $left = 1;

	open(STDOUT, '>', '/dev/null');
	open(STDERR, '>', '/dev/null');
	while ($left)
	{
		my ($ret, $out) = (-1, '');

		eval {
			$ret = $node->psql('postgres', <<'EOS', stdout => \$out, stderr => \my $err);
INSERT INTO sent
SELECT p.workflow_id, p.activity_id,
       temporal.complete_activity(task_token, to_jsonb(p.workflow_id || '/' || p.activity_id))
  FROM pending_activity p LEFT JOIN sent s USING (workflow_id, activity_id)
 WHERE s.id IS NULL LIMIT 60;
SELECT count(*) FROM sent;
EOS
		};
		$left = 0 if defined $ret && $ret == 0 && $out eq $total;
		usleep(20_000);
	}
	POSIX::_exit(0);
}
my $main = $$;
END { kill('KILL', $requester) if defined $main && $$ == $main && defined $requester && $requester > 0 }

# A query that is repeated while the server is restarting
sub ask
{
	my ($sql) = @_;

	return await($sql,
		sub {
			my ($ret, $out);

			eval { $ret = $node->psql('postgres', $sql, stdout => \$out, stderr => \my $err); };
			return defined $ret && $ret == 0 && $out ne '' ? $out : undef;
		});
}

# Over HTTP each takes a connection, of which there are few.
sub await_in_flight
{
	my $many = TemporalTest::over_http() ? 3 : 20;

	await('requests in flight',
		sub {
			my ($ret, $out);

			eval {
				$ret = $node->psql('postgres',
					"SELECT count(*) > $many FROM temporal_internal.in_flight_requests()",
					stdout => \$out, stderr => \my $err);
			};
			return defined $ret && $ret == 0 && $out eq 't';
		});
	return;
}

sub kill_worker
{
	my $pid = ask(q(SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'temporal_complete worker%'));

	ok(kill('KILL', $pid), 'worker killed with requests in flight');
	return;
}

sub kill_backend
{
	my ($session, $pid);

	# the server may still be restarting after the worker was killed
	await('a session',
		sub {
			eval {
				$session = $node->background_psql('postgres', on_error_stop => 0);
				$pid = $session->query('SELECT pg_backend_pid()');
			};
			return defined $pid && $pid =~ /^\d+$/;
		});
	ok(kill('KILL', $pid), 'backend killed with requests in flight');
	$session->{run}->finish;
	return;
}

sub stop_immediately
{
	$node->stop('immediate');
	$node->start;
	pass('server stopped immediately with requests in flight');
	return;
}

# A DBA sends the worker away, which is no crash.
sub signal_worker
{
	my ($function) = @_;

	is(ask("SELECT $function(pid) FROM pg_stat_activity WHERE backend_type LIKE 'temporal_complete worker%'"),
		't', "$function() with requests in flight");
	return;
}

foreach my $disturb (
	(\&kill_worker, \&kill_backend, \&stop_immediately) x 2,
	sub { signal_worker('pg_terminate_backend') },
	sub { signal_worker('pg_cancel_backend') })
{

	await_in_flight();
	$disturb->();
}
$temporal->clear_faults;

waitpid($requester, 0);
is($?, 0, 'all requests are made');
await_finished($node);

is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), '0', 'the outbox is empty');
is(states($node), "delivered|$total", 'all requests are delivered');
is($node->safe_psql('postgres', <<'EOS'), '0', 'every request has one outcome');
SELECT count(*) FROM sent s
 WHERE (SELECT count(*) FROM temporal.request r
         WHERE r.id = s.id AND r.workflow_id = s.workflow_id AND r.activity_id = s.activity_id) <> 1
EOS

my %results = $temporal->results('crash', $workflows);
is(scalar(keys %results), $total, 'all activities have ended');
is_deeply([ grep { $results{$_} ne "\"$_\"" } keys %results ], [], 'as they were asked to');

# The history says by which request
my %sent = map { split(/\|/) } split(/\n/,
	$node->safe_psql('postgres', q(SELECT workflow_id || '/' || activity_id, id FROM sent)));
my $others = 0;
foreach my $closed ($temporal->closed('crash', $workflows))
{
	$others++
	  unless $closed->{identity} =~ m{/(\d+)@} && $1 == $sent{"$closed->{workflow_id}/$closed->{activity_id}"};
}
is($others, 0, 'and by the requests that were made for them');

my %arrivals = $temporal->arrivals;
my $repeated = grep { $_ > 1 } values %arrivals;
note("$repeated of $total requests arrived more than once");
is(scalar(keys %arrivals), $total, 'every request has arrived, no other');

done_testing();
