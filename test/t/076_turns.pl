# Places for workers are few, and one role has many databases that want them all
# the time: that of another one has its turn before most of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Credentials qw(start_listening requests_of);
use TemporalTest qw(start_stub await);
use Test::More;
use Workers;

my $node = new_cluster('main', <<'EOC');
max_worker_processes = 20
autovacuum = off
temporal_complete.max_workers = 2
EOC
$node->start;
my ($hole, $attempts) = start_listening('--hang');
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);

my $many = 8;
my @his = map { "his$_" } 1 .. $many;
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN CREATEDB; CREATE ROLE alice LOGIN CREATEDB');
$node->safe_psql('postgres', "SET ROLE mallory; CREATE DATABASE $_") foreach @his;
$node->safe_psql('postgres', 'SET ROLE alice; CREATE DATABASE hers');
install_extension($node, @his, 'hers');
foreach my $database (@his, 'hers')
{
	my $address = $database eq 'hers' ? $port : $hole;

	$node->safe_psql($database,
		"ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:$address', request_timeout '1h'); GRANT USAGE ON FOREIGN SERVER temporal TO mallory, alice");
}

# a token: what may have been sent is sent again at once
my $request = q(SELECT temporal.complete_activity('\x0a0464656661120177a2060161'::bytea, '1'));
sub as_role
{
	my ($role, $database, $sql) = @_;
	my ($rc, $out, $err) = $node->psql($database, $sql, extra_params => [ '-U', $role ]);

	is($rc, 0, "$role in $database") or diag($err);
	return $out;
}
# Turns that his databases have had: each begins with a connection of its own.
sub his_turns { my %seen = map { (split)[0] => 1 } requests_of($attempts); return scalar(keys %seen); }

as_role('mallory', $_, $request) foreach @his;
await('his first turns', sub { his_turns() >= 2 });
foreach my $n (1 .. 2)
{
	my $before = his_turns();
	my $id = as_role('alice', 'hers', $request);

	$node->poll_query_until('hers', "SELECT count(*) = 0 FROM temporal_internal.outbox WHERE id = $id");
	is(as_role('alice', 'hers', "SELECT state FROM temporal.request WHERE id = $id"), 'delivered', 'hers is delivered');
	cmp_ok(his_turns() - $before, '<', $many - 2, 'and has not waited for all of his');
	await('his next turns', sub { his_turns() >= $before + $many / 2 });
}

$node->stop('fast');
done_testing();
