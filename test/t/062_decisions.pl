# What users decide about requests: it touches these and no others, nothing is
# a dead end, who decided is recorded, and errors speak of what was called.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', init => { allows_streaming => 1 }, settings => 'temporal_complete.safety_poll_interval = 1h');
my $temporal = start_temporal('main');

$node->safe_psql('postgres', <<"EOS");
CREATE ROLE one LOGIN;
CREATE ROLE two LOGIN;
CREATE ROLE gone LOGIN;
CREATE ROLE dba LOGIN SUPERUSER;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (${\($temporal->foreign_server)}, request_timeout '1s', retry_initial_interval '1h', retry_max_interval '1h');
CREATE SERVER hurry FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (${\($temporal->foreign_server)}, request_timeout '1s', retry_initial_interval '1s', retry_max_interval '1s');
CREATE SERVER other FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (${\($temporal->foreign_server)}, request_timeout '1s', retry_initial_interval '1h', retry_max_interval '1h');
GRANT USAGE ON FOREIGN SERVER temporal, hurry, other TO one, two, gone;
EOS

sub sql { my ($role, $sql) = @_; return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]); }

sub fails
{
	my ($role, $sql, $pattern, $what) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);

	return like($stderr, $pattern, $what);
}

sub request_for
{
	my ($role, $activity, $server) = @_;

	$server //= 'temporal';
	return sql($role, "SELECT temporal.complete_activity_by_id('decide-0', '$activity', '\"$role\"', server => '$server')");
}

sub outcome
{
	my ($id) = @_;

	return $node->safe_psql('postgres',
		"SELECT state || ' ' || coalesce(error_code, '') FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')");
}

sub shown { return $node->safe_psql('postgres', "SELECT $_[1] FROM temporal.request WHERE id = $_[0]"); }

# A request of which one attempt has failed, and the next one is an hour away
sub failed_once
{
	my (@arguments) = @_;
	my $rule = $temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'fail-before', count => 1);
	my $id = request_for(@arguments);

	$node->poll_query_until('postgres', "SELECT attempts = 1 AND next_attempt_at IS NOT NULL FROM temporal.request WHERE id = $id") or die;
	$temporal->clear_faults($rule);
	return $id;
}

start_activities($temporal, $node, 'decide', 1, 8, map { ('-activity-id', $_) } qw(a b c d e f g h));

# What one does leaves the times of two as they are
my $other = failed_once('two', 'a');
my $when = shown($other, 'next_attempt_at');

sub untouched
{
	my ($what) = @_;
	my $mark = request_for('two', 'nothing');

	# the worker has looked at the queue of two after that
	outcome($mark);
	return is(shown($other, "attempts || ' ' || next_attempt_at"), "1 $when", "$what does not touch requests of others");
}
my $mine = failed_once('one', 'b');
sql('one', "SELECT temporal.retry_request($mine)");
is(outcome($mine), 'delivered ', 'retry_request() of one that waits: it is tried now');
untouched('retry_request()');
my $early = request_for('one', 'later');
is(outcome($early), 'rejected NOT_FOUND', 'rejected');
sql('one', "SELECT temporal.retry_request($early)");
is(outcome($early), 'rejected NOT_FOUND', 'and again');
untouched('retry_request() of a rejected one');
sql('one', 'SELECT temporal.retry_rejected()');
outcome($early);
untouched('retry_rejected()');
my $dropped = failed_once('one', 'c');
my $behind = request_for('one', 'c');
sql('one', "SELECT temporal.discard_request($dropped)");
is(outcome($behind), 'delivered ', 'what waited behind a discarded request goes on');
untouched('discard_request()');
my $prepared = failed_once('one', 'd');
sql('one', "BEGIN; SELECT temporal.retry_request($prepared); PREPARE TRANSACTION 'p'");
sql('one', "COMMIT PREPARED 'p'");
is(outcome($prepared), 'delivered ', 'retry_request() in a prepared transaction');
untouched('COMMIT PREPARED');
sql('one', 'CREATE USER MAPPING FOR one SERVER temporal');
sql('one', q(ALTER USER MAPPING FOR one SERVER temporal OPTIONS (ADD grpc_meta_x 'y')));
sql('one', 'DROP USER MAPPING FOR one SERVER temporal');
untouched('a user mapping');

# What one's own options kept from being accepted is tried again when they change
my $own = failed_once('one', 'e', 'other');
sql('dba', q(ALTER SERVER other OPTIONS (ADD max_in_flight '7')));
is(outcome($own), 'delivered ', 'new options are tried at once, for those whose they are');
untouched('ALTER SERVER of another server');

# More than the worker looks at in one transaction
$temporal->fault(method => 'RespondActivityTaskCompletedById', mode => 'fail-before');
my $first = request_for('one', 'many-0');
sql('one', "SELECT count(temporal.complete_activity_by_id('decide-0', 'many-' || i, '1')) FROM generate_series(1, 7) i");
$node->poll_query_until('postgres', "SELECT count(*) = 8 FROM temporal.request WHERE activity_id LIKE 'many-%' AND attempts = 1") or die;
$temporal->clear_faults;
$node->safe_psql('postgres', 'INSERT INTO temporal_internal.recheck SELECT i FROM generate_series(1000000, 1002500) i');
is(sql('one', "SELECT count(temporal.retry_request(id)) FROM temporal.request WHERE activity_id LIKE 'many-%' AND requested_by = 'one'"), '8', 'many');
outcome($first + $_) foreach 0 .. 7;
ok($node->poll_query_until('postgres', 'SELECT NOT EXISTS (SELECT FROM temporal_internal.recheck)'), 'all of them are looked at');
untouched('retrying many');

# What is unconfirmed is kept whole
my $expired = request_for('one', 'nothing', 'hurry');
my $known = request_for('one', 'nothing', 'hurry');
outcome($_) foreach $expired, $known;
$node->safe_psql('postgres', "UPDATE temporal_internal.rejected SET maybe_sent = true, error_code = 'EXPIRED' WHERE id IN ($expired, $known)");
is(outcome($expired), 'unconfirmed EXPIRED', 'unconfirmed');
is(sql('one', q(SELECT temporal.retry_rejected('hurry'))), '0', 'retry_rejected() leaves it');
fails('two', "SELECT temporal.retry_request($expired)", qr/there is no request/, 'others cannot retry it');
sql('one', "SELECT temporal.retry_request($expired)");
like(outcome($expired), qr/ NOT_FOUND$/, 'retry_request() takes it, when somebody has decided so');
sql('one', "SELECT temporal.discard_request($known)");
is(outcome($known), 'unconfirmed DISCARDED', 'discard_request() acknowledges it');
like(shown($known, 'error_message'), qr/^it was discarded when it was unconfirmed, EXPIRED: /, 'and says what it was');

# Who decided
my $time = qr/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/;
like(shown($expired, 'decisions'), qr/^retried by one at $time$/, 'who retried is shown');
like(shown($known, 'decisions'), qr/^discarded by one at $time$/, 'who discarded');
like(shown($mine, 'decisions'), qr/^retried by one at $time$/, 'also of one that waited');
like(shown($early, 'decisions'), qr/^retried by one at $time; retried by one at $time$/, 'each time');
is(shown($other, 'decisions'), '', 'nobody has decided about others');
sql('dba', "SET ROLE one; SELECT temporal.discard_request($early)");
like(shown($early, 'decisions'), qr/; discarded by dba at $time$/, 'it is the user of the session');
is(shown($early, 'state || error_code'), 'rejectedDISCARDED', 'a rejected one stays rejected');
sql('one', "SELECT temporal.retry_request(" . ($mine = failed_once('one', 'nothing')) . ")");
outcome($mine);
sql('one', "SELECT temporal.retry_request($mine)"), outcome($mine) foreach 1 .. 12;
is(shown($mine, q(cardinality(string_to_array(decisions, '; ')))), '10', 'the latest ones are kept');
my $forger = "x at 2026-01-01T00:00:00Z; discarded by dba\n\e[2K";
$node->safe_psql('postgres', qq(CREATE ROLE "$forger" LOGIN IN ROLE one));
sql($forger, "SELECT temporal.discard_request($mine)");
like(shown($mine, 'decisions'), qr/; discarded by "x at 2026-01-01T00:00:00Z\\u003b discarded by dba\\n\\u001b\[2K" at $time$/,
	'a name cannot pass for another decision');

# No dead end: a role is dropped
my $orphan = request_for('gone', 'nothing');
outcome($orphan);
$node->safe_psql('postgres', 'REVOKE ALL ON FOREIGN SERVER temporal, hurry, other FROM gone; DROP ROLE gone');
fails('one', "SELECT temporal.discard_request($orphan)", qr/there is no request/, 'a request of a role that was dropped is nobody\'s');
sql('dba', "SELECT temporal.discard_request($orphan)");
is(shown($orphan, 'error_code'), 'DISCARDED', 'but the owner of the extension can give it up');

# Codes
fails('one', q(SELECT temporal.retry_rejected(error_code => 'NOTFOUND')), qr/no request is rejected with error code "NOTFOUND"\n.*HINT:.*NOT_FOUND.*, MALFORMED/,
	'a code that does not exist is an error');
is(sql('one', q(SELECT temporal.retry_rejected(error_code => 'MALFORMED'))), '0', 'one that does is none');

# Where nothing can be written
my @calls = ('retry_request(1)', 'retry_rejected()', 'discard_request(1)', q(discard_requests('temporal')));
foreach my $call (@calls)
{
	my ($name) = $call =~ /^(\w+)/;

	fails('one', "BEGIN READ ONLY; SELECT temporal.$call", qr/ERROR:  cannot execute $name\(\) in a read-only transaction\s*$/, "$name() in a read-only transaction");
}
fails('dba', 'BEGIN READ ONLY; SELECT temporal.adopt()', qr/ERROR:  cannot execute adopt\(\) in a read-only transaction/, 'adopt()');
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
foreach my $call (@calls, 'adopt()', q(rebind_server('x')))
{
	my ($name) = $call =~ /^(\w+)/;
	my ($rc, $stdout, $stderr) = $standby->psql('postgres', "SELECT temporal.$call");

	like($stderr, qr/ERROR:  cannot execute $name\(\) during recovery/, "$name() on a standby");
	unlike($stderr, qr/DELETE|UPDATE|setval/, 'no internal SQL is shown');
}
$standby->stop('immediate');

# adopt()
$node->safe_psql('postgres', 'ALTER SERVER temporal OPTIONS (SET address \'127.0.0.1:1\')');
my $held = request_for('one', 'h');
$node->safe_psql('postgres', 'UPDATE temporal_internal.queue SET database = 1');
$node->stop;
$node->start;
is(shown($held, 'state'), 'held', 'held');
$node->safe_psql('postgres', 'ALTER SERVER temporal OPTIONS (SET address \'' . $temporal->foreign_address . '\')');
sql('dba', 'SELECT temporal.adopt()');
is(outcome($held), 'delivered ', 'adopted');
like(shown($held, 'decisions'), qr/^adopted by dba at $time$/, 'who adopted is shown');

done_testing();
