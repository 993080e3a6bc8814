# Connections to codec servers count as those to Temporal do: who has very many
# servers with one, all of which are slow, leaves room for others.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use LyingServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $servers = 80;
my $node = new_cluster('main');
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);

# A Temporal that says who it is when it is told to; a codec server that says nothing.
my $go = scratch('go');
unlink($go);
my $slow = start_liar(sub {
		select(undef, undef, undef, 0.05) until -e $go;
		send_all($_[0], settings());
		until_closed($_[0]);
	});
my $codec = start_liar(sub { until_closed($_[0]); });
END { stop_liar($_) foreach grep { $_ } $slow, $codec; }

$node->safe_psql('postgres', <<"EOS");
CREATE ROLE greedy LOGIN; CREATE ROLE app LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO greedy;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
GRANT USAGE ON FOREIGN SERVER temporal TO app;
SET ROLE greedy;
DO \$\$BEGIN FOR i IN 1..$servers LOOP
	EXECUTE format(\$s\$CREATE SERVER %I FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$slow->{port}',
		codec_endpoint 'http://127.0.0.1:$codec->{port}', connect_timeout '10min')\$s\$, 'greedy_' || i);
END LOOP; END\$\$;
SELECT temporal.complete_activity_by_id('w', 'a', '"x"', server => 'greedy_' || i) FROM generate_series(1, $servers) i;
EOS

# as many as it gets
my $before = -1;
await('connections', sub { my $now = connections_of($slow); my $same = $now > 10 && $now == $before; $before = $now; sleep(1) unless $same; return $same; });
note("connections to Temporal: $before");
append_to_file($go, 'now');
await('connections to the codec server', sub { connections_of($codec) >= $before / 2; });

my $id = $node->safe_psql('postgres', "SET ROLE app; SELECT temporal.complete_activity_by_id('w', 'a', '\"x\"', server => 'temporal')");
await('what another role asks for', sub {
		return $node->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $id") eq 'delivered'; });
pass('another role has a connection');
note('connections to the codec server: ' . connections_of($codec));
$node->stop('immediate');

done_testing();
