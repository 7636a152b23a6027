#ifndef ARCHITECT_FILES_H
#define ARCHITECT_FILES_H

#include <sys/types.h>

#define STATE_DIR "/run/architect"
#define JIT_CONFIG STATE_DIR "/jitconfig"
#define RUNNER_STATE STATE_DIR "/runner-state"
#define RUNNER_DIR "/opt/actions-runner"
#define SETUP_INFO RUNNER_DIR "/.setup_info"
/* Held while a clone is being finished (finish.c); not empty when it is. */
#define FINISHED STATE_DIR "/finished"

/* Prints "what: reason" to standard error and exits with 1. */
void die(const char *what) __attribute__((noreturn));

/* Reads all of `fd` into a new, zero-terminated buffer; dies beyond `limit` bytes. */
char *read_all(int fd, size_t limit, size_t *length);

/* Replaces `path` atomically: a reader sees the old or the new content. Dies on failure. */
void write_file(const char *path, const char *text, size_t length, mode_t mode);

#endif
