/* names.c - open addressing with linear probing, at most half full. */
#include "onnx/names.h"

#include <string.h>

static uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t m) {
    v[3] ^= m;
    sip_round(v);
    sip_round(v);
    v[0] ^= m;
}

static uint32_t hash_of(const struct names *n, uint64_t scope, const char *name) {
    uint64_t v[4] = {n->key[0] ^ 0x736f6d6570736575u, n->key[1] ^ 0x646f72616e646f6du,
                     n->key[0] ^ 0x6c7967656e657261u, n->key[1] ^ 0x7465646279746573u};
    size_t length = strlen(name);
    sip_word(v, scope);
    for (size_t i = 0; i + 8 <= length; i += 8) {
        uint64_t m;
        memcpy(&m, name + i, 8);
        sip_word(v, m);
    }
    uint64_t last = (uint64_t)length << 56;
    for (size_t i = length & ~(size_t)7, k = 0; i < length; i++, k += 8)
        last |= (uint64_t)(unsigned char)name[i] << k;
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) sip_round(v);
    return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

void ot_names_init(struct names *n, struct bump *bump, const uint8_t seed[16]) {
    *n = (struct names){.bump = bump};
    memcpy(n->key, seed, sizeof n->key);
}

/* The slot of a name, or the free one where it belongs. */
static struct name_slot *find(const struct names *n, uint64_t scope, const char *name,
                              uint32_t hash) {
    size_t i = hash & (n->capacity - 1);
    while (n->slot[i].name && (n->slot[i].hash != hash || n->slot[i].scope != scope ||
                               strcmp(n->slot[i].name, name) != 0))
        i = (i + 1) & (n->capacity - 1);
    return &n->slot[i];
}

int ot_names_get(const struct names *n, uint64_t scope, const char *name) {
    if (!n->used) return OT_NO_NAME;
    const struct name_slot *s = find(n, scope, name, hash_of(n, scope, name));
    return s->name ? s->value : OT_NO_NAME;
}

static bool grow(struct names *n) {
    enum { FIRST = 256 };
    struct names bigger = *n;
    bigger.capacity = n->capacity ? 2 * n->capacity : FIRST;
    bigger.slot = ot_bump_alloc(n->bump, bigger.capacity, sizeof *bigger.slot);
    if (!bigger.slot) return false;
    for (size_t i = 0; i < n->capacity; i++) {
        const struct name_slot *s = &n->slot[i];
        if (s->name) *find(&bigger, s->scope, s->name, s->hash) = *s;
    }
    *n = bigger;
    return true;
}

bool ot_names_set(struct names *n, uint64_t scope, const char *name, int value) {
    if (2 * (n->used + 1) > n->capacity && !grow(n)) return false;
    uint32_t hash = hash_of(n, scope, name);
    struct name_slot *s = find(n, scope, name, hash);
    if (!s->name) n->used++;
    *s = (struct name_slot){name, scope, hash, value};
    return true;
}
