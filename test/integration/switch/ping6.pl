# ICMPv6 echo: ping6.pl ADDRESS BYTES TRIES sends so many bytes until they come back, each time waiting
# for a second at most. Ends with 0 when they did.
use strict;
use warnings;
use Socket qw(AF_INET6 SOCK_RAW inet_pton pack_sockaddr_in6);
use Time::HiRes qw(time);

use constant { IPPROTO_ICMPV6 => 58, ECHO_REQUEST => 128, ECHO_REPLY => 129, SECONDS => 1 };

my ($address, $bytes, $tries) = @ARGV;
my $to = pack_sockaddr_in6(0, inet_pton(AF_INET6, $address));
# The kernel fills in the checksum (RFC 3542, 3.1).
socket(my $socket, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6) or die "socket: $!";

sub answered {
    my ($number) = @_;
    my $end = time + SECONDS;
    while ((my $left = $end - time) > 0) {
        vec(my $ready = '', fileno($socket), 1) = 1;
        next unless select($ready, undef, undef, $left);
        recv($socket, my $message, 65_536, 0);
        my ($type, $id, $sequence) = unpack('C x3 n n', $message);
        return 1 if $type == ECHO_REPLY && $id == ($$ & 0xffff) && $sequence == $number
            && length($message) == 8 + $bytes;
    }
    return 0;
}

for my $number (1 .. $tries) {
    my $message = pack('C C n n n', ECHO_REQUEST, 0, 0, $$ & 0xffff, $number) . 'x' x $bytes;
    # Fails where an error has come meanwhile; the next try takes what it told into account.
    send($socket, $message, 0, $to);
    exit 0 if answered($number);
}
die "no answer from $address\n";
