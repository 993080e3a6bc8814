# What another attack found: bytes of a caller that kept a session busy beyond
# any timeout, a loss of power that passed for crashes of workers, and a lock
# that made a worker take for sent what nobody had sent.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main');
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);

$node->safe_psql('postgres', <<"EOS");
CREATE ROLE app LOGIN;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port');
GRANT USAGE ON FOREIGN SERVER temporal TO app;
EOS

# What the role app gets for a statement; undef if it does not end.
my $timed_out = 0;

sub answer
{
	my ($sql) = @_;
	my ($stdout, $stderr);

	return if $timed_out;
	$node->psql('postgres', $sql, stdout => \$stdout, stderr => \$stderr, extra_params => [ '-U', 'app' ],
		timeout => $PostgreSQL::Test::Utils::timeout_default, timed_out => \$timed_out);
	return $timed_out ? undef : "$stdout$stderr";
}

sub varint
{
	my ($n) = @_;

	return $n < 128 ? chr($n) : chr($n & 127 | 128) . varint($n >> 7);
}

# A field of a message that has bytes
sub field
{
	my ($number, $bytes) = @_;

	return varint($number << 3 | 2) . varint(length($bytes)) . $bytes;
}

sub literal { return q('\x) . unpack('H*', $_[0]) . q('); }

# Each key of the metadata was compared with all before it, and each zero byte
# of an id had the rest of it looked at: minutes for what was sent in a second,
# in which nobody could end the session.
sub payload
{
	my ($entries) = @_;

	return literal(field(1, field(1, 'encoding') . field(2, 'x'))
		  . join('', map { field(1, field(1, $_)) } 1 .. $entries - 1))
	  . '::temporal.payload';
}
is(answer('SELECT temporal.payload_parts(' . payload(256) . ') IS NOT NULL'), 't', 'metadata has as many entries as anybody needs');
like(answer('SELECT ' . payload(257)), qr/invalid value for type temporal\.payload/, 'and no more');
like(answer('SELECT ' . payload(400_000)), qr/invalid value for type temporal\.payload/, 'which is found at once');
like(answer(q(SELECT temporal.payload('x', '', (SELECT jsonb_object_agg(i, '') FROM generate_series(1, 256) i)))),
	qr/metadata must not have more than 255 keys/, 'nor are more made');
my $token = field(1, 'n') . field(2, "\0" x 3_000_000);
like(answer('BEGIN; SELECT temporal.complete_activity(' . literal($token) . '); ROLLBACK'), qr/^[0-9]+$/, 'zero bytes in a token');
like(answer('SELECT temporal.complete_activity(' . literal(field(1, 'n') . field(2, "\0\0\xff")) . ')'),
	qr/task_token is not a task token/, 'behind which is looked, too');

# A worker begins while the note of the one before it is locked, as VACUUM
# does, or COMMIT PREPARED after DROP and CREATE EXTENSION
my $lock = $node->background_psql('postgres');
my $before = await_worker($node, 'postgres');

$lock->query_safe('BEGIN; LOCK TABLE temporal_internal.last_worker');
my $unsent = $node->safe_psql('postgres', "SELECT temporal.complete_activity_by_id('w', 'a')");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($before)");
await_worker($node, 'postgres', $before);
$lock->query_safe('COMMIT');
$lock->quit;
await_finished($node);
is(states($node, "id = $unsent"), 'delivered|1', 'what was not sent is not taken for sent because a table is locked');

SKIP:
{
	skip 'a session cannot be ended', 3 if $timed_out;

	# Power is lost, more often in a row than a worker may crash
	my $offset = -s $node->logfile;
	my $worker = '';
	foreach my $time (1 .. 5)
	{
		$node->safe_psql('postgres', "SELECT temporal.complete_activity('\\x0a016e1201771a0172200528013201' || '$time'::bytea)");
		$worker = await_worker($node, 'postgres', $worker);

		my $postmaster = (split(/\n/, slurp_file($node->data_dir . '/postmaster.pid')))[0];
		my @children = split(' ', `ps -o pid= --ppid $postmaster`);

		kill('STOP', $postmaster);
		kill('KILL', @children);
		$node->kill9;
		await('the end of all processes', sub { !kill(0, $postmaster, @children) });
		$node->start;
	}
	ok(await_worker($node, 'postgres', $worker), 'the worker is there again');
	unlike(substr(slurp_file($node->logfile), $offset), qr/temporal_complete (launcher|worker for database "postgres") crashed/,
		'and not blamed for the power');
	await_finished($node);
	is(states($node), 'delivered|6', 'nothing is lost by it');
}

$node->stop($timed_out ? 'immediate' : 'fast');
done_testing();
