/*
 * Ingress of up0 in a VM's namespace: what the host lets in for the guest. It goes into the tap,
 * where it waits while the guest stands still. One program per VM.
 */
#include "arp.h"
#include "counters.h"

struct macs {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
};

SEC("tc") int host_uplink(struct __sk_buff *skb)
{
	__u32 number = this_vm_number();
	struct host_vm *vm = host_vm_of(number);
	struct macs macs = { .source = TAP_MAC };

	if (!vm)
		return drop(number, DROP_UNKNOWN_VM);
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return drop(number, DROP_ETHERTYPE);
	__builtin_memcpy(macs.destination, vm->guest_mac, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, &macs, sizeof(macs), 0))
		return drop(number, DROP_REWRITE);
	return send_to(skb, vm->tap_ifindex);
}
