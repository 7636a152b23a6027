/*
 * Packets per seat; and where a VM's traffic goes: bytes per peer's /24, the least recently used
 * forgotten.
 */
#pragma once

#include "gateway-maps.h"
#include "counters.h"

/* A seat's counters are made by user space with the seat. */
INLINE void count_seat(struct __sk_buff *skb, __u32 vni, bool from_host)
{
	struct seat_counters *counters = bpf_map_lookup_elem(&seat_counters, &vni);

	if (!counters)
		return;
	if (from_host)
		counters->from_host += packets_in(skb);
	else
		counters->to_host += packets_in(skb);
}

#define PREFIX_MASK bpf_htonl(0xffffff00)

INLINE void count_prefix(struct __sk_buff *skb, __u32 number, __be32 peer, bool out)
{
	struct prefix_key key = { .number = number, .prefix = peer & PREFIX_MASK };
	struct prefix_counters *counters = bpf_map_lookup_elem(&prefix_counters, &key);

	if (!counters) {
		struct prefix_counters fresh = {};

		bpf_map_update_elem(&prefix_counters, &key, &fresh, BPF_NOEXIST);
		counters = bpf_map_lookup_elem(&prefix_counters, &key);
	}
	if (!counters)
		return;
	__sync_fetch_and_add(out ? &counters->out_packets : &counters->in_packets, packets_in(skb));
	__sync_fetch_and_add(out ? &counters->out_bytes : &counters->in_bytes, (__u64)skb->len);
}
