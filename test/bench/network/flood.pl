# One TCP connection as full as it gets.
#
#   flood.pl listen ADDRESS PORT send|receive MS      prints "ready", takes one connection
#   flood.pl connect ADDRESS PORT send|receive MS
#
# The side that receives prints BYTES SECONDS, from its first byte to the end of the stream.
use strict;
use warnings;
use IO::Socket::INET;
use Time::HiRes 'time';

use constant BLOCK_BYTES => 256 * 1024;

my ($end, $address, $port, $direction, $ms) = @ARGV;
my $socket;
$| = 1;
if ($end eq 'listen') {
    my $door = IO::Socket::INET->new(LocalAddr => $address, LocalPort => $port, Listen => 1, ReuseAddr => 1)
        or die "listen: $!";
    print "ready\n";
    $socket = $door->accept() or die "accept: $!";
} else {
    $socket = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port) or die "connect: $!";
}

if ($direction eq 'send') {
    my $block = "\0" x BLOCK_BYTES;
    my $until = time() + $ms / 1000;
    while (time() < $until) { defined syswrite($socket, $block) or die "write: $!" }
    shutdown($socket, 1);
    sysread($socket, my $end_of_stream, 1);
} else {
    my ($bytes, $began) = (0, undef);
    while (my $got = sysread($socket, my $block, BLOCK_BYTES)) {
        $began //= time();
        $bytes += $got;
    }
    printf "%d %.6f\n", $bytes, time() - $began;
}
