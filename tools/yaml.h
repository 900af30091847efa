/* yaml.h - files of "key: value" lines. */
#ifndef OT_TOOLS_YAML_H
#define OT_TOOLS_YAML_H

#include "tools/tool.h"

/* Takes one pair; a list comes as "a,b,c". where: file:line:column, for messages. */
typedef int ot_yaml_fn(void *context, const char *key, const char *value, const char *where,
                       struct failure *f);

/* Calls put for each pair of the file, in order. Keys are different from each other. */
int ot_yaml_read(const char *path, ot_yaml_fn *put, void *context, struct failure *f);

#endif
