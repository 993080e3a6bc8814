# A clock that was put back: times that were noted before lie in the future.
# Nobody waits for them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => 'temporal_complete.safety_poll_interval = 1h');
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
$node->safe_psql('postgres', <<"EOS");
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (address '127.0.0.1:$port', retry_initial_interval '100ms', retry_max_interval '200ms');
EOS

$node->append_conf('postgresql.conf', 'temporal_complete.enabled = off');
$node->reload;
await('the worker to leave', sub { worker_pid($node) eq '' });
my $id = $node->safe_psql('postgres', q(SELECT temporal.complete_activity_by_id('w', 'a')));
$node->safe_psql('postgres', <<"EOS");
UPDATE temporal_internal.outbox
  SET attempts = 3, next_attempt_at = now() + interval '1 year', written_by = temporal_internal.writing_transaction();
UPDATE temporal_internal.delivery_segment SET since = now() + interval '1 year';
EOS
$node->append_conf('postgresql.conf', 'temporal_complete.enabled = on');
$node->reload;
is($node->safe_psql('postgres', "SELECT state FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"),
	'delivered', 'a request that is to be tried in a year is tried');
ok($node->poll_query_until('postgres', 'SELECT since <= now() FROM temporal_internal.delivery_segment'),
	'outcomes are not kept for a year');
is($node->safe_psql('postgres', 'SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1'), 0, 'nor dropped at once');

done_testing();
