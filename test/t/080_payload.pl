# Values of the type temporal.payload stay what they are: through COPY in both
# forms, a dump, and databases in other encodings.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');

my %encoding_of = (copies => 'UTF8', latin => 'LATIN1', ascii => 'SQL_ASCII');
foreach my $database (sort keys %encoding_of)
{
	$node->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING '$encoding_of{$database}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION temporal_complete');
}

my $values = qq(
	CREATE TABLE answer (id integer PRIMARY KEY, value temporal.payload);
	INSERT INTO answer VALUES
		(1, '{"a":  [1, 2]}'), (2, '"caf\xC3\xA9"'), (3, '\\x00ff'::bytea), (4, NULL), (5, '"\\\\x"'),
		(6, temporal.payload('binary/encrypted', '\\xc0ffee', '{"key": "\xC3\xA9"}')),
		(7, pg_catalog.to_jsonb(pg_catalog.repeat('long ', 100000))););
my $all = "SELECT id, temporal_internal.payload_send(value) FROM answer ORDER BY id";

foreach my $database (sort keys %encoding_of)
{
	my $client = $encoding_of{$database} eq 'SQL_ASCII' ? 'SQL_ASCII' : 'UTF8';
	local $ENV{PGCLIENTENCODING} = $client;

	$node->safe_psql($database, $values);
	my $before = $node->safe_psql($database, $all);
	like($before, qr/^2\|\\x\S*22636166c3a922$/m, "$encoding_of{$database}: UTF-8 is what is sent");

	my $file = $node->basedir . "/$database.copy";
	foreach my $format (qw(text csv binary))
	{
		$node->safe_psql($database, "\\copy answer TO '$file' (FORMAT $format)\nTRUNCATE answer;\n\\copy answer FROM '$file' (FORMAT $format)");
		is($node->safe_psql($database, $all), $before, "$encoding_of{$database}: COPY, $format");
	}

	my ($dump) = run_command([ 'pg_dump', '--no-sync', '-t', 'answer', '-d', $node->connstr($database) ]);
	$node->safe_psql($database, 'DROP TABLE answer');
	$node->safe_psql($database, $dump);
	is($node->safe_psql($database, $all), $before, "$encoding_of{$database}: dump and restore");
}

# JSON of another database may hold what this one has no character for: it is shown in the other form
my $file = $node->basedir . '/characters.copy';
$node->safe_psql('copies', qq(TRUNCATE answer; INSERT INTO answer VALUES (1, '"\xE6\x97\xA5"');\n\\copy answer TO '$file' (FORMAT binary)));
$node->safe_psql('latin', "TRUNCATE answer;\n\\copy answer FROM '$file' (FORMAT binary)");
my $shown = $node->safe_psql('latin', 'SELECT value FROM answer');
like($shown, qr/^\\x0a160a08656e636f64696e67120a6a736f6e2f706c61696e120522e697a522$/, 'what has no character here');
$node->safe_psql('latin', "INSERT INTO answer VALUES (2, '$shown')");
is($node->safe_psql('latin', 'SELECT count(DISTINCT temporal_internal.payload_send(value)) FROM answer'), '1', 'and is read again as what it was');

# What a client sends in binary form is looked at.
open(my $crafted, '>', $file) or die $!;
binmode($crafted);
print $crafted "PGCOPY\n\xFF\r\n\0" . pack('N2', 0, 0);
my $message = "\x0a\x16\x0a\x08encoding\x12\x0ajson/plain\x12\x03\"\xFF\"";
print $crafted pack('n N N N', 2, 4, 9, length($message)) . $message . pack('n', 0xFFFF);
close($crafted);
my ($status, undef, $err) = $node->psql('copies', "\\copy answer FROM '$file' (FORMAT binary)");
like($err, qr/invalid value for type temporal\.payload\nDETAIL:  With the encoding "json\/plain" its data has to be JSON in UTF-8/,
	'JSON that is none');

$node->stop;
done_testing();
