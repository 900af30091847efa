/* zip.h - reads zip archives (APPNOTE.TXT 6.3): stored and deflated members, zip64. */
#ifndef OT_TOOLS_DATA_ZIP_H
#define OT_TOOLS_DATA_ZIP_H

#include "tools/tool.h"

struct zip;

/* Checks the whole directory: members lie inside the file and do not overlap, names differ.
 * *zip is NULL after a failure. */
int ot_zip_open(const char *path, struct zip **zip, struct failure *f);
void ot_zip_close(struct zip *zip); /* NULL is allowed */

int ot_zip_count(const struct zip *zip);
int ot_zip_find(const struct zip *zip, const char *name); /* -1: not there */
const char *ot_zip_name(const struct zip *zip, int member);

/* The member's bytes in fresh memory, their CRC checked. */
int ot_zip_read(const struct zip *zip, int member, unsigned char **bytes, size_t *size,
                struct failure *f);

#endif
