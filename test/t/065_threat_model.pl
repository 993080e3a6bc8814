# What doc/threat-model.md says of privileges, tried as roles that have them.
# More of it is in the tests beside this one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Credentials;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');

$node->safe_psql('postgres', <<'EOS');
CREATE ROLE app LOGIN;
CREATE ROLE nobody LOGIN;
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE reader LOGIN IN ROLE pg_read_all_data;
CREATE ROLE files LOGIN IN ROLE pg_read_server_files;
CREATE ROLE signals LOGIN IN ROLE pg_signal_backend;
CREATE ROLE creator LOGIN CREATEDB;
CREATE ROLE dbowner LOGIN;
CREATE ROLE wrapper LOGIN;
CREATE DATABASE owned OWNER dbowner;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:1');
GRANT USAGE ON FOREIGN SERVER temporal TO app;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO wrapper;
CREATE USER MAPPING FOR app SERVER temporal OPTIONS (api_key 'app-credential');
CREATE USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (api_key 'public-credential');
SET ROLE app;
SELECT temporal.complete_activity_by_id('w', 'a', '"the payload"');
EOS

sub says
{
	my ($role, $sql, $pattern, $what, $unwanted) = @_;
	my ($rc, $stdout, $stderr) = as($node, $role, $sql);

	like("$stdout$stderr", $pattern, "$role: $what");
	unlike($stdout, $unwanted // qr/the payload|credential/, "$role: ... and no more");
	return;
}

my $requests = 'SELECT count(*) FROM temporal.request';
my $outbox = 'SELECT convert_from(request, $$SQL_ASCII$$) FROM temporal_internal.outbox';
my $mappings = q(SELECT string_agg(coalesce(umoptions::text, '-'), ' ') FROM pg_user_mappings);

says('nobody', $requests, qr/^0$/, 'sees no requests');
says('nobody', $outbox, qr/permission denied/, 'reads no payloads');
says('nobody', $mappings, qr/^- -$/, 'reads no credentials');
says('nobody', q(SELECT temporal.complete_activity_by_id('w', 'a')), qr/permission denied for foreign server/, 'sends nothing');
says('nobody', q(SELECT temporal.ping()), qr/permission denied for foreign server/, 'pings nothing');
says('app', $outbox, qr/permission denied/, 'reads no payloads, not even its own');
says('app', $mappings, qr/app-credential/, 'reads its own credential', qr/public-credential/);
says('monitor', $requests, qr/^1$/, 'sees requests of others');
says('monitor', $outbox, qr/permission denied/, 'reads no payloads');
says('monitor', $mappings, qr/^- -$/, 'reads no credentials');
says('reader', $outbox, qr/the payload/, 'reads payloads', qr/credential/);
says('reader', 'SELECT string_agg(umoptions::text, $$ $$) FROM pg_user_mapping', qr/app-credential.*public-credential|public-credential.*app-credential/,
	'reads credentials', qr/the payload/);
says('reader', 'DELETE FROM temporal_internal.outbox', qr/permission denied/, 'writes nothing');
says('files', q(CREATE USER MAPPING FOR files SERVER temporal OPTIONS (api_key_path '/x')), qr/permission denied for foreign server/,
	'needs USAGE');
says('wrapper', q(CREATE SERVER own FOREIGN DATA WRAPPER temporal_complete OPTIONS (tls_server_ca_cert_path '/etc/passwd')),
	qr/permission denied to set option/, 'names no files');
says('wrapper', q(CREATE SERVER own FOREIGN DATA WRAPPER temporal_complete), qr/^$/, 'creates servers');

# Workers belong to the superuser.
SKIP:
{
	my %mended = (14 => 140010, 15 => 150005, 16 => 160001);
	my $version = $node->safe_psql('postgres', 'SHOW server_version_num');
	my $worker = await_worker($node);

	skip 'this PostgreSQL lets pg_signal_backend end workers (CVE-2023-5870)', 3 if $version < ($mended{ int($version / 10000) } // 0);
	says('signals', "SELECT pg_terminate_backend($worker)", qr/must be a superuser|permission denied/, 'ends no worker');
	is(worker_pid($node), $worker, 'it is still there');
}

# The owner of a database and CREATEDB
my ($rc, $stdout, $stderr) =
  $node->psql('owned', 'CREATE SCHEMA temporal; CREATE TABLE temporal.outbox (i int)', extra_params => [ '-U', 'dbowner' ]);
is($rc, 0, 'the owner of a database may have a schema of that name');
($rc, $stdout, $stderr) = $node->psql('owned', 'CREATE EXTENSION temporal_complete', extra_params => [ '-U', 'dbowner' ]);
like($stderr, qr/permission denied to create extension/, 'no extension');
($rc, $stdout, $stderr) = $node->psql('owned', 'CREATE EXTENSION temporal_complete');
like($stderr, qr/ERROR:  schema "temporal" exists already/, 'and keeps it out');
says('creator', 'CREATE DATABASE copied TEMPLATE postgres', qr/permission denied to copy database/, 'copies no database of others');

$node->stop;
done_testing();
