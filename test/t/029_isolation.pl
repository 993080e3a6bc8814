# What is wrong with one role, one namespace, one server or one row stops
# nobody else; when it is put right, its requests are sent at once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

# Nothing here may depend on the safety poll.
my $node = new_cluster('main', settings => 'temporal_complete.safety_poll_interval = 1h');
my $temporal = start_temporal('main', arguments => [ '-namespace', 'default', '-namespace', 'second', '-namespace', 'größe' ]);
my $locked = start_temporal('locked', arguments => [ '-api-key', 'good-key' ]);
my $stub_port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($stub_port);

# Retries are so slow that only being told of a change makes requests go on.
my $slow = "retry_initial_interval '1h', retry_max_interval '1h'";

$node->safe_psql('postgres', <<EOS);
CREATE ROLE good LOGIN;
CREATE ROLE bad LOGIN;
CREATE ROLE third LOGIN;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (@{[$temporal->foreign_server]}, namespaces 'second, nowhere', $slow);
CREATE SERVER locked FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (@{[$locked->foreign_server]}, tls 'false', $slow);
CREATE SERVER stub FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:$stub_port', namespaces '*');
GRANT USAGE ON FOREIGN SERVER temporal, locked, stub TO PUBLIC;
CREATE USER MAPPING FOR good SERVER locked OPTIONS (api_key 'good-key', allow_plaintext_credentials 'true');
CREATE USER MAPPING FOR bad SERVER locked OPTIONS (api_key 'bad-key', allow_plaintext_credentials 'true');
EOS

my $next = 0;

# Make a request for a new activity id of a workflow that there need not be:
# what counts is whether it is sent.  Returns its id.
sub make
{
	my ($role, $server, $namespace) = @_;

	$namespace //= 'default';
	$next++;
	return $node->safe_psql('postgres',
		"SET ROLE $role; SELECT temporal.complete_activity_by_id('none', 'a$next', server => '$server', namespace => '$namespace')");
}

# The real server answers NOT_FOUND for these, which is what is awaited.
sub ok_sent
{
	my ($id, $what) = @_;

	return is($node->safe_psql('postgres',
			"SELECT state || ' ' || coalesce(error_code, '') FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"),
		'rejected NOT_FOUND', $what);
}

sub ok_waits
{
	my ($id, $code, $what) = @_;

	return ok($node->poll_query_until('postgres',
			"SELECT state || ' ' || error_code FROM temporal.request WHERE id = $id",
			"retrying $code"), $what);
}

# A queue that the worker knows, and one that it does not, woken by one commit
ok_sent(make('good', 'temporal'), 'first request of a role');
my @ids = split(/\n/, $node->safe_psql('postgres', <<'EOS'));
BEGIN;
SET ROLE good;
SELECT temporal.complete_activity_by_id('none', 'known');
SET ROLE third;
SELECT temporal.complete_activity_by_id('none', 'new');
COMMIT;
EOS
ok_sent($ids[0], 'request of a known queue');
ok_sent($ids[1], 'request of a new queue in the same transaction');

# So many queues that some of them share their place in the wake bitmap
my $script = '';
for my $i (1 .. 150)
{
	$script .= "SELECT temporal.complete_activity_by_id('w', 'a', server => 'stub', namespace => 'namespace_$i') AS id \\gset\n"
	  . "SELECT state FROM temporal.wait_for_request(:id, '$PostgreSQL::Test::Utils::timeout_default s');\n";
}
my %states;
$states{$_}++ foreach split(/\n/, $node->safe_psql('postgres', $script));
is_deeply(\%states, { delivered => 150 }, 'the first request of each of many queues is sent at once');

# Credentials
my $refused = make('bad', 'locked');
ok_waits($refused, 'PERMISSION_DENIED', 'a wrong API key: the request waits, the view says why');
ok_sent(make('good', 'locked'), 'the other role is not affected');

# ... also not where both are about the same activities, and one has been
# refused so often that its requests are no longer tried one by one
my $heartbeats = q(SELECT temporal.heartbeat_activity_by_id('shared', i::text, server => 'locked') FROM generate_series(1, 100) i);
my ($first) = split(/\n/, $node->safe_psql('postgres', "SET ROLE bad; $heartbeats"));
ok($node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM temporal_internal.queue_error JOIN temporal_internal.queue ON number = queue WHERE requested_by_name = 'bad')),
	'a role is refused again and again');
my @shared = split(/\n/, $node->safe_psql('postgres',
	q(SET ROLE good; SELECT temporal.complete_activity_by_id('shared', i::text, server => 'locked') FROM generate_series(1, 100) i)));
my $shared = join(',', @shared);
ok($node->poll_query_until('postgres',
		"SELECT count(*) = 100 FROM temporal.request WHERE id IN ($shared) AND state = 'rejected'"),
	'another one does not wait behind it for the same activities');
ok_waits($first, 'PERMISSION_DENIED', 'the refused ones still wait');

# ... nor where one has many queues for an activity, because transactions that
# began at once each made one, and is refused for all of them
$node->safe_psql('postgres', 'ALTER SYSTEM SET temporal_complete.enabled = off; SELECT pg_reload_conf()');
await('the worker to leave', sub { worker_pid($node) eq '' });
$node->safe_psql('postgres', q(CREATE ROLE many_queues; CREATE USER MAPPING FOR many_queues SERVER locked OPTIONS (api_key 'bad-key', allow_plaintext_credentials 'true')));
my $sessions = 17;
my @sessions = map { $node->background_psql('postgres') } 1 .. $sessions;
foreach my $session (@sessions)
{
	$session->query_safe(q(BEGIN; SET ROLE many_queues; SELECT temporal.heartbeat_activity_by_id('shared', 'many', server => 'locked')));
}
foreach my $session (@sessions)
{
	$session->query_safe('COMMIT');
	$session->quit;
}
is($node->safe_psql('postgres', q(SELECT count(*) FROM temporal_internal.queue WHERE requested_by_name = 'many_queues')), $sessions,
	'a role has many queues');
my $behind = $node->safe_psql('postgres', q(SET ROLE good; SELECT temporal.complete_activity_by_id('shared', 'many', server => 'locked')));
$node->safe_psql('postgres', 'ALTER SYSTEM RESET temporal_complete.enabled; SELECT pg_reload_conf()');
ok_sent($behind, 'another one does not wait behind all of them for the activity');
is($node->safe_psql('postgres', q(SELECT temporal.discard_requests('locked', 'many_queues'))), $sessions, 'which wait, and are given up');

# ... while what each role asked for stays in order, behind its own that was refused
my @refused = qw(bad_too bad_as_well);
$node->safe_psql('postgres', "CREATE ROLE $_; CREATE USER MAPPING FOR $_ SERVER locked OPTIONS (api_key 'bad-key', allow_plaintext_credentials 'true')") foreach @refused;
my $order = q(_activity_by_id('shared', 'order', server => 'locked'));
my @behind;
foreach my $role (@refused)
{
	my $id;

	($id, $behind[@behind]) = split(/\n/, $node->safe_psql('postgres', "SET ROLE $role; SELECT temporal.complete$order; SELECT temporal.complete$order"));
	ok_waits($id, 'PERMISSION_DENIED', "$role is refused");
}
ok_sent($node->safe_psql('postgres', "SET ROLE good; SELECT temporal.complete$order"), 'another one is not') for 1 .. 10;
is($node->safe_psql('postgres', 'SELECT sum(attempts) FROM temporal.request WHERE id IN (' . join(',', @behind) . ')'), '0',
	'none of theirs was tried before one that was asked for earlier');
is($node->safe_psql('postgres', "SELECT temporal.discard_requests('locked', '$_')"), '2', "those of $_ are given up") foreach @refused;

$node->safe_psql('postgres', q(ALTER USER MAPPING FOR bad SERVER locked OPTIONS (SET api_key 'good-key')));
ok_sent($refused, 'the right API key: it is sent at once');

$node->safe_psql('postgres', 'DROP USER MAPPING FOR bad SERVER locked');
$refused = make('bad', 'locked');
ok_waits($refused, 'PERMISSION_DENIED', 'DROP USER MAPPING: the request waits');
ok_sent(make('good', 'locked'), 'the other role is not affected');
$node->safe_psql('postgres', q(CREATE USER MAPPING FOR PUBLIC SERVER locked OPTIONS (api_key 'good-key', allow_plaintext_credentials 'true')));
ok_sent($refused, 'CREATE USER MAPPING FOR PUBLIC: it is sent at once');

# Namespaces
my $nowhere = make('good', 'temporal', 'nowhere');
ok_waits($nowhere, 'NOT_FOUND', 'a namespace that does not exist: the request waits, the view says why');
ok_sent(make('good', 'temporal', 'second'), 'another namespace is not affected');
ok_sent(make('good', 'temporal'), 'nor is the default one');

# Options that cannot be used, which the validator cannot know
$node->safe_psql('postgres',
	q(CREATE USER MAPPING FOR bad SERVER locked OPTIONS (api_key_path '/nonexistent/key', allow_plaintext_credentials 'true')));
my $unusable = make('bad', 'locked');
ok($node->poll_query_until('postgres',
		"SELECT state = 'retrying' AND error_message LIKE '%/nonexistent/key%' FROM temporal.request WHERE id = $unusable"),
	'a file that is not there: the request waits, the view says why');
ok_sent(make('good', 'locked'), 'the other role is not affected');
$node->safe_psql('postgres',
	q(ALTER USER MAPPING FOR bad SERVER locked OPTIONS (DROP api_key_path, ADD api_key 'good-key')));
ok_sent($unusable, 'options put right: it is sent at once');

my $closed_port = PostgreSQL::Test::Cluster::get_free_port();
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$closed_port')");
my $unreachable = make('good', 'temporal');
ok_waits($unreachable, 'CONNECTION_FAILED', 'nobody listens: the request waits');
ok_sent(make('good', 'locked'), 'another server is not affected');
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '" . $temporal->foreign_address . "')");
ok_sent($unreachable, 'address put right: it is sent at once');

# A server that is dropped while requests wait for it
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$closed_port')");
my $orphan = make('good', 'temporal');
ok_waits($orphan, 'CONNECTION_FAILED', 'nobody listens: the request waits');
$node->safe_psql('postgres', 'DROP SERVER temporal');
ok_waits($orphan, 'CONFIGURATION', 'DROP SERVER: the request still waits');
ok_sent(make('good', 'locked'), 'another server is not affected');
$node->safe_psql('postgres', 'CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete'
	  . " OPTIONS (" . $temporal->foreign_server . ", $slow);"
	  . ' GRANT USAGE ON FOREIGN SERVER temporal TO PUBLIC');
ok_sent(make('good', 'temporal'), 'a request of a new server of that name');
ok_waits($orphan, 'CONFIGURATION', 'to which the former one does not go');
is($node->safe_psql('postgres', q(SELECT temporal.rebind_server('temporal'))), '2', 'until it is bound to it, with the one to nowhere');
ok_sent($orphan, 'then it is sent at once');

# A role that is dropped after its request was made
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$closed_port')");
my $left_behind = make('third', 'temporal');
ok_waits($left_behind, 'CONNECTION_FAILED', 'nobody listens: the request waits');
$node->safe_psql('postgres', 'DROP ROLE third');
$node->safe_psql('postgres', "ALTER SERVER temporal OPTIONS (SET address '" . $temporal->foreign_address . "')");
ok_waits($left_behind, 'NOT_PERMITTED', 'the request of a role that is gone waits');
is($node->safe_psql('postgres', q(SELECT temporal.discard_requests('temporal', 'third'))), '1', 'and can be given up');

# A namespace whose name is converted.  Temporal knows it, or the answer would be
# NOT_FOUND; it fails (1.32), because it hands the name on in a header.
$node->safe_psql('postgres', q(CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'));
$node->safe_psql('latin1', <<"EOS");
SET client_encoding = 'UTF8';
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (@{[$temporal->foreign_server]}, namespace 'größe');
SELECT temporal.complete_activity_by_id('none', 'a');
EOS
ok($node->poll_query_until('latin1', 'SELECT error_code FROM temporal.request', 'INTERNAL'),
	'a namespace that is not ASCII is found');

# Rows that are no requests
$node->safe_psql('postgres', <<'EOS');
INSERT INTO temporal_internal.outbox (id, xid, requested_at, queue, written_by, method, maybe_sent, request)
SELECT nextval('temporal_internal.request_id'), pg_current_xact_id(), now(),
       temporal_internal.queue_number((SELECT oid FROM pg_foreign_server WHERE srvname = 'temporal'), 'default', 'good'::regrole), temporal_internal.writing_transaction(), m.method, false, m.request
  FROM (VALUES (99::smallint, '\x00'::bytea), (1, '\xffffffffff'), (1, '\x0b'), (3, '\x0a05'), (7, '\x0a800001')) m(method, request);
EOS
ok_sent(make('good', 'temporal'), 'a request behind poisoned ones');
await_finished($node, q(server = 'temporal' AND namespace = 'default'));
is($node->safe_psql('postgres', q(SELECT error_code, count(*) FROM temporal_internal.rejected WHERE error_code <> 'NOT_FOUND' GROUP BY 1)),
	'MALFORMED|5', 'poisoned ones are put aside');

is(states($node, 'finished_at IS NULL'), 'retrying|1', 'what waits is the request to a namespace that does not exist');
my $log = slurp_file($node->logfile);
unlike($log, qr/good-key|bad-key/, 'no secret in the log');

done_testing();
