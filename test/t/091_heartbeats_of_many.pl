# Heartbeats of a role that has very many of them, and of a table that somebody
# has locked, stop nobody else.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $calls = scratch('calls');
start_stub($port, '--calls', $calls);
my $node = new_cluster('main', settings => 'fsync = off');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub here { return -s $calls // 0; }
sub called { my ($since) = @_; return map { [ split / / ] } split(/\n/, slurp_file($calls, $since)); }
sub beats { my ($id, $since) = @_; return grep { $_->[1] =~ /Heartbeat/ && $_->[2] == $id } called($since); }
sub delivered
{
	my $id = sql(q(SET ROLE few; SELECT temporal.complete_activity_by_id('w', 'x', server => 'temporal')));
	return sql("SELECT state FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')");
}

sql(<<"EOS");
CREATE ROLE many;
CREATE ROLE few;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port', namespaces '*');
GRANT USAGE ON FOREIGN SERVER temporal TO many, few;
EOS
sub record
{
	my ($role, $key) = @_;

	return "SET ROLE $role; SELECT temporal.record_activity_by_id('$key', 'w', '$key', heartbeat => true,"
	  . q{ heartbeat_interval => '1 s', server => 'temporal')};
}
sql(record('few', 'first'));
my $first = sql('SELECT max(id) FROM temporal_internal.recorded_activity');
my $since = here();
await('its heartbeats', sub { beats($first, $since) >= 2 });

# Somebody has locked the recordings: requests go on, and heartbeats when it is over
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE temporal_internal.recorded_activity');
is(delivered(), 'delivered', 'a request while the recordings are locked') for 1 .. 3;
$since = here();
is(delivered(), 'delivered', 'and another one');
is(scalar(beats($first, $since)), 0, 'no heartbeats meanwhile');
$holder->query_safe('ROLLBACK');
await('heartbeats after it', sub { beats($first, $since) >= 2 });
$holder->query_safe('BEGIN; LOCK TABLE temporal_internal.heartbeat_answer');
$since = here();
await('heartbeats while the answers are locked', sub { beats($first, $since) >= 2 });
is(delivered(), 'delivered', 'a request while the answers are locked');
$holder->quit;

# A table that is written anew has its rows elsewhere
$since = here();
sql('VACUUM FULL temporal_internal.recorded_activity');
await('heartbeats after VACUUM FULL', sub { beats($first, $since) >= 2 });
pass('rows are found where they are');

# A role that has more than the worker can send, in many namespaces
sql(q(SET ROLE many; SELECT count(temporal.record_activity_by_id(n::text, 'w', n::text, heartbeat => true, heartbeat_interval => '1 s',
	server => 'temporal', namespace => 'n' || n % 100)) FROM pg_catalog.generate_series(1, 200000) n));
await('its heartbeats', sub { (-s $calls) > 200000 * 40 });
$since = here();
is(delivered(), 'delivered', 'a request of another role') for 1 .. 20;
await('heartbeats of another role', sub { beats($first, $since) >= 5 });
my @times = map { $_->[0] } beats($first, $since);
note('apart: ' . join(' ', map { $times[$_] - $times[ $_ - 1 ] } 1 .. $#times));
pass('both go on');

done_testing();
