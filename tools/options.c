/* options.c - the option table, values by type, and the nearest name. */
#include "tools/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OPTION(id, key, type, value, least, most, choices, commands, help)                         \
    {key, TYPE_##type, value, least, most, choices, commands, help},
const struct option ot_option_table[OPTION_COUNT] = {
#include "tools/options.def"
};
#undef OPTION

/* ---- names ---- */

/* Whether two keys are the same, - and _ not told apart. */
static bool same_key(const char *a, const char *b) {
    while (*a && (*a == *b || (*a == '-' && *b == '_') || (*a == '_' && *b == '-'))) a++, b++;
    return *a == *b;
}

int ot_option_find(const char *key, unsigned commands) {
    for (int i = 0; i < OPTION_COUNT; i++)
        if ((ot_option_table[i].commands & commands) && same_key(key, ot_option_table[i].key))
            return i;
    return -1;
}

/* Levenshtein's distance of two keys; keys longer than the row count as far away. */
static int distance(const char *a, const char *b) {
    enum { LONGEST = 32 };
    int row[LONGEST + 1];
    const int n = (int)strnlen(a, LONGEST + 1), m = (int)strnlen(b, LONGEST + 1);
    if (n > LONGEST || m > LONGEST) return LONGEST;
    for (int j = 0; j <= m; j++) row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            const int up = row[j];
            int best = diagonal + (a[i - 1] != b[j - 1]);
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = up + 1 < best ? up + 1 : best;
            diagonal = up;
        }
    }
    return row[m];
}

const char *ot_option_suggest(const char *key, unsigned commands, char *buffer, size_t size) {
    int best = -1, least = 3; /* farther than two letters is no help */
    for (int i = 0; i < OPTION_COUNT; i++) {
        const int d = distance(key, ot_option_table[i].key);
        if ((ot_option_table[i].commands & commands) && d < least) {
            best = i;
            least = d;
        }
    }
    if (best < 0) return "";
    snprintf(buffer, size, "; did you mean '%s'?", ot_option_table[best].key);
    return buffer;
}

/* ---- values ---- */

static bool parse_integer(const char *text, int64_t *value) {
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0;
}

/* A number or a quotient as 1/255, up to the character `stop`; NULL where there is none. */
static const char *parse_number(const char *text, char stop, double *value) {
    char *end;
    *value = strtod(text, &end);
    if (end != text && *end == '/') {
        const char *rest = end + 1;
        const double divisor = strtod(rest, &end);
        if (end == rest) return NULL;
        *value /= divisor;
    }
    return end != text && (*end == '\0' || *end == stop) && isfinite(*value) ? end : NULL;
}

static bool parse_list(const char *text, double *numbers, int *n) {
    for (*n = 0; *n < MAX_LIST; text++) {
        text = parse_number(text, ',', &numbers[*n]);
        if (!text) return false;
        ++*n;
        if (!*text) return true;
    }
    return false;
}

static bool parse_size(const char *text, int64_t *value) {
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    const double number = strtod(text, &end);
    double factor = 1;
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    if (unit) {
        for (long i = unit - units; i >= 0; i--) factor *= 1024;
        end++;
    }
    if (end == text || *end || errno || !(number >= 0) || number * factor > 9e18) return false;
    *value = (int64_t)(number * factor);
    return true;
}

static bool parse_flag(const char *text, int64_t *value) {
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};
    for (int i = 0; i < 8; i++)
        if (strcasecmp(text, words[i]) == 0) {
            *value = i & 1;
            return true;
        }
    return false;
}

/* The index of text among choices. */
static bool parse_choice(const char *choices, const char *text, int64_t *value) {
    *value = 0;
    for (const char *word = choices; word; (*value)++) {
        const char *end = strchr(word, '|');
        const size_t n = end ? (size_t)(end - word) : strlen(word);
        if (strlen(text) == n && strncmp(word, text, n) == 0) return true;
        word = end ? end + 1 : NULL;
    }
    return false;
}

bool ot_parse_extent(const char *text, int64_t *width, int64_t *height) {
    char *end;
    *width = strtol(text, &end, 10);
    *height = 0;
    if (*width < 1 || *width > 65535 || end == text) return false;
    if (*end != 'x') return *end == '\0';
    const char *rest = end + 1;
    *height = strtol(rest, &end, 10);
    return end != rest && *end == '\0' && *height >= 1 && *height <= 65535;
}

/* What a type asks for, as messages say it. */
static const char *expectation(const struct option *o, char *buffer, size_t size) {
    static const char *const words[] = {
        [TYPE_TEXT] = "a text",     [TYPE_INTEGER] = "an integer",
        [TYPE_NUMBER] = "a number", [TYPE_LIST] = "numbers separated by commas",
        [TYPE_FLAG] = "0 or 1",     [TYPE_SIZE] = "a size as 512M or 2G"};
    if (o->type == TYPE_CHOICE)
        snprintf(buffer, size, "one of %s", o->choices);
    else if (o->type == TYPE_INTEGER || o->type == TYPE_NUMBER)
        snprintf(buffer, size, "%s from %.12g to %.12g", words[o->type], o->least, o->most);
    else
        snprintf(buffer, size, "%s", words[o->type]);
    return buffer;
}

/* Fills the value of item from text; false where text is not of the option's type and range. */
static bool take_value(const struct option *o, const char *text, struct setting *item) {
    double list[MAX_LIST];
    int n;
    switch (o->type) {
    case TYPE_TEXT: return *text != '\0';
    case TYPE_LIST: return parse_list(text, list, &n);
    case TYPE_NUMBER:
        return parse_number(text, '\0', &item->number) && item->number >= o->least &&
               item->number <= o->most;
    case TYPE_CHOICE: return parse_choice(o->choices, text, &item->integer);
    case TYPE_FLAG: return parse_flag(text, &item->integer);
    case TYPE_SIZE: return parse_size(text, &item->integer) && item->integer >= 1;
    case TYPE_INTEGER: break;
    }
    return parse_integer(text, &item->integer) && (double)item->integer >= o->least &&
           (double)item->integer <= o->most;
}

/* Fills *fresh with a checked value; the texts are its own. */
static int make_setting(const struct option *o, const char *value, const char *where,
                        struct setting *fresh, struct failure *f) {
    char buffer[512];
    const bool on_line = strcmp(where, "command line") == 0;
    *fresh = (struct setting){0};
    if (!take_value(o, value, fresh))
        return ot_refuse(f, EXIT_USAGE, "%s%s%s: '%s' is not %s", on_line ? "" : where,
                         on_line ? "" : ": ", o->key, value, expectation(o, buffer, sizeof buffer));
    fresh->text = ot_copy_text(value, f);
    fresh->origin = ot_copy_text(where, f);
    return fresh->text && fresh->origin ? 0 : f->code;
}

static void free_setting(struct setting *item) {
    free(item->text);
    free(item->origin);
    free(item->run);
}

int ot_settings_put(struct settings *s, const char *key, const char *value, const char *where,
                    struct failure *f) {
    char buffer[512];
    const bool on_line = strcmp(where, "command line") == 0;
    const int id = ot_option_find(key, s->command);
    if (id < 0 && !on_line && ot_option_find(key, ~0u) >= 0) return 0;
    if (id < 0 && ot_option_find(key, ~0u) >= 0)
        return ot_refuse(f, EXIT_USAGE, "'%s' is not an option of %s", key, s->name);
    if (id < 0)
        return ot_refuse(f, EXIT_USAGE, "%s%sunknown key '%s'%s", on_line ? "" : where,
                         on_line ? "" : ": ", key,
                         ot_option_suggest(key, s->command, buffer, sizeof buffer));
    struct setting *item = &s->item[id];
    if (item->origin && strcmp(item->origin, where) == 0)
        return ot_refuse(f, EXIT_USAGE, "'%s' is given twice", key);
    struct setting fresh;
    const int code = make_setting(&ot_option_table[id], value, where, &fresh, f);
    if (code || item->origin) { /* what was given first stays */
        if (!code && s->resuming && !item->run) {
            item->run = fresh.text;
            fresh.text = NULL;
        }
        free_setting(&fresh);
        return code;
    }
    *item = fresh;
    item->of_run = s->resuming;
    return 0;
}

int ot_settings_replace(struct settings *s, enum option_id id, const char *value, const char *where,
                        struct failure *f) {
    struct setting fresh;
    const int code = make_setting(&ot_option_table[id], value, where, &fresh, f);
    if (code) {
        free_setting(&fresh);
        return code;
    }
    free_setting(&s->item[id]);
    s->item[id] = fresh;
    return 0;
}

bool ot_same_value(enum option_id id, const char *a, const char *b) {
    const struct option *o = &ot_option_table[id];
    double x[MAX_LIST], y[MAX_LIST];
    struct setting p = {0}, q = {0};
    int n, m;
    if (!a || !b || strcmp(a, b) == 0) return !a == !b;
    if (o->type == TYPE_TEXT) return false;
    if (o->type == TYPE_LIST)
        return parse_list(a, x, &n) && parse_list(b, y, &m) && n == m &&
               memcmp(x, y, (size_t)n * sizeof *x) == 0;
    return take_value(o, a, &p) && take_value(o, b, &q) && p.number == q.number &&
           p.integer == q.integer;
}

void ot_settings_free(struct settings *s) {
    for (int i = 0; i < OPTION_COUNT; i++) free_setting(&s->item[i]);
    *s = (struct settings){0};
}

/* ---- reading them ---- */

/* The setting of id, from the table where nobody set it; false where it has none. */
static bool look(const struct settings *s, enum option_id id, struct setting *item) {
    const struct option *o = &ot_option_table[id];
    *item = s->item[id];
    if (item->origin) return true;
    return o->value && take_value(o, o->value, item);
}

const char *ot_text(const struct settings *s, enum option_id id) {
    return s->item[id].origin ? s->item[id].text : ot_option_table[id].value;
}

int64_t ot_integer(const struct settings *s, enum option_id id, int64_t missing) {
    struct setting item;
    return look(s, id, &item) ? item.integer : missing;
}

double ot_number(const struct settings *s, enum option_id id, double missing) {
    struct setting item;
    return look(s, id, &item) ? item.number : missing;
}

bool ot_is_given(const struct settings *s, enum option_id id) { return s->item[id].origin != NULL; }

bool ot_is_new(const struct settings *s, enum option_id id) {
    return s->item[id].origin != NULL && !s->item[id].of_run;
}

int ot_list(const struct settings *s, enum option_id id, double *numbers) {
    const char *text = ot_text(s, id);
    int n = 0;
    if (text) parse_list(text, numbers, &n);
    return n;
}
