/* Later fragments have no ports: they go where their first one went. One that overtook it is lost. */
#pragma once

#include "gateway-maps.h"
#include "packet.h"

INLINE struct fragment_key fragment_of(const struct packet *packet)
{
	struct fragment_key key = {
		.source = packet->source,
		.destination = packet->destination,
		.id = packet->id,
		.protocol = packet->protocol,
	};

	return key;
}

INLINE void remember_fragment(const struct packet *packet, __u32 number, __be32 address)
{
	struct fragment_key key = fragment_of(packet);
	struct fragment value = { .number = number, .address = address };

	if (packet->fragment)
		bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
}

INLINE struct fragment *known_fragment(const struct packet *packet)
{
	struct fragment_key key = fragment_of(packet);

	return bpf_map_lookup_elem(&fragments, &key);
}
