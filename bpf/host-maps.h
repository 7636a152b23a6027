/* The maps of a host: its VMs, and what their guests may reach. */
#pragma once

#include "abi.h"
#include "program.h"

MAP(host_config, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct host_config), 1, 0);
MAP(host_vms, BPF_MAP_TYPE_HASH, sizeof(__u32), sizeof(struct host_vm), 4096, 0);
MAP(host_buckets, BPF_MAP_TYPE_HASH, sizeof(__u32), sizeof(struct host_bucket), 4096, 0);
MAP(host_guard, BPF_MAP_TYPE_LPM_TRIE, sizeof(struct guard_key), sizeof(struct guard_rule), 16384,
    BPF_F_NO_PREALLOC);
MAP(host_guard6, BPF_MAP_TYPE_LPM_TRIE, sizeof(struct guard6_key), sizeof(struct guard_rule), 4096,
    BPF_F_NO_PREALLOC);

INLINE struct host_vm *host_vm_of(__u32 number)
{
	return bpf_map_lookup_elem(&host_vms, &number);
}

INLINE struct host_config *host_configuration(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&host_config, &zero);
}
