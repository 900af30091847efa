/* kept.c - resuming a run: which options may change, and what did. options.def says which. */
#include "tools/train/trainer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Validation data under a path are known by their hash, wherever they lie. */
static bool is_path(const char *text) {
    char *end;
    strtod(text, &end);
    return end == text || *end;
}

static bool is_kept(enum option_id id, unsigned how) {
    const unsigned commands = ot_option_table[id].commands;
    return (commands & TRAIN) && (commands & how);
}

/* As it is compared. */
static const char *plain(enum option_id id, const char *text) {
    if (id == OPTION_val && text && is_path(text)) return "path";
    return text ? text : "";
}

const char *ot_kept_text(const struct settings *s, enum option_id id) {
    return is_kept(id, KEPT | KEPT_IN_EPOCH) ? plain(id, ot_text(s, id)) : NULL;
}

static int refuse(enum option_id id, const char *was, const char *is, struct failure *f) {
    const char *why =
        is_kept(id, KEPT)
            ? "it is fixed for the whole run; start a new run from its weights instead"
            : "it can change only between epochs, and this checkpoint is in the middle of one";
    return ot_refuse(f, EXIT_USAGE, "resume: %s is %s in the run, %s is given: %s",
                     ot_option_table[id].key, *was ? was : "not set", *is ? is : "not set", why);
}

int ot_kept_compare(const struct settings *s, enum option_id id, const char *was, int64_t done,
                    struct failure *f) {
    const char *is = ot_kept_text(s, id);
    if (!is || ot_same_value(id, was, is)) return 0;
    return is_kept(id, KEPT) || done ? refuse(id, was, is, f) : 0;
}

int ot_kept_check(const struct settings *s, struct failure *f) {
    for (int i = 0; i < OPTION_COUNT && s->has_run; i++) {
        const enum option_id id = (enum option_id)i;
        const char *was = plain(id, s->item[i].run), *is = plain(id, ot_text(s, id));
        if (is_kept(id, KEPT) && ot_is_new(s, id) && !ot_same_value(id, was, is))
            return refuse(id, was, is, f);
    }
    return 0;
}

/* ---- what has changed ---- */

/* Where things are, and how they are shown: no result depends on it. */
static bool is_outer(enum option_id id) {
    static const enum option_id outer[] = {OPTION_model,   OPTION_data,        OPTION_val,
                                           OPTION_out,     OPTION_resume,      OPTION_color,
                                           OPTION_threads, OPTION_print_config};
    for (size_t i = 0; i < sizeof outer / sizeof *outer; i++)
        if (outer[i] == id) return true;
    return false;
}

void ot_kept_changes(const struct settings *s, char *line, size_t size) {
    *line = '\0';
    for (int i = 0; i < OPTION_COUNT; i++) {
        const enum option_id id = (enum option_id)i;
        const char *was = s->item[i].run, *is = ot_text(s, id);
        if (!(ot_option_table[i].commands & TRAIN) || is_outer(id) || !ot_is_new(s, id)) continue;
        if (!ot_same_value(id, was, is))
            ot_append_text(line, size, "%s%s=%s (%s)", *line ? ", " : "", ot_option_table[i].key,
                           is, was ? was : "not set");
    }
}
