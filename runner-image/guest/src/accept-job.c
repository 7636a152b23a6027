/*
 * Hands the JIT configuration on standard input to the waiting runner service (run-runner.c). It
 * is a secret: it stands in a file that only root can read, in memory only (/run), until the
 * service has taken it. When the runner has started already, this does nothing: the host-agent
 * may repeat a request whose answer it lost.
 *
 * The argument, where there is one, is what the runner prints into "Set up job" (actions/runner,
 * JobExtension.cs): no secret, and no reason to hold the job up when it cannot be written.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

#define MAX_JIT_CONFIG (64 * 1024)
#define MAX_STATE 256

static int runner_waits(void)
{
	size_t length;
	int fd = open(RUNNER_STATE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("the runner service is not ready: " RUNNER_STATE);
	return strstr(read_all(fd, MAX_STATE, &length), "\"waiting\"") != NULL;
}

static void write_setup_info(const char *text)
{
	size_t length = strlen(text);
	int fd = open(SETUP_INFO, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0 || fchmod(fd, 0644) < 0 || write(fd, text, length) != (ssize_t)length) {
		perror(SETUP_INFO);
		unlink(SETUP_INFO);
	}
	if (fd >= 0)
		close(fd);
}

int main(int count, char **arguments)
{
	size_t length;
	char *config = read_all(0, MAX_JIT_CONFIG, &length);

	while (length > 0 && (config[length - 1] == '\n' || config[length - 1] == '\r'))
		length--;
	if (length == 0) {
		fprintf(stderr, "standard input: no JIT configuration\n");
		return 1;
	}
	if (runner_waits()) {
		if (count > 1)
			write_setup_info(arguments[1]);
		write_file(JIT_CONFIG, config, length, 0600);
	}
	explicit_bzero(config, length);
	return 0;
}
