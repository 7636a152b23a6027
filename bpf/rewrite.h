/*
 * Changes one endpoint of a packet, and every checksum that covers it (RFC 1624), by the kernel's
 * own helpers: they also know packets whose checksum the network card or a later segment completes.
 */
#pragma once

#include "packet.h"

enum side { SOURCE, DESTINATION };

struct endpoint {
	__be32 address;
	__be16 port;
};

/* The ICMP error's quoted packet: the start of what its sender once got. */
#define QUOTED_IP_OFFSET (L4_OFFSET + 8)
#define QUOTED_L4_OFFSET (QUOTED_IP_OFFSET + sizeof(struct iphdr))

INLINE __u32 address_offset(enum side side)
{
	return side == SOURCE ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr);
}

INLINE __u32 port_offset(__u8 protocol, enum side side)
{
	if (protocol == IPPROTO_ICMP)
		return ICMP_ID_OFFSET;
	return side == SOURCE ? 0 : 2;
}

INLINE long rewrite_address(struct __sk_buff *skb, enum side side, __be32 old, __be32 new)
{
	long failed = bpf_l3_csum_replace(skb, IP_CHECKSUM_OFFSET, old, new, 4);

	return failed | bpf_skb_store_bytes(skb, IP_OFFSET + address_offset(side), &new, 4, 0);
}

/* TCP and UDP checksums cover the addresses too; a UDP checksum of 0 means none and stays so. */
INLINE long rewrite_ports(struct __sk_buff *skb, __u8 protocol, enum side side,
			  const struct endpoint *old, const struct endpoint *new)
{
	__u32 offset = L4_OFFSET + port_offset(protocol, side);
	long failed;

	if (protocol == IPPROTO_ICMP) {
		failed = bpf_l4_csum_replace(skb, L4_OFFSET + ICMP_CHECKSUM_OFFSET, old->port,
					     new->port, 2);
	} else if (protocol == IPPROTO_TCP) {
		__u32 at = L4_OFFSET + TCP_CHECKSUM_OFFSET;

		failed = bpf_l4_csum_replace(skb, at, old->address, new->address,
					     BPF_F_PSEUDO_HDR | 4);
		failed |= bpf_l4_csum_replace(skb, at, old->port, new->port, 2);
	} else {
		__u32 at = L4_OFFSET + UDP_CHECKSUM_OFFSET;

		failed = bpf_l4_csum_replace(skb, at, old->address, new->address,
					     BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | 4);
		failed |= bpf_l4_csum_replace(skb, at, old->port, new->port,
					      BPF_F_MARK_MANGLED_0 | 2);
	}
	return failed | bpf_skb_store_bytes(skb, offset, &new->port, 2, 0);
}

/* DROP_NONE when done. A packet that is dropped after a failure may be half changed. */
INLINE enum drop_reason rewrite(struct __sk_buff *skb, const struct packet *packet, enum side side,
				const struct endpoint *old, const struct endpoint *new)
{
	long failed = rewrite_address(skb, side, old->address, new->address);

	if (!packet->later_fragment)
		failed |= rewrite_ports(skb, packet->protocol, side, old, new);
	return failed ? DROP_REWRITE : DROP_NONE;
}

INLINE enum drop_reason decrease_ttl(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 at = IP_OFFSET + offsetof(struct iphdr, ttl);
	__u8 old[2] = { packet->ttl, packet->protocol };
	__u8 new[2] = { packet->ttl - 1, packet->protocol };

	if (packet->ttl <= 1)
		return DROP_TTL;
	if (bpf_l3_csum_replace(skb, IP_CHECKSUM_OFFSET, *(__u16 *)old, *(__u16 *)new, 2) ||
	    bpf_skb_store_bytes(skb, at, new, 1, 0))
		return DROP_REWRITE;
	return DROP_NONE;
}
