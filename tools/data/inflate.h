/* inflate.h - deflated bytes, unpacked into memory that grows only as they come. */
#ifndef OT_TOOLS_DATA_INFLATE_H
#define OT_TOOLS_DATA_INFLATE_H

#include "tools/tool.h"

/* Unpacks exactly `size` bytes: of a raw deflate stream, or of a gzip file of one or more members,
 * whose trailers are checked. *out is fresh memory, at least one byte; NULL after a failure.
 * 0: good; EXIT_MEMORY; EXIT_DATA where the bytes are damaged, cut, too many or too few, and then
 * the caller says so: f is not filled. */
int ot_inflate(const unsigned char *in, size_t packed, bool gzip, uint64_t size,
               unsigned char **out, struct failure *f);

/* The first bytes of a gzip file, at most `most`. */
size_t ot_inflate_head(const unsigned char *in, size_t packed, unsigned char *out, size_t most);

#endif
