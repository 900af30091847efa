/* stale.h - temporaries that killed processes have left: "NAME.PID-I.tmp" beside NAME. */
#ifndef OT_TOOLS_STALE_H
#define OT_TOOLS_STALE_H

#include "tools/tool.h"

/* Removes those in the folder whose process is gone, files and whole folders; of one NAME, or with
 * NULL of all. What cannot be removed stays. */
void ot_stale_remove(const char *folder, const char *name);

/* Removes a folder and what is in it, links not followed. */
void ot_folder_remove(const char *path);

#endif
