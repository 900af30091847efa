/* crc32.h - the checksum of zlib, PNG and Ethernet (ISO 3309, polynomial 0xedb88320 reflected). */
#ifndef OT_BASE_CRC32_H
#define OT_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

struct crc32 {
    uint32_t value; /* the checksum of all bytes so far */
    uint32_t table[4][256];
};

void ot_crc32_init(struct crc32 *c);
void ot_crc32_add(struct crc32 *c, const void *bytes, size_t size);

#endif
