/* What a guest sends by IPv6. What it may reach is planned by host-agent/net/bpf/guard6-plan.ts. */
#pragma once

#include "guard.h"
#include "nd.h"

/* A policy without a rule for the address lets nothing pass. */
INLINE bool may_reach6(const struct packet6 *packet, __u32 policy)
{
	struct guard6_key key = { .prefix_bits = 160, .policy = policy };
	struct guard_rule *rule;

	__builtin_memcpy(key.address, &packet->destination, sizeof(key.address));
	rule = bpf_map_lookup_elem(&host_guard6, &key);
	return rule && rule->pass;
}

INLINE bool is_discovery(const struct packet6 *packet)
{
	return packet->l4.protocol == NEXT_ICMP6 && !packet->l4.fragment &&
	       packet->l4.icmp_type > ICMP6_ECHO_REPLY;
}

INLINE enum drop_reason judge6(struct __sk_buff *skb, const struct host_vm *vm,
			       const struct packet6 *packet)
{
	if (!is_guest6(&packet->source, vm->guest_address))
		return DROP_SOURCE_ADDRESS;
	if (!may_reach6(packet, vm->policy))
		return DROP_GUARD;
	return within_rate(skb, this_vm_number(), vm) ? DROP_NONE : DROP_RATE;
}

/* DROP_NONE: to `*ifindex`. The sender's MAC has been looked at. */
INLINE enum drop_reason outward6(struct __sk_buff *skb, const struct host_vm *vm, __u32 *ifindex)
{
	struct packet6 packet;
	enum drop_reason reason = read_packet6(skb, &packet);

	*ifindex = vm->up_ifindex;
	if (reason != DROP_NONE)
		return reason;
	if (is_discovery(&packet)) {
		*ifindex = vm->tap_ifindex;
		return packet.l4.icmp_type == ICMP6_SOLICITATION ? answer_nd(skb, vm)
								 : DROP_DISCOVERY;
	}
	return judge6(skb, vm, &packet);
}

INLINE bool is_left_over6(struct __sk_buff *skb, const struct host_vm *vm)
{
	struct packet6 packet;

	return read_packet6(skb, &packet) == DROP_NONE &&
	       is_guest6(&packet.destination, vm->guest_address);
}
