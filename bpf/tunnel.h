/*
 * The outer address and VNI of a packet on the VXLAN device. BPF_PROG_TEST_RUN gives a packet no
 * tunnel metadata, so the objects built for tests (-DTEST_RUN) keep both in skb->cb[0..1] instead,
 * and the device that the packet goes to in cb[2].
 */
#pragma once

#include <linux/if_ether.h>
#include "program.h"

#define TUNNEL_TTL 64

struct tunnel {
	__u32 remote;	/* underlay, host order */
	__u32 vni;
};

/* Where packets enter the tunnel: the VXLAN device, and this machine's underlay address. */
struct entrance {
	__u32 ifindex;
	__u32 underlay;
};

struct inner_macs {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
};

/* A tunnel device's MAC is made of its underlay address: host-agent/net/tunnel.ts. */
INLINE void put_mac(__u8 *mac, __u32 underlay)
{
	mac[0] = 0x02;
	mac[1] = 0x61;
	mac[2] = underlay >> 24;
	mac[3] = underlay >> 16;
	mac[4] = underlay >> 8;
	mac[5] = underlay;
}

/* As a peer whose switch is the kernel's own wants it: from this tunnel device to that one. */
INLINE bool set_macs(struct __sk_buff *skb, __u32 underlay, __u32 remote)
{
	struct inner_macs macs;

	put_mac(macs.destination, remote);
	put_mac(macs.source, underlay);
	return !bpf_skb_store_bytes(skb, 0, &macs, sizeof(macs), 0);
}

#ifdef TEST_RUN

INLINE bool read_tunnel(struct __sk_buff *skb, struct tunnel *tunnel)
{
	tunnel->remote = skb->cb[0];
	tunnel->vni = skb->cb[1];
	return tunnel->remote != 0;
}

INLINE int send_into_tunnel(struct __sk_buff *skb, struct entrance at, struct tunnel tunnel)
{
	if (!set_macs(skb, at.underlay, tunnel.remote))
		return TC_ACT_SHOT;
	skb->cb[0] = tunnel.remote;
	skb->cb[1] = tunnel.vni;
	skb->cb[2] = at.ifindex;
	return TC_ACT_REDIRECT;
}

INLINE int send_to(struct __sk_buff *skb, __u32 ifindex)
{
	skb->cb[2] = ifindex;
	return TC_ACT_REDIRECT;
}

INLINE int send_to_peer(struct __sk_buff *skb, __u32 ifindex)
{
	return send_to(skb, ifindex);
}

INLINE int route_through(struct __sk_buff *skb, __u32 ifindex)
{
	return send_to(skb, ifindex);
}

#else

INLINE bool read_tunnel(struct __sk_buff *skb, struct tunnel *tunnel)
{
	struct bpf_tunnel_key key = {};

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return false;
	tunnel->remote = key.remote_ipv4;
	tunnel->vni = key.tunnel_id;
	return true;
}

INLINE int send_into_tunnel(struct __sk_buff *skb, struct entrance at, struct tunnel tunnel)
{
	struct bpf_tunnel_key key = {
		.tunnel_id = tunnel.vni,
		.remote_ipv4 = tunnel.remote,
		.tunnel_ttl = TUNNEL_TTL,
	};

	if (!set_macs(skb, at.underlay, tunnel.remote) ||
	    bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return TC_ACT_SHOT;
	return bpf_redirect(at.ifindex, 0);
}

/* Out of the device as it is. */
INLINE int send_to(struct __sk_buff *skb, __u32 ifindex)
{
	return bpf_redirect(ifindex, 0);
}

/* In at the other end of the veth pair, in whatever namespace that is, past its queue. */
INLINE int send_to_peer(struct __sk_buff *skb, __u32 ifindex)
{
	return bpf_redirect_peer(ifindex, 0);
}

/* Out of the device, to the next hop that the kernel's routes and neighbours name. */
INLINE int route_through(struct __sk_buff *skb, __u32 ifindex)
{
	return bpf_redirect_neigh(ifindex, NULL, 0, 0);
}

#endif
