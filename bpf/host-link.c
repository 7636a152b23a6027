/*
 * Ingress of a VM's link in the host's namespace: what the VM's namespace let out goes to the gateway,
 * or, if it was left in the tap for a guest that is gone, to the host that has the VM now. One program
 * per VM.
 */
#include "counters.h"
#include "host-maps.h"
#include "packet.h"
#include "tunnel.h"

SEC("tc") int host_link(struct __sk_buff *skb)
{
	struct host_config *config = host_configuration();
	__u32 number = this_vm_number();
	struct host_vm *vm = host_vm_of(number);
	struct tunnel tunnel;
	struct entrance at;
	struct frame frame;
	enum drop_reason reason;

	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return TC_ACT_OK;
	if (!vm || !config)
		return drop(number, DROP_UNKNOWN_VM);
	reason = read_frame(skb, &frame);
	if (reason != DROP_NONE)
		return drop(number, reason);
	at.ifindex = config->vxlan_ifindex;
	at.underlay = config->underlay;
	tunnel.remote = vm->gateway;
	tunnel.vni = vm->vni;
	if (vm->forward_host && frame.ip.daddr == vm->guest_address) {
		tunnel.remote = vm->forward_host;
		tunnel.vni = vm->forward_vni;
		count_straggler(skb, number);
	} else if (frame.ip.saddr == vm->guest_address) {
		count_out(skb, number);
	} else {
		return drop(number, DROP_SOURCE_ADDRESS);
	}
	return send_into_tunnel(skb, at, tunnel);
}
