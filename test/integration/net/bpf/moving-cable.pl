# A guest that moves: carries frames between the tap "eth0" of the guest's namespace and the tap
# "tap0" of one of two VM namespaces, and holds the other one open, as a waiting QEMU does.
#
#   moving-cable.pl GUEST-NETNS NETNS-0 NETNS-1        starts at 0
#   stdin: "stop"    when its tap is empty the guest stands still       → "stopped"
#          "run N"   what is left in the other tap is lost; the guest
#                    runs at N                                        → "running" and how many were left
use strict;
use warnings;

use constant { TUNSETIFF => 0x400454ca, IFF_TAP_NO_PI => 0x1002, SYS_SETNS => 308,
    DRAIN_SECONDS => 0.001 };

sub open_tap {
    my ($netns, $name) = @_;
    open(my $space, '<', $netns) or die "$netns: $!";
    syscall(SYS_SETNS, fileno($space), 0) == 0 or die "setns: $!";
    open(my $tap, '+<', '/dev/net/tun') or die "tun: $!";
    ioctl($tap, TUNSETIFF, pack('Z16 S x22', $name, IFF_TAP_NO_PI)) or die "$name: $!";
    return $tap;
}

sub readable {
    my ($timeout, @handles) = @_;
    my $wanted = '';
    vec($wanted, fileno($_), 1) = 1 for @handles;
    select(my $ready = $wanted, undef, undef, $timeout);
    return grep { vec($ready, fileno($_), 1) } @handles;
}

my ($guest_netns, @netns) = @ARGV;
my $guest = open_tap($guest_netns, 'eth0');
my @taps = map { open_tap($_, 'tap0') } @netns;
my $at = 0;
$| = 1;
print "ready\n";

while (1) {
    my @carried = defined $at ? ($guest, $taps[$at]) : ();
    for my $from (readable(undef, \*STDIN, @carried)) {
        my $frame;
        if ($from == \*STDIN) {
            sysread(STDIN, my $command, 64) or exit;
            if ($command =~ /^stop/) {
                select(undef, undef, undef, DRAIN_SECONDS);
                while (readable(0, $taps[$at])) {
                    sysread($taps[$at], $frame, 65536) and syswrite($guest, $frame);
                }
                $at = undef;
                print "stopped\n";
            } elsif ($command =~ /^run (\d)/) {
                my ($old, $left) = ($taps[1 - $1], 0);
                sysread($old, $frame, 65536) and $left++ while readable(0, $old);
                $at = $1;
                print "running $left\n";
            }
        } elsif (defined $at && sysread($from, $frame, 65536)) {
            syswrite($from == $guest ? $taps[$at] : $guest, $frame);
        }
    }
}
