/* suite.c - a tree of cases: finds them, runs them, holds them against the list of those that
 * may be refused, and reports. */
#include "tools/check/check.h"
#include "tools/data/data.h"
#include "tools/file.h"
#include "tools/jsonout.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_DEPTH = 16 };

/* A line of the list: cases whose folder's name matches, or, of a pattern with a slash, whose path
 * beneath the suite does, are refused, for this reason. Where the reason begins with "differs",
 * they run and come to other results. */
struct allowance {
    char *glob, *reason;
};

struct suite {
    check_fn *check;
    const struct settings *settings;
    struct check_case *c;
    size_t n, room;
    char *text; /* of the list */
    struct allowance *allowance;
    size_t n_allowances;
    bool has_list;
    bool gradients;
    int64_t count[CHECK_OUTCOMES], unexpected;
    int64_t compared, kinks, sparse; /* as of a case */
};

static const char *const outcome_names[CHECK_OUTCOMES] = {"passed", "failed", "refused", "skipped"};

/* ---- the list of what may be refused ------------------------------------------------------- */

/* "glob reason" a line; # begins a comment. */
static int read_list(struct suite *s, const char *path, struct failure *f) {
    unsigned char *bytes;
    size_t size, lines = 1, row = 0;
    int code = ot_read_file(path, EXIT_DATA, &bytes, &size, f);
    if (code) return code;
    s->text = (char *)bytes;
    s->has_list = true;
    for (size_t i = 0; i < size; i++) lines += bytes[i] == '\n';
    s->allowance = ot_take(lines, sizeof *s->allowance, f);
    if (!s->allowance) return f->code;
    char *rest, *line = strtok_r(s->text, "\n", &rest);
    for (; line && !code; line = strtok_r(NULL, "\n", &rest)) {
        row++;
        line[strcspn(line, "#")] = '\0';
        char *glob = line + strspn(line, " "), *reason = glob + strcspn(glob, " ");
        if (!*glob) continue;
        if (*reason) *reason++ = '\0';
        reason += strspn(reason, " ");
        if (!*reason) code = ot_refuse(f, EXIT_USAGE, "%s: '%s' has no reason", path, glob);
        s->allowance[s->n_allowances++] = (struct allowance){glob, reason};
    }
    return code;
}

static const struct allowance *find_allowance(const struct suite *s, const char *name) {
    const char *slash = strrchr(name, '/');
    for (size_t i = 0; i < s->n_allowances; i++) {
        const bool whole = strchr(s->allowance[i].glob, '/') != NULL;
        if (!fnmatch(s->allowance[i].glob, slash && !whole ? slash + 1 : name, 0))
            return &s->allowance[i];
    }
    return NULL;
}

/* Holds an outcome against the list. */
static void judge(struct suite *s, struct check_case *c) {
    const struct allowance *a = find_allowance(s, c->name);
    const bool differs = a && !strncmp(a->reason, "differs", 7);
    char text[sizeof c->reason];
    const bool allowed = a && ((c->outcome == CHECK_FAILED && differs) ||
                               (c->outcome == CHECK_REFUSED && (!differs || s->gradients)));
    if (allowed) {
        snprintf(text, sizeof text, "%.150s; %.400s", a->reason, c->reason);
        strcpy(c->reason, text);
        c->outcome = CHECK_REFUSED;
    } else if (a && c->outcome == CHECK_PASSED && !(differs && s->gradients)) {
        ot_check_fail(
            c, "the list of refused cases has it ('%.60s'), but it passes: remove it from the list",
            a->glob);
        s->unexpected++;
    } else if (s->has_list && c->outcome == CHECK_REFUSED) {
        snprintf(text, sizeof text, "not on the list: %.500s", c->reason);
        strcpy(c->reason, text);
        s->unexpected++;
    }
    s->count[c->outcome]++;
    s->compared += c->compared;
    s->kinks += c->kinks;
    s->sparse += c->sparse;
}

/* ---- the tree ----------------------------------------------------------------------------- */

static int add_case(struct suite *s, const char *folder, const char *name, struct failure *f) {
    if (s->n == s->room) {
        const size_t room = s->room ? 2 * s->room : 64;
        struct check_case *c = realloc(s->c, room * sizeof *c);
        if (!c) return ot_refuse(f, EXIT_MEMORY, "cannot allocate %zu cases", room);
        s->c = c;
        s->room = room;
    }
    struct check_case *c = &s->c[s->n];
    *c = (struct check_case){.name = ot_copy_text(name, f)};
    if (!c->name) return f->code;
    s->n++;
    int code = s->check(c, folder, s->settings, f);
    if (code == EXIT_DATA) { /* of a type that no tensor here has */
        ot_check_fail(c, "%s", f->text);
        c->outcome = CHECK_REFUSED;
        code = 0;
    }
    if (!code) judge(s, c);
    return code;
}

static bool is_case(const char *folder, struct failure *f) {
    struct stat info;
    char *path = ot_join_path(folder, "model.onnx", f);
    const bool is = path && stat(path, &info) == 0;
    free(path);
    return is;
}

/* `beneath` is how the folder is called in the report: its path from the suite's on. */
static int walk(struct suite *s, const char *folder, const char *beneath, int depth,
                struct failure *f) {
    char **names;
    int64_t n;
    if (is_case(folder, f)) return add_case(s, folder, *beneath ? beneath : folder, f);
    int code = ot_names_read(folder, &names, &n, f);
    for (int64_t i = 0; i < n && !code; i++) {
        char *path = ot_join_path(folder, names[i], f);
        char *name = *beneath ? ot_join_path(beneath, names[i], f) : ot_copy_text(names[i], f);
        code = path && name ? 0 : f->code;
        if (!code && depth < MOST_DEPTH && ot_is_folder(path))
            code = walk(s, path, name, depth + 1, f);
        free(path);
        free(name);
    }
    ot_names_free(names, n);
    return code;
}

/* ---- the report --------------------------------------------------------------------------- */

struct row {
    const char *op;
    int64_t count[CHECK_OUTCOMES];
};

static int by_op(const void *a, const void *b) {
    return strcmp(((const struct row *)a)->op, ((const struct row *)b)->op);
}

/* A row an operator, sorted by name. */
static struct row *make_rows(const struct suite *s, size_t *n, struct failure *f) {
    struct row *row = ot_take(s->n, sizeof *row, f);
    *n = 0;
    if (!row) return NULL;
    for (size_t i = 0; i < s->n; i++) {
        row[i].op = s->c[i].op;
        row[i].count[s->c[i].outcome] = 1;
    }
    if (s->n) qsort(row, s->n, sizeof *row, by_op);
    for (size_t i = 0; i < s->n; i++) {
        if (*n && !strcmp(row[*n - 1].op, row[i].op))
            for (int k = 0; k < CHECK_OUTCOMES; k++) row[*n - 1].count[k] += row[i].count[k];
        else
            row[(*n)++] = row[i];
    }
    return row;
}

/* Operators with a gradient that has been found right. */
static long long covered(const struct row *row, size_t n) {
    long long count = 0;
    for (size_t i = 0; i < n; i++)
        count += row[i].count[CHECK_PASSED] > 0 && strcmp(row[i].op, "several") != 0;
    return count;
}

/* Outcomes that a report has columns for: only gradients are skipped. */
static int columns(const struct suite *s) { return s->gradients ? CHECK_OUTCOMES : CHECK_SKIPPED; }

static void print_text(const struct suite *s, const struct row *row, size_t n) {
    char name[4096];
    printf("%-36s", "operator");
    for (int k = 0; k < columns(s); k++) printf(" %8s", outcome_names[k]);
    for (size_t i = 0; i < n; i++) {
        printf("\n%-36s", row[i].op);
        for (int k = 0; k < columns(s); k++) printf(" %8lld", (long long)row[i].count[k]);
    }
    putchar('\n');
    for (size_t i = 0; i < s->n; i++) {
        if (s->c[i].outcome == CHECK_PASSED) continue;
        ot_make_safe(name, sizeof name, s->c[i].name);
        printf("%-8s %s: %s\n", outcome_names[s->c[i].outcome], name, s->c[i].reason);
    }
    printf("%zu cases, %zu operators:", s->n, n);
    for (int k = 0; k < columns(s); k++)
        printf("%s %lld %s", k ? "," : "", (long long)s->count[k], outcome_names[k]);
    putchar('\n');
    if (s->gradients)
        printf("gradients of %lld operators: %lld elements agree, %lld at kinks are not compared; "
               "%lld weights give the same results with sparse and dense kernels\n",
               covered(row, n), (long long)s->compared, (long long)s->kinks, (long long)s->sparse);
}

static void print_counts(const struct suite *s, const int64_t *count) {
    for (int k = 0; k < columns(s); k++)
        printf("%s\"%s\":%lld", k ? "," : "", outcome_names[k], (long long)count[k]);
}

static void print_json(const struct suite *s, const char *folder, const struct row *row, size_t n) {
    fputs("{\"suite\":", stdout);
    ot_print_string(stdout, folder);
    fputs(",", stdout);
    print_counts(s, s->count);
    if (s->gradients)
        printf(",\n \"covered\":%lld,\"elements\":%lld,\"kinks\":%lld,\"sparse\":%lld",
               covered(row, n), (long long)s->compared, (long long)s->kinks, (long long)s->sparse);
    fputs(",\n \"operators\":[", stdout);
    for (size_t i = 0; i < n; i++) {
        fputs(i ? ",\n  {\"operator\":" : "\n  {\"operator\":", stdout);
        ot_print_string(stdout, row[i].op);
        fputs(",", stdout);
        print_counts(s, row[i].count);
        fputs("}", stdout);
    }
    fputs("],\n \"cases\":[", stdout);
    bool first = true;
    for (size_t i = 0; i < s->n; i++) {
        const struct check_case *c = &s->c[i];
        if (c->outcome == CHECK_PASSED) continue;
        fputs(first ? "\n  {\"case\":" : ",\n  {\"case\":", stdout);
        ot_print_string(stdout, c->name);
        printf(",\"operator\":");
        ot_print_string(stdout, c->op);
        printf(",\"outcome\":\"%s\",\"reason\":", outcome_names[c->outcome]);
        ot_print_string(stdout, c->reason);
        fputs("}", stdout);
        first = false;
    }
    fputs("]}\n", stdout);
}

static int report(const struct suite *s, const char *folder, struct failure *f) {
    size_t n;
    struct row *row = make_rows(s, &n, f);
    if (!row) return f->code;
    if (ot_integer(s->settings, OPTION_json, 0))
        print_json(s, folder, row, n);
    else
        print_text(s, row, n);
    free(row);
    if (s->count[CHECK_FAILED])
        return ot_refuse(f, EXIT_CHECK, "%lld of %zu cases failed",
                         (long long)s->count[CHECK_FAILED], s->n);
    if (s->unexpected)
        return ot_refuse(f, EXIT_CHECK, "%lld of %zu cases are refused and not on the list",
                         (long long)s->unexpected, s->n);
    return 0;
}

int ot_check_suite(const char *folder, check_fn *check, const struct settings *settings,
                   struct failure *f) {
    struct suite s = {.check = check,
                      .settings = settings,
                      .gradients = ot_integer(settings, OPTION_gradients, 0) != 0};
    const char *list = ot_text(settings, OPTION_refused);
    int code = list ? read_list(&s, list, f) : 0;
    if (!code) code = walk(&s, folder, "", 0, f);
    if (!code && !s.n)
        code = ot_refuse(f, EXIT_DATA, "'%s' holds no model.onnx at any depth", folder);
    if (!code) code = report(&s, folder, f);
    for (size_t i = 0; i < s.n; i++) free(s.c[i].name);
    free(s.c);
    free(s.allowance);
    free(s.text);
    return code;
}
