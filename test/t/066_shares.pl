# One role, or the servers that it uses, take all that they can get of what the
# worker has: others' requests are delivered meanwhile.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => "autovacuum = off\nmax_files_per_process = 1000");
my $n = 0;
my %stubs;

# A server at an address, or of a stub with these arguments; whoever is in the
# way of others never gives up.
sub add_server
{
	my ($name, $port, $options, @arguments) = @_;

	if (!defined $port)
	{
		$port = PostgreSQL::Test::Cluster::get_free_port();
		$stubs{$name} = { pid => start_stub($port, @arguments), port => $port };
	}
	$node->safe_psql('postgres', <<EOS);
CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:$port', request_timeout '1h', connect_timeout '10min', namespaces '*' $options);
GRANT USAGE ON FOREIGN SERVER $name TO PUBLIC;
EOS
	return;
}

# What a stub has counted
sub counted
{
	my ($name, $what) = @_;
	my $stub = $stubs{$name};
	my $log = "$PostgreSQL::Test::Utils::log_path/066_shares_stub_$stub->{port}.log";
	my $before = -s $log;

	kill('USR1', $stub->{pid});
	await('counts of a stub', sub { -s $log > $before && slurp_file($log) =~ /\}\n\z/ });
	my @lines = split(/\n/, slurp_file($log));
	return JSON::PP::decode_json($lines[-1])->{$what};
}

# Wait until so much at least was counted, and no more comes.
sub await_all
{
	my ($what, $least, @names) = @_;
	my ($last, $same) = (0, 0);

	await("$what of @names", sub {
			my $sum = 0;

			$sum += counted($_, $what) foreach @names;
			$same = $sum == $last ? $same + 1 : 0;
			$last = $sum;
			return $same > 5 && $sum >= $least;
		});
	note("$what: $last");
	return;
}

sub make
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', "SET ROLE $role; $sql");
}

sub ok_finished
{
	my ($server, $state, $what) = @_;

	$n++;
	my $id = make('good', "SELECT temporal.complete_activity_by_id('w', 'a$n', server => '$server')");
	return is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id, '60 s')"),
		$state, $what);
}

$node->safe_psql('postgres', 'CREATE ROLE good; CREATE ROLE bad; CREATE ROLE mistaken');
add_server('honest', undef, '');
add_server('forgetful', undef, '', '--status', '5');
ok_finished('honest', 'delivered', 'a request of the other role');
ok_finished('forgetful', 'rejected', 'one of which nothing is known');
my $worker = worker_pid($node);

# Proofs that are never answered
add_server('silent_proofs', undef, '', '--status', '5', '--hang-path', 'History');
make('bad', "SELECT count(temporal.complete_activity_by_id('w', i::text, server => 'silent_proofs', namespace => 'n' || n))"
	  . ' FROM generate_series(1, 8) i, generate_series(1, 8) n');
await_all('requests', 64 + 16, 'silent_proofs');
ok_finished('forgetful', 'rejected', 'proofs of one role do not keep those of others waiting');

# Requests that are never answered, over several servers and namespaces
foreach my $i (1 .. 2)
{
	add_server("hanging_$i", undef, ", max_in_flight '4096'", '--hang-after', '12300');
	make('bad', "SELECT count(temporal.complete_activity_by_id('w', i::text, server => 'hanging_$i', namespace => 'n' || n))"
		  . ' FROM generate_series(1, 4100) i, generate_series(1, 3) n');
}
await_finished($node, "server LIKE 'hanging%'");
foreach my $i (1 .. 2)
{
	make('bad', "SELECT count(temporal.complete_activity_by_id('h', i::text, server => 'hanging_$i', namespace => 'n' || n))"
		  . ' FROM generate_series(1, 4100) i, generate_series(1, 3) n');
}
await_all('requests', 24600 + 9000, 'hanging_1', 'hanging_2');
ok_finished('honest', 'delivered', 'requests in flight of one role do not keep those of others waiting');

# Large ones: others need not go one by one
add_server('greedy', undef, '', '--hang');
make('bad', "SELECT count(temporal.complete_activity_by_id('w', i::text, to_jsonb(repeat('x', 1900000)), server => 'greedy', namespace => 'n' || n))"
	  . ' FROM generate_series(1, 4) i, generate_series(1, 4) n');
await_all('requests', 4, 'greedy');
add_server('patient', undef, '', '--hang');
make('good', "SELECT count(temporal.complete_activity_by_id('w', i::text, server => 'patient')) FROM generate_series(1, 50) i");
await_all('requests', 50, 'patient');
pass('large requests of one role leave room for many of others');

# A role that cannot connect any more stands before another one
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $refusing = start_stub($port, '--status', '14');
add_server('shared', $port, ", retry_initial_interval '1h', retry_max_interval '1h'");
$node->safe_psql('postgres', 'CREATE USER MAPPING FOR mistaken SERVER shared');
my $id = make('mistaken', "SELECT temporal.complete_activity_by_id('w', 'shared', server => 'shared')");
$node->poll_query_until('postgres', "SELECT state = 'retrying' FROM temporal.request WHERE id = $id");
end_process($refusing, 'KILL');
start_stub($port);
$node->safe_psql('postgres', "ALTER USER MAPPING FOR mistaken SERVER shared OPTIONS (ADD api_key_path '/nowhere/key')");
$node->poll_query_until('postgres',
	"SELECT count(*) > 0 FROM temporal_internal.queue_error e JOIN temporal_internal.queue q ON q.number = e.queue WHERE requested_by = 'mistaken'::regrole AND error_code = 'CONFIGURATION'");
my $other = make('good', "SELECT temporal.complete_activity_by_id('w', 'shared', server => 'shared')");
is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($other, '60 s')"), 'delivered',
	'who cannot send does not keep others from the same activity');
is($node->safe_psql('postgres', "SELECT state FROM temporal.request WHERE id = $id"), 'retrying', 'and waits');

# Servers that take connections and say nothing
add_server('black_hole', undef, '', '--silent');
$node->safe_psql('postgres', <<EOS);
DO \$\$
BEGIN
	FOR i IN 1 .. 400 LOOP
		EXECUTE format('CREATE SERVER hole_%s FOREIGN DATA WRAPPER temporal_complete OPTIONS (address %L, connect_timeout %L)',
			i, '127.0.0.1:$stubs{black_hole}{port}', '10min');
		EXECUTE format('GRANT USAGE ON FOREIGN SERVER hole_%s TO bad', i);
	END LOOP;
END \$\$;
EOS
make('bad', "SELECT count(temporal.complete_activity_by_id('w', 'a', server => 'hole_' || i)) FROM generate_series(1, 400) i");
await_all('connections', 20, 'black_hole');
add_server('late', undef, '');
ok_finished('late', 'delivered', 'connections of one role leave some for others');
$node->safe_psql('postgres', 'CREATE TABLE many(i int); DROP TABLE many;');

ok_finished('honest', 'delivered', 'after all that');
is(worker_pid($node), $worker, 'the same worker');
done_testing();
