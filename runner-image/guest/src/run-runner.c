/*
 * The runner service. It starts at boot and waits for a JIT configuration, so that the template is
 * captured with it waiting: a clone's runner then starts without systemd's help.
 *
 *   preparing ──→ waiting ──jitconfig appears──→ running ──run.sh ends──→ exited
 *
 * Invariants: the configuration's file is gone before the runner exists; the configuration is in
 * no argument list; one VM runs one runner, so the service ends with it and is not restarted.
 * The service is root so that a job cannot forge the runner's state; the runner itself is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"

#define MAX_JIT_CONFIG (64 * 1024)
#define RUNNER_USER "runner"
#define CANNOT_START 127

static char *runner_environment[] = {
	"HOME=/home/runner",
	"USER=" RUNNER_USER,
	"LOGNAME=" RUNNER_USER,
	"SHELL=/bin/bash",
	"LANG=C.UTF-8",
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"ACTIONS_RUNNER_HOOK_JOB_STARTED=/opt/architect/job-started.sh",
	"ACTIONS_RUNNER_HOOK_JOB_COMPLETED=/opt/architect/job-completed.sh",
	NULL, /* the JIT configuration */
	NULL,
};

static void set_state(const char *json)
{
	write_file(RUNNER_STATE, json, strlen(json), 0644);
}

static void set_exited(int code)
{
	char json[64];

	snprintf(json, sizeof json, "{\"state\":\"exited\",\"exitCode\":%d}\n", code);
	set_state(json);
}

/* sd_notify(3): the guest agent starts after this, and the template is captured when it answers. */
static void tell_systemd(void)
{
	static const char ready[] = "READY=1";
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	int fd;

	if (!path || strlen(path) >= sizeof to.sun_path)
		return;
	strcpy(to.sun_path, path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, ready, sizeof ready - 1, 0, (struct sockaddr *)&to, sizeof to) < 0)
		die("NOTIFY_SOCKET");
	close(fd);
}

/* Watches before it looks, so that a file that appears in between is not missed. */
static int open_jit_config(void)
{
	char events[4096];
	int watch = inotify_init1(IN_CLOEXEC);
	int fd;

	if (watch < 0 || inotify_add_watch(watch, STATE_DIR, IN_MOVED_TO) < 0)
		die("inotify");
	set_state("{\"state\":\"waiting\"}\n");
	tell_systemd();
	while ((fd = open(JIT_CONFIG, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0) {
		if (errno != ENOENT)
			die(JIT_CONFIG);
		if (read(watch, events, sizeof events) < 0 && errno != EINTR)
			die("inotify");
	}
	close(watch);
	return fd;
}

static char *take_jit_config(void)
{
	static const char name[] = "ACTIONS_RUNNER_INPUT_JITCONFIG=";
	int fd = open_jit_config();
	size_t length;
	char *config = read_all(fd, MAX_JIT_CONFIG, &length);
	char *entry = malloc(sizeof name + length);

	if (!entry)
		die("memory");
	close(fd);
	if (unlink(JIT_CONFIG) < 0)
		die(JIT_CONFIG);
	memcpy(entry, name, sizeof name - 1);
	memcpy(entry + sizeof name - 1, config, length + 1);
	explicit_bzero(config, length);
	free(config);
	return entry;
}

static void become_runner(void)
{
	struct passwd *user = getpwnam(RUNNER_USER);

	if (!user || initgroups(RUNNER_USER, user->pw_gid) < 0)
		die(RUNNER_USER);
	if (setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
		die(RUNNER_USER);
	if (chdir(user->pw_dir) < 0)
		die(user->pw_dir);
}

static void exec_as_runner(char *program)
{
	char *arguments[] = {program, NULL};

	become_runner();
	execve(program, arguments, runner_environment);
	perror(program);
	_exit(CANNOT_START);
}

static int wait_for(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static pid_t start_as_runner(char *program)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0)
		exec_as_runner(program);
	return child;
}

/*
 * A runner may bring a program that gets ready what its start needs; what that leaves running is
 * in every clone. It knows no configuration. Without it, or when it fails, run.sh starts cold.
 */
static void prepare_runner(void)
{
	static char program[] = RUNNER_DIR "/prepare.sh";

	if (access(program, X_OK) == 0 && wait_for(start_as_runner(program)) != 0)
		fprintf(stderr, "%s failed: the runner will start cold\n", program);
}

int main(void)
{
	static char program[] = RUNNER_DIR "/run.sh";
	char *entry;
	pid_t child;

	if (mkdir(STATE_DIR, 0755) < 0 && errno != EEXIST)
		die(STATE_DIR);
	prctl(PR_SET_DUMPABLE, 0);
	prepare_runner();
	entry = take_jit_config();
	set_state("{\"state\":\"running\"}\n");
	runner_environment[sizeof runner_environment / sizeof *runner_environment - 2] = entry;
	child = start_as_runner(program);
	explicit_bzero(entry, strlen(entry));
	set_exited(wait_for(child));
	return 0;
}
