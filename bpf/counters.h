/* Counters per VM and per drop reason. A VM's are made by user space; without them nothing counts. */
#pragma once

#include "abi.h"
#include "program.h"

MAP(vm_counters, BPF_MAP_TYPE_PERCPU_HASH, sizeof(__u32), sizeof(struct vm_counters), 65536,
    BPF_F_NO_PREALLOC);
MAP(drop_counters, BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(__u32), sizeof(__u64), DROP_REASONS, 0);

INLINE struct vm_counters *counters_of(__u32 number)
{
	return bpf_map_lookup_elem(&vm_counters, &number);
}

/* Drops of packets that belong to no VM are counted under their reason only. */
INLINE int drop(__u32 number, enum drop_reason reason)
{
	__u32 index = reason;
	__u64 *total = bpf_map_lookup_elem(&drop_counters, &index);
	struct vm_counters *counters = counters_of(number);

	if (total)
		*total += 1;
	if (counters && index < DROP_REASONS)
		counters->drops[index] += 1;
	return TC_ACT_SHOT;
}

/* A packet that the kernel will cut into segments counts as those. */
INLINE __u64 packets_in(struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

INLINE void count_out(struct __sk_buff *skb, __u32 number)
{
	struct vm_counters *counters = counters_of(number);

	if (!counters)
		return;
	counters->out_packets += packets_in(skb);
	counters->out_bytes += skb->len;
}

INLINE void count_in(struct __sk_buff *skb, __u32 number)
{
	struct vm_counters *counters = counters_of(number);

	if (!counters)
		return;
	counters->in_packets += packets_in(skb);
	counters->in_bytes += skb->len;
}

INLINE void count_straggler(struct __sk_buff *skb, __u32 number)
{
	struct vm_counters *counters = counters_of(number);

	if (counters)
		counters->straggler_packets += packets_in(skb);
}
