/* A frame's headers, read once into a struct. Plain IPv4 only: with options it is refused. */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include "abi.h"
#include "program.h"

#define IP_OFFSET ETH_HLEN
#define L4_OFFSET (IP_OFFSET + sizeof(struct iphdr))
#define IP_CHECKSUM_OFFSET (IP_OFFSET + offsetof(struct iphdr, check))
#define TCP_CHECKSUM_OFFSET 16
#define UDP_CHECKSUM_OFFSET 6
#define ICMP_CHECKSUM_OFFSET 2
#define ICMP_ID_OFFSET 4

#define FRAGMENT_MORE 0x2000
#define FRAGMENT_OFFSET_MASK 0x1fff

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
};

/* The ports, as they stand in TCP, UDP and (identifier, 0) ICMP echo. */
struct packet {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__be16 id;
	__u16 bytes;		/* of the IP packet as sent; a GSO packet's may be wrong */
	__u8 protocol;
	__u8 ttl;
	__u8 tcp_flags;
	__u8 icmp_type;
	bool fragment;		/* any fragment, the first too */
	bool later_fragment;	/* has no ports */
};

INLINE bool is_icmp_error(__u8 type)
{
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETER_PROBLEM;
}

/* DROP_NONE, or why the ports cannot be read. */
INLINE enum drop_reason read_ports(struct __sk_buff *skb, struct packet *packet)
{
	__u8 head[8];

	if (bpf_skb_load_bytes(skb, L4_OFFSET, head, sizeof(head)))
		return DROP_MALFORMED;
	if (packet->protocol == IPPROTO_ICMP) {
		packet->icmp_type = head[0];
		if (head[0] == ICMP_ECHO)
			__builtin_memcpy(&packet->source_port, head + ICMP_ID_OFFSET, 2);
		else if (head[0] == ICMP_ECHO_REPLY)
			__builtin_memcpy(&packet->destination_port, head + ICMP_ID_OFFSET, 2);
		return DROP_NONE;
	}
	if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP)
		return DROP_NONE;
	__builtin_memcpy(&packet->source_port, head, 2);
	__builtin_memcpy(&packet->destination_port, head + 2, 2);
	if (packet->protocol == IPPROTO_TCP &&
	    bpf_skb_load_bytes(skb, L4_OFFSET + 13, &packet->tcp_flags, 1))
		return DROP_MALFORMED;
	return DROP_NONE;
}

/* Fills `packet` from an IPv4 frame. */
INLINE enum drop_reason read_packet(struct __sk_buff *skb, const struct frame *frame,
				    struct packet *packet)
{
	const struct iphdr *ip = &frame->ip;
	__u16 fragment = bpf_ntohs(ip->frag_off);

	__builtin_memset(packet, 0, sizeof(*packet));
	if (ip->version != 4 || ip->ihl < 5)
		return DROP_MALFORMED;
	if (ip->ihl > 5)
		return DROP_IP_OPTIONS;
	packet->bytes = bpf_ntohs(ip->tot_len);
	if (!skb->gso_segs && (packet->bytes < sizeof(*ip) || packet->bytes + ETH_HLEN > skb->len))
		return DROP_MALFORMED;
	packet->source = ip->saddr;
	packet->destination = ip->daddr;
	packet->id = ip->id;
	packet->protocol = ip->protocol;
	packet->ttl = ip->ttl;
	packet->fragment = (fragment & (FRAGMENT_MORE | FRAGMENT_OFFSET_MASK)) != 0;
	packet->later_fragment = (fragment & FRAGMENT_OFFSET_MASK) != 0;
	/* An offset of 1 would write over the ports of the first fragment (RFC 1858). */
	if ((fragment & FRAGMENT_OFFSET_MASK) == 1)
		return DROP_MALFORMED;
	return packet->later_fragment ? DROP_NONE : read_ports(skb, packet);
}

/* Reads Ethernet and IP headers; what is not IPv4 or too short for it is refused. */
INLINE enum drop_reason read_frame(struct __sk_buff *skb, struct frame *frame)
{
	if (skb->vlan_present)
		return DROP_ETHERTYPE;
	if (bpf_skb_load_bytes(skb, 0, &frame->eth, sizeof(frame->eth)))
		return DROP_MALFORMED;
	if (frame->eth.h_proto == bpf_htons(ETH_P_IPV6))
		return DROP_IPV6;
	if (frame->eth.h_proto != bpf_htons(ETH_P_IP))
		return DROP_ETHERTYPE;
	return bpf_skb_load_bytes(skb, IP_OFFSET, &frame->ip, sizeof(frame->ip)) ? DROP_MALFORMED
										  : DROP_NONE;
}
