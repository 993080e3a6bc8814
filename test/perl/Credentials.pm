# Certificates, and stubs of servers that tell what they were given.

package Credentials;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use File::Temp ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;

our @EXPORT = qw(make_certificates write_file start_listening requests_of as);

# A directory with an authority and certificates signed by it: ca.crt, and
# NAME.crt and NAME.key for each name; the server's is for 127.0.0.1.
sub make_certificates
{
	my (@names) = @_;
	my $dir = File::Temp::tempdir(CLEANUP => 1);

	chmod(0755, $dir);
	openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
		'-subj', '/CN=authority', '-keyout', "$dir/ca.key", '-out', "$dir/ca.crt");
	write_file("$dir/extensions", "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
	foreach my $name (@names)
	{
		openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
			'-subj', "/CN=$name", '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr");
		openssl('x509', '-req', '-days', '2', '-in', "$dir/$name.csr", '-CA', "$dir/ca.crt", '-CAkey', "$dir/ca.key",
			'-CAcreateserial', '-extfile', "$dir/extensions", '-out', "$dir/$name.crt");
		chmod(0600, "$dir/$name.key");
	}
	return $dir;
}

sub openssl
{
	my (@arguments) = @_;
	my ($out, $err);

	IPC::Run::run([ 'openssl', @arguments ], '<', \undef, '>', \$out, '2>', \$err)
	  or die "openssl @arguments: $err";
	return;
}

# Put a file in place of another one, at once.  Its owner alone may read it.
sub write_file
{
	my ($path, $contents, $mode) = @_;

	open(my $file, '>', "$path.new") or die "$path: $!";
	print $file $contents;
	close($file);
	chmod($mode // 0600, "$path.new");
	rename("$path.new", $path) or die "$path: $!";
	return;
}

# Start a stub; returns its port and the file of the requests that it was sent.
sub start_listening
{
	my (@arguments) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $requests = PostgreSQL::Test::Utils::tempdir() . "/requests_$port";

	write_file($requests, '');
	start_stub($port, '--requests', $requests, @arguments);
	return ($port, $requests);
}

# Lines about the requests that a stub was sent.
sub requests_of
{
	my ($file) = @_;

	return split(/\n/, slurp_file($file));
}

# Run SQL as an ordinary role: how it ended, what came out, and its errors
sub as
{
	my ($node, $role, $sql) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);

	return ($rc, $stdout, $stderr);
}

1;
