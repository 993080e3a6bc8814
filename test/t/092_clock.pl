# health() says that the clock of Temporal is far off, where that can be known:
# by the header "date" of answers, over HTTP and over gRPC behind a proxy.

use strict;
use warnings FATAL => 'all';

use FindBin;
use POSIX ();
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => 'fsync = off');
my $stub;
my $port = PostgreSQL::Test::Cluster::get_free_port();

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub found { return sql(q(SELECT status || ': ' || coalesce(detail, '') FROM temporal.health() WHERE check_name = 'clock')); }
sub date { my ($seconds) = @_; return POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time() + $seconds)); }

# A request to a server whose answers have such a date
sub send_to
{
	my (@date) = @_;

	end_process($stub, 'TERM') if defined $stub;
	$stub = start_stub($port, map { ('--date', $_) } @date);
	sql('DROP SERVER IF EXISTS temporal CASCADE');
	sql("CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port')");
	my $id = sql("SELECT temporal.complete_activity_by_id('w', 'a')");
	is(sql("SELECT state FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"), 'delivered', 'a request');
	await('its statistics', sub { sql('SELECT delivered > 0 AND connected FROM temporal.stat_server') eq 't' });
	return;
}

is(found(), 'ok: ', 'nothing is known');
send_to(date(-3600));
await('a clock that is behind', sub { found() =~ /^warning: server temporal: its clock, or that of a proxy, is 3[56]\d\d seconds behind$/ });
send_to(date(600));
await('a clock that is ahead', sub { found() =~ /^warning: server temporal: its clock, or that of a proxy, is [56]\d\d seconds ahead$/ });
send_to(date(0));
await('a clock that is right', sub { sql('SELECT abs(clock_ahead) < 60 FROM temporal.stat_server') eq 't' });
is(found(), 'ok: ', 'a clock that is right is no matter');
foreach my $date ('', 'now', 'Sun, 06 Xyz 1994 08:49:37 GMT', 'Sunday, 06-Nov-94 08:49:37 GMT', 'x' x 3000)
{
	send_to($date);
	is(sql('SELECT clock_ahead FROM temporal.stat_server'), '', 'what is no date is passed over');
}
send_to();
is(sql('SELECT clock_ahead FROM temporal.stat_server'), '', 'who does not tell is not known');

# The HTTP API of the real server
my $temporal = start_temporal('main', http => 1);
sql("CREATE SERVER http FOREIGN DATA WRAPPER temporal_complete OPTIONS (transport 'http', address '" . $temporal->http_address . "')");
sql("SELECT temporal.complete_activity_by_id('w', 'a', server => 'http')");
await('what time it is there', sub { sql(q(SELECT abs(clock_ahead) < 60 FROM temporal.stat_server WHERE server = 'http')) eq 't' });
is(found(), 'ok: ', 'the real server tells by HTTP');

done_testing();
