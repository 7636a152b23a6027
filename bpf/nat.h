/*
 * Which public port a flow of a guest has. The VM has a slice of ports; within it, a guest's port
 * has a preferred place (port modulo slice), whoever the peer is, and the next free one otherwise.
 * So a gateway that has lost its maps gives the same port again, collisions apart, as soon as the
 * guest sends; and two CPUs that make the entry at once agree.
 *
 *   nat_in  (public, peer, ports, protocol) → guest: owns the port towards that peer; made first
 *   nat_out (guest, peer, ports, protocol) → public port, for flows that are not at their preferred
 *           place: a hint, believed only if nat_in agrees
 *
 * So a guest's packet costs one lookup, collisions apart. Either may be evicted alone: without nat_out
 * the port is found again where it was; without nat_in it is claimed again by the guest's next packet.
 */
#pragma once

#include "gateway-maps.h"
#include "packet.h"

#define PORT_PROBES 32
#define NANOSECONDS 1000000000ULL

INLINE enum nat_class class_of(__u8 protocol)
{
	if (protocol == IPPROTO_TCP)
		return NAT_TCP;
	return protocol == IPPROTO_UDP ? NAT_UDP : NAT_ICMP;
}

/* Another CPU may have touched the entry since `now`. */
INLINE bool is_idle(const struct nat_in *entry, __u8 protocol, __u64 now)
{
	struct gateway_config *config = gateway_configuration();
	__u32 index = class_of(protocol) * NAT_STATES + entry->state;
	__u64 seen = *(volatile __u64 *)&entry->seen_ns;

	if (!config || index >= NAT_CLASSES * NAT_STATES)
		return false;
	return seen < now && now - seen > config->idle_seconds[index] * NANOSECONDS;
}

/* A forged RST must not kill a flow: it only shortens its time, and the guest's next word ends that. */
INLINE __u8 next_state(__u8 state, const struct packet *packet, bool from_guest)
{
	if (packet->protocol == IPPROTO_TCP) {
		if (packet->tcp_flags & TCP_RST)
			return NAT_CLOSED;
		if (packet->tcp_flags & TCP_FIN)
			return state == NAT_CLOSED ? NAT_CLOSED : NAT_CLOSING;
		if (from_guest && (packet->tcp_flags & TCP_SYN))
			return state == NAT_OPEN ? NAT_OPEN : NAT_OPENING;
		if (state == NAT_CLOSED)
			return from_guest ? NAT_OPEN : NAT_CLOSED;
	}
	return state == NAT_OPENING && !from_guest ? NAT_OPEN : state;
}

INLINE void touch(struct nat_in *entry, const struct packet *packet, bool from_guest)
{
	entry->seen_ns = bpf_ktime_get_ns();
	entry->state = next_state(entry->state, packet, from_guest);
}

INLINE bool is_owned_by(const struct nat_in *entry, const struct flow_key *flow)
{
	return entry->guest_address == flow->local && entry->guest_port == flow->local_port;
}

INLINE struct flow_key public_side(const struct flow_key *flow, __be32 address, __be16 port)
{
	struct flow_key key = *flow;

	key.local = address;
	key.local_port = port;
	return key;
}

/* One place of the slice: ours now, or ours already. */
INLINE bool claim(const struct flow_key *public, const struct flow_key *flow, __u32 number)
{
	struct nat_in fresh = {
		.seen_ns = bpf_ktime_get_ns(),
		.number = number,
		.guest_address = flow->local,
		.guest_port = flow->local_port,
	};
	struct nat_in *there;

	if (!bpf_map_update_elem(&nat_in, public, &fresh, BPF_NOEXIST))
		return true;
	there = bpf_map_lookup_elem(&nat_in, public);
	if (!there)
		return false;
	if (is_owned_by(there, flow))
		return true;
	return is_idle(there, flow->protocol, fresh.seen_ns) &&
	       !bpf_map_update_elem(&nat_in, public, &fresh, BPF_ANY);
}

/* The flow's public side at one place of the slice, which is not empty. */
INLINE struct flow_key place_of(const struct gateway_vm *vm, const struct flow_key *flow,
				__u32 probe)
{
	__u32 place = bpf_ntohs(flow->local_port) + probe * (probe + 1) / 2;
	__u32 port = vm->first_port + place % vm->port_count;

	return public_side(flow, vm->public_address, bpf_htons(port));
}

INLINE bool claim_port(const struct gateway_vm *vm, const struct flow_key *flow, __u32 number,
		       struct flow_key *public)
{
	__u32 count = vm->port_count;

	for (__u32 probe = 0; probe < PORT_PROBES && probe < count; probe++) {
		*public = place_of(vm, flow, probe);
		if (claim(public, flow, number)) {
			struct nat_out hint = { .public_port = public->local_port };

			if (probe)
				bpf_map_update_elem(&nat_out, flow, &hint, BPF_ANY);
			return true;
		}
	}
	return false;
}

INLINE struct nat_in *entry_at(const struct flow_key *public, const struct flow_key *flow)
{
	struct nat_in *entry = bpf_map_lookup_elem(&nat_in, public);

	return entry && is_owned_by(entry, flow) ? entry : NULL;
}

/* A flow that there is, with its public side; NULL: there is none. */
INLINE struct nat_in *find_public_side(const struct gateway_vm *vm, const struct flow_key *flow,
				       struct flow_key *public)
{
	struct nat_in *entry;
	struct nat_out *hint;

	if (!vm->port_count)
		return NULL;
	*public = place_of(vm, flow, 0);
	entry = entry_at(public, flow);
	if (entry)
		return entry;
	hint = bpf_map_lookup_elem(&nat_out, flow);
	if (!hint)
		return NULL;
	*public = public_side(flow, vm->public_address, hint->public_port);
	return entry_at(public, flow);
}

/* Finds or makes the flow's public side, and notes that the guest has sent. */
INLINE bool public_port_of(const struct gateway_vm *vm, const struct packet *packet, __u32 number,
			   const struct flow_key *flow, __be16 *port)
{
	struct flow_key public;
	struct nat_in *entry = find_public_side(vm, flow, &public);

	if (!entry) {
		if (!claim_port(vm, flow, number, &public))
			return false;
		entry = bpf_map_lookup_elem(&nat_in, &public);
	}
	if (entry)
		touch(entry, packet, true);
	*port = public.local_port;
	return true;
}
