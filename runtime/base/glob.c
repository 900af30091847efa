/* glob.c - shell patterns, and lists of them. */
#include "runtime/base/glob.h"

#include <string.h>

/* One [..] class at *p against c; moves *p behind it. An unclosed one matches '[' itself. */
static bool class_matches(const char **p, char c) {
    const char *q = *p + 1;
    bool negate = *q == '!' || *q == '^', found = false;
    if (negate) q++;
    const char *first = q;
    for (; *q && (*q != ']' || q == first); q++) {
        char from = *q, to = *q;
        if (q[1] == '-' && q[2] && q[2] != ']') {
            to = q[2];
            q += 2;
        }
        if (c >= from && c <= to) found = true;
    }
    if (!*q) {
        (*p)++;
        return c == '[';
    }
    *p = q + 1;
    return found != negate;
}

bool ot_glob(const char *p, const char *text) {
    const char *star = NULL, *resume = NULL; /* where to go on after the last '*' */
    while (*text) {
        const char *next = p;
        bool match;
        if (*p == '*') {
            star = ++p;
            resume = text;
            continue;
        }
        if (*p == '[') {
            match = class_matches(&next, *text);
        } else {
            match = *p && (*p == '?' || *p == *text);
            next = p + 1;
        }
        if (match) {
            p = next;
            text++;
        } else if (star) {
            p = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*p == '*') p++;
    return !*p;
}

bool ot_glob_next(const char **list, char glob[OT_GLOB_SIZE], bool *negated) {
    *list += strspn(*list, ",");
    const bool not = **list == '!';
    const size_t n = strcspn(*list + not, ",");
    if ((!n && !not ) || n >= OT_GLOB_SIZE) return false;
    memcpy(glob, *list + not, n);
    glob[n] = 0;
    *negated = not ;
    *list += not +n;
    return true;
}

int ot_glob_list(const char *list, const char *name) {
    char glob[OT_GLOB_SIZE];
    bool negated;
    int said = 0;
    while (list && ot_glob_next(&list, glob, &negated))
        if (ot_glob(glob, name)) said = negated ? -1 : 1;
    return said;
}
