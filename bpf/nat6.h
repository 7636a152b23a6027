/*
 * Prefix translation (RFC 6296) of guests' addresses, and which flows come in. The first 96 bits of
 * a guest's address are exchanged for the gateway's, which user space has chosen such that their
 * ones' complement sum is the same (host-agent/net/guest-ipv6.ts): no checksum changes, whatever
 * covers the address, and no state is needed. `flows6` is there so that nobody unasked comes in.
 */
#pragma once

#include "gateway-maps.h"
#include "ip6.h"
#include "nat.h"

#define QUOTED6_OFFSET (L4_OFFSET6 + 8)
#define QUOTED6_SOURCE_OFFSET (QUOTED6_OFFSET + offsetof(struct ipv6hdr, saddr))
#define QUOTED6_DESTINATION_OFFSET (QUOTED6_OFFSET + offsetof(struct ipv6hdr, daddr))

INLINE bool has_public6(const struct gateway_config *config)
{
	return config->public6[0] != 0;
}

/* In the operator's /64, which is the guests' alone. */
INLINE bool is_in_public64(const struct gateway_config *config, const struct address6 *address)
{
	return has_public6(config) && address->words[0] == config->public6[0] &&
	       address->words[1] == config->public6[1];
}

INLINE bool is_public6(const struct gateway_config *config, const struct address6 *address)
{
	return is_in_public64(config, address) && address->words[2] == config->public6[2];
}

/* Guest's prefix → public one, at that offset. */
INLINE enum drop_reason make_public6(struct __sk_buff *skb, const struct gateway_config *config,
				     __u32 at)
{
	return bpf_skb_store_bytes(skb, at, config->public6, PREFIX6_BYTES, 0) ? DROP_REWRITE
										: DROP_NONE;
}

INLINE enum drop_reason make_guests6(struct __sk_buff *skb, __u32 at)
{
	__be32 prefix[3] = {};

	/* Not in the initialiser: the loader knows no section of constants. */
	prefix[0] = GUEST_PREFIX6;
	return bpf_skb_store_bytes(skb, at, prefix, PREFIX6_BYTES, 0) ? DROP_REWRITE : DROP_NONE;
}

INLINE struct flow6_key flow6_of(__be32 guest, __be16 guest_port, const struct address6 *peer,
				 __be16 peer_port, __u8 protocol)
{
	struct flow6_key key = {
		.guest_address = guest,
		.guest_port = guest_port,
		.peer_port = peer_port,
		.protocol = protocol,
	};

	__builtin_memcpy(key.peer, peer->words, sizeof(key.peer));
	return key;
}

INLINE struct nat_in *find_flow6(const struct flow6_key *key)
{
	struct nat_in *entry = bpf_map_lookup_elem(&flows6, key);

	return entry && !is_idle(entry, key->protocol, bpf_ktime_get_ns()) ? entry : NULL;
}

/* The guest has sent: the flow is there from now on, or is not older than this. */
INLINE void begin_flow6(const struct flow6_key *key, __u32 number, const struct packet *l4)
{
	struct nat_in *entry = find_flow6(key);
	struct nat_in fresh = {
		.seen_ns = bpf_ktime_get_ns(),
		.number = number,
		.guest_address = key->guest_address,
		.guest_port = key->guest_port,
	};

	if (entry)
		touch(entry, l4, true);
	else
		bpf_map_update_elem(&flows6, key, &fresh, BPF_ANY);
}

INLINE struct fragment6_key fragment6_of(const struct packet6 *packet)
{
	struct fragment6_key key = {
		.guest_address = packet->destination.words[3],
		.id = packet->id,
	};

	__builtin_memcpy(key.peer, packet->source.words, sizeof(key.peer));
	return key;
}

/* Fills `quoted` with what an ICMPv6 error quotes: no fragments, no extension headers. */
INLINE enum drop_reason read_quoted6(struct __sk_buff *skb, struct packet6 *quoted)
{
	struct ipv6hdr ip;

	__builtin_memset(quoted, 0, sizeof(*quoted));
	if (bpf_skb_load_bytes(skb, QUOTED6_OFFSET, &ip, sizeof(ip)) || ip.version != 6)
		return DROP_MALFORMED;
	__builtin_memcpy(&quoted->source, &ip.saddr, sizeof(quoted->source));
	__builtin_memcpy(&quoted->destination, &ip.daddr, sizeof(quoted->destination));
	quoted->l4.protocol = ip.nexthdr;
	return read_ports6(skb, QUOTED6_OFFSET + sizeof(ip), &quoted->l4);
}
