/*
 * Ingress of a gateway's outside device: what peers send to a public address.
 *
 *   to a mapped port, or of a flow that a guest began → the VM's host of this moment
 *   to another port of the slices, or to a guest's IPv6 address → dropped, never refused
 *   anything else → the kernel's: it is the gateway's own
 */
#include "carry6.h"
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

INLINE int send_to_host(struct __sk_buff *skb, const struct gateway_vm *vm, __u32 number,
			const struct gateway_config *config)
{
	struct entrance at = { config->vxlan_ifindex, config->underlay };
	struct tunnel tunnel = { vm->host, vm->vni };

	count_in(skb, number);
	count_seat(skb, tunnel.vni, false);
	return send_into_tunnel(skb, at, tunnel);
}

INLINE int deliver(struct __sk_buff *skb, const struct packet *packet, const struct recipient *to,
		   const struct gateway_config *config)
{
	struct gateway_vm *vm = gateway_vm_of(to->number);
	enum drop_reason reason = to->reason;

	if (reason == DROP_NONE && !vm)
		reason = DROP_UNKNOWN_VM;
	if (reason == DROP_NONE && !vm->host)
		reason = DROP_PARKED;
	if (reason == DROP_NONE)
		reason = decrease_ttl(skb, packet);
	if (reason != DROP_NONE || !vm)
		return drop(to->number, reason);
	count_prefix(skb, to->number, packet->source, false);
	return send_to_host(skb, vm, to->number, config);
}

INLINE bool is_too_big(struct __sk_buff *skb, const struct gateway_config *config)
{
	/* Volatile, or the compiler chooses between offsets, which the verifier refuses. */
	__u32 segment = *(volatile __u32 *)&skb->gso_size;
	__u32 whole = *(volatile __u32 *)&skb->len;

	return (segment ? segment + sizeof(struct ipv6hdr) : whole - ETH_HLEN) > config->mtu;
}

/* To a public address of the guests' /64. */
INLINE int deliver6(struct __sk_buff *skb, const struct address6 *to,
		    const struct gateway_config *config)
{
	__u32 number = bpf_ntohl(to->words[3]) & VM_NUMBER_MASK;
	struct gateway_vm *vm = gateway_vm_of(number);
	struct packet6 packet;
	enum drop_reason reason;

	if (!vm || !is_public6(config, to) || vm->guest_address != to->words[3])
		return drop(0, DROP_UNKNOWN_VM);
	reason = vm->host ? read_packet6(skb, &packet) : DROP_PARKED;
	if (reason == DROP_NONE && is_too_big(skb, config)) {
		reason = admit_flow6(&packet, number);
		/* The kernel, whose route to the guests has this MTU, tells the peer. */
		if (reason == DROP_NONE)
			return TC_ACT_OK;
	}
	if (reason == DROP_NONE)
		reason = admit6(skb, &packet, number);
	return reason == DROP_NONE ? send_to_host(skb, vm, number, config) : drop(number, reason);
}

INLINE int inward6(struct __sk_buff *skb, const struct gateway_config *config)
{
	struct address6 to;

	if (bpf_skb_load_bytes(skb, IP6_DESTINATION_OFFSET, &to, sizeof(to)) ||
	    !is_in_public64(config, &to))
		return TC_ACT_OK;
	return deliver6(skb, &to, config);
}

SEC("tc") int gateway_outside(struct __sk_buff *skb)
{
	struct gateway_config *config = gateway_configuration();
	struct recipient to = {};
	struct packet packet;
	struct frame frame;
	enum drop_reason reason;

	if (!config)
		return TC_ACT_OK;
	reason = read_frame(skb, &frame);
	if (reason != DROP_NONE)
		return reason == DROP_IPV6 ? inward6(skb, config) : TC_ACT_OK;
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
