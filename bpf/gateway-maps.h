/* The maps of a gateway: where each VM is, and its flows. */
#pragma once

#include "abi.h"
#include "program.h"

#define FLOWS 262144
#define FLOWS6 65536
#define FRAGMENTS 16384
#define PREFIXES 65536

MAP(gateway_config, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct gateway_config), 1, 0);
MAP(gateway_vms, BPF_MAP_TYPE_HASH, sizeof(__u32), sizeof(struct gateway_vm), 65536, 0);
MAP(seat_counters, BPF_MAP_TYPE_PERCPU_HASH, sizeof(__u32), sizeof(struct seat_counters), 131072,
    BPF_F_NO_PREALLOC);
MAP(gateway_ports, BPF_MAP_TYPE_HASH, sizeof(__be32), sizeof(struct port_range), 256, 0);
/* Public port → a VM's port, and back. */
MAP(services, BPF_MAP_TYPE_HASH, sizeof(struct service_key), sizeof(struct service), 65536, 0);
MAP(service_ports, BPF_MAP_TYPE_HASH, sizeof(struct service_key), sizeof(struct service), 65536, 0);
MAP(nat_out, BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct nat_out), FLOWS, 0);
MAP(nat_in, BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct nat_in), FLOWS, 0);
MAP(fragments, BPF_MAP_TYPE_LRU_HASH, sizeof(struct fragment_key), sizeof(struct fragment),
    FRAGMENTS, 0);
MAP(flows6, BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow6_key), sizeof(struct nat_in), FLOWS6, 0);
MAP(fragments6, BPF_MAP_TYPE_LRU_HASH, sizeof(struct fragment6_key), sizeof(__u32), FRAGMENTS, 0);
MAP(prefix_counters, BPF_MAP_TYPE_LRU_HASH, sizeof(struct prefix_key),
    sizeof(struct prefix_counters), PREFIXES, 0);

INLINE struct gateway_config *gateway_configuration(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&gateway_config, &zero);
}

INLINE struct gateway_vm *gateway_vm_of(__u32 number)
{
	return bpf_map_lookup_elem(&gateway_vms, &number);
}
