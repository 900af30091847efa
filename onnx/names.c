/* names.c - open addressing with linear probing, at most half full. */
#include "onnx/names.h"

#include <string.h>

#include "runtime/base/siphash.h"

static uint32_t hash_of(const struct names *n, uint64_t scope, const char *name) {
    return (uint32_t)ot_siphash(n->key, scope, name, strlen(name));
}

void ot_names_init(struct names *n, struct small_alloc *small, const uint8_t seed[16]) {
    *n = (struct names){.small = small};
    memcpy(n->key, seed, sizeof n->key);
}

/* The slot of a name, or the free one where it belongs. */
static struct name_slot *find_slot(const struct names *n, uint64_t scope, const char *name,
                                   uint32_t hash) {
    size_t i = hash & (n->capacity - 1);
    while (n->slot[i].name && (n->slot[i].hash != hash || n->slot[i].scope != scope ||
                               strcmp(n->slot[i].name, name) != 0))
        i = (i + 1) & (n->capacity - 1);
    return &n->slot[i];
}

int ot_names_get(const struct names *n, uint64_t scope, const char *name) {
    if (!n->used) return OT_NO_NAME;
    const struct name_slot *s = find_slot(n, scope, name, hash_of(n, scope, name));
    return s->name ? s->value : OT_NO_NAME;
}

static bool grow_table(struct names *n) {
    enum { FIRST = 256 };
    struct names bigger = *n;
    bigger.capacity = n->capacity ? 2 * n->capacity : FIRST;
    bigger.slot = ot_small_alloc(n->small, bigger.capacity, sizeof *bigger.slot);
    if (!bigger.slot) return false;
    for (size_t i = 0; i < n->capacity; i++) {
        const struct name_slot *s = &n->slot[i];
        if (s->name) *find_slot(&bigger, s->scope, s->name, s->hash) = *s;
    }
    *n = bigger;
    return true;
}

bool ot_names_set(struct names *n, uint64_t scope, const char *name, int value) {
    if (2 * (n->used + 1) > n->capacity && !grow_table(n)) return false;
    uint32_t hash = hash_of(n, scope, name);
    struct name_slot *s = find_slot(n, scope, name, hash);
    if (!s->name) n->used++;
    *s = (struct name_slot){name, scope, hash, value};
    return true;
}
