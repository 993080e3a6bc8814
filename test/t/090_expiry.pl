# health() says that a certificate or an API key is about to expire, of those
# with which a server was connected.

use strict;
use warnings FATAL => 'all';

use FindBin;
use MIME::Base64 qw(encode_base64url);
use lib "$FindBin::RealBin/../perl";
use Credentials;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

# Certificates are for two days
my $certificates = make_certificates('server', 'client');
my $ca = slurp_file("$certificates/ca.crt");
my ($port) = start_listening('--tls-cert', "$certificates/server.crt", '--tls-key', "$certificates/server.key");
my $node = new_cluster('main', settings => 'fsync = off');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub found { return sql(q(SELECT status || ': ' || coalesce(pg_catalog.regexp_replace(detail, 'at [^\n]*', 'at', 'g'), '') FROM temporal.health() WHERE check_name = 'expiring')); }

# A JWT that expires then, as Temporal Cloud's keys are
sub key { my ($claims) = @_; return join('.', encode_base64url('{"alg":"none"}'), encode_base64url($claims), 'c2lnbmF0dXJl'); }

# A request with those options of the user mapping
sub send_with
{
	my ($options) = @_;

	sql("DROP USER MAPPING IF EXISTS FOR CURRENT_USER SERVER temporal; CREATE USER MAPPING FOR CURRENT_USER SERVER temporal OPTIONS ($options)");
	my $id = sql("SELECT temporal.complete_activity_by_id('w', 'a')");
	is(sql("SELECT state FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"), 'delivered', 'a request');
	return;
}

sql("CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', tls_server_ca_cert_data '$ca')");
is(found(), 'ok: ', 'nothing is known of who was not connected');
send_with("api_key 'not.of.that'");
await('the certificate of the server', sub { found() eq 'critical: server temporal: its certificate expires at' });
is(sql(q(SELECT server_certificate_expires_at BETWEEN now() + interval '1 day' AND now() + interval '2 days', client_certificate_expires_at, api_key_expires_at FROM temporal.stat_server)), 't||', 'the statistics say when');

foreach my $claims ('{"exp": "soon"}', '{"exp": -1}', '{"exp": 1e300}', '[' x 5000, '{}', '', '{"exp":')
{
	send_with("api_key '" . key($claims) . "'");
	is(sql('SELECT api_key_expires_at FROM temporal.stat_server'), '', 'a key that does not say so');
}
my $in_a_week = sql(q(SELECT extract(epoch FROM now() + interval '7 days')::bigint));
send_with("api_key '" . key(qq({"sub":"a","exp":$in_a_week})) . "'");
await('the key', sub { found() eq "critical: server temporal: an API key expires at\nserver temporal: its certificate expires at" });
is(sql("SELECT api_key_expires_at = to_timestamp($in_a_week) FROM temporal.stat_server"), 't', 'the statistics say when');
send_with("tls_client_cert_data '" . slurp_file("$certificates/client.crt") . "', tls_client_key_data '" . slurp_file("$certificates/client.key") . "'");
await('the certificate of the client', sub { found() eq "critical: server temporal: a client certificate expires at\nserver temporal: its certificate expires at" });

# What is valid for long is no matter
sql('DROP SERVER temporal CASCADE');
my ($plain) = start_listening();
sql("CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$plain', tls 'false')");
send_with("allow_plaintext_credentials 'true', api_key '" . key('{"exp":4102444800}') . "'");
await('a key for long', sub { sql('SELECT api_key_expires_at = to_timestamp(4102444800) FROM temporal.stat_server') eq 't' });
is(found(), 'ok: ', 'what is valid for long is no matter');
send_with("allow_plaintext_credentials 'true', api_key '" . key(qq({"exp":$in_a_week})) . "'");
await('one for a week', sub { found() eq 'warning: server temporal: an API key expires at' });
my $secret = key(qq({"exp":$in_a_week}));
unlike(slurp_file($node->logfile), qr/\Q$secret\E/, 'the key is not in the log');

done_testing();
