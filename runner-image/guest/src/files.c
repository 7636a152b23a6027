#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

char *read_all(int fd, size_t limit, size_t *length)
{
	char *buffer = malloc(limit + 1);
	size_t used = 0;
	ssize_t got;

	if (!buffer)
		die("memory");
	while ((got = read(fd, buffer + used, limit + 1 - used)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			die("read");
		used += (size_t)got;
		if (used > limit) {
			errno = EFBIG;
			die("input");
		}
	}
	buffer[used] = '\0';
	*length = used;
	return buffer;
}

static void write_all(int fd, const char *text, size_t length, const char *path)
{
	while (length > 0) {
		ssize_t put = write(fd, text, length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			die(path);
		text += put;
		length -= (size_t)put;
	}
}

void write_file(const char *path, const char *text, size_t length, mode_t mode)
{
	char partial[256];
	int fd;

	snprintf(partial, sizeof partial, "%s.new", path);
	fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0 || fchmod(fd, mode) < 0)
		die(partial);
	write_all(fd, text, length, partial);
	if (close(fd) < 0 || rename(partial, path) < 0)
		die(path);
}
