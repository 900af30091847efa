/* json.h - read and write JSON (RFC 8259), strictly.
 *
 * Reading gives a flat list in document order: entry 0 is the document, the members of a container
 * follow it, and `after` leads over a value and all that is in it:
 *     for (int64_t i = at + 1; i < v[at].after; i = v[i].after) ... v[i] is a member of v[at]
 * Refused: depth over 32, a key twice in one object, text that is not UTF-8, the character 0.
 */
#ifndef OT_BASE_JSON_H
#define OT_BASE_JSON_H

#include <stdbool.h>

#include "runtime/base/arena.h"

enum json_kind {
    OT_JSON_NULL = 0,
    OT_JSON_FALSE,
    OT_JSON_TRUE,
    OT_JSON_NUMBER,
    OT_JSON_STRING,
    OT_JSON_ARRAY,
    OT_JSON_OBJECT
};

struct json {
    enum json_kind kind;
    int64_t parent;   /* -1: the document */
    int64_t after;    /* first entry behind this value */
    int64_t count;    /* members of a container */
    const char *key;  /* NULL outside objects */
    const char *text; /* contents of a string, spelling of a number; NULL elsewhere */
};

struct json_tree {
    const struct json *value;
    int64_t n;
};

/* Everything is copied into the arena. Messages give the byte where reading stopped. */
ot_status ot_json_read(struct arena *arena, const char *bytes, size_t size, struct json_tree *tree,
                       ot_error *err);

/* The member of the object `at` with this key; -1: there is none. */
int64_t ot_json_find(const struct json_tree *tree, int64_t at, const char *key);

/* A number without sign, fraction and exponent that fits. */
bool ot_json_u64(const struct json *v, uint64_t *out);

/* Is this UTF-8 without the character 0? */
bool ot_json_is_text(const char *s, size_t n);

/* Text that grows. The first failure to get memory sticks in `failed`; bytes is a block of the
 * allocator (ot_block_free). */
struct json_writer {
    const ot_allocator *allocator;
    char *bytes;
    size_t size, capacity;
    bool failed;
};

void ot_json_put(struct json_writer *w, const char *raw); /* as it is: braces, commas, digits */
void ot_json_put_string(struct json_writer *w, const char *s); /* quoted and escaped */
void ot_json_put_u64(struct json_writer *w, uint64_t number);

#endif
