/* sparsity.c - how sparse a network becomes: density, budget and constraint from the settings. */
#include "tools/sparsity.h"
#include "tools/yaml.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_file(const char *text) {
    return ot_has_suffix(text, ".yaml") || ot_has_suffix(text, ".yml") ||
           ot_has_suffix(text, ".json");
}

static bool parse(const char *text, double *number) {
    char *end;
    *number = strtod(text, &end);
    return end != text && !*end;
}

/* ---- budget ---- */

/* A line "glob: density" of a file. */
static int add_density(void *context, const char *key, const char *value, const char *where,
                       struct failure *f) {
    struct sparsity *p = context;
    const int i = p->options.n_densities;
    if (i == MAX_DENSITIES)
        return ot_refuse(f, EXIT_USAGE, "%s: more than %d lines", where, MAX_DENSITIES);
    if (!parse(value, &p->density[i].density))
        return ot_refuse(f, EXIT_USAGE, "%s: '%s' is not a number", where, value);
    p->glob[i] = ot_copy_text(key, f);
    if (!p->glob[i]) return f->code;
    p->density[i].glob = p->glob[i];
    p->options.n_densities++;
    return 0;
}

static int read_file(struct sparsity *p, const char *path, struct failure *f) {
    p->options.budget = OT_BUDGET_LIST;
    p->options.densities = p->density;
    const int code = ot_yaml_read(path, add_density, p, f);
    if (code || p->options.n_densities) return code;
    return ot_refuse(f, EXIT_USAGE, "budget: '%s' has no lines", path);
}

/* A name of a budget, the first n characters of text; -1: there is none of this name. */
static int find_budget(const char *text, size_t n) {
    static const char *const names[] = {[OT_BUDGET_GIVEN] = "given",
                                        [OT_BUDGET_UNIFORM] = "uniform",
                                        [OT_BUDGET_ERK] = "erk",
                                        [OT_BUDGET_ER] = "er",
                                        [OT_BUDGET_GLOBAL] = "global"};
    for (int i = OT_BUDGET_GIVEN; i <= OT_BUDGET_GLOBAL; i++)
        if (strlen(names[i]) == n && !strncmp(names[i], text, n)) return i;
    return -1;
}

/* "erk", "er:20", or a file. */
static int read_budget(struct sparsity *p, const char *text, struct failure *f) {
    if (is_file(text)) return read_file(p, text, f);
    const size_t n = strcspn(text, ":");
    const int budget = find_budget(text, n);
    if (budget < 0)
        return ot_refuse(f, EXIT_USAGE,
                         "budget: '%s' is none of given, uniform, erk, er:EPSILON, global, or a "
                         "YAML file",
                         text);
    p->options.budget = (ot_budget_kind)budget;
    if (budget == OT_BUDGET_ER && text[n] && parse(text + n + 1, &p->options.epsilon)) return 0;
    if (budget == OT_BUDGET_ER)
        return ot_refuse(f, EXIT_USAGE, "budget: '%s' is not er:EPSILON with a number", text);
    if (!text[n]) return 0;
    return ot_refuse(f, EXIT_USAGE, "budget: '%s' takes no number; density has it", text);
}

/* ---- density ---- */

/* "0.1", "erk:0.1", "er:20", or a file. */
static int read_density(struct sparsity *p, const char *text, bool has_budget, struct failure *f) {
    char name[16];
    const size_t n = strcspn(text, ":");
    if (!is_file(text) && !text[n]) {
        if (parse(text, &p->options.density)) return 0;
        return ot_refuse(f, EXIT_USAGE, "density: '%s' is not a number", text);
    }
    if (has_budget)
        return ot_refuse(f, EXIT_USAGE, "density=%s sets the budget, and budget is given, too",
                         text);
    if (is_file(text) || !strncmp(text, "er:", 3)) return read_budget(p, text, f);
    if (n >= sizeof name || !parse(text + n + 1, &p->options.density))
        return ot_refuse(f, EXIT_USAGE, "density: '%s' is neither a number nor BUDGET:NUMBER",
                         text);
    snprintf(name, sizeof name, "%.*s", (int)n, text);
    return read_budget(p, name, f);
}

static int read_amount(struct sparsity *p, const struct settings *s, struct failure *f) {
    const char *density = ot_text(s, OPTION_density), *budget = ot_text(s, OPTION_budget);
    const bool has_sparsity = ot_is_given(s, OPTION_target_sparsity);
    int code = 0;
    if (density && has_sparsity)
        return ot_refuse(f, EXIT_USAGE, "density and sparsity are both given");
    if (budget) code = read_budget(p, budget, f);
    if (!code && density) code = read_density(p, density, budget != NULL, f);
    if (code) return code;
    if (has_sparsity) p->options.density = 1 - ot_number(s, OPTION_target_sparsity, 0);
    const ot_budget_kind kind = p->options.budget;
    const bool says_all =
        kind == OT_BUDGET_ER || kind == OT_BUDGET_LIST || p->options.constraint == OT_CONSTRAIN_NM;
    const char *given = has_sparsity                       ? "sparsity"
                        : density && !strchr(density, ':') ? "density"
                                                           : NULL;
    if (says_all && given && !is_file(density ? density : ""))
        return ot_refuse(f, EXIT_USAGE, "%s is given, but %s=%s sets the density already", given,
                         p->options.constraint == OT_CONSTRAIN_NM ? "constraint" : "budget",
                         p->options.constraint == OT_CONSTRAIN_NM ? ot_text(s, OPTION_constraint)
                                                                  : budget);
    if (!says_all && (given || density) && !(p->options.density > 0 && p->options.density <= 1))
        return ot_refuse(f, EXIT_USAGE, "density is %g, not in (0, 1]", p->options.density);
    if (says_all || given || density || kind == OT_BUDGET_GIVEN) return 0;
    return ot_refuse(f, EXIT_USAGE, "no density=NUMBER or sparsity=NUMBER given");
}

/* ---- constraint ---- */

static int read_constraint(struct sparsity *p, const char *text, struct failure *f) {
    ot_sparsity_options *o = &p->options;
    char separator, rest;
    if (!strcmp(text, "free")) return 0;
    if (!strcmp(text, "fan_in")) {
        o->constraint = OT_CONSTRAIN_FAN_IN;
        return 0;
    }
    if (!strcmp(text, "channels")) {
        o->constraint = OT_CONSTRAIN_CHANNELS;
        return 0;
    }
    const bool is_block = !strncmp(text, "block:", 6);
    const char *numbers = is_block ? text + 6 : text + 3;
    if ((is_block || !strncmp(text, "nm:", 3)) &&
        sscanf(numbers, "%9d%c%9d%c", &o->group[0], &separator, &o->group[1], &rest) == 3 &&
        separator == (is_block ? 'x' : ':')) {
        o->constraint = is_block ? OT_CONSTRAIN_BLOCK : OT_CONSTRAIN_NM;
        return 0;
    }
    return ot_refuse(f, EXIT_USAGE,
                     "constraint: '%s' is none of free, fan_in, nm:N:M, block:RxC and channels",
                     text);
}

int ot_sparsity_open(struct sparsity *p, const struct settings *s, struct failure *f) {
    memset(p, 0, sizeof *p);
    p->options.size = sizeof p->options;
    p->options.layers = ot_text(s, OPTION_layers);
    p->options.seed = (uint64_t)ot_integer(s, OPTION_seed, 0);
    const int code = read_constraint(p, ot_text(s, OPTION_constraint), f);
    return code ? code : read_amount(p, s, f);
}

void ot_sparsity_close(struct sparsity *p) {
    for (int i = 0; i < MAX_DENSITIES; i++) free(p->glob[i]);
}

/* ---- the result ---- */

static double percent(int64_t part, int64_t whole) {
    return whole ? 100 * (double)part / (double)whole : 0;
}

static void print_line(const char *name, int64_t nonzeros, int64_t elements) {
    printf("%-30s %12" PRId64 " of %12" PRId64 "  %6.2f %%\n", name, nonzeros, elements,
           percent(nonzeros, elements));
}

int ot_sparsity_print(const struct model *m, struct failure *f) {
    int64_t nonzeros = 0, elements = 0;
    for (int i = 0; i < ot_parameter_count(m->session); i++) {
        ot_parameter_info info;
        ot_error err = {0};
        if (ot_get_parameter(m->session, i, &info, &err))
            return ot_refuse_status(f, EXIT_MODEL, &err);
        if (info.rank < 2) continue;
        print_line(info.name, info.nonzeros, info.elements);
        nonzeros += info.nonzeros;
        elements += info.elements;
    }
    print_line("all matrices", nonzeros, elements);
    return 0;
}
