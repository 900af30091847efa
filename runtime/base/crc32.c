/* crc32.c - CRC-32, four bytes at a time: table[k][b] is what byte b does k bytes later. */
#include "runtime/base/crc32.h"

void ot_crc32_init(struct crc32 *c) {
    c->value = 0;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;
        for (int bit = 0; bit < 8; bit++) v = v >> 1 ^ (v & 1 ? 0xedb88320u : 0);
        c->table[0][i] = v;
    }
    for (int k = 1; k < 4; k++)
        for (int i = 0; i < 256; i++) {
            uint32_t before = c->table[k - 1][i];
            c->table[k][i] = before >> 8 ^ c->table[0][before & 255];
        }
}

void ot_crc32_add(struct crc32 *c, const void *bytes, size_t size) {
    const uint8_t *p = bytes;
    uint32_t v = ~c->value;
    for (; size >= 4; size -= 4, p += 4) {
        v ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        v = c->table[3][v & 255] ^ c->table[2][v >> 8 & 255] ^ c->table[1][v >> 16 & 255] ^
            c->table[0][v >> 24];
    }
    for (; size; size--, p++) v = v >> 8 ^ c->table[0][(v ^ *p) & 255];
    c->value = ~v;
}
