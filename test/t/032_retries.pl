# Errors that pass, errors that need an operator, errors for good: what becomes
# of requests, and what the view says meanwhile.

use strict;
use warnings FATAL => 'all';
use utf8;

use Encode qw(encode_utf8);
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $temporal = start_temporal('main');

$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ", request_timeout '1s',"
	  . " retry_initial_interval '50ms', retry_max_interval '1s')");
start_activities($temporal, $node, 'retry', 1, 700);

# Activities are used up in their order.
my $used = 0;

# Complete the next activities; returns ids of the requests and of the activities.
sub complete
{
	my ($n) = @_;
	my $from = $used + 1;

	$used += $n;
	return $node->safe_psql('postgres', <<EOS);
SELECT min(id), max(id) FROM (
  SELECT temporal.complete_activity(task_token, to_jsonb('activity ' || activity_id)) AS id
    FROM pending_activity WHERE activity_id::int BETWEEN $from AND $used) s
EOS
}

sub outcome
{
	my ($range, $columns) = @_;
	my ($min, $max) = split(/\|/, $range);

	await_finished($node, "id BETWEEN $min AND $max");
	return $node->safe_psql('postgres',
		"SELECT $columns, count(*) FROM temporal.request WHERE id BETWEEN $min AND $max GROUP BY $columns ORDER BY 1, 2");
}

# Not carried out, carried out but answered with an error, not answered: each
# three times
foreach my $case ([ 'fail-before', 'UNAVAILABLE' ], [ 'fail-before', 'INTERNAL' ], [ 'fail-before', 'ABORTED' ],
	[ 'fail-after', 'UNAVAILABLE' ], [ 'fail-after', 'DEADLINE_EXCEEDED' ])
{
	my ($mode, $error) = @$case;

	$temporal->fault(method => 'RespondActivityTask*', mode => $mode, error => $error, count => 3);
	my $range = complete(1);
	my $attempts = $mode eq 'fail-before' ? 4 : '\d';

	like(outcome($range, 'state, attempts'), qr/^delivered\|$attempts\|1$/, "$mode $error: delivered");
	is($temporal->applied, $mode eq 'fail-before' ? 3 : 1, "$mode $error: as often as it was sent") if $mode eq 'fail-before';
	$temporal->clear_faults;
}

$temporal->fault(method => 'RespondActivityTask*', mode => 'drop', count => 2);
is(outcome(complete(1), 'state, attempts'), 'delivered|3|1', 'no answer, not carried out: delivered by the third attempt');
$temporal->clear_faults;
$temporal->fault(method => 'RespondActivityTask*', mode => 'hang', count => 1);
is(outcome(complete(1), 'state'), 'delivered|1', 'no answer, but carried out: delivered');
$temporal->clear_faults;

# In a batch some have each fate
$temporal->fault(method => 'RespondActivityTask*', mode => 'fail-after', error => 'UNAVAILABLE', probability => 0.3, count => 30);
$temporal->fault(method => 'RespondActivityTask*', mode => 'fail-before', error => 'UNAVAILABLE', probability => 0.3, count => 30);
$temporal->fault(method => 'RespondActivityTask*', mode => 'hang', probability => 0.1, count => 10);
$temporal->fault(method => 'RespondActivityTask*', mode => 'drop', probability => 0.1, count => 10);
is(outcome(complete(200), 'state'), 'delivered|200', 'many requests with all kinds of errors: all are delivered');
$temporal->clear_faults;

# An overloaded server is asked less, until it has recovered: nobody notices
# but by the time that it takes.
$temporal->fault(method => 'RespondActivityTask*', mode => 'fail-before', error => 'ResourceExhausted', count => 12);
is(outcome(complete(200), 'state'), 'delivered|200', 'overload: all are delivered');
$temporal->clear_faults;

# An operator is needed
my $rule = $temporal->fault(method => 'RespondActivityTask*', mode => 'fail-before', error => 'PermissionDenied',
	message => 'not by you');
my $range = complete(30);
my ($min, $max) = split(/\|/, $range);
ok($node->poll_query_until('postgres', <<EOS), 'PERMISSION_DENIED: all requests wait, the view says why');
SELECT count(*) = 30 FROM temporal.request
 WHERE id BETWEEN $min AND $max AND state IN ('retrying', 'in_flight') AND error_code = 'PERMISSION_DENIED'
   AND error_message LIKE '%not by you%'
EOS
$temporal->clear_faults($rule);
is(outcome($range, 'state'), 'delivered|30', 'PERMISSION_DENIED: delivered when it is permitted');

# Refused for good: kept whole
$temporal->fault(method => 'RespondActivityTask*', mode => 'fail-before', error => 'INVALID_ARGUMENT',
	message => 'no good: äöü', count => 1);
$range = complete(1);
is(outcome($range, 'state, attempts, error_code, error_message'), encode_utf8('rejected|1|INVALID_ARGUMENT|no good: äöü|1'),
	'INVALID_ARGUMENT: rejected at once');
my ($id) = split(/\|/, $range);
is($node->safe_psql('postgres', <<EOS), 't', 'what is rejected is kept whole');
SELECT position(convert_to('"activity $used"', 'UTF8') in request) > 0 FROM temporal_internal.rejected WHERE id = $id
EOS
$node->safe_psql('postgres', "SELECT temporal.retry_request($id)");
is(outcome($range, 'state'), 'delivered|1', 'and can be sent again');
$temporal->clear_faults;

# A database in another encoding records what Temporal says.
$node->safe_psql('postgres', q(CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0));
$node->safe_psql('latin', 'CREATE EXTENSION temporal_complete; CREATE SERVER temporal'
	  . " FOREIGN DATA WRAPPER temporal_complete OPTIONS (" . $temporal->foreign_server . ")");
$temporal->fault(method => 'RespondActivityTask*', mode => 'fail-before', error => 'ResourceExhausted', message => '€ müde', count => 1);
$temporal->fault(method => 'RespondActivityTask*', mode => 'fail-before', error => 'INVALID_ARGUMENT', message => '€ übel', count => 1);
is($node->safe_psql('latin', encode_utf8(<<'EOS')), encode_utf8('rejected|2|INVALID_ARGUMENT|? übel'), 'a database in LATIN1');
SET client_encoding = 'UTF8';
SELECT temporal.complete_activity_by_id('w', 'a', '"ä"') AS id \gset
SELECT state, attempts, error_code, error_message FROM temporal.wait_for_request(:id);
EOS
$temporal->clear_faults;

# Nothing is left
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.outbox'), '0', 'the outbox is empty');
is($node->safe_psql('postgres', 'SELECT count(*) FROM temporal_internal.queue_error'), '0', 'no queue has an error');
$node->safe_psql('postgres', <<EOS);
SELECT count(temporal.complete_activity(task_token, to_jsonb('activity ' || activity_id)))
  FROM pending_activity WHERE activity_id::int > $used
EOS
my %results = $temporal->results('retry', 1);
my @wrong = grep { my ($activity) = m{/(.*)}; $results{$_} ne "\"activity $activity\"" } keys %results;
is_deeply(\@wrong, [], 'all activities ended as asked');

done_testing();
