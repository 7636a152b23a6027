/*
 * Ingress of a gateway's VXLAN device: what guests send, on its way out.
 *
 *   fence: the tunnel's source is the host that holds the VM, with the epoch it holds it in
 *   (during a move the previous host too) → source: the VM's service port, or a port of its slice
 *   → the outside device, by the kernel's routes; IPv6: carry6.h
 */
#include "carry6.h"
#include "counters.h"
#include "fragments.h"
#include "nat.h"
#include "quoted.h"
#include "traffic.h"
#include "tunnel.h"

INLINE bool holds_vm(const struct tunnel *tunnel, const struct gateway_vm *vm)
{
	if (vm->host && tunnel->remote == vm->host && tunnel->vni == vm->vni)
		return true;
	return vm->previous_host && tunnel->remote == vm->previous_host &&
	       tunnel->vni == vm->previous_vni;
}

/* The public side of a port that is mapped to the VM: no state, so nothing to lose. */
INLINE bool service_side(const struct gateway_vm *vm, __be16 port, __u8 protocol,
			 struct endpoint *new)
{
	struct service_key key = {
		.address = vm->guest_address,
		.port = port,
		.protocol = protocol,
	};
	struct service *service = vm->services ? bpf_map_lookup_elem(&service_ports, &key) : NULL;

	if (!service)
		return false;
	new->address = service->address;
	new->port = service->port;
	return true;
}

INLINE enum drop_reason translate(struct __sk_buff *skb, const struct gateway_vm *vm, __u32 number,
				  const struct packet *packet)
{
	struct endpoint old = { packet->source, packet->source_port };
	struct endpoint new = { vm->public_address, 0 };
	struct flow_key flow = {
		.local = packet->source,
		.remote = packet->destination,
		.local_port = packet->source_port,
		.remote_port = packet->destination_port,
		.protocol = packet->protocol,
	};

	if (packet->protocol == IPPROTO_ICMP ? packet->icmp_type != ICMP_ECHO
					     : packet->protocol != IPPROTO_TCP &&
						       packet->protocol != IPPROTO_UDP)
		return DROP_PROTOCOL;
	if (!service_side(vm, packet->source_port, packet->protocol, &new) &&
	    !public_port_of(vm, packet, number, &flow, &new.port))
		return DROP_NO_PORT;
	remember_fragment(packet, number, new.address);
	return rewrite(skb, packet, SOURCE, &old, &new);
}

INLINE enum drop_reason translate_fragment(struct __sk_buff *skb, __u32 number,
					   const struct packet *packet)
{
	struct fragment *known = known_fragment(packet);

	if (!known || known->number != number)
		return DROP_FRAGMENT;
	return rewrite_address(skb, SOURCE, packet->source, known->address) ? DROP_REWRITE
									    : DROP_NONE;
}

/* The guest complains about a packet that it got: the quoted destination is the guest. */
INLINE enum drop_reason translate_error(struct __sk_buff *skb, const struct gateway_vm *vm,
					const struct packet *packet)
{
	struct packet quoted;
	struct endpoint old, new;
	enum drop_reason reason = read_quoted(skb, &quoted);

	if (reason != DROP_NONE)
		return reason;
	if (quoted.destination != vm->guest_address || quoted.protocol == IPPROTO_ICMP)
		return DROP_PROTOCOL;
	old.address = quoted.destination;
	old.port = quoted.destination_port;
	if (!service_side(vm, old.port, quoted.protocol, &new)) {
		struct flow_key flow = {
			.local = quoted.destination,
			.remote = quoted.source,
			.local_port = quoted.destination_port,
			.remote_port = quoted.source_port,
			.protocol = quoted.protocol,
		};
		struct flow_key public;

		if (!find_public_side(vm, &flow, &public))
			return DROP_NO_FLOW;
		new.address = vm->public_address;
		new.port = public.local_port;
	}
	if (rewrite_address(skb, SOURCE, packet->source, new.address))
		return DROP_REWRITE;
	return rewrite_quoted(skb, quoted.protocol, DESTINATION, &old, &new);
}

INLINE enum drop_reason carry(struct __sk_buff *skb, const struct gateway_config *config,
			      const struct gateway_vm *vm, __u32 number)
{
	struct frame frame;
	struct packet packet;
	enum drop_reason reason = read_frame(skb, &frame);

	if (reason == DROP_IPV6)
		return carry6(skb, config, vm, number);
	if (reason == DROP_NONE)
		reason = read_packet(skb, &frame, &packet);
	if (reason != DROP_NONE)
		return reason;
	if (packet.source != vm->guest_address)
		return DROP_SOURCE_ADDRESS;
	reason = decrease_ttl(skb, &packet);
	if (reason != DROP_NONE)
		return reason;
	count_prefix(skb, number, packet.destination, true);
	if (packet.later_fragment)
		return translate_fragment(skb, number, &packet);
	if (packet.protocol == IPPROTO_ICMP && is_icmp_error(packet.icmp_type))
		return translate_error(skb, vm, &packet);
	return translate(skb, vm, number, &packet);
}

SEC("tc") int gateway_vxlan(struct __sk_buff *skb)
{
	struct gateway_config *config = gateway_configuration();
	struct gateway_vm *vm;
	struct tunnel tunnel;
	enum drop_reason reason;
	__u32 number;

	if (!config || !read_tunnel(skb, &tunnel))
		return drop(0, DROP_NO_TUNNEL_KEY);
	number = tunnel.vni >> VNI_EPOCH_BITS;
	vm = gateway_vm_of(number);
	if (!vm)
		return drop(number, DROP_UNKNOWN_VM);
	if (!holds_vm(&tunnel, vm))
		return drop(number, DROP_FENCED);
	count_seat(skb, tunnel.vni, true);
	reason = carry(skb, config, vm, number);
	if (reason != DROP_NONE)
		return drop(number, reason);
	count_out(skb, number);
	return route_through(skb, config->outside_ifindex);
}
