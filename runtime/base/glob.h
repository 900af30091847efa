/* glob.h - names by shell patterns. */
#ifndef OT_BASE_GLOB_H
#define OT_BASE_GLOB_H

#include <stdbool.h>

enum { OT_GLOB_SIZE = 512 }; /* bytes of one glob of a list, its end included */

/* Shell glob: * ? [abc] [a-z] [!a]. No recursion. */
bool ot_glob(const char *pattern, const char *text);

/* Takes the next glob of a list with commas: copied to `glob`, *list behind it, *negated where a !
 * stood before it. Empty ones are passed over. False: there is none, or it is too long, and then
 * *list stands on it. */
bool ot_glob_next(const char **list, char glob[OT_GLOB_SIZE], bool *negated);

/* What a list says of a name: 1 where the last glob that matches it stands as it is, -1 where it is
 * negated, 0 where none matches, or list is NULL. */
int ot_glob_list(const char *list, const char *name);

#endif
