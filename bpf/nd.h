/*
 * Answers the guest's question for its IPv6 default route (RFC 4861, 4.3 and 4.4): fe80::1 with the
 * same MAC on every host. Nothing else of neighbour discovery passes: no duplicate detection, no
 * advertisement, no redirect.
 */
#pragma once

#include "arp.h"
#include "ip6.h"

#define ICMP6_ADVERTISEMENT 136
#define ADVERTISED bpf_htonl(0xe0000000) /* by a router, asked for, overriding */
#define TARGET_LINK_ADDRESS 2
#define ND_HOP_LIMIT 255
/* fe80::1, GUEST_GATEWAY6 of host-agent/net/guest-ipv6.ts: this, zeroes and 1. */
#define LINK_LOCAL bpf_htonl(0xfe800000)

struct nd_message {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 flags;
	__be32 target[4];
	__u8 option;
	__u8 option_words;
	__u8 mac[ETH_ALEN];
} __attribute__((packed));

struct nd_frame {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct nd_message nd;
} __attribute__((packed));

/* Without the option, which a question need not have. */
#define ND_QUESTION_BYTES offsetof(struct nd_frame, nd.option)

struct nd_pseudo_header {
	struct in6_addr source;
	struct in6_addr destination;
	__be32 bytes;
	__be32 next;
	struct nd_message nd;
};

INLINE __u16 nd_checksum(const struct nd_frame *frame)
{
	struct nd_pseudo_header all = {
		.source = frame->ip.saddr,
		.destination = frame->ip.daddr,
		.bytes = bpf_htonl(sizeof(frame->nd)),
		.next = bpf_htonl(NEXT_ICMP6),
		.nd = frame->nd,
	};
	const __u16 *words = (const __u16 *)&all;
	__u32 sum = 0;

	for (__u32 n = 0; n < sizeof(all) / 2; n++)
		sum += words[n];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

INLINE bool is_question(const struct nd_frame *frame)
{
	__be32 source[4];

	__builtin_memcpy(source, &frame->ip.saddr, sizeof(source));
	return !frame->nd.code && frame->ip.hop_limit == ND_HOP_LIMIT &&
	       frame->nd.target[0] == LINK_LOCAL && !frame->nd.target[1] &&
	       !frame->nd.target[2] && frame->nd.target[3] == bpf_htonl(1) &&
	       (source[0] || source[1] || source[2] || source[3]);
}

/* To a solicitation. The answer goes back into the tap it came from, so whom the asker says to be harms nobody. */
INLINE enum drop_reason answer_nd(struct __sk_buff *skb, const struct host_vm *vm)
{
	const __u8 tap[] = TAP_MAC;
	struct nd_frame frame = {};

	if (bpf_skb_load_bytes(skb, 0, &frame, ND_QUESTION_BYTES))
		return DROP_MALFORMED;
	if (!is_question(&frame))
		return DROP_DISCOVERY;
	__builtin_memcpy(frame.eth.h_dest, vm->guest_mac, ETH_ALEN);
	__builtin_memcpy(frame.eth.h_source, tap, ETH_ALEN);
	frame.ip.payload_len = bpf_htons(sizeof(frame.nd));
	frame.ip.daddr = frame.ip.saddr;
	__builtin_memcpy(&frame.ip.saddr, frame.nd.target, sizeof(frame.nd.target));
	frame.nd.type = ICMP6_ADVERTISEMENT;
	frame.nd.checksum = 0;
	frame.nd.flags = ADVERTISED;
	frame.nd.option = TARGET_LINK_ADDRESS;
	frame.nd.option_words = 1;
	__builtin_memcpy(frame.nd.mac, tap, ETH_ALEN);
	frame.nd.checksum = nd_checksum(&frame);
	if (bpf_skb_change_tail(skb, sizeof(frame), 0) ||
	    bpf_skb_store_bytes(skb, 0, &frame, sizeof(frame), 0))
		return DROP_REWRITE;
	return DROP_NONE;
}
