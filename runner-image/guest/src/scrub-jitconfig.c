/*
 * Run by the runner's job-started hook, before the first step. The runner takes its JIT
 * configuration from its environment; the kernel keeps showing the environment that a process was
 * started with in /proc/PID/environ, whatever the process does later. This overwrites the variable
 * there, in every process, so that no step can read it.
 *
 * Before that it waits until the VM is complete (finish.c), for the same reason: no step may run
 * earlier. It is installed setuid root and takes no input: all a caller can do with it is scrub.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

#define NAME "ACTIONS_RUNNER_INPUT_JITCONFIG="
#define MAX_ENVIRONMENT (2 * 1024 * 1024)
#define ENV_START_FIELD 50
#define FIRST_FIELD_AFTER_NAME 3
#define WAIT_STEP_US 5000
#define WAIT_STEPS 24000

static char block[MAX_ENVIRONMENT];

static ssize_t read_file(const char *pid, const char *file, char *out, size_t size)
{
	char path[300];
	ssize_t got, used = 0;
	int fd;

	snprintf(path, sizeof path, "/proc/%s/%s", pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while ((got = read(fd, out + used, size - 1 - (size_t)used)) > 0)
		used += got;
	close(fd);
	out[used] = '\0';
	return got < 0 ? -1 : used;
}

/* proc_pid_stat(5). The name may hold anything, so fields are counted after its parenthesis. */
static unsigned long long environment_address(const char *pid)
{
	char stat[4096], *at, *rest;
	int field;

	if (read_file(pid, "stat", stat, sizeof stat) < 0 || !(at = strrchr(stat, ')')))
		return 0;
	at = strtok_r(at + 1, " ", &rest);
	for (field = FIRST_FIELD_AFTER_NAME; at && field < ENV_START_FIELD; field++)
		at = strtok_r(NULL, " ", &rest);
	return at ? strtoull(at, NULL, 10) : 0;
}

static int overwrite(const char *pid, unsigned long long address, size_t length)
{
	static char zeros[MAX_ENVIRONMENT];
	char path[300];
	ssize_t put;
	int fd;

	snprintf(path, sizeof path, "/proc/%s/mem", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	put = pwrite(fd, zeros, length, (off_t)address);
	close(fd);
	return put == (ssize_t)length || (put < 0 && errno == ESRCH) ? 0 : -1;
}

static int scrub(const char *pid)
{
	ssize_t length = read_file(pid, "environ", block, sizeof block);
	unsigned long long start = environment_address(pid);
	char *entry;

	for (entry = block; length > 0 && entry < block + length; entry += strlen(entry) + 1) {
		if (strncmp(entry, NAME, sizeof NAME - 1) != 0)
			continue;
		if (!start || overwrite(pid, start + (size_t)(entry - block), strlen(entry)) < 0) {
			fprintf(stderr, "process %s keeps its JIT configuration\n", pid);
			return -1;
		}
	}
	return 0;
}

/* Without the file nobody renewed this guest's identity, and there is nothing to wait for. */
static int is_finished(void)
{
	struct stat about;
	int fd = open(FINISHED, O_RDONLY | O_CLOEXEC);
	int step;

	if (fd < 0)
		return errno == ENOENT;
	for (step = 0; flock(fd, LOCK_SH | LOCK_NB) < 0 && step < WAIT_STEPS; step++)
		usleep(WAIT_STEP_US);
	if (fstat(fd, &about) < 0)
		about.st_size = 0;
	close(fd);
	return about.st_size > 0;
}

int main(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int failed = 0;

	if (!is_finished()) {
		fprintf(stderr, "the VM did not get all that its class promises\n");
		return 1;
	}
	if (!proc) {
		perror("/proc");
		return 1;
	}
	while ((entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]) && scrub(entry->d_name) < 0)
			failed = 1;
	closedir(proc);
	return failed;
}
