/* share.c - adds up a profile by phase and by operator. */
#include "tools/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const ot_phase_names[PHASES] = {"forward", "loss",     "backward", "weight_gradient",
                                            "collect", "reorders", "optimizer"};

/* The library's words for what a step does. Reorders are known by their operator. */
static const struct {
    const char *what;
    enum phase phase;
} phases[] = {{"forward", PHASE_FORWARD},   {"loss", PHASE_LOSS},
              {"backward", PHASE_BACKWARD}, {"backward weight", PHASE_WEIGHT},
              {"add", PHASE_COLLECT},       {"zero", PHASE_COLLECT},
              {"collect", PHASE_COLLECT},   {"optimizer", PHASE_OPTIMIZER}};

static enum phase phase_of(const ot_profile_step *step) {
    if (strcmp(step->op, "Reorder") == 0 || strcmp(step->op, "Densify") == 0) return PHASE_REORDERS;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        if (strcmp(step->what, phases[i].what) == 0) return phases[i].phase;
    return PHASE_BACKWARD;
}

/* The share of this name; where there is no room, the last one takes the rest. */
static struct share *find_op(struct shares *s, const char *name) {
    const int most = sizeof s->op / sizeof *s->op;
    int i = 0;
    while (i < s->n_ops && strcmp(s->op[i].name, name)) i++;
    if (i == most) return &s->op[most - 1];
    if (i == s->n_ops) {
        snprintf(s->op[i].name, sizeof s->op[i].name, "%s", i == most - 1 ? "other" : name);
        s->n_ops++;
    }
    return &s->op[i];
}

void ot_shares_add(void *context, const ot_profile_step *step) {
    struct shares *s = context;
    const enum phase phase = phase_of(step);
    const bool is_node = phase != PHASE_LOSS && phase != PHASE_COLLECT && phase != PHASE_OPTIMIZER;
    struct share *to[] = {&s->phase[phase], find_op(s, is_node ? step->op : step->what), &s->all};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++) {
        to[i]->seconds += step->seconds;
        to[i]->flops += step->flops * (double)step->calls;
        to[i]->bytes += step->bytes * (double)step->calls;
    }
}

static int longer(const void *a, const void *b) {
    const struct share *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

void ot_shares_sort(struct shares *s) { qsort(s->op, (size_t)s->n_ops, sizeof *s->op, longer); }
