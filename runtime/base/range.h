/* range.h - offsets that a file gives are checked here, before they are used. */
#ifndef OT_BASE_RANGE_H
#define OT_BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* Do bytes [offset, offset + size) lie within [0, total)? No sum overflows. */
static inline bool ot_is_inside(uint64_t offset, uint64_t size, uint64_t total) {
    return offset <= total && size <= total - offset;
}

#endif
