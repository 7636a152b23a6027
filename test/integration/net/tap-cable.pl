# Stands in for QEMU: opens the tap "tap0" of this network namespace and a new tap "eth0" in the
# namespace at ARGV[0], and carries frames between them. Perl, since it can ioctl and is essential
# in Debian.
use strict;
use warnings;

use constant { TUNSETIFF => 0x400454ca, IFF_TAP_NO_PI => 0x1002, SYS_SETNS => 308 };

sub open_tap {
    my ($name) = @_;
    open(my $tap, '+<', '/dev/net/tun') or die "tun: $!";
    ioctl($tap, TUNSETIFF, pack('Z16 S x22', $name, IFF_TAP_NO_PI)) or die "$name: $!";
    return $tap;
}

my $host_side = open_tap('tap0');
open(my $netns, '<', $ARGV[0]) or die "netns: $!";
syscall(SYS_SETNS, fileno($netns), 0) == 0 or die "setns: $!";
my $guest_side = open_tap('eth0');
$| = 1;
print "ready\n";

while (1) {
    my $wanted = '';
    vec($wanted, fileno($_), 1) = 1 for ($host_side, $guest_side);
    select(my $ready = $wanted, undef, undef, undef);
    for ([$host_side, $guest_side], [$guest_side, $host_side]) {
        my ($from, $to) = @$_;
        next unless vec($ready, fileno($from), 1);
        my $frame;
        sysread($from, $frame, 65536) and syswrite($to, $frame);
    }
}
