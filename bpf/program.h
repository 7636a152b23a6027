/* What every program is made of: attributes, maps as the loader reads them, load-time constants. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define INLINE static __always_inline

/* The whole loader's view of a map: host-agent/net/bpf/object-file.ts. No BTF is needed. */
struct map_definition {
	__u32 type;
	__u32 key_bytes;
	__u32 value_bytes;
	__u32 max_entries;
	__u32 flags;
};

#define MAP(map_name, ...) \
	SEC("maps") struct map_definition map_name = { __VA_ARGS__ }

/*
 * Set by the loader: an undefined symbol whose "address" is the value. So each VM's programs know
 * whose they are, although namespaces reuse interface indexes.
 */
extern const char VM_NUMBER[];
#define this_vm_number() ((__u32)(unsigned long)VM_NUMBER)

char program_license[] SEC("license") = "GPL";
