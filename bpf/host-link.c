/*
 * Ingress of a VM's link in the host's namespace: what host-tap.c let pass goes to the gateway, or,
 * if it was left in the tap for a guest that is gone, to the host that has the VM now.
 */
#include "counters.h"
#include "host-maps.h"
#include "packet.h"
#include "tunnel.h"

SEC("tc") int host_link(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	__u32 *number = bpf_map_lookup_elem(&host_links, &ifindex);
	struct host_vm *vm = number ? host_vm_of(*number) : NULL;
	struct tunnel tunnel;
	struct frame frame;
	enum drop_reason reason;

	if (!number || !vm)
		return drop(0, DROP_UNKNOWN_VM);
	reason = read_frame(skb, &frame);
	if (reason != DROP_NONE)
		return drop(*number, reason);
	tunnel.remote = vm->gateway;
	tunnel.vni = vm->vni;
	if (vm->forward_host && frame.ip.daddr == vm->guest_address) {
		tunnel.remote = vm->forward_host;
		tunnel.vni = vm->forward_vni;
		count_straggler(skb, *number);
	} else if (frame.ip.saddr != vm->guest_address) {
		return drop(*number, DROP_SOURCE_ADDRESS);
	}
	return send_into_tunnel(skb, vxlan_of_host(), tunnel);
}
