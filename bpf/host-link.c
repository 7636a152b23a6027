/*
 * Ingress of a VM's link in the host's namespace: what the VM's namespace let out goes to the gateway,
 * or, if it was left in the tap for a guest that is gone, to the host that has the VM now. One program
 * per VM.
 */
#include "counters.h"
#include "host-maps.h"
#include "ip6.h"
#include "packet.h"
#include "tunnel.h"

/* Which sides of a packet are the guest's. */
struct sides {
	bool source;
	bool destination;
};

INLINE enum drop_reason read_sides(struct __sk_buff *skb, const struct host_vm *vm,
				   struct sides *guest)
{
	struct frame frame;
	struct packet6 packet;
	enum drop_reason reason = read_frame(skb, &frame);

	if (reason == DROP_IPV6) {
		reason = read_packet6(skb, &packet);
		guest->source = is_guest6(&packet.source, vm->guest_address);
		guest->destination = is_guest6(&packet.destination, vm->guest_address);
	} else if (reason == DROP_NONE) {
		guest->source = frame.ip.saddr == vm->guest_address;
		guest->destination = frame.ip.daddr == vm->guest_address;
	}
	return reason;
}

SEC("tc") int host_link(struct __sk_buff *skb)
{
	struct host_config *config = host_configuration();
	__u32 number = this_vm_number();
	struct host_vm *vm = host_vm_of(number);
	struct tunnel tunnel;
	struct entrance at;
	struct sides guest = {};
	enum drop_reason reason;

	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return TC_ACT_OK;
	if (!vm || !config)
		return drop(number, DROP_UNKNOWN_VM);
	reason = read_sides(skb, vm, &guest);
	if (reason != DROP_NONE)
		return drop(number, reason);
	at.ifindex = config->vxlan_ifindex;
	at.underlay = config->underlay;
	tunnel.remote = vm->gateway;
	tunnel.vni = vm->vni;
	if (vm->forward_host && guest.destination) {
		tunnel.remote = vm->forward_host;
		tunnel.vni = vm->forward_vni;
		count_straggler(skb, number);
	} else if (guest.source) {
		count_out(skb, number);
	} else {
		return drop(number, DROP_SOURCE_ADDRESS);
	}
	return send_into_tunnel(skb, at, tunnel);
}
