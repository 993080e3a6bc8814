# Credentials stay with who gave them: over connections of which it is known
# who is at the other end, and out of reach of a server's owner who could not
# have read them anyway.  Attacks are made as ordinary roles.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Credentials;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $certs = make_certificates('server', 'client');
my ($port, $requests) = start_listening('--tls-cert', "$certs/server.crt", '--tls-key', "$certs/server.key");
my ($plain_port, $plain_requests) = start_listening();
my $node = new_cluster('main');

$node->safe_psql('postgres', <<EOS);
CREATE ROLE owner LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE other LOGIN;
CREATE ROLE dba LOGIN SUPERUSER;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO owner;
EOS

sub attempt { return as($node, @_); }

sub ok_as
{
	my ($role, $sql, $what) = @_;
	my ($rc, undef, $stderr) = attempt($role, $sql);

	return is($rc, 0, $what // $sql) || diag($stderr);
}

# Options of a server that is reached by TLS and verified
my $verified = "address '127.0.0.1:$port', tls_server_ca_cert_path '$certs/ca.crt'";

my $next = 0;

# Make a request; returns its id.
sub make
{
	my ($role, $server) = @_;

	$next++;
	my ($rc, $id, $stderr) = attempt($role,
		"SELECT temporal.complete_activity_by_id('w', 'a$next', server => '$server')");
	die $stderr if $rc != 0;
	return $id;
}

# Which error a request waits with; it was not sent.
sub refused
{
	my ($role, $server) = @_;
	my $id = make($role, $server);
	my $error;

	await("request $id to be refused",
		sub {
			$error = $node->safe_psql('postgres',
				"SELECT state || ': ' || coalesce(error_code || ' ' || error_message, '') FROM temporal.request"
				  . " WHERE id = $id AND (error_code IS NOT NULL OR finished_at IS NOT NULL)");
		});
	return $error;
}

sub delivered
{
	my ($role, $server, $what) = @_;
	my $id = make($role, $server);

	return is($node->safe_psql('postgres',
			"SELECT state, error_code, error_message FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"),
		'delivered||', $what);
}

# What ping says is wrong
sub ping
{
	my ($role, $server) = @_;
	my ($rc, $stdout, $stderr) =
	  attempt($role, "SELECT authorized, error_code, error_message FROM temporal.ping('$server')");

	return "$stdout$stderr";
}

#
# No credential without TLS, nor to whom it cannot be known, unless the user
# mapping says so.
#
$node->safe_psql('postgres', <<EOS);
CREATE SERVER plain FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$plain_port', tls 'false');
GRANT USAGE ON FOREIGN SERVER plain TO app, other;
EOS
ok_as('app', q(CREATE USER MAPPING FOR app SERVER plain OPTIONS (api_key 'app-key')), 'a mapping for a server without TLS');
my (undef, undef, $warning) = attempt('app', q(ALTER USER MAPPING FOR app SERVER plain OPTIONS (SET api_key 'app-key')));
like($warning, qr/WARNING:  user mapping cannot be used as it is\n.*DETAIL:  .*without TLS.*allow_plaintext_credentials/s, 'which warns');
like(refused('app', 'plain'), qr/^retrying: CONFIGURATION .*without TLS.*"?allow_plaintext_credentials/, 'an API key is not sent without TLS');
like(ping('app', 'plain'), qr/CONFIGURATION\|.*allow_plaintext_credentials/, 'ping says so');
delivered('other', 'plain', 'without credentials it is sent');
is(scalar(grep { /authorization/ } requests_of($plain_requests)), 0, 'nothing has been told');

# the server's owner cannot allow it
my ($rc, $stdout, $stderr) = attempt('dba', q(ALTER SERVER plain OPTIONS (ADD allow_plaintext_credentials 'true')));
like($stderr, qr/ERROR:  invalid option "allow_plaintext_credentials".*DETAIL:  It is an option of user mappings/s,
	'that is for the user mapping to allow');
ok_as('app', q(ALTER USER MAPPING FOR app SERVER plain OPTIONS (ADD allow_plaintext_credentials 'true')));
delivered('app', 'plain', 'allowed by the user mapping, it is sent without TLS');
is(scalar(grep { /authorization=Bearer app-key/ } requests_of($plain_requests)) > 0, 1, 'with the key');

# metadata of a user mapping is a credential, too
ok_as('app', q(ALTER USER MAPPING FOR app SERVER plain OPTIONS (DROP allow_plaintext_credentials, DROP api_key, ADD grpc_meta_x_tenant 'blue')));
like(refused('app', 'plain'), qr/CONFIGURATION .*allow_plaintext_credentials/, 'nor is metadata of the mapping');
$node->safe_psql('postgres', q(DROP USER MAPPING FOR app SERVER plain));

$node->safe_psql('postgres', <<EOS);
CREATE SERVER unverified FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:$port', tls_disable_host_verification 'true');
GRANT USAGE ON FOREIGN SERVER unverified TO app, other;
EOS
ok_as('app', q(CREATE USER MAPPING FOR app SERVER unverified OPTIONS (api_key 'unverified-key')));
like(refused('app', 'unverified'), qr/CONFIGURATION .*tls_disable_host_verification.*allow_unverified_server/,
	'an API key is not sent to a server that is not verified');
like(ping('app', 'unverified'), qr/CONFIGURATION\|.*allow_unverified_server/, 'ping says so');
delivered('other', 'unverified', 'without credentials it is sent');
is(scalar(grep { /unverified-key/ } requests_of($requests)), 0, 'the key has not been told');
ok_as('app', q(ALTER USER MAPPING FOR app SERVER unverified OPTIONS (ADD allow_unverified_server 'true')));
delivered('app', 'unverified', 'allowed by the user mapping, it is sent');
is(scalar(grep { /Bearer unverified-key/ } requests_of($requests)) > 0, 1, 'with the key');

#
# A server's owner gets no credential that he could not have read.
#
write_file("$certs/file-key", "file-key\n");
ok_as('owner', "CREATE SERVER owned FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port',"
	  . " tls_server_ca_cert_data '" . slurp_file("$certs/ca.crt") . "')");
ok_as('owner', 'GRANT USAGE ON FOREIGN SERVER owned TO PUBLIC');
ok_as('app', q(CREATE USER MAPPING FOR app SERVER owned OPTIONS (api_key 'app-key-2')));
like(refused('app', 'owned'), qr/CONFIGURATION .*owner of foreign server "owned".*trust_server_owner/,
	'a key is not sent to a server whose owner could not have read it');
like(ping('app', 'owned'), qr/CONFIGURATION\|.*trust_server_owner/, 'ping says so');

# ... who cannot say himself that he is trusted
($rc, $stdout, $stderr) =
  attempt('owner', q(ALTER USER MAPPING FOR app SERVER owned OPTIONS (ADD trust_server_owner 'true')));
like($stderr, qr/ERROR:  permission denied to alter a user mapping that keeps credentials of role "app"/, 'the owner cannot say so himself');
($rc, $stdout, $stderr) =
  attempt('owner', q(ALTER USER MAPPING FOR app SERVER owned OPTIONS (ADD allow_plaintext_credentials 'true')));
like($stderr, qr/ERROR:  permission denied to alter/, 'nor allow anything else');
($rc, $stdout, $stderr) = attempt('owner', q(DO $$ BEGIN
  EXECUTE 'ALTER USER MAPPING FOR app SERVER owned OPTIONS (ADD trust_server_owner ''true'')'; END $$));
like($stderr, qr/ERROR:  permission denied to alter/, 'nor from within a function');
ok_as('owner', q(ALTER USER MAPPING FOR app SERVER owned OPTIONS (SET api_key 'owners-own', ADD trust_server_owner 'true')),
	'he may put a key of his own in its place');
delivered('app', 'owned', 'which is sent');
is(scalar(grep { /app-key-2/ } requests_of($requests)), 0, 'the key of the role has not been told');
ok_as('owner', q(DROP USER MAPPING FOR app SERVER owned));
ok_as('app', q(CREATE USER MAPPING FOR app SERVER owned OPTIONS (api_key 'app-key-3', trust_server_owner 'true')));
delivered('app', 'owned', 'the role itself may trust him');
is(scalar(grep { /Bearer app-key-3/ } requests_of($requests)) > 0, 1, 'then its key is sent');
ok_as('app', q(DROP USER MAPPING FOR app SERVER owned));

# ... and is not made to by what the owner wrote there before
ok_as('owner', q(CREATE USER MAPPING FOR app SERVER owned OPTIONS (api_key 'owners-own', trust_server_owner 'true')));
($rc, $stdout, $stderr) = attempt('app', q(ALTER USER MAPPING FOR app SERVER owned OPTIONS (SET api_key 'app-key-6')));
like($stderr, qr/ERROR:  user mapping trusts the owner of its server.*HINT:  Set or drop it in the same statement/s,
	'the owner says that he is trusted, before the role gives its key');
ok_as('owner', q(ALTER USER MAPPING FOR app SERVER owned OPTIONS (SET api_key 'owners-second')), 'for keys of his own he may');
ok_as('app', q(ALTER USER MAPPING FOR app SERVER owned OPTIONS (SET api_key 'app-key-6', DROP trust_server_owner)));
like(refused('app', 'owned'), qr/CONFIGURATION .*trust_server_owner/, 'without trust the key is not sent');
is(scalar(grep { /app-key-6/ } requests_of($requests)), 0, 'it has not been told');
ok_as('app', q(DROP USER MAPPING FOR app SERVER owned));

# an owner with the privileges of the role could have read it
$node->safe_psql('postgres', 'GRANT app TO owner');
ok_as('app', q(CREATE USER MAPPING FOR app SERVER owned OPTIONS (api_key 'app-key-4')));
delivered('app', 'owned', 'an owner with the privileges of the role is trusted');
$node->safe_psql('postgres', 'REVOKE app FROM owner');
like(refused('app', 'owned'), qr/CONFIGURATION .*trust_server_owner/, 'no longer when they are revoked');
ok_as('app', q(DROP USER MAPPING FOR app SERVER owned));

# files: the superuser gave the mapping one that the owner may not read
ok_as('dba', "CREATE USER MAPPING FOR PUBLIC SERVER owned OPTIONS (api_key_path '$certs/file-key')");
my ($evil_port, $evil_requests) = start_listening('--tls-cert', "$certs/server.crt", '--tls-key', "$certs/server.key");
ok_as('owner', "ALTER SERVER owned OPTIONS (SET address '127.0.0.1:$evil_port')", 'the owner changes the address');
like(refused('other', 'owned'), qr/CONFIGURATION .*owner of foreign server "owned".*pg_read_server_files/,
	'what is in a file is not sent to a server whose owner may not read files');
($rc, $stdout, $stderr) =
  attempt('owner', q(ALTER USER MAPPING FOR PUBLIC SERVER owned OPTIONS (ADD allow_plaintext_credentials 'true')));
like($stderr, qr/ERROR:  permission denied/, 'nor may he change a mapping that names one');
is(scalar(grep { /file-key/ } requests_of($evil_requests)), 0, 'the file has not been told');
ok_as('owner', "ALTER SERVER owned OPTIONS (SET address '127.0.0.1:$port')");
$node->safe_psql('postgres', 'GRANT pg_read_server_files TO owner; SELECT temporal.wake_worker()');
delivered('other', 'owned', 'an owner who may read files is sent it');
is(scalar(grep { /Bearer file-key/ } requests_of($requests)) > 0, 1, 'from the file');
$node->safe_psql('postgres', 'REVOKE pg_read_server_files FROM owner; DROP USER MAPPING FOR PUBLIC SERVER owned');

#
# A server may require that each role has a user mapping of its own.
#
$node->safe_psql('postgres', <<EOS);
CREATE SERVER strict FOREIGN DATA WRAPPER temporal_complete OPTIONS ($verified, require_user_mapping 'true');
GRANT USAGE ON FOREIGN SERVER strict TO app;
CREATE USER MAPPING FOR PUBLIC SERVER strict OPTIONS (api_key 'public-key');
EOS
like(refused('app', 'strict'), qr/CONFIGURATION .*requires a user mapping.*"app"/, 'the mapping for PUBLIC is not used');
like(ping('app', 'strict'), qr/CONFIGURATION\|.*requires a user mapping/, 'ping says so');
ok_as('app', q(CREATE USER MAPPING FOR app SERVER strict OPTIONS (api_key 'app-key-5')));
delivered('app', 'strict', 'with a mapping of its own it is sent');
ok_as('app', q(DROP USER MAPPING FOR app SERVER strict));
like(refused('app', 'strict'), qr/CONFIGURATION .*requires a user mapping/, 'dropping it does not give the one for PUBLIC');
is(scalar(grep { /public-key/ } requests_of($requests)), 0, 'which has not been told');

#
# Secret metadata
#
$node->safe_psql('postgres', <<EOS);
CREATE SERVER meta FOREIGN DATA WRAPPER temporal_complete OPTIONS ($verified, grpc_meta_x_tenant 'all', grpc_meta_x_region 'eu');
GRANT USAGE ON FOREIGN SERVER meta TO app, other;
EOS
foreach my $key ('x_api_key', 'cookie', 'x_auth_token', 'client_secret', 'X_APIKEY')
{
	($rc, $stdout, $stderr) = attempt('dba', qq(ALTER SERVER meta OPTIONS (ADD "grpc_meta_$key" 'hidden-value')));
	like($stderr, qr/ERROR:  invalid value for option.*HINT:  .*user mapping/s, "$key is not for everybody to see");
}
ok_as('app', q(CREATE USER MAPPING FOR app SERVER meta OPTIONS (grpc_meta_x_api_key 'meta-secret', grpc_meta_x_tenant 'blue')));
delivered('app', 'meta', 'metadata of a user mapping');
my ($line) = grep { /meta-secret/ } requests_of($requests);
like($line // '', qr/x-tenant=blue/, 'takes the place of the server\'s');
like($line // '', qr/x-region=eu/, 'and adds to it');
unlike($line // '', qr/x-tenant=all/, 'once');
delivered('other', 'meta', 'a role without a mapping');
is(scalar(grep { /x-tenant=all/ && !/meta-secret/ } requests_of($requests)) > 0, 1, 'has what the server says');
($rc, $stdout, $stderr) = attempt('other', 'SELECT umoptions FROM pg_user_mappings');
unlike($stdout, qr/meta-secret/, 'and does not see what the mapping says');

# ALTER USER MAPPING takes effect at once.
ok_as('app', q(ALTER USER MAPPING FOR app SERVER meta OPTIONS (SET grpc_meta_x_api_key 'second-secret')));
delivered('app', 'meta', 'after ALTER USER MAPPING');
like((requests_of($requests))[-1], qr/x-api-key=second-secret/, 'the new value is sent at once');

# A server that repeats what it was sent
my ($echo_port) = start_listening('--tls-cert', "$certs/server.crt", '--tls-key', "$certs/server.key",
	'--status', 16, '--message', 'bad%20token%20repeated-key%2c%20repeated-key');
$node->safe_psql('postgres', <<EOS);
CREATE SERVER echo FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:$echo_port', tls_server_ca_cert_path '$certs/ca.crt');
GRANT USAGE ON FOREIGN SERVER echo TO app;
EOS
ok_as('app', q(CREATE USER MAPPING FOR app SERVER echo OPTIONS (api_key 'repeated-key')));
like(refused('app', 'echo'), qr/UNAUTHENTICATED bad token \*{12}, \*{12}$/, 'a key that the server repeats is not shown');
like(ping('app', 'echo'), qr/UNAUTHENTICATED\|bad token \*{12}, \*{12}$/, 'nor by ping');

my $log = slurp_file($node->logfile);
unlike($log, qr/app-key|public-key|unverified-key|file-key|meta-secret|second-secret|hidden-value|repeated-key|owners-own|owners-second/,
	'none of it is in the log');
$node->stop;

done_testing();
