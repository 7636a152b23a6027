/*
 * Ingress of a host's VXLAN device: packets for its VMs, from the gateway or, just after a move,
 * from the host that had the VM. For a VM that has gone they are sent after it.
 */
#include "counters.h"
#include "host-maps.h"
#include "ip6.h"
#include "packet.h"
#include "tunnel.h"

INLINE bool is_let_in(const struct tunnel *tunnel, const struct host_vm *vm)
{
	if (tunnel->vni != vm->vni)
		return false;
	return tunnel->remote == vm->gateway ||
	       (vm->straggler_source && tunnel->remote == vm->straggler_source);
}

INLINE enum drop_reason judge(struct __sk_buff *skb, const struct host_vm *vm)
{
	struct frame frame;
	struct packet6 packet;
	enum drop_reason reason = read_frame(skb, &frame);

	if (reason == DROP_IPV6) {
		reason = read_packet6(skb, &packet);
		if (reason == DROP_NONE && !is_guest6(&packet.destination, vm->guest_address))
			return DROP_DESTINATION;
		return reason;
	}
	return reason == DROP_NONE && frame.ip.daddr != vm->guest_address ? DROP_DESTINATION
									  : reason;
}

SEC("tc") int host_vxlan(struct __sk_buff *skb)
{
	struct host_config *config = host_configuration();
	struct tunnel tunnel, onward;
	struct entrance at;
	struct host_vm *vm;
	enum drop_reason reason;
	__u32 number;

	if (!config || !read_tunnel(skb, &tunnel))
		return drop(0, DROP_NO_TUNNEL_KEY);
	number = tunnel.vni >> VNI_EPOCH_BITS;
	vm = host_vm_of(number);
	if (!vm)
		return drop(number, DROP_UNKNOWN_VM);
	if (!is_let_in(&tunnel, vm))
		return drop(number, DROP_FENCED);
	reason = judge(skb, vm);
	if (reason != DROP_NONE)
		return drop(number, reason);
	if (tunnel.remote == vm->gateway)
		count_in(skb, number);
	if (!vm->forward_host)
		return send_to_peer(skb, vm->link_ifindex);
	at.ifindex = config->vxlan_ifindex;
	at.underlay = config->underlay;
	onward.remote = vm->forward_host;
	onward.vni = vm->forward_vni;
	count_straggler(skb, number);
	return send_into_tunnel(skb, at, onward);
}
