/* uses.h - the names of a model that is written, and how often each is read. */
#ifndef OT_ONNX_EXPORT_USES_H
#define OT_ONNX_EXPORT_USES_H

#include "onnx/export/parts.h"
#include "onnx/names.h"

enum { OT_DROPPED = -1 }; /* uses of a name that nobody makes any more */

struct uses {
    struct export_job *job;
    struct names names;
    uint64_t scope; /* 0: the graph and its subgraphs; i + 1: local function i */
};

ot_status ot_uses_find(struct uses *u, struct export_job *job);
int ot_uses_of(const struct uses *u, const char *name);
/* One use less; of the last one, or of none, the name is dropped. */
void ot_uses_drop(struct uses *u, const char *name);
bool ot_uses_is_dropped(const struct uses *u, const char *name);
/* stem_word, with a number behind it where that is taken. */
ot_status ot_uses_fresh(struct uses *u, const char *stem, const char *word, char **name);

#endif
