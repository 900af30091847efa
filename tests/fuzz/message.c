/* message.c - changes protobuf messages field by field.
 *
 * A change of one byte in a length makes a whole model unreadable; here one field is taken out,
 * doubled, moved, or gets another content, and the lengths of the messages around it follow.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_FIELDS = 4096, MOST_DEPTH = 12 };

struct field {
    size_t start, body, end; /* places in the message; body: behind key and length */
    int type;
};

struct random {
    uint32_t state;
};

static uint32_t next(struct random *r) {
    r->state ^= r->state << 13;
    r->state ^= r->state >> 17;
    r->state ^= r->state << 5;
    return r->state;
}

static size_t below(struct random *r, size_t n) { return n ? next(r) % n : 0; }

static bool take_varint(const uint8_t *p, size_t n, size_t *at, uint64_t *v) {
    *v = 0;
    for (int shift = 0; shift < 64 && *at < n; shift += 7) {
        *v |= (uint64_t)(p[*at] & 127) << shift;
        if (!(p[(*at)++] & 128)) return true;
    }
    return false;
}

static size_t put_varint(uint8_t *p, uint64_t v) {
    size_t n = 0;
    for (; v > 127; v >>= 7) p[n++] = (uint8_t)(v | 128);
    p[n++] = (uint8_t)v;
    return n;
}

/* The fields of a message; 0: it is none. */
static size_t split(const uint8_t *p, size_t n, struct field *field) {
    size_t at = 0, count = 0;
    uint64_t key, v;
    while (at < n && count < MOST_FIELDS) {
        struct field *f = &field[count++];
        f->start = at;
        if (!take_varint(p, n, &at, &key) || !(key >> 3)) return 0;
        f->type = (int)(key & 7);
        f->body = at;
        if (f->type == 0 && !take_varint(p, n, &at, &v)) return 0;
        if (f->type == 2) {
            if (!take_varint(p, n, &at, &v) || v > n - at) return 0;
            f->body = at;
            at += (size_t)v;
        }
        if (f->type == 1 || f->type == 5) at += f->type == 1 ? 8 : 4;
        if (f->type == 3 || f->type == 4 || f->type > 5 || at > n) return 0;
        f->end = at;
    }
    return at == n ? count : 0;
}

/* Another value for a number: near, a limit, or anything. */
static uint64_t another(struct random *r, uint64_t v) {
    static const uint64_t limits[] = {0,
                                      1,
                                      2,
                                      7,
                                      127,
                                      255,
                                      65535,
                                      INT32_MAX,
                                      UINT32_MAX,
                                      INT64_MAX,
                                      UINT64_MAX,
                                      UINT64_MAX - 1,
                                      (uint64_t)1 << 62,
                                      1 << 20};
    switch (below(r, 4)) {
    case 0: return v + 1;
    case 1: return v - 1;
    case 2: return limits[below(r, sizeof limits / sizeof *limits)];
    default: return v ^ (uint64_t)1 << below(r, 12);
    }
}

struct text {
    uint8_t *p;
    size_t n, room;
};

static bool put(struct text *t, const uint8_t *p, size_t n) {
    if (n > t->room - t->n) return false;
    if (n) memcpy(t->p + t->n, p, n);
    t->n += n;
    return true;
}

/* A field of bytes: as long as it was, or cut, or longer, one byte or a word of it changed. */
static bool change_bytes(const uint8_t *p, size_t n, struct text *out, struct random *r) {
    const size_t begin = out->n, choice = below(r, 6);
    const size_t kept = choice == 0 ? below(r, n + 1) : n;
    if (!put(out, p, kept)) return false;
    if (choice == 1 && !put(out, p, below(r, n + 1))) return false;
    if (choice == 2) return put(out, (const uint8_t *)"\0\0\0\0\0\0\0\0", 1 + below(r, 8));
    const size_t now = out->n - begin;
    if (now && choice > 2) out->p[begin + below(r, now)] = (uint8_t)another(r, p[below(r, n)]);
    return true;
}

static bool mutate(const uint8_t *p, size_t n, struct text *out, struct random *r, int depth);

/* Field f with a new content. */
static bool change(const uint8_t *p, const struct field *f, struct text *out, struct random *r,
                   int depth) {
    size_t at = f->start;
    uint64_t v, key = 0;
    take_varint(p, f->end, &at, &key);
    if (!put(out, p + f->start, at - f->start)) return false;
    uint8_t number[10];
    if (f->type == 0) {
        take_varint(p, f->end, &at, &v);
        return put(out, number, put_varint(number, another(r, v)));
    }
    if (f->type != 2) return change_bytes(p + f->body, f->end - f->body, out, r);
    struct text inner = {.room = out->room - out->n};
    inner.p = malloc(inner.room + 1);
    if (!inner.p) return false;
    const uint8_t *body = p + f->body;
    const size_t size = f->end - f->body;
    bool good = depth < MOST_DEPTH && below(r, 16) && mutate(body, size, &inner, r, depth + 1);
    if (!good) {
        inner.n = 0;
        good = change_bytes(body, size, &inner, r);
    }
    good = good && put(out, number, put_varint(number, inner.n)) && put(out, inner.p, inner.n);
    free(inner.p);
    return good;
}

/* One field of the message is changed, doubled, taken out, or put to another place. */
static bool mutate(const uint8_t *p, size_t n, struct text *out, struct random *r, int depth) {
    struct field *field = malloc(MOST_FIELDS * sizeof *field);
    const size_t count = field ? split(p, n, field) : 0;
    bool good = count > 0;
    const size_t k = below(r, count), to = below(r, count), choice = below(r, 16);
    for (size_t i = 0; i < count && good; i++) {
        const struct field *f = &field[i], *moved = &field[k];
        if (choice < 2 && i == to) good = put(out, p + moved->start, moved->end - moved->start);
        if (!good) break;
        if (i != k || choice == 0) /* 0: a copy elsewhere */
            good = put(out, p + f->start, f->end - f->start);
        else if (choice > 2) /* 1: elsewhere; 2: gone */
            good = change(p, f, out, r, depth);
    }
    free(field);
    return good;
}

size_t fuzz_mutate_message(uint8_t *bytes, size_t size, size_t room, uint32_t seed) {
    struct random r = {seed * 2654435761u | 1};
    struct text out = {.p = malloc(room + 1), .room = room};
    const bool good = out.p && mutate(bytes, size, &out, &r, 0);
    if (good) memcpy(bytes, out.p, out.n);
    free(out.p);
    return good ? out.n : 0;
}
