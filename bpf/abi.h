/*
 * What programs and user space share: every map's key and value, the config, the drop reasons.
 * Mirrored in host-agent/net/bpf/abi.ts and drop-reasons.ts; their test asks this file's compiler.
 *
 * Addresses and ports named __be32/__be16 are in network order, as packets carry them. Underlay
 * addresses are __u32 in host order, as bpf_skb_set_tunnel_key wants them.
 *
 * The VNI of a tunnel packet is the VM's number << VNI_EPOCH_BITS | the low bits of the epoch of
 * the host's token, so that what a host sent before an earlier move is told from what it sends now.
 */
#pragma once

#include <linux/types.h>

#define VNI_EPOCH_BITS 4
#define VM_NUMBER_MASK 0xfffff

/* Numbers are an interface: add at the end, never renumber. */
enum drop_reason {
	DROP_NONE,
	DROP_MALFORMED,		/* not a whole Ethernet frame with a plain IPv4 header */
	DROP_ETHERTYPE,		/* neither IP nor ARP for the gateway; VLAN tags too */
	DROP_IPV6,		/* where there is none */
	DROP_IP_OPTIONS,
	DROP_SOURCE_MAC,
	DROP_SOURCE_ADDRESS,
	DROP_GUARD,
	DROP_RATE,
	DROP_UNKNOWN_VM,
	DROP_NO_TUNNEL_KEY,
	DROP_FENCED,		/* from a host that does not hold the VM, or from an earlier epoch */
	DROP_DESTINATION,	/* a tunnel packet for somebody else than the VM of its VNI */
	DROP_PARKED,		/* the VM is on no host */
	DROP_TTL,
	DROP_PROTOCOL,		/* not TCP, UDP or ICMP; an ICMP type that is not translated */
	DROP_NO_FLOW,		/* to a port of a slice, from a peer that the VM has not spoken to */
	DROP_NO_PORT,		/* every port tried in the VM's slice is taken for this peer */
	DROP_FRAGMENT,		/* its first fragment has not passed */
	DROP_REWRITE,		/* the kernel refused to change the packet */
	DROP_EXTENSION,		/* an IPv6 header before the ports that is not a fragment's */
	DROP_DISCOVERY,		/* IPv6 neighbour discovery, but a question for the default route */
	DROP_REASONS,
};

/* Key of maps that have one entry per VM: its number, 20 bits. */

struct host_config {
	__u32 vxlan_ifindex;
	__u32 underlay;			/* this host's own */
};

struct host_vm {
	__u64 rate_bytes;		/* per second, from the guest; 0: no limit */
	__u64 burst_bytes;
	__u32 vni;
	__u32 gateway;			/* underlay */
	__u32 forward_host;		/* underlay: where the VM went; 0: it is here */
	__u32 forward_vni;
	__u32 straggler_source;		/* underlay: the host it came from; 0: none */
	__be32 guest_address;
	__u32 policy;
	__u32 link_ifindex;		/* in the host's namespace */
	__u32 up_ifindex;		/* both in the VM's namespace */
	__u32 tap_ifindex;
	__u8 guest_mac[6];
	__u8 pad[2];
};

struct host_bucket {
	__u64 tokens;			/* bytes */
	__u64 filled_ns;
};

/* The longest prefix decides; prefix_bits counts the policy's 32 bits too. */
struct guard_key {
	__u32 prefix_bits;
	__u32 policy;
	__be32 address;
};

struct guard6_key {
	__u32 prefix_bits;
	__u32 policy;
	__be32 address[4];
};

struct guard_rule {
	__u8 pass;
	__u8 dns;			/* passes to port 53 whatever `pass` says */
};

struct vm_counters {
	__u64 out_packets;		/* from the guest; on a host, into the tunnel */
	__u64 out_bytes;
	__u64 in_packets;		/* to the guest; on a host, all that come from the gateway */
	__u64 in_bytes;
	__u64 straggler_packets;	/* sent after the guest to its next host */
	__u64 drops[DROP_REASONS];
};

enum nat_state {
	NAT_OPENING,			/* only the guest has spoken */
	NAT_OPEN,
	NAT_CLOSING,			/* one side has sent FIN */
	NAT_CLOSED,			/* one side has sent RST */
	NAT_STATES,
};

enum nat_class {
	NAT_TCP,
	NAT_UDP,
	NAT_ICMP,
	NAT_CLASSES,
};

struct gateway_config {
	__u32 vxlan_ifindex;
	__u32 outside_ifindex;
	__u32 underlay;			/* this gateway's own */
	__u32 idle_seconds[NAT_CLASSES * NAT_STATES];
	__be32 public6[3];		/* takes the place of guests' fd61:7200::/96; zeroes: no IPv6 */
	__u32 mtu;			/* of the VXLAN device */
};

struct gateway_vm {
	__u32 vni;
	__u32 host;			/* underlay; 0: parked */
	__u32 previous_vni;
	__u32 previous_host;		/* its packets pass too, until the move is committed; 0: none */
	__be32 guest_address;
	__be32 public_address;
	__u16 first_port;		/* of the VM's slice, host order */
	__u16 port_count;
	__u32 services;			/* how many ports of the VM are mapped */
};

/* Key: the seat's VNI, which is one host's in one epoch of the VM. */
struct seat_counters {
	__u64 to_host;
	__u64 from_host;
};

/* Ports of slices on a public address: what comes to them is the switch's, the rest the kernel's. */
struct port_range {
	__u16 first;
	__u16 last;
};

struct service_key {
	__be32 address;			/* public address, or the guest's in service_ports */
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

struct service {
	__u32 number;
	__be32 address;			/* the guest's, or the public one in service_ports */
	__be16 port;
	__u8 pad[2];
};

/* ICMP echo: the local port is the identifier, the remote port 0. */
struct flow_key {
	__be32 local;			/* guest's in nat_out, public in nat_in */
	__be32 remote;
	__be16 local_port;
	__be16 remote_port;
	__u8 protocol;
	__u8 pad[3];
};

/* A flow that a guest began; its value is a nat_in. Echo as in flow_key. */
struct flow6_key {
	__be32 peer[4];
	__be32 guest_address;		/* IPv4 */
	__be16 guest_port;
	__be16 peer_port;
	__u8 protocol;
	__u8 pad[3];
};

struct nat_out {
	__be16 public_port;
};

/* Owns the public port towards this peer. nat_out is a mere hint (nat.h), checked against it. */
struct nat_in {
	__u64 seen_ns;			/* CLOCK_MONOTONIC */
	__u32 number;
	__be32 guest_address;
	__be16 guest_port;
	__u8 state;
	__u8 pad[5];
};

struct fragment_key {
	__be32 source;
	__be32 destination;
	__be16 id;
	__u8 protocol;
	__u8 pad;
};

struct fragment {
	__u32 number;
	__be32 address;			/* takes the place of the source (outbound) or destination */
};

/* Of a packet for a guest whose first fragment has passed. */
struct fragment6_key {
	__be32 peer[4];
	__be32 guest_address;		/* IPv4 */
	__be32 id;
};

struct prefix_key {
	__u32 number;
	__be32 prefix;			/* /24 of the peer */
};

struct prefix_counters {
	__u64 out_packets;
	__u64 out_bytes;
	__u64 in_packets;
	__u64 in_bytes;
};
