/* Answers the guest's ARP for its default route: the same MAC on every host. */
#pragma once

#include "host-maps.h"
#include "packet.h"
#include "tunnel.h"

/* 169.254.1.1 and 02:61:72:00:00:01: GUEST_GATEWAY and TAP_MAC of host-agent/net/guest-policy.ts. */
#define GUEST_GATEWAY bpf_htonl(0xa9fe0101)
#define TAP_MAC { 0x02, 0x61, 0x72, 0x00, 0x00, 0x01 }

#define ARP_REQUEST bpf_htons(1)
#define ARP_REPLY bpf_htons(2)

struct arp_frame {
	struct ethhdr eth;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_bytes;
	__u8 protocol_bytes;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender;
	__u8 target_mac[ETH_ALEN];
	__be32 target;
} __attribute__((packed));

INLINE bool same_mac(const __u8 *a, const __u8 *b)
{
	return *(const __u16 *)a == *(const __u16 *)b &&
	       *(const __u16 *)(a + 2) == *(const __u16 *)(b + 2) &&
	       *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

INLINE bool is_tap_mac(const __u8 *mac)
{
	const __u8 tap[] = TAP_MAC;

	return same_mac(mac, tap);
}

INLINE enum drop_reason answer_arp(struct __sk_buff *skb, const struct host_vm *vm)
{
	const __u8 tap[] = TAP_MAC;
	struct arp_frame frame;

	if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)))
		return DROP_MALFORMED;
	if (frame.operation != ARP_REQUEST || frame.target != GUEST_GATEWAY)
		return DROP_ETHERTYPE;
	if (!same_mac(frame.sender_mac, vm->guest_mac))
		return DROP_SOURCE_MAC;
	if (frame.sender != vm->guest_address)
		return DROP_SOURCE_ADDRESS;
	__builtin_memcpy(frame.eth.h_dest, vm->guest_mac, ETH_ALEN);
	__builtin_memcpy(frame.eth.h_source, tap, ETH_ALEN);
	__builtin_memcpy(frame.target_mac, vm->guest_mac, ETH_ALEN);
	__builtin_memcpy(frame.sender_mac, tap, ETH_ALEN);
	frame.target = frame.sender;
	frame.sender = GUEST_GATEWAY;
	frame.operation = ARP_REPLY;
	return bpf_skb_store_bytes(skb, 0, &frame, sizeof(frame), 0) ? DROP_REWRITE : DROP_NONE;
}
