# A codec server: what is asked for goes through it before it leaves, and nothing
# of it is seen anywhere else, whatever the codec server does.  One request that
# it does not take ends itself and no other; one that is down, or takes nothing,
# ends none.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use HttpDoubles;
use JSON::PP ();
use LyingServer;
use MIME::Base64 ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $max_memory = 160 * 1024;	# of the worker, kB, besides what is shared
my $temporal = start_temporal_double();
my $codec = start_codec_double();

END { stop_liar($_) foreach grep { $_ } $temporal, $codec; }

my $node = new_cluster('main');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Have the codec server answer so from now on.
sub mode
{
	my ($mode) = @_;

	open(my $out, '>', $codec->{mode}->filename . '.new') or die $!;
	print $out $mode;
	close($out);
	rename($codec->{mode}->filename . '.new', $codec->{mode}->filename) or die $!;
	return;
}

# A task token of an activity of that id, an expression
sub token
{
	my ($id) = @_;

	return "('\\x0a016e1201771a01722005280132'::bytea || set_byte('\\x00', 0, length($id)) || ${id}::bytea)";
}

# What Temporal was sent since this was asked last: [path, body]
my $seen = 0;

sub arrived
{
	my @lines = split(/\n/, substr(slurp_file($temporal->{log}->filename), $seen));
	my @requests;

	$seen = -s $temporal->{log}->filename;
	while (my ($line, $body) = splice(@lines, 0, 2))
	{
		push @requests, [ $line, JSON::PP->new->decode($body) ];
	}
	return @requests;
}

sub posts { return scalar(grep { /^payloads [1-9]/ } split(/\n/, slurp_file($codec->{log}->filename))); }

my $address = "127.0.0.1:$codec->{port}";
my $retries = "retry_initial_interval '50ms', retry_max_interval '200ms', request_timeout '2s', connect_timeout '2s'";

sql(<<"EOS");
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
  OPTIONS (transport 'http', address '127.0.0.1:$temporal->{port}', namespace 'orders',
           codec_endpoint 'http://$address/of/{namespace}/', $retries);
CREATE USER MAPPING FOR CURRENT_USER SERVER temporal OPTIONS (codec_auth 'Basic c2VjcmV0', allow_plaintext_credentials 'true');
ALTER DATABASE postgres SET temporal_complete.default_server = 'temporal';
EOS

# every kind of payload
my $id = "'a'";

sql("SELECT temporal.complete_activity(${\ token($id)}, '\"plain-result\"')");
await_finished($node);
my ($request) = arrived();
is_deeply(decrypt($request->[1]{result}{payloads}[0]),
	{ metadata => { encoding => 'anNvbi9wbGFpbg==' }, data => 'InBsYWluLXJlc3VsdCI=' }, 'a result is encoded');
like(slurp_file($codec->{log}->filename), qr{^POST /of/orders/encode HTTP.*^X-Namespace: orders\r.*^Authorization: Basic c2VjcmV0\r}msi,
	'the codec server is told the namespace, and the credential');

sql("SELECT temporal.fail_activity(${\ token($id)}, 'the-message', details => '\"plain-details\"', stack_trace => 'the-stack', heartbeat_details => '\"plain-last\"')");
await_finished($node);
($request) = arrived();
is_deeply([ map { MIME::Base64::decode_base64(decrypt($_)->{data}) } $request->[1]{failure}{applicationFailureInfo}{details}{payloads}[0],
		$request->[1]{lastHeartbeatDetails}{payloads}[0] ], [ '"plain-details"', '"plain-last"' ], 'details of a failure are');
is("$request->[1]{failure}{message} $request->[1]{failure}{stackTrace}", 'the-message the-stack', 'its message is not, as long as nobody has said so');

sql("ALTER SERVER temporal OPTIONS (ADD encode_common_attributes 'true')");
sql("SELECT temporal.fail_activity(${\ token($id)}, 'plain-message \"\\ é', details => '\"plain-details\"', stack_trace => 'plain-stack')");
await_finished($node);
($request) = arrived();
is($request->[1]{failure}{message}, 'Encoded failure', 'with encode_common_attributes nothing is left of a message');
is($request->[1]{failure}{stackTrace} // '', '', 'nor of a stack trace');
is_deeply(JSON::PP->new->utf8->decode(MIME::Base64::decode_base64(decrypt($request->[1]{failure}{encodedAttributes})->{data})),
	{ message => "plain-message \"\\ \x{e9}", stack_trace => 'plain-stack' }, 'both are one payload');
like($request->[1]{failure}{source}, qr/^postgresql:/, 'the source stays, by which a failure is known');

sql("SELECT temporal.report_cancellation(${\ token($id)}, '\"plain-cancellation\"');");
sql("SELECT temporal.heartbeat_activity(${\ token($id)}, '\"plain-heartbeat\"')");
sql("SELECT temporal.complete_activity_by_id('w', 'a', '\"plain-by-id\"')");
await_finished($node);
is_deeply([ map { MIME::Base64::decode_base64(decrypt(($_->[1]{details} // $_->[1]{result})->{payloads}[0])->{data}) } arrived() ],
	[ '"plain-cancellation"', '"plain-heartbeat"', '"plain-by-id"' ], 'details of cancellations and heartbeats, and results by ids are, in their order');

my $before = posts();
sql("SELECT temporal.complete_activity(${\ token($id)})");
await_finished($node);
is(posts(), $before, 'what has no payload needs no codec server');
is_deeply((arrived())[0][1]{result}, undef, 'and gets none');

# many in a call, each gets its own
sql("SELECT temporal.complete_activity(${\ token(\"i::text\")}, to_jsonb('plain-' || i)) FROM generate_series(1, 1000) i");
await_finished($node);
my @wrong = grep { my ($own) = MIME::Base64::decode_base64($_->[1]{taskToken}) =~ /2.(\d+)$/s;
	MIME::Base64::decode_base64(decrypt($_->[1]{result}{payloads}[0])->{data}) ne "\"plain-$own\"" } my @all = arrived();
is(scalar(@all), 1000, 'a thousand requests');
is(scalar(@wrong), 0, 'each has what is its own');
cmp_ok(posts() - $before, '<', 500, 'many of them were encoded at once');

# one that the codec server does not take, or garbles, among others
my %ends = (refuse => 'CODEC_REFUSED', large => 'CODEC_REFUSED', fewer => 'CODEC_BAD_ANSWER', more => 'CODEC_BAD_ANSWER',
	nothing => 'CODEC_BAD_ANSWER', numbers => 'CODEC_BAD_ANSWER', 'no-base64' => 'CODEC_BAD_ANSWER', 'bad-key' => 'CODEC_BAD_ANSWER', error => 'CODEC_BAD_ANSWER');

foreach my $mode (sort keys %ends)
{
	sql("SELECT temporal.complete_activity(${\ token(\"('$mode' || i)\")}, to_jsonb(CASE WHEN i = 37 THEN 'mode-$mode' ELSE 'plain' END)) FROM generate_series(1, 100) i");
	await_finished($node);
	is(sql("SELECT state, error_code, count(*) FROM temporal.request WHERE activity_id LIKE '$mode%' GROUP BY 1, 2 ORDER BY 1"),
		"delivered||99\nrejected|$ends{$mode}|1", "one is rejected: $mode");
}
is(sql("SELECT count(*) FROM temporal.request WHERE error_message ~ 'mode-|plain'"), '0', 'no message has what the codec server was given');
note(sql('SELECT DISTINCT error_message FROM temporal.request WHERE error_code IS NOT NULL'));

# one at which it fails
my %fails = (stumble => 'CODEC_UNAVAILABLE', reset => 'CODEC_UNAVAILABLE', hang => 'CODEC_UNAVAILABLE', endless => 'CODEC_UNAVAILABLE',
	html => 'CODEC_BAD_ANSWER', gzip => 'CODEC_BAD_ANSWER', deep => 'CODEC_BAD_ANSWER');

foreach my $mode (sort keys %fails)
{
	sql("SELECT temporal.complete_activity(${\ token(\"('$mode' || i)\")}, to_jsonb(CASE WHEN i = 37 THEN 'mode-$mode' ELSE 'plain' END)) FROM generate_series(1, 100) i");
	await("others than one: $mode", sub {
			return sql("SELECT count(*) FROM temporal.request WHERE activity_id LIKE '$mode%' AND state = 'delivered'") eq '99'; });
	await("its code: $mode", sub {
			return sql("SELECT error_code FROM temporal.request WHERE activity_id = '${mode}37'") eq $fails{$mode}; });
	pass("one is tried again: $mode");
	note(sql("SELECT state, attempts, error_message FROM temporal.request WHERE activity_id = '${mode}37'"));
	# unless it is being tried just now
	await("its discard: $mode", sub {
			return $node->psql('postgres', "SELECT temporal.discard_request(id) FROM temporal.request WHERE activity_id = '${mode}37'") == 0; });
	await_finished($node);
}

# one that makes much of little
my $most = 0;
my $pid = worker_pid($node);

mode('inflate with payloads');
sql("SELECT temporal.complete_activity(${\ token(\"('inflated' || i)\")}, '\"plain\"') FROM generate_series(1, 10000) i");
await('what has become large', sub {
		my ($rss) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;

		$most = $rss if $rss > $most;
		return sql("SELECT count(*) FROM temporal.request WHERE finished_at IS NULL") eq '0';
	});
note("memory of the worker: $most kB");
cmp_ok($most, '<', $max_memory, 'its memory is bounded');
mode('');

# one that takes nothing
my %closed = (busy => 'CODEC_UNAVAILABLE', 'too-many' => 'CODEC_UNAVAILABLE', login => 'CODEC_UNAUTHENTICATED', forbid => 'CODEC_UNAUTHENTICATED',
	lost => 'CODEC_CONFIGURATION', redirect => 'CODEC_CONFIGURATION', 'busy with payloads' => 'CODEC_UNAVAILABLE', 'login with payloads' => 'CODEC_UNAUTHENTICATED',
	html => 'CODEC_BAD_ANSWER', hang => 'CODEC_UNAVAILABLE', 'stumble with payloads' => 'CODEC_UNAVAILABLE');

arrived();
foreach my $mode (sort keys %closed)
{
	mode($mode);
	sql("SELECT temporal.complete_activity(${\ token(\"('closed' || i)\")}, '\"plain\"') FROM generate_series(1, 20) i");
	await("it is said: $mode", sub {
			return sql("SELECT state, error_code FROM temporal.request WHERE finished_at IS NULL AND error_code IS NOT NULL LIMIT 1") eq "retrying|$closed{$mode}"; });
	is(sql("SELECT count(*) FROM temporal.request WHERE finished_at IS NULL"), '20', "none is ended: $mode");
	note(sql("SELECT DISTINCT error_message FROM temporal.request WHERE finished_at IS NULL"));
	is(scalar(arrived()), 0, 'nothing is sent meanwhile');
	mode('');
	await_finished($node);
	is(sql("SELECT count(*) FROM temporal.request WHERE state = 'delivered' AND activity_id LIKE 'closed%'"), '20', 'all are delivered when it takes them again');
	is(scalar(arrived()), 20, 'once each');
	sql("SELECT temporal.purge(interval '0')");
}

# heartbeats of recorded activities: with details as all else; without, as long as the worker lives
sql("SELECT temporal.record_activity('with', ${\ token(\"'with'\")}, heartbeat => true, heartbeat_interval => '1s', heartbeat_details => '\"plain-beat\"')");
await('a heartbeat', sub { return grep { $_->[0] =~ /activity-heartbeat/ && ($_->[1]{details} ? decrypt($_->[1]{details}{payloads}[0]) : '') } arrived(); });
mode('busy');
sql("SELECT temporal.record_activity('without', ${\ token(\"'without'\")}, heartbeat => true, heartbeat_interval => '1s')");
await('heartbeats without details', sub { return grep { $_->[0] =~ /activity-heartbeat/ && !$_->[1]{details} } arrived(); });
arrived();
await('one more', sub { return grep { $_->[0] =~ /activity-heartbeat/ && !$_->[1]{details} } arrived(); });
mode('');
arrived();
await('those with details again', sub { return grep { $_->[0] =~ /activity-heartbeat/ && $_->[1]{details} && decrypt($_->[1]{details}{payloads}[0]) } arrived(); });
pass('heartbeats go on, those with details as far as they can');
sql("SELECT temporal.forget_activity('with'), temporal.forget_activity('without')");

# what is revoked while it is being encoded is not sent
sql('CREATE ROLE app LOGIN; GRANT USAGE ON FOREIGN SERVER temporal TO app');
sql("CREATE USER MAPPING FOR app SERVER temporal OPTIONS (codec_auth 'Basic c2VjcmV0', allow_plaintext_credentials 'true')");
mode('slow with payloads');
$before = posts();
sql("SET ROLE app; SELECT temporal.complete_activity(${\ token(\"'revoked'\")}, '\"plain\"')");
await('it to be encoded', sub { return posts() > $before; });
sql('REVOKE USAGE ON FOREIGN SERVER temporal FROM app');
arrived();
mode('');
await('that it must not be sent', sub { return sql("SELECT error_code FROM temporal.request WHERE activity_id = 'revoked'") eq 'NOT_PERMITTED'; });
is(scalar(arrived()), 0, 'what is revoked while it is being encoded is not sent');
sql('GRANT USAGE ON FOREIGN SERVER temporal TO app');
await_finished($node);
is(scalar(arrived()), 1, 'nor lost');

# nor what is paused
mode('slow with payloads');
$before = posts();
sql("SELECT temporal.complete_activity(${\ token(\"'paused'\")}, '\"plain\"')");
await('it to be encoded', sub { return posts() > $before; });
sql("SELECT temporal.pause('temporal')");
arrived();
mode('');
await('the pause to be seen', sub { return sql("SELECT error_code FROM temporal.request WHERE activity_id = 'paused'") eq 'PAUSED'; });
is(scalar(arrived()), 0, 'what is paused while it is being encoded is not sent');
sql("SELECT temporal.resume('temporal')");
await_finished($node);
is(scalar(arrived()), 1, 'before it goes on');

# order: a request waits for its encoding as for its sending
mode('slow with payloads');
$before = posts();
sql("SELECT temporal.heartbeat_activity(${\ token(\"'ordered'\")}, '\"plain-1\"')");
sql("SELECT temporal.complete_activity(${\ token(\"'ordered'\")})");
await('it to be encoded', sub { return posts() > $before; });
sql("SELECT temporal.complete_activity(${\ token(\"'other'\")})");
await('another activity', sub { return sql("SELECT state FROM temporal.request WHERE activity_id = 'other'") eq 'delivered'; });
is(sql("SELECT count(*) FROM temporal.request WHERE activity_id = 'ordered' AND finished_at IS NULL"), '2', 'what needs no encoding does not overtake what does, for one activity');
arrived();
mode('');
await_finished($node);
is(join(' ', map { $_->[0] =~ m{/activity-(\w+)} } arrived()), 'heartbeat complete', 'they are sent in their order');

# a worker that is killed meanwhile
mode('slow with payloads');
$before = posts();
sql("SELECT temporal.complete_activity(${\ token(\"'killed'\")}, '\"plain\"')");
await('it to be encoded', sub { return posts() > $before; });
my $worker = worker_pid($node);
kill('KILL', $worker);
await('the next worker', sub { my ($rc, $pid) = $node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'temporal_complete worker%'"); return $rc == 0 && $pid ne '' && $pid ne $worker; });
mode('');
await_finished($node);
is(sql("SELECT state FROM temporal.request WHERE activity_id = 'killed'"), 'delivered', 'another worker has it encoded anew');
arrived();

# one that closes connections that were kept, also when a request is under way
mode('closes');
foreach my $i (1 .. 5)
{
	sql("SELECT temporal.complete_activity(${\ token(\"'kept$i'\")}, '\"plain\"')");
	await_finished($node);
}
is(sql("SELECT state, attempts, count(*) FROM temporal.request WHERE activity_id LIKE 'kept%' GROUP BY 1, 2"), 'delivered|1|5',
	'a connection that is lost is no attempt: what was on it is encoded again');
mode('');
arrived();

# one that is not there
stop_liar($codec);
sql("SELECT temporal.complete_activity(${\ token(\"('down' || i)\")}, '\"plain\"') FROM generate_series(1, 20) i");
await('that it is not there', sub {
		return sql("SELECT DISTINCT error_code || ' ' || error_message FROM temporal.request WHERE finished_at IS NULL") =~ /^CODEC_UNAVAILABLE could not connect to "$address"/; });
is(sql('SELECT max(attempts) FROM temporal.request WHERE finished_at IS NULL'), '0', 'that is not an attempt of a request');
is(sql("SELECT status FROM temporal.health() WHERE detail LIKE '%CODEC_UNAVAILABLE%'"), 'critical', 'health() says so');
await('that stat_server says so', sub { return sql('SELECT error_code FROM temporal.stat_server') eq 'CODEC_UNAVAILABLE'; });
is(scalar(arrived()), 0, 'nothing is sent in plain');
$codec = start_codec_double();
sql("ALTER SERVER temporal OPTIONS (SET codec_endpoint 'http://127.0.0.1:$codec->{port}')");
await_finished($node);
is(scalar(grep { decrypt($_->[1]{result}{payloads}[0]) } arrived()), 20, 'all is encoded by another one');

unlike(slurp_file($temporal->{log}->filename), qr/plain|mode-|cGxhaW4|bGFpbi|wbGFpb|c2VjcmV0/, 'Temporal has not been sent anything of it, in base64 or not');

# without one
sql('ALTER SERVER temporal OPTIONS (DROP codec_endpoint, DROP encode_common_attributes)');
sql("SELECT temporal.complete_activity(${\ token($id)}, '\"open\"')");
await_finished($node);
is((arrived())[0][1]{result}{payloads}[0]{data}, 'Im9wZW4i', 'what is not encoded is sent as it is');

$node->stop;
unlike(slurp_file($node->logfile), qr/plain-|mode-|c2VjcmV0/, 'the log has nothing of it');
done_testing();
