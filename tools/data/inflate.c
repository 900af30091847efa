/* inflate.c - zlib's inflate over bytes in memory.
 *
 * A header can claim any size; deflate makes up to 1032 bytes of one, so that the length of the
 * packed bytes bounds little. Memory therefore begins with what such bytes mostly make, and doubles
 * each time that it is full.
 */
#include "tools/data/inflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PIECE = 1 << 30 }; /* zlib counts in 32 bits */

struct unpack {
    z_stream z;
    const unsigned char *in;
    size_t left; /* bytes of `in` that zlib has not been given */
    unsigned char *out;
    uint64_t made, room, size; /* bytes that are there, that memory is there for, that are wanted */
};

static int grow(struct unpack *u, struct failure *f) {
    uint64_t room = u->room > u->size / 2 ? u->size : 2 * u->room;
    unsigned char *larger = room < SIZE_MAX ? realloc(u->out, (size_t)room + 1) : NULL;
    if (!larger)
        return ot_refuse(f, EXIT_MEMORY, "cannot allocate %llu bytes", (unsigned long long)room);
    u->out = larger;
    u->room = room;
    return 0;
}

/* One call of inflate; what it says. */
static int step(struct unpack *u) {
    const uint64_t space = u->room - u->made;
    unsigned char none;
    if (!u->z.avail_in) {
        u->z.next_in = (Bytef *)(uintptr_t)u->in;
        u->z.avail_in = (uInt)(u->left < PIECE ? u->left : PIECE);
        u->in += u->z.avail_in;
        u->left -= u->z.avail_in;
    }
    const uInt offered = (uInt)(space < PIECE ? space : PIECE);
    u->z.next_out = offered ? u->out + u->made : &none;
    u->z.avail_out = offered;
    const int state = inflate(&u->z, Z_NO_FLUSH);
    u->made += offered - u->z.avail_out;
    return state;
}

/* Whether another member begins where one of a gzip file has ended. */
static bool next_member(struct unpack *u, bool gzip) {
    const bool more = gzip && u->z.avail_in + u->left > 0;
    return more && inflateReset(&u->z) == Z_OK;
}

static int run(struct unpack *u, bool gzip, struct failure *f) {
    while (true) {
        const uInt had = u->z.avail_in;
        const size_t left = u->left;
        const uint64_t made = u->made;
        const int state = step(u);
        const bool stuck = made == u->made && had == u->z.avail_in && left == u->left;
        if (state == Z_STREAM_END && !next_member(u, gzip))
            return u->made == u->size && !u->z.avail_in && !u->left ? 0 : EXIT_DATA;
        if (state == Z_STREAM_END) continue;
        if (state != Z_OK && state != Z_BUF_ERROR) return state == Z_MEM_ERROR ? -1 : EXIT_DATA;
        if (u->made == u->room && u->room < u->size) {
            const int code = grow(u, f);
            if (code) return code;
        } else if (stuck) {
            return EXIT_DATA; /* more than `size`, or the bytes end too early */
        }
    }
}

int ot_inflate(const unsigned char *in, size_t packed, bool gzip, uint64_t size,
               unsigned char **out, struct failure *f) {
    const uint64_t likely = 4096 + 8 * (uint64_t)packed;
    struct unpack u = {.in = in, .left = packed, .size = size};
    u.room = size < likely ? size : likely;
    *out = NULL;
    u.out = malloc((size_t)u.room + 1);
    int code = u.out ? inflateInit2(&u.z, gzip ? MAX_WBITS + 16 : -MAX_WBITS) : Z_MEM_ERROR;
    if (code == Z_OK) {
        code = run(&u, gzip, f);
        inflateEnd(&u.z);
        if (code >= 0) goto done;
    }
    code = ot_refuse(f, EXIT_MEMORY, "cannot allocate %llu bytes", (unsigned long long)u.room);
done:
    if (code)
        free(u.out);
    else
        *out = u.out;
    return code;
}

size_t ot_inflate_head(const unsigned char *in, size_t packed, unsigned char *out, size_t most) {
    struct unpack u = {.in = in, .left = packed, .out = out, .room = most, .size = most};
    if (inflateInit2(&u.z, MAX_WBITS + 16) != Z_OK) return 0;
    while (u.made < most) {
        const uint64_t made = u.made;
        const size_t left = u.left + u.z.avail_in;
        if (step(&u) != Z_OK || (made == u.made && left == u.left + u.z.avail_in)) break;
    }
    inflateEnd(&u.z);
    return (size_t)u.made;
}
