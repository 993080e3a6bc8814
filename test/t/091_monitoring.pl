# The files of monitoring/, with the real sql_exporter and Prometheus: each
# metric arrives, by a role that has pg_monitor and nothing else; each alert is
# silent until its cause is made; each expression of the dashboard has data.
# What takes long is left to promtool.

use strict;
use warnings FATAL => 'all';

use FindBin;
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw(encode_base64url);
use lib "$FindBin::RealBin/../perl";
use Credentials;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $directory = "$FindBin::RealBin/../monitoring";
my %program = map { my $name = $_; $name => (grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/bin')[0] }
  qw(prometheus promtool prometheus-sql-exporter);

plan skip_all => 'there is no prometheus, or no sql_exporter' if grep { !defined } values %program;

# Of a file: name of a query => { columns => {name => usage}, query => its text }
sub queries_of
{
	my ($file) = @_;
	my ($name, $column, $list, %queries) = ("", "", "");

	foreach my $line (split(/\n/, slurp_file("$directory/$file")))
	{
		if ($line =~ /^ *(?:- name: )?(temporal_\w+):?$/) { $name = $1; $list = ''; }
		elsif ($line =~ /^ *(\w+):( .*)?$/ && !defined $2) { $list = $1; }
		elsif ($line =~ /^ *query: \|$/) { $list = 'query'; }
		elsif ($line =~ /^ *- (\w+):?$/ && $list eq 'metrics') { $column = $1; }
		elsif ($list =~ /^(?:labels|values)$/ && $line =~ /^ *- (\w+)$/) { $queries{$name}{columns}{$1} = $list; }
		elsif ($line =~ /^ *usage: (\w+)$/) { $queries{$name}{columns}{$column} = $1 eq 'LABEL' ? 'labels' : 'values'; }
		elsif ($list eq 'query' && $line =~ /^ {4,}(\S.*)$/) { $queries{$name}{query} .= "$1\n"; }
		# usage and description of a column do not end the list of them
		$list = 'metrics' if $line =~ /^ *usage:/;
	}
	return \%queries;
}

my $collector = queries_of('sql_exporter.yml');
my @metrics = map { my $name = $_; map { "${name}_$_" } grep { $collector->{$name}{columns}{$_} eq 'values' } keys %{ $collector->{$name}{columns} } }
  keys %{$collector};
cmp_ok(scalar(@metrics), '>=', 25, 'the collector has metrics');

command_ok([ $program{promtool}, 'check', 'config', "$directory/prometheus.yml" ], 'prometheus.yml and alerts.yml are valid');
command_ok([ $program{promtool}, 'test', 'rules', "$directory/alerts_test.yml" ], 'each alert fires in its time');
my @alerts = slurp_file("$directory/alerts.yml") =~ /^ *- alert: (\w+)$/mg;
my $tested = slurp_file("$directory/alerts_test.yml");
is(join(' ', grep { $tested !~ /alertname="$_"/ } @alerts), '', 'promtool tests each of them');

# What is behind the links of the alerts
my $operations = slurp_file("$FindBin::RealBin/../doc/operations.md");
my %anchors = map { my $title = lc; $title =~ s/[^\w -]//g; $title =~ s/ /-/g; $title => 1 } $operations =~ /^#+ (.*)$/mg;
is(join(' ', grep { !$anchors{$_} } slurp_file("$directory/alerts.yml") =~ /operations\.md#([\w-]+)/g), '', 'each alert has its page of the runbook');

# A cluster with traffic
my $certificates = make_certificates('server', 'client');
my %port = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(good bad deaf tls exporter prometheus);
my %stub;
my $node = new_cluster('main', settings => 'fsync = off');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub stub
{
	my ($name, @arguments) = @_;

	end_process($stub{$name}, 'TERM') if defined $stub{$name};
	$stub{$name} = start_stub($port{$name}, @arguments);
	return;
}

sub server
{
	my ($name, $options) = @_;

	sql("CREATE SERVER $name FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port{$name}', retry_max_interval '200ms', request_timeout '1s' $options)");
	return;
}

sub request
{
	my ($server, $n) = @_;

	sql("SELECT count(temporal.complete_activity_by_id('w', n::text, server => '$server')) FROM generate_series(1, $n) n");
	return;
}

stub('good');
server('good', '');
sql('CREATE ROLE temporal_monitor LOGIN IN ROLE pg_monitor');

# The queries are the same for all exporters, and need no more than pg_monitor
foreach my $file ('pg_exporter.yml', 'cloudnative_pg.yml')
{
	my $queries = queries_of($file);

	foreach my $name (sort keys %{$queries})
	{
		my ($output, $error);

		delete $queries->{$name}{columns}{database};
		is_deeply($queries->{$name}, $collector->{$name}, "$file: $name is as in the collector");
	}
	is(scalar(keys %{$queries}), scalar(keys %{$collector}), "$file has all of them");
}
foreach my $name (sort keys %{$collector})
{
	my ($output, $error);
	my ($rc) = $node->psql('postgres', $collector->{$name}{query}, stdout => \$output, stderr => \$error,
		extra_params => [ '-P', 'tuples_only=off', '-U', 'temporal_monitor', '-v', 'ON_ERROR_STOP=1' ], connstr => $node->connstr('postgres') . " options='-c default_transaction_read_only=on'");
	my ($header) = split(/\n/, $output);

	is($error, '', "$name runs for the role of the monitoring, and writes nothing");
	is(join(' ', sort split(/\|/, $header)), join(' ', sort 'database', keys %{ $collector->{$name}{columns} }), "$name has its columns");
}

# sql_exporter and Prometheus, with all intervals of a second, and alerts that need not last
sub configuration
{
	my ($file, %replace) = @_;
	my $text = slurp_file("$directory/$file");
	my $path = PostgreSQL::Test::Utils::tempdir() . "/$file";

	foreach my $from (keys %replace)
	{
		die "$file has no $from" unless $text =~ s/$from/$replace{$from}/gm;
	}
	append_to_file($path, $text);
	return $path;
}

my $socket = $node->host;
my $postgres_port = $node->port;
my $exporter;

sub start_exporter
{
	$exporter = spawn('exporter', $program{'prometheus-sql-exporter'}, '-web.listen-address', "127.0.0.1:$port{exporter}",
		'-config.file', configuration('sql_exporter.yml', 'interval: \d+s' => 'interval: 1s',
			q('postgres:.*') => "'postgres:///postgres?host=$socket&port=$postgres_port&user=temporal_monitor&sslmode=disable'"));
	return;
}
start_exporter();
my $rules = configuration('alerts.yml', 'for: .*' => 'for: 0s', '> (60|300|3600)$' => "> 1", '10e9' => '500000');
spawn('prometheus', $program{prometheus}, '--web.listen-address', "127.0.0.1:$port{prometheus}",
	'--storage.tsdb.path', PostgreSQL::Test::Utils::tempdir(), '--log.level', 'warn',
	'--config.file', configuration('prometheus.yml', '^rule_files:' => "global:\n  evaluation_interval: 1s\nrule_files:",
		'alerts\.yml\n' => "$rules\n", 'scrape_interval: \d+s' => 'scrape_interval: 1s', 'localhost:9237' => "127.0.0.1:$port{exporter}"));

my $http = HTTP::Tiny->new(timeout => 10);

# What Prometheus answers
sub ask
{
	my ($expression) = @_;
	my $response = $http->get("http://127.0.0.1:$port{prometheus}/api/v1/query?" . $http->www_form_urlencode({ query => $expression }));

	return [] unless $response->{success};
	return JSON::PP::decode_json($response->{content})->{data}{result};
}

sub await_value
{
	my ($expression, $value, $what) = @_;

	await($what, sub { my $result = ask($expression); @{$result} == 1 && $result->[0]{value}[1] eq $value });
	pass($what);
	return;
}

sub firing
{
	my %firing = map { $_->{metric}{alertname} => 1 } @{ ask('ALERTS{alertstate="firing"}') };

	return join(' ', sort keys %firing);
}

sub await_firing
{
	my ($expected, $what) = @_;
	my $firing;

	await("$what (firing: $expected)", sub { $firing = firing(); note($firing); $firing eq $expected });
	is($firing, $expected, $what);
	return;
}

await_value('temporal_worker_max_workers', '40', 'there is something before there are requests');
request('good', 100);
await_value('temporal_server_delivered{server="good", database="postgres"}', '100', 'what was delivered arrives');
# the queries of the collector are not of one moment
my $missing;
await('each metric of the collector', sub { $missing = join(' ', grep { !@{ ask($_) } } sort @metrics); $missing eq 'temporal_backlog_requests' });
is($missing, 'temporal_backlog_requests', 'so does each metric of the collector, but that of what waits');
await_value('temporal_latency_bucket{server="good", le="+Inf"}', '100', 'the histogram has all');
is(ask('count(sql_exporter_last_scrape_failed == 1)')->[0] // '', '', 'no query failed');
await_value('min(increase(temporal_worker_running[5s])) >= bool 0', '1', 'some more samples');
await_firing('', 'no alert fires');

# Temporal is away
end_process(delete $stub{good}, 'TERM');
request('good', 3);
await_firing('TemporalNothingSent TemporalRequestsWait TemporalUnhealthy', 'Temporal is down');
is(ask('temporal_error_seconds{server="good"}')->[0]{metric}{error_code}, 'CONNECTION_FAILED', 'and why');
is(ask('temporal_backlog_requests{server="good", state="retrying", error_code="CONNECTION_FAILED"}')->[0]{value}[1], '3', 'and what waits');
stub('good');
await_firing('', 'it is back');

# A pause, and much that waits
sql("SELECT temporal.pause('good')");
sql(q(SELECT count(temporal.complete_activity_by_id('w', n::text, (SELECT jsonb_agg(md5(i::text || n::text)) FROM generate_series(1, 5000) i), server => 'good')) FROM generate_series(1, 10) n));
await_firing('TemporalHealthWarning TemporalOutboxGrows TemporalPaused TemporalRequestsWait', 'a pause, and an outbox that grows');
sql("SELECT temporal.resume('good')");
await_finished($node);
sql('VACUUM FULL temporal_internal.outbox');
await_firing('', 'the end of it');

# A key and certificates that expire soon
my $in_a_week = sql(q(SELECT extract(epoch FROM now() + interval '7 days')::bigint));
my %file = map { $_ => slurp_file("$certificates/$_") } qw(ca.crt client.crt client.key);
my $key = join('.', encode_base64url('{}'), encode_base64url(qq({"exp":$in_a_week})), 'c2ln');
stub('tls', '--tls-cert', "$certificates/server.crt", '--tls-key', "$certificates/server.key");
server('tls', ", tls_server_ca_cert_data '$file{'ca.crt'}'");
sql("CREATE USER MAPPING FOR CURRENT_USER SERVER tls OPTIONS (api_key '$key', tls_client_cert_data '$file{'client.crt'}', tls_client_key_data '$file{'client.key'}')");
request('tls', 1);
await_firing('TemporalExpiresSoon TemporalUnhealthy', 'a certificate of two days');
is(join(', ', sort map { $_->{metric}{what} } @{ ask('temporal_expiry_seconds_left{server="tls"} < 8 * 86400') }),
	'API key, client certificate, server certificate', 'and the others');

# Requests that are refused, and such that get no answer
stub('bad', '--status', '3');
server('bad', '');
request('bad', 2);
await_firing('TemporalExpiresSoon TemporalHealthWarning TemporalRejected TemporalUnhealthy', 'requests are rejected');
stub('deaf', '--hang');
server('deaf', '');
sql("SELECT temporal.heartbeat_activity('\\x0a016e1201771a017220052801320141', server => 'deaf')");
await_value('temporal_server_ambiguous{server="deaf"} > bool 0', '1', 'calls without an answer');
await('TemporalCallsFail', sub { firing() =~ /TemporalCallsFail/ });
pass('calls fail');
stub('deaf', '--status', '3');
await('TemporalUnconfirmed', sub { firing() =~ /TemporalUnconfirmed/ });
pass('a request is unconfirmed');

# The dashboard, with the traffic that there was, and something that waits
sql("SELECT temporal.pause('bad')");
request('bad', 1);
request('good', 50);
await_value('temporal_server_delivered{server="good"}', '163', 'more traffic');
my @expressions = map { $_->{expr} } map { @{ $_->{targets} } } @{ JSON::PP::decode_json(slurp_file("$directory/grafana-dashboard.json"))->{panels} };
cmp_ok(scalar(@expressions), '>', 20, 'the dashboard has expressions');
foreach my $expression (@expressions)
{
	(my $asked = $expression) =~ s/\$__rate_interval/1m/g;
	$asked =~ s/\$(database|server)/.*/g;

	# each metric is collected when its time comes
	await("data of $asked", sub { grep { $_->{value}[1] ne 'NaN' } @{ ask($asked) } });
	pass("$expression has data");
}

# A database that is down, then an exporter that is
my $failed = 'TemporalNotMonitored';
$node->stop('immediate');
await('an alert', sub { firing() =~ /$failed/ });
pass('the database is down');
$node->start;
await('its end', sub { firing() !~ /$failed/ });
end_process($exporter, 'KILL');
await('an alert', sub { firing() =~ /$failed/ });
pass('the exporter is down');
$node->stop;

done_testing();
