#!/usr/bin/perl
# One request to a container engine over its unix socket, for setup scripts on hosts that have no client program yet:
# perl-base is on every Debian and Ubuntu.
#   engine-http.pl SOCKET METHOD PATH [FILE]     sends FILE as the body; prints the answer's body
# Ends with 0 for a 2xx answer, 22 for another, 7 if nobody answers.
use strict;
use warnings;
use IO::Socket::UNIX;

my ($path, $method, $target, $file) = @ARGV;
$SIG{ALRM} = sub { print STDERR "no answer from $path\n"; exit 7 };
alarm 600;
alarm 10 if $method eq 'GET';
my $socket = IO::Socket::UNIX->new(Peer => $path) or do { print STDERR "$path: $!\n"; exit 7 };
my $size = defined $file ? -s $file : 0;
print $socket "$method $target HTTP/1.0\r\nHost: engine\r\nContent-Type: application/x-tar\r\nContent-Length: $size\r\n\r\n";
if (defined $file) {
    open my $body, '<:raw', $file or die "$file: $!\n";
    while (read $body, my $chunk, 1 << 20) { print $socket $chunk or die "sending $file: $!\n" }
}
$socket->flush;
my $answer = do { local $/; <$socket> } // '';
my ($status) = $answer =~ m{^HTTP/1\.\d (\d+)} or exit 7;
$answer =~ s/^.*?\r\n\r\n//s;
print $answer;
exit($status =~ /^2/ ? 0 : 22);
