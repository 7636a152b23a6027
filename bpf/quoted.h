/*
 * ICMP errors carry the start of the packet that caused them. Its endpoint is changed as well, with
 * its checksums and with the ICMP checksum over all of it. What the change of an address takes from
 * the quoted IP header its header checksum gives back, so the ICMP checksum sees only the rest.
 */
#pragma once

#include "rewrite.h"

/* Fills `quoted` with the quoted packet's addresses, protocol and ports. */
INLINE enum drop_reason read_quoted(struct __sk_buff *skb, struct packet *quoted)
{
	struct iphdr ip;
	__u8 head[8];

	__builtin_memset(quoted, 0, sizeof(*quoted));
	if (bpf_skb_load_bytes(skb, QUOTED_IP_OFFSET, &ip, sizeof(ip)) ||
	    bpf_skb_load_bytes(skb, QUOTED_L4_OFFSET, head, sizeof(head)))
		return DROP_MALFORMED;
	if (ip.version != 4 || ip.ihl < 5)
		return DROP_MALFORMED;
	if (ip.ihl > 5)
		return DROP_IP_OPTIONS;
	if (bpf_ntohs(ip.frag_off) & FRAGMENT_OFFSET_MASK)
		return DROP_FRAGMENT;
	quoted->source = ip.saddr;
	quoted->destination = ip.daddr;
	quoted->protocol = ip.protocol;
	if (ip.protocol == IPPROTO_TCP || ip.protocol == IPPROTO_UDP) {
		__builtin_memcpy(&quoted->source_port, head, 2);
		__builtin_memcpy(&quoted->destination_port, head + 2, 2);
	} else if (ip.protocol == IPPROTO_ICMP && head[0] == ICMP_ECHO) {
		__builtin_memcpy(&quoted->source_port, head + ICMP_ID_OFFSET, 2);
	} else {
		return DROP_PROTOCOL;
	}
	return DROP_NONE;
}

/* The quoted transport checksum, where it is quoted and used; the ICMP checksum follows it. */
INLINE long rewrite_quoted_checksum(struct __sk_buff *skb, __u8 protocol,
				    const struct endpoint *old, const struct endpoint *new)
{
	__u32 at = QUOTED_L4_OFFSET + UDP_CHECKSUM_OFFSET;
	__u64 zero_is_none = protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u16 before, after;
	long failed = 0;

	if (protocol == IPPROTO_TCP)
		at = QUOTED_L4_OFFSET + TCP_CHECKSUM_OFFSET;
	else if (protocol == IPPROTO_ICMP)
		at = QUOTED_L4_OFFSET + ICMP_CHECKSUM_OFFSET;
	if (bpf_skb_load_bytes(skb, at, &before, 2))
		return 0;
	if (protocol != IPPROTO_ICMP)
		failed |= bpf_l4_csum_replace(skb, at, old->address, new->address,
					      zero_is_none | 4);
	failed |= bpf_l4_csum_replace(skb, at, old->port, new->port, zero_is_none | 2);
	failed |= bpf_skb_load_bytes(skb, at, &after, 2);
	return failed | bpf_l4_csum_replace(skb, L4_OFFSET + ICMP_CHECKSUM_OFFSET, before, after, 2);
}

INLINE enum drop_reason rewrite_quoted(struct __sk_buff *skb, __u8 protocol, enum side side,
				       const struct endpoint *old, const struct endpoint *new)
{
	__u32 ip_checksum = QUOTED_IP_OFFSET + offsetof(struct iphdr, check);
	__u32 port_at = QUOTED_L4_OFFSET + port_offset(protocol, side);
	long failed = rewrite_quoted_checksum(skb, protocol, old, new);

	failed |= bpf_l3_csum_replace(skb, ip_checksum, old->address, new->address, 4);
	failed |= bpf_skb_store_bytes(skb, QUOTED_IP_OFFSET + address_offset(side), &new->address,
				      4, 0);
	failed |= bpf_l4_csum_replace(skb, L4_OFFSET + ICMP_CHECKSUM_OFFSET, old->port, new->port,
				      2);
	failed |= bpf_skb_store_bytes(skb, port_at, &new->port, 2, 0);
	return failed ? DROP_REWRITE : DROP_NONE;
}
