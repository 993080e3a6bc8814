# What a second attack found: each of these once got an ordinary role what it
# must not have.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');

$node->safe_psql('postgres', <<'EOS');
CREATE ROLE mallory LOGIN CREATEDB;
CREATE ROLE victim LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO mallory;
EOS

sub sql
{
	my ($role, $database, $sql) = @_;

	return $node->safe_psql($database, $sql, connstr => $node->connstr($database) . " user=$role");
}

sub fails
{
	my ($role, $database, $sql, $pattern, $what) = @_;
	my ($rc, $stdout, $stderr) = $node->psql($database, $sql, connstr => $node->connstr($database) . " user=$role");

	return like($stderr, $pattern, $what);
}

# The owner of a server alters a mapping without credentials, and before the
# statement looks it up, gives the name of its server to the one where the
# victim's credentials are: here a lock holds the statement up for so long.
sql('mallory', 'postgres', <<'EOS');
CREATE SERVER target FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1', tls 'true');
CREATE SERVER decoy FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
GRANT USAGE ON FOREIGN SERVER target TO victim;
CREATE USER MAPPING FOR victim SERVER decoy;
EOS
sql('victim', 'postgres', q(SET client_min_messages = error; CREATE USER MAPPING FOR victim SERVER target OPTIONS (api_key 'of-the-victim')));

my $lock = $node->background_psql('postgres');
my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'mallory' ]);

# what the statement looks up before is known to the session
$session->query('SELECT count(*) FROM pg_user_mappings');
$session->query(q(ALTER USER MAPPING FOR victim SERVER decoy OPTIONS (ADD allow_unverified_server 'true')));
$lock->query_safe('BEGIN; LOCK TABLE pg_catalog.pg_user_mapping IN SHARE MODE');
$session->query_until(qr/go/, <<'EOS');
\echo go
ALTER USER MAPPING FOR victim SERVER decoy OPTIONS (ADD trust_server_owner 'true');
EOS
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_locks WHERE NOT granted') or fail('the statement waits');
sql('mallory', 'postgres', 'BEGIN; ALTER SERVER decoy RENAME TO aside; ALTER SERVER target RENAME TO decoy; COMMIT');
$lock->query_safe('COMMIT');
$lock->quit;
$session->query('SELECT 1');
like($session->{stderr}, qr/permission denied to alter a user mapping that keeps credentials of role "victim"/,
	'what is altered is what is looked at, whatever it is called meanwhile');
$session->quit;
is($node->safe_psql('postgres', q(SELECT string_agg(umoptions::text, ' ') FROM pg_user_mapping WHERE umoptions::text LIKE '%api_key%')),
	'{api_key=of-the-victim}', 'who owns the server does not speak for the victim');

# A database is known by its OID, and who may create one may choose it.
$node->safe_psql('postgres', 'CREATE DATABASE original OWNER mallory');
$node->safe_psql('original', <<'EOS');
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
GRANT USAGE ON FOREIGN SERVER temporal TO victim;
EOS
my $id = sql('victim', 'original', q(SELECT temporal.complete_activity_by_id('w', 'a')));
my $oid = $node->safe_psql('postgres', q(SELECT oid FROM pg_database WHERE datname = 'original'));
sql('mallory', 'postgres', 'CREATE DATABASE copy TEMPLATE original');
sql('mallory', 'postgres', 'DROP DATABASE original');
SKIP:
{
	skip 'this PostgreSQL has no such option', 1 if $node->pg_version < 15;
	fails('mallory', 'postgres', "CREATE DATABASE again TEMPLATE copy OID $oid",
		qr/permission denied to choose the OID of a database/, 'a copy does not become the original');
}
is($node->safe_psql('copy', "SELECT state FROM temporal.request WHERE id = $id"), 'held', 'its requests are held');
sql('mallory', 'postgres', 'CREATE DATABASE another TEMPLATE copy');
is($node->safe_psql('another', "SELECT state FROM temporal.request WHERE id = $id"), 'held', 'and those of a copy of it');

# In a copy within the cluster a role is its OID, whoever has its name now.
$node->safe_psql('postgres', 'ALTER ROLE victim RENAME TO formerly; CREATE ROLE victim LOGIN');
is(sql('victim', 'copy', 'SELECT count(*) FROM temporal.request'), 0, 'a role does not see what another one of its name asked for');
fails('victim', 'copy', "SELECT temporal.discard_request($id)", qr/there is no request/, 'nor discards it');
is(sql('formerly', 'copy', 'SELECT requested_by FROM temporal.request'), 'formerly', 'it still belongs to the one who did');

# Each message of the log is looked through for secrets, and nothing interrupts that.
my $long = 'SELECT no_such_column /* ' . 'user/*' x 2_000_000 . '*/' x 2_000_000 . '*/';
my $unended = q(SELECT no_such_column, ') . 'user/*' x 2_000_000 . q(');
my $timed_out = 0;
foreach my $statement ($long, $unended)
{
	my $stderr;

	$node->psql('postgres', $statement, stderr => \$stderr, extra_params => [ '-U', 'victim' ],
		timeout => $PostgreSQL::Test::Utils::timeout_default, timed_out => \$timed_out);
	ok(!$timed_out, 'a long statement is looked through once');
	last if $timed_out;
}

$node->stop($timed_out ? 'immediate' : 'fast');
done_testing();
