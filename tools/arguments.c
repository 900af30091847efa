/* arguments.c - the grammar of the command line: MODEL [DATA] [config.yaml] [key=value ...]. */
#include "tools/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char line[] = "command line";

/* The length of the key in "key=value", 0 where the argument is not of this form. A path may
 * hold a '=', but then a '/' or '.' stands before it. */
static size_t key_length(const char *arg) {
    const size_t n = strcspn(arg, "=");
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)arg[i]) && arg[i] != '_' && arg[i] != '-') return 0;
    return arg[n] == '=' ? n : 0;
}

/* Sets "key=value"; n is the length of key. */
static int put_pair(struct settings *s, const char *arg, size_t n, struct failure *f) {
    char key[64];
    if (n >= sizeof key) return ot_refuse(f, EXIT_USAGE, "unknown key '%.80s...'", arg);
    memcpy(key, arg, n);
    key[n] = '\0';
    return ot_settings_put(s, key, arg + n + 1, line, f);
}

static bool is_flag_word(const char *text) {
    static const char *const words[] = {"0", "1", "true", "false", "yes", "no", "on", "off"};
    for (int i = 0; i < 8; i++)
        if (text && strcasecmp(text, words[i]) == 0) return true;
    return false;
}

/* "--key=value", "--key value", and "--flag" alone. *i moves over a value of its own. */
static int put_long(struct settings *s, int argc, char **argv, int *i, struct failure *f) {
    const char *arg = argv[*i] + 2;
    const size_t n = key_length(arg);
    if (n) return put_pair(s, arg, n, f);
    if (strcmp(arg, "help") == 0) {
        s->help = true;
        return 0;
    }
    const int id = ot_option_find(arg, s->command);
    const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    if (id >= 0 && ot_option_table[id].type == TYPE_FLAG) {
        *i += is_flag_word(next);
        return ot_settings_put(s, arg, is_flag_word(next) ? next : "1", line, f);
    }
    if (id >= 0 && !next) return ot_refuse(f, EXIT_USAGE, "--%s needs a value", arg);
    *i += 1;
    return ot_settings_put(s, arg, next ? next : "", line, f);
}

/* MODEL, DATA and config.yaml by their place; configurations by their name. */
static int put_place(struct settings *s, const char *arg, const char **config, struct failure *f) {
    if (s->command == HELP && !s->topic) {
        s->topic = arg;
        return 0;
    }
    if (ot_has_suffix(arg, ".yaml") || ot_has_suffix(arg, ".yml") || ot_has_suffix(arg, ".json")) {
        if (*config)
            return ot_refuse(f, EXIT_USAGE, "two configuration files are given: '%s' and '%s'",
                             *config, arg);
        *config = arg;
        return 0;
    }
    static const enum option_id places[] = {OPTION_model, OPTION_data};
    for (int i = 0; i < 2; i++)
        if ((ot_option_table[places[i]].commands & s->command) && !ot_is_given(s, places[i]))
            return ot_settings_put(s, ot_option_table[places[i]].key, arg, line, f);
    return ot_refuse(f, EXIT_USAGE, "unexpected argument '%s'", arg);
}

/* The arguments of the run that is resumed: args.yaml in the run folder, or, for a checkpoint,
 * in the folder above it. A checkpoint without one is resumed with the given arguments. */
static int read_resumed(struct settings *s, struct failure *f) {
    const char *resume = ot_text(s, OPTION_resume);
    struct stat info;
    if (!resume) return 0;
    if (stat(resume, &info)) return ot_refuse(f, EXIT_USAGE, "resume: '%s' does not exist", resume);
    const char *up = S_ISDIR(info.st_mode) ? "args.yaml" : "../args.yaml";
    char *folder = ot_copy_text(resume, f);
    if (!folder) return f->code;
    char *slash = strrchr(folder, '/');
    if (!S_ISDIR(info.st_mode)) strcpy(slash ? slash : folder, slash ? "" : ".");
    char *path = ot_join_path(folder, up, f);
    int code = path ? 0 : f->code;
    s->resuming = true;
    const bool folder_alone = S_ISDIR(info.st_mode);
    s->has_run = !code && stat(path, &info) == 0;
    if (!code && !s->has_run && folder_alone)
        code = ot_refuse(f, EXIT_USAGE, "resume: '%s' is not a run folder: it has no args.yaml",
                         resume);
    if (s->has_run) code = ot_settings_read(s, path, f);
    s->resuming = false;
    free(path);
    free(folder);
    return code;
}

int ot_settings_parse(struct settings *s, int argc, char **argv, struct failure *f) {
    const char *config = NULL;
    int code = 0;
    for (int i = 0; i < argc && !code; i++) {
        const char *arg = argv[i];
        const size_t n = arg[0] == '-' ? 0 : key_length(arg);
        if (strcmp(arg, "-h") == 0)
            s->help = true;
        else if (strncmp(arg, "--", 2) == 0 && arg[2])
            code = put_long(s, argc, argv, &i, f);
        else if (arg[0] == '-' && arg[1])
            code = ot_refuse(f, EXIT_USAGE, "unknown option '%s'", arg);
        else if (n)
            code = put_pair(s, arg, n, f);
        else
            code = put_place(s, arg, &config, f);
    }
    if (!code && !s->help && config) code = ot_settings_read(s, config, f);
    if (!code && !s->help) code = read_resumed(s, f);
    return code;
}
