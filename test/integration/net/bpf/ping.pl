# ping.pl ADDRESS: one ICMP echo request. Prints "answered" or "silent".
use strict;
use warnings;
use Socket;

my $id = $$ & 0xffff;
my $message = pack('C C n n n a8', 8, 0, 0, $id, 1, 'pingpong');
my $sum = 0;
$sum += $_ for unpack('n*', $message);
$sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
substr($message, 2, 2) = pack('n', 0xffff - $sum);

socket(my $socket, PF_INET, SOCK_RAW, 1) or die "socket: $!";
send($socket, $message, 0, sockaddr_in(0, inet_aton($ARGV[0]))) or die "send: $!";
$SIG{ALRM} = sub { print "silent\n"; exit };
alarm 2;
while (recv($socket, my $packet, 2048, 0)) {
    my ($type, undef, undef, $answered) = unpack('C C n n', substr($packet, 20));
    next unless $type == 0 && $answered == $id;
    print "answered\n";
    exit;
}
