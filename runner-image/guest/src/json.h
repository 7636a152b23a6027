#ifndef ARCHITECT_JSON_H
#define ARCHITECT_JSON_H

#include <stddef.h>

/*
 * Reads members of one small JSON document that the host-agent wrote. Every value it sends is a
 * number, a string without escapes, or an array of such strings, and every key is unique in the
 * whole document, so a key is found by its quoted name. Anything else is answered with 0: refuse.
 */
int json_string(const char *document, const char *key, char *out, size_t size);
int json_number(const char *document, const char *key, long long *out);
/* Calls `each` for every string of the array; answers 0 if there is no such array. */
int json_strings(const char *document, const char *key,
                 void (*each)(const char *value, void *context), void *context);

#endif
