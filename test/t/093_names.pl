# Names: IPv6, several addresses of one, of which some do not answer, and a change
# in DNS, over both transports.  The name is looked up in a file, by a getaddrinfo()
# of the test's; what stands at the addresses passes on to a real Temporal.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IO::Select;
use IO::Socket::IP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TemporalTest;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $names = "$dir/names";
my $library = "$dir/names.so";

open(my $source, '>', "$library.c") or die $!;
print $source <<'EOS';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* temporal.test has the addresses in the file NAMES, in their order */
int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	int			(*next) (const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		dlsym(RTLD_NEXT, "getaddrinfo");
	struct addrinfo **end = result;
	char		line[100];
	FILE	   *file;

	if (node == NULL || strcmp(node, "temporal.test") != 0)
		return next(node, service, hints, result);
	*result = NULL;
	file = fopen(getenv("NAMES"), "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
	{
		line[strcspn(line, "\n")] = '\0';
		if (next(line, service, hints, end) == 0)
			while (*end != NULL)
				end = &(*end)->ai_next;
	}
	if (file != NULL)
		fclose(file);
	return *result == NULL ? EAI_NONAME : 0;
}
EOS
close($source);
system_or_bail('cc', '-shared', '-fPIC', '-o', $library, "$library.c", '-ldl');

# Say what the addresses of the name are from now on.
sub resolve
{
	my (@addresses) = @_;

	open(my $file, '>', "$names.new") or die $!;
	print $file map { "$_\n" } @addresses;
	close($file);
	rename("$names.new", $names) or die $!;
	return;
}

# Pass on connections from an address to another; returns the process, whose group ends with it.
sub forward
{
	my ($from, $port, $to) = @_;
	my $listener = IO::Socket::IP->new(LocalHost => $from, LocalPort => $port, Listen => 10, ReuseAddr => 1)
	  or die "could not listen on $from: $@";
	my $pid = fork() // die $!;

	return $pid if $pid > 0;
	setpgrp(0, 0);
	local $SIG{CHLD} = 'IGNORE';
	while (my $client = $listener->accept)
	{
		next if fork() != 0;
		my $server = IO::Socket::IP->new(PeerAddr => $to) or POSIX::_exit(1);
		my %other = ($client => $server, $server => $client);
		my $select = IO::Select->new($client, $server);
		while (my @ready = $select->can_read)
		{
			foreach my $socket (@ready)
			{
				my $n = sysread($socket, my $bytes, 65536);
				POSIX::_exit(0) unless $n && syswrite($other{$socket}, $bytes);
			}
		}
	}
	POSIX::_exit(0);
}

sub end_forward { my ($pid) = @_; kill('KILL', -$pid); waitpid($pid, 0); return; }

my $temporal = start_temporal('main', http => 1);
resolve('127.0.0.9');
local $ENV{NAMES} = $names;
local $ENV{LD_PRELOAD} = $library;
my $node = new_cluster('main', settings => 'fsync = off');
delete $ENV{LD_PRELOAD};

my $has_ipv6 = defined IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1);
my $activities = 0;

start_activities($temporal, $node, 'named', 2, 4);

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub complete
{
	my ($server) = @_;
	return sql("SELECT temporal.complete_activity(task_token, server => '$server') FROM pending_activity ORDER BY workflow_id, activity_id OFFSET "
		  . $activities++ . ' LIMIT 1');
}
sub outcome { my ($id) = @_; return sql("SELECT concat_ws(' ', state, error_code, error_message) FROM temporal.wait_for_request($id, '$PostgreSQL::Test::Utils::timeout_default s')"); }

foreach my $transport ('grpc', 'http')
{
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $to = $transport eq 'grpc' ? $temporal->address : $temporal->{http_address};
	my %forward = map { $_ => forward($_, $port, $to) } '127.0.0.2', '127.0.0.3', $has_ipv6 ? '::1' : ();

	sql("CREATE SERVER $transport FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'temporal.test:$port', transport '$transport', retry_max_interval '1 s')");

	# nobody is there yet
	resolve('127.0.0.9');
	my $id = complete($transport);
	await('a failure', sub { sql("SELECT error_code FROM temporal.request WHERE id = $id") eq 'CONNECTION_FAILED' });
	resolve('127.0.0.2');
	is(outcome($id), 'delivered', "$transport: the name has another address");

	# the first address goes while there is a connection to it
	resolve('127.0.0.2', '127.0.0.3');
	end_forward(delete $forward{'127.0.0.2'});
	is(outcome(complete($transport)), 'delivered', "$transport: the second address");

	# the same with a change of DNS
	SKIP:
	{
		skip 'there is no IPv6 here', 2 unless $has_ipv6;
		resolve('::1');
		end_forward(delete $forward{'127.0.0.3'});
		is(outcome(complete($transport)), 'delivered', "$transport: another address after a lost connection, of IPv6");
		sql("ALTER SERVER $transport OPTIONS (SET address '[::1]:$port')");
		is(outcome(complete($transport)), 'delivered', "$transport: an address of IPv6 itself");
	}
	end_forward($_) foreach values %forward;
}
done_testing();
