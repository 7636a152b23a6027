#ifndef ARCHITECT_NETWORK_H
#define ARCHITECT_NETWORK_H

/* Gives eth0 `address`/32 and a default route through `gateway`. Dies on failure. */
void configure_network(const char *address, const char *gateway, int mtu);

#endif
