/*
 * IPv6 packets, read once into a struct. Of extension headers one fragment header passes: behind any
 * other, ports would hide from whoever judges them.
 *
 * A guest's address is fd61:7200::/96 with its IPv4 address in the last 32 bits
 * (host-agent/net/guest-ipv6.ts), so that whoever knows the one knows the other.
 */
#pragma once

#include <linux/ipv6.h>

#include "packet.h"

#define IP6_SOURCE_OFFSET (IP_OFFSET + offsetof(struct ipv6hdr, saddr))
#define IP6_DESTINATION_OFFSET (IP_OFFSET + offsetof(struct ipv6hdr, daddr))
#define IP6_HOP_LIMIT_OFFSET (IP_OFFSET + offsetof(struct ipv6hdr, hop_limit))
#define L4_OFFSET6 (IP_OFFSET + sizeof(struct ipv6hdr))
#define ICMP6_CHECKSUM_OFFSET 2

/* Of the first 96 bits. */
#define PREFIX6_BYTES 12
#define GUEST_PREFIX6 bpf_htonl(0xfd617200)

#define NEXT_FRAGMENT 44
#define NEXT_ICMP6 58
#define FRAGMENT6_OFFSET_MASK 0xfff8

#define ICMP6_UNREACHABLE 1
#define ICMP6_PARAMETER_PROBLEM 4
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_SOLICITATION 135

struct address6 {
	__be32 words[4];
};

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

struct packet6 {
	struct address6 source;
	struct address6 destination;
	__be32 id;		/* of a fragment */
	struct packet l4;	/* but for its addresses, its `id` and its `ttl` */
	__u8 hop_limit;
};

INLINE bool is_icmp6_error(__u8 type)
{
	return type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER_PROBLEM;
}

INLINE bool is_same6(const struct address6 *one, const struct address6 *other)
{
	return one->words[0] == other->words[0] && one->words[1] == other->words[1] &&
	       one->words[2] == other->words[2] && one->words[3] == other->words[3];
}

INLINE bool is_guest6(const struct address6 *address, __be32 guest_address)
{
	return address->words[0] == GUEST_PREFIX6 && !address->words[1] && !address->words[2] &&
	       address->words[3] == guest_address;
}

INLINE enum drop_reason read_ports6(struct __sk_buff *skb, __u32 at, struct packet *l4)
{
	__u8 head[8];

	if (bpf_skb_load_bytes(skb, at, head, sizeof(head)))
		return DROP_MALFORMED;
	if (l4->protocol == NEXT_ICMP6) {
		l4->icmp_type = head[0];
		if (head[0] == ICMP6_ECHO)
			__builtin_memcpy(&l4->source_port, head + ICMP_ID_OFFSET, 2);
		else if (head[0] == ICMP6_ECHO_REPLY)
			__builtin_memcpy(&l4->destination_port, head + ICMP_ID_OFFSET, 2);
		return DROP_NONE;
	}
	if (l4->protocol != IPPROTO_TCP && l4->protocol != IPPROTO_UDP)
		return DROP_EXTENSION;
	__builtin_memcpy(&l4->source_port, head, 2);
	__builtin_memcpy(&l4->destination_port, head + 2, 2);
	if (l4->protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, at + 13, &l4->tcp_flags, 1))
		return DROP_MALFORMED;
	return DROP_NONE;
}

INLINE enum drop_reason read_fragment6(struct __sk_buff *skb, struct packet6 *packet)
{
	struct fragment_header head;
	struct packet *l4 = &packet->l4;

	if (bpf_skb_load_bytes(skb, L4_OFFSET6, &head, sizeof(head)))
		return DROP_MALFORMED;
	l4->protocol = head.next;
	l4->fragment = true;
	l4->later_fragment = (bpf_ntohs(head.offset) & FRAGMENT6_OFFSET_MASK) != 0;
	packet->id = head.id;
	if (!l4->later_fragment)
		return read_ports6(skb, L4_OFFSET6 + sizeof(head), l4);
	if (head.next != IPPROTO_TCP && head.next != IPPROTO_UDP && head.next != NEXT_ICMP6)
		return DROP_EXTENSION;
	return DROP_NONE;
}

/* Fills `packet` from a frame of ETH_P_IPV6. */
INLINE enum drop_reason read_packet6(struct __sk_buff *skb, struct packet6 *packet)
{
	struct ipv6hdr ip;

	__builtin_memset(packet, 0, sizeof(*packet));
	if (bpf_skb_load_bytes(skb, IP_OFFSET, &ip, sizeof(ip)) || ip.version != 6)
		return DROP_MALFORMED;
	packet->l4.bytes = sizeof(ip) + bpf_ntohs(ip.payload_len);
	if (!skb->gso_segs && packet->l4.bytes + ETH_HLEN > skb->len)
		return DROP_MALFORMED;
	__builtin_memcpy(&packet->source, &ip.saddr, sizeof(packet->source));
	__builtin_memcpy(&packet->destination, &ip.daddr, sizeof(packet->destination));
	packet->hop_limit = ip.hop_limit;
	packet->l4.protocol = ip.nexthdr;
	if (ip.nexthdr == NEXT_FRAGMENT)
		return read_fragment6(skb, packet);
	return read_ports6(skb, L4_OFFSET6, &packet->l4);
}

/* No checksum covers it; what the network card summed up does. */
INLINE enum drop_reason decrease_hop_limit(struct __sk_buff *skb, const struct packet6 *packet)
{
	__u8 left = packet->hop_limit - 1;

	if (packet->hop_limit <= 1)
		return DROP_TTL;
	return bpf_skb_store_bytes(skb, IP6_HOP_LIMIT_OFFSET, &left, 1, BPF_F_RECOMPUTE_CSUM)
		       ? DROP_REWRITE
		       : DROP_NONE;
}
