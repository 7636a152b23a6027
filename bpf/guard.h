/* What a guest may reach, and how fast. Prefixes are planned by host-agent/net/bpf/guard-plan.ts. */
#pragma once

#include "arp.h"
#include "host-maps.h"
#include "packet.h"

#define DNS_PORT 53
#define NANOSECONDS 1000000000ULL

/* GUEST_API_PORT of host-agent/protocol/guest-api-address.ts; the address is the default route's. */
#define GUEST_API_PORT 8042

INLINE bool is_for_guest_api(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP && packet->destination == GUEST_GATEWAY &&
	       packet->destination_port == bpf_htons(GUEST_API_PORT);
}

/* A policy without a rule for the address lets nothing pass. */
INLINE bool may_reach(const struct packet *packet, __u32 policy)
{
	struct guard_key key = {
		.prefix_bits = 64,
		.policy = policy,
		.address = packet->destination,
	};
	struct guard_rule *rule = bpf_map_lookup_elem(&host_guard, &key);

	if (!rule)
		return false;
	if (rule->pass)
		return true;
	return rule->dns && packet->destination_port == bpf_htons(DNS_PORT) &&
	       (packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP);
}

/*
 * A token bucket. A tap has one queue, so that two CPUs rarely meet here; if they do, a few packets
 * more pass.
 */
INLINE bool within_rate(struct __sk_buff *skb, __u32 number, const struct host_vm *vm)
{
	struct host_bucket *bucket = bpf_map_lookup_elem(&host_buckets, &number);
	__u64 now = bpf_ktime_get_ns();
	__u64 passed, tokens;

	if (!vm->rate_bytes || !bucket)
		return true;
	passed = now - bucket->filled_ns;
	if (passed > NANOSECONDS)
		passed = NANOSECONDS;
	tokens = bucket->tokens + passed * vm->rate_bytes / NANOSECONDS;
	if (tokens > vm->burst_bytes)
		tokens = vm->burst_bytes;
	bucket->filled_ns = now;
	if (tokens < skb->len) {
		bucket->tokens = tokens;
		return false;
	}
	bucket->tokens = tokens - skb->len;
	return true;
}
