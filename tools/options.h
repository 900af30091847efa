/* options.h - the option table, and one command's settings.
 *
 * Values come from the command line, then from a configuration file, then from the arguments of
 * a run that is resumed, then from the table: what is set first stays.
 */
#ifndef OT_TOOLS_OPTIONS_H
#define OT_TOOLS_OPTIONS_H

#include "tools/tool.h"

#define OPTION(id, key, type, value, least, most, choices, commands, help) OPTION_##id,
enum option_id {
#include "tools/options.def"
    OPTION_COUNT
};
#undef OPTION

enum option_type {
    TYPE_TEXT,
    TYPE_CHOICE,
    TYPE_INTEGER,
    TYPE_NUMBER,
    TYPE_LIST,
    TYPE_FLAG,
    TYPE_SIZE
};

enum { /* commands, as bits */
       INSPECT = 1,
       TRAIN = 2,
       EVAL = 4,
       PREDICT = 8,
       EXPORT = 16,
       ENV = 32,
       HELP = 64,
       BENCH = 128,
       CHECK = 256,
       INIT = 512,
       PRUNE = 1024,
       MAKES = INIT | PRUNE, /* sparse networks */
       DATAS = TRAIN | EVAL | PREDICT | PRUNE,
       RULES = TRAIN | EXPORT, /* training_info */
       LOSSES = TRAIN | EVAL | BENCH | EXPORT | PRUNE,
       UPDATES = TRAIN | BENCH | EXPORT,
       PLANS_ALONE = INSPECT | BENCH | CHECK, /* without data */
       LOADS = EVAL | PREDICT | EXPORT,
       /* no commands, but what `train resume=` does where another value than the run's is given.
        * Without either, the new one counts from there on. */
       KEPT = 1 << 16,          /* refused: the run would be another one */
       KEPT_IN_EPOCH = 1 << 17, /* refused in the middle of an epoch */
       MODELS = LOADS | INSPECT | TRAIN | BENCH | CHECK | MAKES,
       BATCHES = DATAS | PLANS_ALONE,
       COMPUTES = DATAS | PLANS_ALONE,
       PLANS = TRAIN | PLANS_ALONE,
       SHAPES = DATAS | PLANS_ALONE,
       OUTS = TRAIN | PREDICT | EXPORT | MAKES,
       REPORTS = EVAL | PLANS_ALONE | ENV
};

struct option {
    const char *key;
    enum option_type type;
    const char *value; /* default, NULL: not set */
    double least, most;
    const char *choices; /* separated by | */
    unsigned commands;
    const char *help;
};

extern const struct option ot_option_table[OPTION_COUNT];

struct setting {
    char *text;      /* NULL: not set */
    double number;   /* INTEGER, NUMBER, FLAG, SIZE, and the index of a CHOICE */
    int64_t integer; /* the same, exact */
    char *origin;    /* NULL: the table */
    bool of_run;     /* the value comes from the run that is resumed */
    char *run;       /* what the run that is resumed had, where something was given; or NULL */
};

struct settings {
    unsigned command;  /* one bit */
    const char *name;  /* of the command, for messages */
    bool help;         /* --help was given */
    const char *topic; /* `help`'s argument; NULL: none */
    bool resuming;     /* what is put now comes from the run that is resumed */
    bool has_run;      /* its args.yaml has been read */
    struct setting item[OPTION_COUNT];
};

/* The most numbers a LIST has. */
enum { MAX_LIST = 64 };

/* Takes the command's arguments (without its name) and the files they name. */
int ot_settings_parse(struct settings *s, int argc, char **argv, struct failure *f);
void ot_settings_free(struct settings *s);

/* Sets a key unless it has been set. `where` says whose it is: "command line" or file:line:col. */
int ot_settings_put(struct settings *s, const char *key, const char *value, const char *where,
                    struct failure *f);

/* Sets from a YAML file. Keys of other commands are checked for their names only. */
int ot_settings_read(struct settings *s, const char *path, struct failure *f);

/* Sets what has been found out, whatever was given. */
int ot_settings_replace(struct settings *s, enum option_id id, const char *value, const char *where,
                        struct failure *f);

/* Whether two texts are one value of this option; NULL is one for itself. */
bool ot_same_value(enum option_id id, const char *a, const char *b);

/* The option with this key that the commands know, or that any knows (commands = ~0u); -1. */
int ot_option_find(const char *key, unsigned commands);

/* "; did you mean 'x'?" or "". The text is static or in `buffer`. */
const char *ot_option_suggest(const char *key, unsigned commands, char *buffer, size_t size);

/* What is set; NULL, 0 or `missing` where nothing is. */
const char *ot_text(const struct settings *s, enum option_id id);
int64_t ot_integer(const struct settings *s, enum option_id id, int64_t missing);
double ot_number(const struct settings *s, enum option_id id, double missing);
bool ot_is_given(const struct settings *s, enum option_id id); /* not from the table */
bool ot_is_new(const struct settings *s, enum option_id id); /* nor from the run that is resumed */

/* The numbers of a LIST, at most MAX_LIST; returns how many. */
int ot_list(const struct settings *s, enum option_id id, double *numbers);

/* "N" or "WxH" with both in [1, 65535]; N gives height = 0. False where text is neither. */
bool ot_parse_extent(const char *text, int64_t *width, int64_t *height);

#endif
