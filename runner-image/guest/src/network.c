/* The same as three `ip` commands (netdevice(7)), without the time to start them. */
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files.h"

static char INTERFACE[] = "eth0";

static void fill(struct sockaddr *out, const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, text, &in.sin_addr) != 1) {
		errno = EINVAL;
		die(text);
	}
	memcpy(out, &in, sizeof in);
}

static struct ifreq request(void)
{
	struct ifreq ifr;

	memset(&ifr, 0, sizeof ifr);
	strcpy(ifr.ifr_name, INTERFACE);
	return ifr;
}

static void set_link(int fd, int mtu)
{
	struct ifreq ifr = request();

	ifr.ifr_mtu = mtu;
	if (ioctl(fd, SIOCSIFMTU, &ifr) < 0)
		die("eth0: mtu");
	ifr = request();
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		die("eth0: flags");
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		die("eth0: up");
}

static void set_address(int fd, const char *address)
{
	struct ifreq ifr = request();

	fill(&ifr.ifr_addr, address);
	if (ioctl(fd, SIOCSIFADDR, &ifr) < 0)
		die("eth0: address");
	ifr = request();
	fill(&ifr.ifr_netmask, "255.255.255.255");
	if (ioctl(fd, SIOCSIFNETMASK, &ifr) < 0)
		die("eth0: netmask");
}

static void add_route(int fd, struct rtentry *route)
{
	route->rt_dev = INTERFACE;
	if (ioctl(fd, SIOCADDRT, route) < 0 && errno != EEXIST)
		die("eth0: route");
}

void configure_network(const char *address, const char *gateway, int mtu)
{
	struct rtentry neighbour = {.rt_flags = RTF_UP | RTF_HOST};
	struct rtentry everything = {.rt_flags = RTF_UP | RTF_GATEWAY};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	set_link(fd, mtu);
	set_address(fd, address);
	/* The gateway is in no subnet of a /32, so it is made a neighbour first. */
	fill(&neighbour.rt_dst, gateway);
	fill(&neighbour.rt_genmask, "255.255.255.255");
	add_route(fd, &neighbour);
	fill(&everything.rt_dst, "0.0.0.0");
	fill(&everything.rt_genmask, "0.0.0.0");
	fill(&everything.rt_gateway, gateway);
	add_route(fd, &everything);
	close(fd);
}
