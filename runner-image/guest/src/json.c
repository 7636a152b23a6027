#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VALUE 256

static const char *skip_space(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

static const char *find_value(const char *document, const char *key)
{
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof quoted, "\"%s\"", key);
	at = strstr(document, quoted);
	if (!at)
		return NULL;
	at = skip_space(at + strlen(quoted));
	return *at == ':' ? skip_space(at + 1) : NULL;
}

/* Answers what follows the closing quote, or NULL. */
static const char *copy_string(const char *at, char *out, size_t size)
{
	size_t length;

	if (*at++ != '"')
		return NULL;
	length = strcspn(at, "\"\\");
	if (at[length] != '"' || length >= size)
		return NULL;
	memcpy(out, at, length);
	out[length] = '\0';
	return at + length + 1;
}

int json_string(const char *document, const char *key, char *out, size_t size)
{
	const char *at = find_value(document, key);

	return at && copy_string(at, out, size);
}

int json_number(const char *document, const char *key, long long *out)
{
	const char *at = find_value(document, key);
	char *end;

	if (!at)
		return 0;
	*out = strtoll(at, &end, 10);
	return end != at;
}

int json_strings(const char *document, const char *key,
                 void (*each)(const char *value, void *context), void *context)
{
	const char *at = find_value(document, key);
	char value[MAX_VALUE];

	if (!at || *at != '[')
		return 0;
	at = skip_space(at + 1);
	while (*at == '"') {
		at = copy_string(at, value, sizeof value);
		if (!at)
			return 0;
		each(value, context);
		at = skip_space(at);
		if (*at == ',')
			at = skip_space(at + 1);
	}
	return *at == ']';
}
