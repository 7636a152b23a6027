/*
 * What makes a clone complete, beside the runner's start: its processors are switched on, its file
 * system grows with its disk, it gets SSH keys of its own, and its memory is all there.
 *
 *   FINISHED is locked and empty ──all done──→ "done" is written, lock released
 *
 * Invariant: no step of a job runs before "done" (scrub-jitconfig.c waits for it). A process that
 * dies here leaves the file empty and unlocked: that job fails instead of running on half a VM.
 */
#include "finish.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "grow.h"

#define SSH_KEY "/etc/ssh/ssh_host_ed25519_key"
#define CPU_ONLINE "/sys/devices/system/cpu/cpu%d/online"
#define MEMORY_DIR "/sys/devices/system/memory"
#define MEMORY_BLOCK_MIB 128
#define WAIT_STEP_US 10000
#define WAIT_STEPS 12000
#define NICE 10

/* The lock is taken before the fork and inherited, so a runner that starts later cannot miss it. */
static int lock_finished(void)
{
	int fd = open(FINISHED, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || flock(fd, LOCK_EX) < 0 || ftruncate(fd, 0) < 0)
		die(FINISHED);
	return fd;
}

static void detach(void)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
}

static void wait_until(int (*reached)(int wanted), int wanted)
{
	int step;

	for (step = 0; !reached(wanted); step++) {
		if (step == WAIT_STEPS)
			_exit(1);
		usleep(WAIT_STEP_US);
	}
}

/* True when it is on. A processor that is still to be plugged has no file yet. */
static int switch_on(int cpu)
{
	char path[64], state;
	int fd, on;

	snprintf(path, sizeof path, CPU_ONLINE, cpu);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	on = pread(fd, &state, 1, 0) == 1 && state == '1';
	if (!on)
		on = pwrite(fd, "1", 1, 0) == 1;
	close(fd);
	return on;
}

static int has_memory(int wanted_mib)
{
	DIR *dir = opendir(MEMORY_DIR);
	struct dirent *entry;
	int blocks = 0, number;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		blocks += sscanf(entry->d_name, "memory%d", &number) == 1;
	closedir(dir);
	return blocks * MEMORY_BLOCK_MIB >= wanted_mib;
}

static int is_online(int block)
{
	char path[96], state[8];
	ssize_t got;
	int fd;

	snprintf(path, sizeof path, MEMORY_DIR "/memory%d/state", block);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, state, sizeof state);
	close(fd);
	return got >= 6 && memcmp(state, "online", 6) == 0;
}

/* All blocks appear before the first of them comes online, in their order. */
static void wait_for_memory(int wanted_mib)
{
	DIR *dir;
	struct dirent *entry;
	int number;

	wait_until(has_memory, wanted_mib);
	dir = opendir(MEMORY_DIR);
	if (!dir)
		_exit(1);
	while ((entry = readdir(dir)))
		if (sscanf(entry->d_name, "memory%d", &number) == 1)
			wait_until(is_online, number);
	closedir(dir);
	/* Its size was half of the template's memory. */
	mount(NULL, "/dev/shm", NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, "size=50%");
}

static void make_ssh_keys(void)
{
	pid_t child;
	int status;

	unlink(SSH_KEY);
	unlink(SSH_KEY ".pub");
	child = fork();
	if (child == 0) {
		execl("/usr/bin/ssh-keygen", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "",
		      "-f", SSH_KEY, (char *)NULL);
		_exit(1);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
		_exit(1);
}

void finish_in_background(struct size size)
{
	int finished = lock_finished();
	pid_t child = fork();
	int cpu;

	if (child < 0)
		die("fork");
	if (child > 0)
		return;
	detach();
	for (cpu = 1; cpu < size.vcpus; cpu++)
		wait_until(switch_on, cpu);
	setpriority(PRIO_PROCESS, 0, NICE);
	grow_root();
	make_ssh_keys();
	wait_for_memory(size.memory_mib);
	if (write(finished, "done\n", 5) != 5)
		_exit(1);
	close(finished);
	/* The template was captured with udev holding its events back (template-capture.ts). */
	execl("/usr/bin/udevadm", "udevadm", "control", "--start-exec-queue", (char *)NULL);
	_exit(1);
}
