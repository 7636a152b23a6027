/*
 * Ingress of a VM's tap: everything that its guest sends, which is hostile. One program per VM.
 *
 *   ARP and neighbour discovery for the default route → answered
 *   from another MAC or address, to what the guard forbids, too fast → dropped, never refused
 *   to the guest API → this namespace, whose nft guard lets in nothing else
 *   the rest → the VM's link to the host's namespace (host-link.c encapsulates it there)
 *
 * After a move the agent writes back what was left in the tap for the guest: those frames come from
 * the tap's own MAC and go to the host that has the VM now.
 */
#include "arp.h"
#include "counters.h"
#include "guard.h"
#include "tap6.h"

INLINE bool is_left_over(struct __sk_buff *skb, const struct frame *frame,
			 const struct host_vm *vm, enum drop_reason read)
{
	if (!vm->forward_host || !is_tap_mac(frame->eth.h_source))
		return false;
	return read == DROP_IPV6 ? is_left_over6(skb, vm) : frame->ip.daddr == vm->guest_address;
}

INLINE enum drop_reason judge(struct __sk_buff *skb, const struct host_vm *vm,
			      const struct packet *packet)
{
	if (packet->source != vm->guest_address)
		return DROP_SOURCE_ADDRESS;
	if (!is_for_guest_api(packet) && !may_reach(packet, vm->policy))
		return DROP_GUARD;
	return within_rate(skb, this_vm_number(), vm) ? DROP_NONE : DROP_RATE;
}

SEC("tc") int host_tap(struct __sk_buff *skb)
{
	__u32 number = this_vm_number();
	struct host_vm *vm = host_vm_of(number);
	struct frame frame;
	struct packet packet;
	enum drop_reason reason;
	__u32 ifindex;

	if (!vm)
		return drop(number, DROP_UNKNOWN_VM);
	reason = read_frame(skb, &frame);
	if ((reason == DROP_NONE || reason == DROP_IPV6) && is_left_over(skb, &frame, vm, reason))
		return send_to(skb, vm->up_ifindex);
	if (reason == DROP_MALFORMED)
		return drop(number, reason);
	if (!same_mac(frame.eth.h_source, vm->guest_mac))
		return drop(number, DROP_SOURCE_MAC);
	if (reason == DROP_ETHERTYPE && frame.eth.h_proto == bpf_htons(ETH_P_ARP)) {
		reason = answer_arp(skb, vm);
		return reason == DROP_NONE ? send_to(skb, vm->tap_ifindex) : drop(number, reason);
	}
	if (reason == DROP_IPV6) {
		reason = outward6(skb, vm, &ifindex);
		return reason == DROP_NONE ? send_to(skb, ifindex) : drop(number, reason);
	}
	if (reason == DROP_NONE)
		reason = read_packet(skb, &frame, &packet);
	if (reason == DROP_NONE)
		reason = judge(skb, vm, &packet);
	if (reason != DROP_NONE)
		return drop(number, reason);
	if (is_for_guest_api(&packet))
		return TC_ACT_OK;
	return send_to(skb, vm->up_ifindex);
}
