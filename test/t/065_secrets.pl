# Secrets in statements about user mappings, whatever becomes of these: they
# are neither in the log, nor in pg_stat_statements, nor in pg_stat_activity.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Credentials;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

# The libraries in either order; little is logged, and all
my %clusters = (
	little => [ "shared_preload_libraries = 'pg_stat_statements, temporal_complete'", 'log_min_error_statement = error' ],
	all => [
		"shared_preload_libraries = 'temporal_complete, pg_stat_statements'", 'log_statement = all',
		'log_min_duration_statement = 0', 'log_error_verbosity = verbose', 'log_min_messages = debug1'
	],
);

my $pem = "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----";

# Statements that fail, with what each says; each has a secret of its own
my @failing = (
	[ 'app', q(CREATE USER MAPPING FOR app SERVER nowhere OPTIONS (api_key 'SECRET')), 'server "nowhere" does not exist' ],
	[ 'app', q(CREATE USER MAPPING FOR nobody SERVER temporal OPTIONS (api_key 'SECRET')), 'role "nobody" does not exist' ],
	[ 'app', q(CREATE USER MAPPING FOR other SERVER temporal OPTIONS (api_key 'SECRET')), 'must be owner of foreign server' ],
	[ 'app', q(CREATE USER MAPPING FOR app SERVER forbidden OPTIONS (api_key 'SECRET')), 'permission denied for foreign server' ],
	[ 'app', q(CREATE USER MAPPING FOR app SERVER temporal OPTIONS (api_key 'SECRET')), 'already exists' ],
	[ 'app', q(CREATE USER MAPPING FOR app SERVER temporal OPTIONS (api_key 'SECRET', api_key 'SECRET')), 'already exists' ],
	[ 'other', q(CREATE USER MAPPING FOR other SERVER temporal OPTIONS (api_key 'SECRET', api_key 'SECRET')), 'provided more than once' ],
	[ 'other', q(ALTER USER MAPPING FOR other SERVER temporal OPTIONS (SET api_key 'SECRET')), 'does not exist' ],
	[ 'other', q(ALTER USER MAPPING FOR app SERVER temporal OPTIONS (SET api_key 'SECRET')), 'must be owner of foreign server' ],
	[ 'app', q(ALTER USER MAPPING FOR app SERVER temporal OPTIONS (ADD api_key 'SECRET')), 'provided more than once' ],
	[ 'app', q(ALTER USER MAPPING FOR app SERVER temporal OPTIONS (SET grpc_meta_x 'SECRET')), 'not found' ],
	[ 'app', q(ALTER USER MAPPING FOR app SERVER temporal OPTIONS (ADD tls_client_key_data 'PEM')), 'do not go together' ],
	[ 'app', q(ALTER USER MAPPING FOR app SERVER temporal OPTIONS (SET api_key 'SECRET with a blank')), 'invalid value' ],
	[ 'app', q(ALTER USER MAPPING FOR app SERVER temporal OPTIONS (ADD proxy_auth 'SECRET')), 'invalid value' ],
	[ 'app', q(ALTER USER MAPPING FOR app SERVER temporal OPTION (ADD proxy_auth 'shop:SECRET')), 'syntax error' ],
	[ 'app', q(CREATE USER MAPPING FOR app SERVER nowhere OPTIONS (proxy_auth 'shop:SECRET')), 'does not exist' ],
	[ 'app', q(ALTER SERVER temporal OPTIONS (ADD proxy_auth 'shop:SECRET')), 'must be owner', 'a server' ],
	[ 'app', q(ALTER USER MAPPING FOR app SERVER temporal OPTIONS (ADD api_kee 'SECRET')), 'invalid option', 'misspelt' ],
	[ 'other', q(CREATE USER MAPPING FOR app SERVER temporal OPTIONS (api_kee 'SECRET')), 'must be owner', 'misspelt' ],
	[ 'app', q(ALTER USER MAPPING FOR app SERVER temporal OPTION (SET api_key 'SECRET')), 'syntax error' ],
	[ 'app', q(BEGIN; SELECT 1/0; ALTER USER MAPPING FOR app SERVER temporal OPTIONS (SET api_key 'SECRET')), 'division by zero' ],
	[ 'app', q(BEGIN READ ONLY; ALTER USER MAPPING FOR app SERVER temporal OPTIONS (SET api_key 'SECRET')), 'read-only transaction' ],
	[ 'app', q(DO $$ BEGIN EXECUTE 'CREATE USER MAPPING FOR app SERVER nowhere OPTIONS (api_key ''SECRET'')'; END $$), 'does not exist' ],
	[ 'app', q(DO $$ BEGIN CREATE USER MAPPING FOR app SERVER temporal OPTIONS (api_key 'SECRET'); END $$), 'already exists' ],
	[ 'app', q(SELECT run('CREATE USER MAPPING FOR app SERVER nowhere OPTIONS (api_key ''SECRET'')')), 'does not exist' ],
	[ 'app', q(CREATE SERVER new FOREIGN DATA WRAPPER temporal_complete OPTIONS (api_key 'SECRET')), 'permission denied', 'a server' ],
	[ 'app', q(ALTER SERVER temporal OPTIONS (ADD api_key 'SECRET')), 'must be owner', 'a server' ],
	[ 'app', q(ALTER FOREIGN DATA WRAPPER temporal_complete OPTIONS (ADD api_key 'SECRET')), 'permission denied', 'a server' ],
);

# Statements that do not
my @succeeding = (
	q(ALTER USER MAPPING FOR app SERVER temporal OPTIONS (SET api_key 'SECRET')),
	q(ALTER USER MAPPING FOR app SERVER temporal OPTIONS (ADD proxy_auth 'shop:SECRET'); ALTER USER MAPPING FOR app SERVER temporal OPTIONS (DROP proxy_auth)),
	q(DROP USER MAPPING FOR app SERVER temporal; CREATE USER MAPPING FOR app SERVER temporal OPTIONS (api_key 'SECRET')),
	q(alter  user /* x */ mapping for APP server temporal options (set "api_key" 'SECRET')),
	q(DO $$ BEGIN EXECUTE 'ALTER USER MAPPING FOR app SERVER temporal OPTIONS (SET api_key ''SECRET'')'; END $$),
);

my $secrets = 0;

sub with_secret
{
	my ($sql) = @_;
	my $secret = 's3cr3t' . ++$secrets . 'z';

	$sql =~ s/PEM/$pem/g;
	$sql =~ s/SECRET/$secret/g;
	return ($sql, $secret);
}

foreach my $name (sort keys %clusters)
{
	my $node = new_cluster($name, settings => join("\n", @{ $clusters{$name} }));

	$node->safe_psql('postgres', <<'EOS');
CREATE EXTENSION pg_stat_statements;
CREATE ROLE app LOGIN;
CREATE ROLE other LOGIN;
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
CREATE SERVER forbidden FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
GRANT USAGE ON FOREIGN SERVER temporal TO app, other;
CREATE USER MAPPING FOR app SERVER temporal;
ALTER USER MAPPING FOR app SERVER temporal OPTIONS (ADD api_key 'x');
CREATE FUNCTION run(statement text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; END $$;
EOS

	my @cases = (@failing, map { [ 'app', $_ ] } @succeeding);

	foreach my $case (@cases)
	{
		my ($role, $text, $says, $kind) = @$case;

		# what is logged before a statement is understood
		next if defined $kind && $name eq 'all';

		my ($sql, $secret) = with_secret($text);
		my $begin = -s $node->logfile;

		# in one message, and as psql sends it
		foreach my $whole (0, 1)
		{
			next if $whole && $text !~ /;/;
			my ($rc, $stdout, $stderr) = $whole
			  ? $node->psql('postgres', undef, extra_params => [ '-U', $role, '-c', $sql ])
			  : as($node, $role, "\\set ON_ERROR_STOP off\n$sql\n;");

			like($stderr, qr/\Q$says\E/, "$name: $text") if defined $says;
			is($stderr, '', "$name: $text") if !defined $says && !$whole;
		}
		unlike(substr(slurp_file($node->logfile), $begin), qr/$secret/, "$name: the secret is not in the log");
		is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%' || '$secret' || '%'"
			  . q( AND query NOT LIKE 'SELECT count%')), '0', "$name: nor in pg_stat_statements");
	}

	like(slurp_file($node->logfile), qr/current transaction is aborted/, "$name: a transaction that had failed");

	# other statements are logged and recorded as ever
	my $begin = -s $node->logfile;
	as($node, 'app', q(SELECT 'mapping of user', no_such_column AS api_key_of_mine));
	like(substr(slurp_file($node->logfile), $begin), qr/STATEMENT:  .*no_such_column AS api_key_of_mine/, "$name: other statements are logged");
	$begin = -s $node->logfile;
	as($node, 'app', q(SELECT 1 FROM nowhere));
	like(substr(slurp_file($node->logfile), $begin), qr/STATEMENT:  SELECT 1 FROM nowhere/, "$name: with their text");

	# nobody hides anything else
	if ($name eq 'all')
	{
		$begin = -s $node->logfile;
		as($node, 'app', $_) foreach (
			q~/* user mapping api_key 'x' */ SELECT 'seen 1'~,
			q~/* alter user mapping (api_key '*/ SELECT 'seen 2' /*' */~,
			q~SELECT 'seen 3' -- user mapping api_key '~,
			q~DO $a$ BEGIN /* user mapping api_key '*/ PERFORM 'seen 4'; END $a$~,
			q~SELECT user mapping, 'api_key ''x'' seen 5'~,
			q~ALTER USER MAPPING FOR app SERVER temporal OPTIONS (SET api_key E'it\\'s-one''s$x$'); SELECT 'seen 6'~);
		like(substr(slurp_file($node->logfile), $begin), qr/LOG:  .*seen $_/, "$name: statement $_ is logged") foreach (1 .. 6);
		unlike(substr(slurp_file($node->logfile), $begin), qr/one''s/, "$name: but for the secret");
	}
	$node->safe_psql('postgres', 'CREATE TABLE other_table (i int)');
	is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'CREATE TABLE other_table%')), '1',
		"$name: and recorded");

	# a session that is idle shows its last statement
	my ($sql, $secret) = with_secret($succeeding[0]);
	my ($in, $out) = ("$sql;\n\\echo done\n", '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' user=app', '-f', '-' ], '<', \$in, '>', \$out,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$session->pump until $out =~ /done/;
	unlike(join('', (as($node, 'monitor', q(SELECT query FROM pg_stat_activity WHERE usename = 'app')))[1]), qr/$secret/,
		"$name: pg_monitor does not see it");
	$session->finish;
	$node->stop;
}

done_testing();
