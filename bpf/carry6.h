/*
 * A gateway's IPv6, both ways: for guests whose gateway has a prefix.
 *
 *   out  from the guest's own address → under the public prefix, and the flow may come back
 *   in   of a flow that a guest began, or an error about one → the guest's; else dropped, never refused
 */
#pragma once

#include "nat6.h"

/* The guest complains about a packet that it got. */
INLINE enum drop_reason carry_error6(struct __sk_buff *skb, const struct gateway_config *config,
				     const struct gateway_vm *vm)
{
	struct packet6 quoted;
	struct flow6_key flow;
	enum drop_reason reason = read_quoted6(skb, &quoted);

	if (reason != DROP_NONE)
		return reason;
	if (!is_guest6(&quoted.destination, vm->guest_address) ||
	    quoted.l4.protocol == NEXT_ICMP6)
		return DROP_PROTOCOL;
	flow = flow6_of(vm->guest_address, quoted.l4.destination_port, &quoted.source,
			quoted.l4.source_port, quoted.l4.protocol);
	if (!find_flow6(&flow))
		return DROP_NO_FLOW;
	return make_public6(skb, config, QUOTED6_DESTINATION_OFFSET);
}

/* What a guest sends, to the outside. */
INLINE enum drop_reason carry6(struct __sk_buff *skb, const struct gateway_config *config,
			       const struct gateway_vm *vm, __u32 number)
{
	struct packet6 packet;
	struct packet *l4 = &packet.l4;
	enum drop_reason reason = has_public6(config) ? read_packet6(skb, &packet) : DROP_IPV6;

	if (reason != DROP_NONE)
		return reason;
	if (!is_guest6(&packet.source, vm->guest_address))
		return DROP_SOURCE_ADDRESS;
	if (is_in_public64(config, &packet.destination))
		return DROP_GUARD;
	reason = decrease_hop_limit(skb, &packet);
	if (reason == DROP_NONE && !l4->later_fragment) {
		if (l4->protocol == NEXT_ICMP6 && is_icmp6_error(l4->icmp_type)) {
			reason = carry_error6(skb, config, vm);
		} else if (l4->protocol == NEXT_ICMP6 && l4->icmp_type != ICMP6_ECHO) {
			reason = DROP_PROTOCOL;
		} else {
			struct flow6_key flow =
				flow6_of(vm->guest_address, l4->source_port, &packet.destination,
					 l4->destination_port, l4->protocol);

			begin_flow6(&flow, number, l4);
		}
	}
	return reason == DROP_NONE ? make_public6(skb, config, IP6_SOURCE_OFFSET) : reason;
}

/* An error about a packet that the guest sent: the quoted source is its public address. */
INLINE enum drop_reason admit_error6(struct __sk_buff *skb, const struct packet6 *packet)
{
	struct packet6 quoted;
	struct flow6_key flow;
	enum drop_reason reason = read_quoted6(skb, &quoted);

	if (reason != DROP_NONE)
		return reason;
	if (!is_same6(&quoted.source, &packet->destination))
		return DROP_DESTINATION;
	flow = flow6_of(quoted.source.words[3], quoted.l4.source_port, &quoted.destination,
			quoted.l4.destination_port, quoted.l4.protocol);
	return find_flow6(&flow) ? make_guests6(skb, QUOTED6_SOURCE_OFFSET) : DROP_NO_FLOW;
}

INLINE enum drop_reason admit_flow6(const struct packet6 *packet, __u32 number)
{
	const struct packet *l4 = &packet->l4;
	struct fragment6_key part = fragment6_of(packet);
	struct flow6_key flow = flow6_of(part.guest_address, l4->destination_port, &packet->source,
					 l4->source_port, l4->protocol);
	struct nat_in *entry;

	if (l4->later_fragment)
		return bpf_map_lookup_elem(&fragments6, &part) ? DROP_NONE : DROP_FRAGMENT;
	if (l4->protocol == NEXT_ICMP6 && l4->icmp_type != ICMP6_ECHO_REPLY)
		return DROP_PROTOCOL;
	entry = find_flow6(&flow);
	if (!entry)
		return DROP_NO_FLOW;
	touch(entry, l4, false);
	if (l4->fragment)
		bpf_map_update_elem(&fragments6, &part, &number, BPF_ANY);
	return DROP_NONE;
}

/* What comes for a guest, `packet` of which has been read. */
INLINE enum drop_reason admit6(struct __sk_buff *skb, const struct packet6 *packet, __u32 number)
{
	const struct packet *l4 = &packet->l4;
	enum drop_reason reason;

	if (!l4->later_fragment && l4->protocol == NEXT_ICMP6 && is_icmp6_error(l4->icmp_type))
		reason = admit_error6(skb, packet);
	else
		reason = admit_flow6(packet, number);
	if (reason == DROP_NONE)
		reason = decrease_hop_limit(skb, packet);
	return reason == DROP_NONE ? make_guests6(skb, IP6_DESTINATION_OFFSET) : reason;
}
