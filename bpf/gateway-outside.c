/*
 * Ingress of a gateway's outside device: what peers send to a public address.
 *
 *   to a mapped port, or of a flow that a guest began → the VM's host of this moment
 *   to another port of the slices → dropped, never refused
 *   anything else → the kernel's: it is the gateway's own
 */
#include "counters.h"
#include "fragments.h"
#include "nat.h"
#include "quoted.h"
#include "traffic.h"
#include "tunnel.h"

/* Whose a packet is: number and guest's side, or `mine` false for the gateway's own. */
struct recipient {
	__u32 number;
	struct endpoint guest;
	enum drop_reason reason;
	bool mine;
};

INLINE bool is_slice_port(__be32 address, __be16 port)
{
	struct port_range *range = bpf_map_lookup_elem(&gateway_ports, &address);
	__u16 host_port = bpf_ntohs(port);

	return range && host_port >= range->first && host_port <= range->last;
}

INLINE bool find_service(__be32 address, __be16 port, __u8 protocol, struct recipient *to)
{
	struct service_key key = { .address = address, .port = port, .protocol = protocol };
	struct service *service = bpf_map_lookup_elem(&services, &key);

	if (!service)
		return false;
	to->mine = true;
	to->number = service->number;
	to->guest.address = service->address;
	to->guest.port = service->port;
	return true;
}

INLINE struct nat_in *find_flow(__be32 address, __be16 port, __be32 peer, __be16 peer_port,
				__u8 protocol, struct recipient *to)
{
	struct flow_key key = {
		.local = address,
		.remote = peer,
		.local_port = port,
		.remote_port = peer_port,
		.protocol = protocol,
	};
	struct nat_in *entry = bpf_map_lookup_elem(&nat_in, &key);

	if (!entry || is_idle(entry, protocol, bpf_ktime_get_ns()))
		return NULL;
	to->mine = true;
	to->number = entry->number;
	to->guest.address = entry->guest_address;
	to->guest.port = entry->guest_port;
	return entry;
}

INLINE void translate(struct __sk_buff *skb, const struct packet *packet, struct recipient *to)
{
	struct endpoint old = { packet->destination, packet->destination_port };
	struct nat_in *entry;

	if (packet->protocol == IPPROTO_ICMP ? packet->icmp_type != ICMP_ECHO_REPLY
					     : packet->protocol != IPPROTO_TCP &&
						       packet->protocol != IPPROTO_UDP)
		return;
	if (!find_service(old.address, old.port, packet->protocol, to)) {
		entry = find_flow(old.address, old.port, packet->source, packet->source_port,
				  packet->protocol, to);
		if (entry) {
			touch(entry, packet, false);
		} else {
			to->mine = is_slice_port(old.address, old.port);
			to->reason = DROP_NO_FLOW;
			return;
		}
	}
	remember_fragment(packet, to->number, to->guest.address);
	to->reason = rewrite(skb, packet, DESTINATION, &old, &to->guest);
}

INLINE void translate_fragment(struct __sk_buff *skb, const struct packet *packet,
			       struct recipient *to)
{
	struct fragment *known = known_fragment(packet);

	if (!known)
		return;
	to->mine = true;
	to->number = known->number;
	if (rewrite_address(skb, DESTINATION, packet->destination, known->address))
		to->reason = DROP_REWRITE;
}

/* A peer or a router complains about a packet that a guest sent: the quoted source is public. */
INLINE void translate_error(struct __sk_buff *skb, const struct packet *packet,
			    struct recipient *to)
{
	struct packet quoted;
	struct endpoint old;

	if (read_quoted(skb, &quoted) != DROP_NONE)
		return;
	old.address = quoted.source;
	old.port = quoted.source_port;
	if (old.address != packet->destination)
		return;
	if (!find_service(old.address, old.port, quoted.protocol, to) &&
	    !find_flow(old.address, old.port, quoted.destination, quoted.destination_port,
		       quoted.protocol, to))
		return;
	if (rewrite_address(skb, DESTINATION, packet->destination, to->guest.address))
		to->reason = DROP_REWRITE;
	else
		to->reason = rewrite_quoted(skb, quoted.protocol, SOURCE, &old, &to->guest);
}

INLINE int deliver(struct __sk_buff *skb, const struct packet *packet, const struct recipient *to,
		   const struct gateway_config *config)
{
	struct gateway_vm *vm = gateway_vm_of(to->number);
	enum drop_reason reason = to->reason;
	struct entrance at = { config->vxlan_ifindex, config->underlay };
	struct tunnel tunnel;

	if (reason == DROP_NONE && !vm)
		reason = DROP_UNKNOWN_VM;
	if (reason == DROP_NONE && !vm->host)
		reason = DROP_PARKED;
	if (reason == DROP_NONE)
		reason = decrease_ttl(skb, packet);
	if (reason != DROP_NONE || !vm)
		return drop(to->number, reason);
	count_in(skb, to->number);
	count_prefix(skb, to->number, packet->source, false);
	tunnel.remote = vm->host;
	tunnel.vni = vm->vni;
	count_seat(skb, tunnel.vni, false);
	return send_into_tunnel(skb, at, tunnel);
}

SEC("tc") int gateway_outside(struct __sk_buff *skb)
{
	struct gateway_config *config = gateway_configuration();
	struct recipient to = {};
	struct packet packet;
	struct frame frame;

	if (!config || read_frame(skb, &frame) != DROP_NONE)
		return TC_ACT_OK;
	if (!bpf_map_lookup_elem(&gateway_ports, &frame.ip.daddr))
		return TC_ACT_OK;
	if (read_packet(skb, &frame, &packet) != DROP_NONE)
		return TC_ACT_OK;
	if (packet.later_fragment)
		translate_fragment(skb, &packet, &to);
	else if (packet.protocol == IPPROTO_ICMP && is_icmp_error(packet.icmp_type))
		translate_error(skb, &packet, &to);
	else
		translate(skb, &packet, &to);
	return to.mine ? deliver(skb, &packet, &to, config) : TC_ACT_OK;
}
