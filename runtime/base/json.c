/* json.c - a JSON reader without recursion, and a writer. */
#include "runtime/base/json.h"

#include "runtime/base/siphash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH = 32 };

struct reader {
    const char *begin, *p, *end;
    struct json *value;
    int64_t n;
    char *text; /* decoded strings; they take no more room than their spelling with quotes */
    int64_t open[DEPTH];
    int depth;
    ot_error *err;
};

static ot_status fail(const struct reader *r, const char *what) {
    return ot_fail(r->err, OT_ERROR_PARSE, "JSON, byte %zu: %s", (size_t)(r->p - r->begin), what);
}

static void skip_space(struct reader *r) {
    while (r->p < r->end && strchr(" \t\r\n", *r->p) && *r->p) r->p++;
}

static bool next_is(const struct reader *r, char c) { return r->p < r->end && *r->p == c; }

/* ---- strings ---- */

/* Bytes of the UTF-8 character at p (RFC 3629: shortest form, no surrogates); 0: not one. */
static int utf8_length(const char *p, const char *end) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c = (unsigned char)*p;
    int n = c < 0x80                ? 1
            : c >= 0xc2 && c < 0xe0 ? 2
            : c >= 0xe0 && c < 0xf0 ? 3
            : c >= 0xf0 && c < 0xf5 ? 4
                                    : 0;
    if (n <= 1) return n;
    if (end - p < n) return 0;
    uint32_t code = c & (0x7fu >> n);
    for (int i = 1; i < n; i++) {
        if (((unsigned char)p[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | ((unsigned char)p[i] & 0x3f);
    }
    return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

bool ot_json_is_text(const char *s, size_t n) {
    for (const char *p = s; p < s + n;) {
        int k = *p ? utf8_length(p, s + n) : 0;
        if (!k) return false;
        p += k;
    }
    return true;
}

static void put_utf8(struct reader *r, uint32_t c) {
    if (c < 0x80) {
        *r->text++ = (char)c;
        return;
    }
    int n = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3; /* continuation bytes */
    *r->text++ = (char)((0xff00u >> (n + 1) & 0xff) | c >> (6 * n));
    while (n--) *r->text++ = (char)(0x80 | (c >> (6 * n) & 0x3f));
}

static bool read_hex(struct reader *r, uint32_t *code) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    if (r->end - r->p < 4) return false;
    *code = 0;
    for (int i = 0; i < 4; i++, r->p++) {
        const char *d = *r->p ? strchr(digits, *r->p) : NULL;
        if (!d) return false;
        *code = *code << 4 | ((uint32_t)(d - digits) & 15);
    }
    return true;
}

/* r->p stands behind \u. */
static ot_status read_code(struct reader *r) {
    uint32_t high, low;
    if (!read_hex(r, &high)) return fail(r, "four hexadecimal digits expected");
    if (high >= 0xd800 && high < 0xdc00) {
        bool more = r->end - r->p >= 2 && r->p[0] == '\\' && r->p[1] == 'u';
        if (!more) return fail(r, "a surrogate without its pair");
        r->p += 2;
        if (!read_hex(r, &low) || low < 0xdc00 || low > 0xdfff)
            return fail(r, "a surrogate without its pair");
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    } else if (high >= 0xdc00 && high < 0xe000) {
        return fail(r, "a surrogate without its pair");
    }
    if (!high) return fail(r, "the character 0 is not allowed");
    put_utf8(r, high);
    return OT_OK;
}

static ot_status read_escape(struct reader *r) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    r->p++;
    if (next_is(r, 'u')) {
        r->p++;
        return read_code(r);
    }
    const char *f = r->p < r->end && *r->p ? strchr(from, *r->p) : NULL;
    if (!f) return fail(r, "unknown escape");
    *r->text++ = to[f - from];
    r->p++;
    return OT_OK;
}

static ot_status read_string(struct reader *r, const char **text) {
    if (!next_is(r, '"')) return fail(r, "string expected");
    *text = r->text;
    r->p++;
    while (!next_is(r, '"')) {
        if (r->p >= r->end) return fail(r, "the string does not end");
        if (*r->p == '\\') {
            OT_TRY(read_escape(r));
            continue;
        }
        int n = utf8_length(r->p, r->end);
        if (!n || (unsigned char)*r->p < 0x20) return fail(r, "a control character in a string");
        memcpy(r->text, r->p, (size_t)n);
        r->text += n;
        r->p += n;
    }
    r->p++;
    *r->text++ = 0;
    return OT_OK;
}

/* ---- values ---- */

static int skip_digits(struct reader *r) {
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') r->p++;
    return r->p > from;
}

static ot_status read_number(struct reader *r, struct json *v) {
    const char *from = r->p;
    bool ok = true;
    if (next_is(r, '-')) r->p++;
    if (next_is(r, '0')) {
        r->p++;
    } else {
        ok = skip_digits(r);
    }
    if (ok && next_is(r, '.')) {
        r->p++;
        ok = skip_digits(r);
    }
    if (ok && (next_is(r, 'e') || next_is(r, 'E'))) {
        r->p++;
        if (next_is(r, '+') || next_is(r, '-')) r->p++;
        ok = skip_digits(r);
    }
    if (!ok) return fail(r, "value expected");
    v->kind = OT_JSON_NUMBER;
    v->text = r->text;
    memcpy(r->text, from, (size_t)(r->p - from));
    r->text += r->p - from;
    *r->text++ = 0;
    return OT_OK;
}

static bool read_word(struct reader *r, struct json *v) {
    static const struct {
        const char *word;
        enum json_kind kind;
    } words[] = {{"null", OT_JSON_NULL}, {"false", OT_JSON_FALSE}, {"true", OT_JSON_TRUE}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i].word);
        if ((size_t)(r->end - r->p) < n || memcmp(r->p, words[i].word, n)) continue;
        v->kind = words[i].kind;
        r->p += n;
        return true;
    }
    return false;
}

static ot_status open_container(struct reader *r, struct json *v) {
    if (r->depth == DEPTH) return fail(r, "nested too deeply");
    v->kind = *r->p == '{' ? OT_JSON_OBJECT : OT_JSON_ARRAY;
    r->open[r->depth++] = v - r->value;
    r->p++;
    return OT_OK;
}

static struct json *innermost(const struct reader *r) {
    return r->depth ? &r->value[r->open[r->depth - 1]] : NULL;
}

/* One value, of a container only its beginning. */
static ot_status read_value(struct reader *r) {
    struct json *v = &r->value[r->n++], *parent = innermost(r);
    v->parent = parent ? parent - r->value : -1;
    if (parent) parent->count++;
    if (parent && parent->kind == OT_JSON_OBJECT) {
        OT_TRY(read_string(r, &v->key));
        skip_space(r);
        if (!next_is(r, ':')) return fail(r, "':' expected");
        r->p++;
        skip_space(r);
    }
    v->after = r->n;
    if (next_is(r, '{') || next_is(r, '[')) return open_container(r, v);
    if (next_is(r, '"')) {
        v->kind = OT_JSON_STRING;
        return read_string(r, &v->text);
    }
    return read_word(r, v) ? OT_OK : read_number(r, v);
}

/* Closes what ends here; `more` says that another member follows. */
static ot_status close_containers(struct reader *r, bool *more) {
    *more = false;
    for (;;) {
        skip_space(r);
        struct json *v = innermost(r);
        if (!v) return r->p == r->end ? OT_OK : fail(r, "text after the document");
        bool fresh = v - r->value == r->n - 1 && !v->count;
        if (next_is(r, v->kind == OT_JSON_OBJECT ? '}' : ']')) {
            r->p++;
            r->depth--;
            v->after = r->n;
            continue;
        }
        *more = true;
        if (fresh) return OT_OK;
        if (!next_is(r, ',')) return fail(r, "',' or the end of the list expected");
        r->p++;
        skip_space(r);
        return OT_OK;
    }
}

/* ---- the document ---- */

static ot_status check_keys(struct arena *arena, const struct reader *r) {
    size_t slots = 16;
    while (slots / 2 < (size_t)r->n) slots *= 2;
    int64_t *table = ot_arena_alloc(arena, slots, sizeof *table); /* entry + 1; 0: free */
    uint64_t key[2]; /* no text is slow by the choice of its keys */
    if (!table) return ot_fail(r->err, OT_ERROR_NO_MEMORY, "JSON: no memory");
    ot_siphash_key(key);
    for (int64_t i = 0; i < r->n; i++) {
        const struct json *v = &r->value[i];
        if (!v->key) continue;
        size_t at = ot_siphash(key, (uint64_t)v->parent, v->key, strlen(v->key)) & (slots - 1);
        for (; table[at]; at = (at + 1) & (slots - 1)) {
            const struct json *other = &r->value[table[at] - 1];
            if (other->parent == v->parent && !strcmp(other->key, v->key))
                return ot_fail(r->err, OT_ERROR_PARSE, "JSON: key '%s' occurs twice in one object",
                               v->key);
        }
        table[at] = i + 1;
    }
    return OT_OK;
}

ot_status ot_json_read(struct arena *arena, const char *bytes, size_t size, struct json_tree *tree,
                       ot_error *err) {
    size_t most = 2; /* every value but the first stands behind one of these */
    for (size_t i = 0; i < size; i++) most += bytes[i] == ',' || bytes[i] == '[' || bytes[i] == '{';
    struct reader r = {.begin = bytes, .p = bytes, .end = bytes + size, .err = err};
    r.value = ot_arena_alloc(arena, most, sizeof *r.value);
    r.text = ot_arena_alloc(arena, size + 1, 1);
    if (!r.value || !r.text) return ot_fail(err, OT_ERROR_NO_MEMORY, "JSON: no memory");
    skip_space(&r);
    for (bool more = true; more;) {
        OT_TRY(read_value(&r));
        OT_TRY(close_containers(&r, &more));
    }
    OT_TRY(check_keys(arena, &r));
    *tree = (struct json_tree){r.value, r.n};
    return OT_OK;
}

int64_t ot_json_find(const struct json_tree *tree, int64_t at, const char *key) {
    if (tree->value[at].kind != OT_JSON_OBJECT) return -1;
    for (int64_t i = at + 1; i < tree->value[at].after; i = tree->value[i].after)
        if (!strcmp(tree->value[i].key, key)) return i;
    return -1;
}

bool ot_json_u64(const struct json *v, uint64_t *out) {
    if (v->kind != OT_JSON_NUMBER) return false;
    uint64_t n = 0;
    for (const char *p = v->text; *p; p++) {
        if (*p < '0' || *p > '9') return false;
        if (__builtin_mul_overflow(n, 10u, &n)) return false;
        if (__builtin_add_overflow(n, (uint64_t)(*p - '0'), &n)) return false;
    }
    *out = n;
    return true;
}

/* ---- writing ---- */

static void put_text(struct json_writer *w, const char *s, size_t n) {
    size_t need;
    if (w->failed) return;
    if (!ot_add(w->size, n, &need)) {
        w->failed = true;
        return;
    }
    if (need > w->capacity) {
        size_t capacity = need < 512 ? 1024 : need > SIZE_MAX / 2 ? need : 2 * need;
        char *bytes = ot_block_alloc(w->allocator, capacity, 1);
        w->failed = !bytes;
        if (!bytes) return;
        if (w->size) memcpy(bytes, w->bytes, w->size);
        ot_block_free(w->allocator, w->bytes);
        w->bytes = bytes;
        w->capacity = capacity;
    }
    if (n) memcpy(w->bytes + w->size, s, n);
    w->size = need;
}

void ot_json_put(struct json_writer *w, const char *raw) { put_text(w, raw, strlen(raw)); }

void ot_json_put_string(struct json_writer *w, const char *s) {
    char code[8];
    put_text(w, "\"", 1);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') {
            put_text(w, "\\", 1);
            put_text(w, s, 1);
        } else if ((unsigned char)*s < 0x20) {
            snprintf(code, sizeof code, "\\u%04x", (unsigned)*s);
            put_text(w, code, 6);
        } else {
            put_text(w, s, 1);
        }
    }
    put_text(w, "\"", 1);
}

void ot_json_put_u64(struct json_writer *w, uint64_t number) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, number);
    ot_json_put(w, digits);
}
