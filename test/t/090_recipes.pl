# The recipes of doc/recipes: their SQL can be typed as it stands there, and says
# what stands there behind "-- =>".

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $node = new_cluster('main', settings => 'fsync = off');
my $port = PostgreSQL::Test::Cluster::get_free_port();
start_stub($port);
$node->safe_psql('postgres', "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '127.0.0.1:$port')");

my @files = sort glob("$FindBin::RealBin/../doc/recipes/*.md");
cmp_ok(scalar(@files), '>', 1, 'there are recipes');
foreach my $file (@files)
{
	my ($name) = $file =~ m{([^/]+)\.md$};
	my $sql = join("\n", slurp_file($file) =~ /^```sql\n(.*?)^```$/msg);
	my ($stdout, $stderr, @output);

	next if $name eq 'README';
	like($sql, qr/^-- => /m, "$name says what comes back");
	# a role of its own, which sees its own requests only
	$node->safe_psql('postgres', qq(CREATE ROLE "$name" LOGIN; CREATE SCHEMA AUTHORIZATION "$name"; GRANT USAGE ON FOREIGN SERVER temporal TO "$name"));
	$sql =~ s/^-- => (.*)$/"\\echo => '" . ($1 =~ s{([\\'])}{\\$1}gr) . "'"/mge;
	$node->psql('postgres', $sql, stdout => \$stdout, stderr => \$stderr, connstr => $node->connstr('postgres') . " user=$name");
	unlike($stderr, qr/ERROR/, "$name runs");
	@output = split(/\n/, $stdout);
	foreach my $n (grep { $output[$_] =~ /^=> / } 0 .. $#output)
	{
		is($output[ $n - 1 ], substr($output[$n], 3), "$name: $output[$n]");
	}
	is(scalar(grep { /^=> / } @output), scalar(() = $sql =~ /^\\echo => /mg), "$name was run to its end");
}
done_testing();
