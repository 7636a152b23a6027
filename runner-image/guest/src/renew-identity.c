/*
 * Makes this clone of the template a machine of its own, before anything of a job runs in it.
 * Standard input: RenewIdentity as JSON (host-agent/protocol/guest-contract.ts).
 *
 * Order: the random pool first, so that whatever is made later is made of fresh randomness; the
 * network last, so that nothing leaves the guest under another's name. What takes longer is done in
 * the background (finish.c): the first step waits for it, the host-agent and the runner do not. A
 * second call with the same machine id (a moved VM whose clock is set) leaves the keys alone.
 * Standard output: the kernel's release, which saves the host-agent a question.
 *
 * One C program and no shell: under software emulation each process costs 20 to 50 ms.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "files.h"
#include "finish.h"
#include "json.h"
#include "network.h"

#define MAX_INPUT 16384
#define MAX_SEED 256
#define MACHINE_ID "/etc/machine-id"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static void refuse(const char *member)
{
	fprintf(stderr, "standard input: \"%s\" is missing or malformed\n", member);
	exit(1);
}

static void want_string(const char *json, const char *key, char *out, size_t size)
{
	if (!json_string(json, key, out, size) || !*out)
		refuse(key);
}

static int base64_digit(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

static size_t decode_base64(const char *text, unsigned char *out, size_t size)
{
	unsigned bits = 0, held = 0;
	size_t used = 0;

	for (; *text && *text != '=' && used < size; text++) {
		int digit = base64_digit(*text);
		if (digit < 0)
			refuse("seed");
		bits = bits << 6 | (unsigned)digit;
		held += 6;
		if (held >= 8) {
			held -= 8;
			out[used++] = (unsigned char)(bits >> held);
		}
	}
	return used;
}

/* random(4): credit the host's bytes, then make the kernel's generator use them at once. */
static void reseed(const char *json)
{
	struct {
		struct rand_pool_info info;
		unsigned char bytes[MAX_SEED];
	} pool;
	char seed[MAX_SEED * 2];
	size_t length;
	int fd;

	want_string(json, "seed", seed, sizeof seed);
	length = decode_base64(seed, pool.bytes, sizeof pool.bytes);
	if (length < 32)
		refuse("seed");
	pool.info.entropy_count = (int)length * 8;
	pool.info.buf_size = (int)length;
	fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		die("/dev/urandom");
	close(fd);
	explicit_bzero(&pool, sizeof pool);
}

static void set_clock(const char *json)
{
	struct timeval now;
	long long ms;

	if (!json_number(json, "unixTimeMs", &ms) || ms <= 0)
		refuse("unixTimeMs");
	now.tv_sec = ms / 1000;
	now.tv_usec = ms % 1000 * 1000;
	if (settimeofday(&now, NULL) < 0)
		die("clock");
}

/* Answers whether the guest had another machine id before. */
static int set_machine_id(const char *json)
{
	char wanted[34], current[34] = "";
	int fd = open(MACHINE_ID, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, current, sizeof current - 1) < 0)
			current[0] = '\0';
		close(fd);
	}
	want_string(json, "machineId", wanted, sizeof wanted - 1);
	strcat(wanted, "\n");
	if (strcmp(wanted, current) == 0)
		return 0;
	/* systemd may have mounted a file of its own over it at boot. */
	umount2(MACHINE_ID, MNT_DETACH);
	write_file(MACHINE_ID, wanted, strlen(wanted), 0444);
	return 1;
}

static void set_boot_id(const char *json)
{
	char id[64];

	want_string(json, "bootId", id, sizeof id - 1);
	strcat(id, "\n");
	write_file(STATE_DIR "/boot-id", id, strlen(id), 0444);
	umount2(BOOT_ID, MNT_DETACH);
	if (mount(STATE_DIR "/boot-id", BOOT_ID, NULL, MS_BIND, NULL) < 0)
		die(BOOT_ID);
}

static void set_hostname(const char *json)
{
	char name[64], text[512];
	int length;

	want_string(json, "hostname", name, sizeof name);
	if (sethostname(name, strlen(name)) < 0)
		die("hostname");
	length = snprintf(text, sizeof text, "%s\n", name);
	write_file("/etc/hostname", text, (size_t)length, 0644);
	length = snprintf(text, sizeof text,
	                  "127.0.0.1\tlocalhost\n127.0.1.1\t%s\n"
	                  "::1\tlocalhost ip6-localhost ip6-loopback\n",
	                  name);
	write_file("/etc/hosts", text, (size_t)length, 0644);
}

static void append_nameserver(const char *address, void *context)
{
	char *text = context;
	size_t used = strlen(text);

	snprintf(text + used, 1024 - used, "nameserver %s\n", address);
}

static void set_network(const char *json)
{
	char address[32], gateway[32], resolv[1024] = "";
	long long mtu;

	want_string(json, "address", address, sizeof address);
	want_string(json, "gateway", gateway, sizeof gateway);
	if (!json_number(json, "mtu", &mtu))
		refuse("mtu");
	if (!json_strings(json, "dns", append_nameserver, resolv))
		refuse("dns");
	write_file("/etc/resolv.conf", resolv, strlen(resolv), 0644);
	configure_network(address, gateway, (int)mtu);
}

/* Absent for a guest that nobody grows: zero is reached at once. */
static struct size wanted_size(const char *json)
{
	long long vcpus, memory_mib;

	if (!json_number(json, "vcpus", &vcpus))
		vcpus = 0;
	if (!json_number(json, "memoryMib", &memory_mib))
		memory_mib = 0;
	return (struct size){(int)vcpus, (int)memory_mib};
}

int main(void)
{
	size_t length;
	char *json = read_all(0, MAX_INPUT, &length);
	struct utsname name;
	int new_machine;

	if (mkdir(STATE_DIR, 0755) < 0 && errno != EEXIST)
		die(STATE_DIR);
	reseed(json);
	set_clock(json);
	new_machine = set_machine_id(json);
	set_boot_id(json);
	set_hostname(json);
	set_network(json);
	if (new_machine)
		finish_in_background(wanted_size(json));
	if (uname(&name) == 0)
		dprintf(1, "%s\n", name.release);
	return 0;
}
