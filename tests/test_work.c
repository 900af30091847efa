/* test_work.c - several nodes with one plan: no run changes what prepare has made, nor what another
 * node has.
 *
 * For each case of each operator, in rows and in lanes, with and without patterns: a node is
 * prepared, in memory that is read-only from then on, and never run. Its tensors become garbage.
 * Two copies of it, with tensors, work memory and pools of their own (one of fewer threads), and
 * with different inputs and weights, run in turns, then in two threads, and come to the bits that
 * each comes to alone.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ops/kernels/kernels.h"
#include "tests/cases.h"

enum { COPIES = 2, ROUNDS = 2, BLOCKS = 4096, GARBAGE = 0xa5 };

struct report {
    long checks, failures;
};

/* Of one copy: what it runs on, and what it comes to alone. */
struct side {
    struct pool *pool;
    void *x[CASE_TENSORS], *dy[CASE_TENSORS];
    struct case_run run;
    void *y[CASE_TENSORS], *dx[CASE_TENSORS];
    bool same;
};

struct trial {
    struct op_case c;
    struct report *report;
    struct side side[COPIES];
    bool backward;
};

/* For the signal handler, which can say which case it was. */
static const char *volatile current;

static bool check(struct trial *t, bool ok, const char *what) {
    t->report->checks++;
    if (ok) return true;
    t->report->failures++;
    printf("%s: %s\n    %s\n", t->c.op->name, t->c.text, what);
    return false;
}

/* ---- memory of plans ---- */

/* Whole pages, so that they can be protected. */
struct plan_memory {
    struct {
        void *at;
        size_t bytes;
    } block[BLOCKS];
    int blocks;
};

static void *take_pages(void *context, size_t size, size_t align) {
    struct plan_memory *m = context;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size + page - 1) / page * page;
    if (m->blocks == BLOCKS || align > page) return NULL;
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return NULL;
    m->block[m->blocks].at = at;
    m->block[m->blocks++].bytes = bytes;
    return at;
}

static void give_pages(void *context, void *at) {
    struct plan_memory *m = context;
    for (int i = 0; i < m->blocks; i++)
        if (m->block[i].at == at) {
            munmap(at, m->block[i].bytes);
            m->block[i] = m->block[--m->blocks];
            return;
        }
}

static bool protect(const struct plan_memory *m, int how) {
    bool ok = true;
    for (int i = 0; i < m->blocks; i++)
        ok = !mprotect(m->block[i].at, m->block[i].bytes, how) && ok;
    return ok;
}

static void on_fault(int signal) {
    static const char why[] = "\n    changes its plan, or reads tensors of another node\n";
    const char *text = current;
    (void)signal;
    if (write(STDOUT_FILENO, text, strlen(text)) < 0 ||
        write(STDOUT_FILENO, why, sizeof why - 1) < 0)
        _exit(3);
    _exit(1);
}

/* ---- runs ---- */

/* What a node has come to, as it stands in memory. Spare lanes may hold anything. */
static void *snapshot(struct case_run *r, const struct tensor *t, struct arena *arena) {
    void *rows = t ? ot_case_rows(r, t) : NULL;
    if (!rows) return NULL;
    const size_t bytes = (size_t)ot_elements(t) * ot_type_size(t->type);
    void *copy = ot_arena_alloc(arena, bytes, 1);
    if (copy && bytes) memcpy(copy, rows, bytes);
    return copy;
}

static bool is_same(struct case_run *r, const struct tensor *t, const void *expected) {
    if (!t) return true;
    const void *rows = ot_case_rows(r, t);
    const size_t bytes = (size_t)ot_elements(t) * ot_type_size(t->type);
    return rows && expected && !memcmp(rows, expected, bytes);
}

static void forward(struct side *s) { ot_case_forward(&s->run, s->x); }

static void check_outputs(struct side *s) {
    for (int i = 0; i < s->run.c->n_out; i++)
        s->same = is_same(&s->run, s->run.y[i], s->y[i]) && s->same;
    s->same = ot_case_again(&s->run) && s->same;
}

static void backward(struct side *s) {
    ot_case_backward(&s->run, s->dy);
    for (int i = 0; i < s->run.c->n_in; i++)
        s->same = is_same(&s->run, s->run.dx[i], s->dx[i]) && s->same;
}

/* A run of a node that nobody shares a plan with. false: it declines the layout, or fails. */
static bool run_alone(struct trial *t, struct case_config config, struct side *s) {
    bool declined;
    ot_error err = {0};
    config.pool = s->pool;
    if (ot_case_open(&s->run, &t->c, config, s->x, &declined, &err))
        return check(t, false, err.message);
    if (declined) return false;
    forward(s);
    for (int i = 0; i < t->c.n_out; i++) s->y[i] = snapshot(&s->run, s->run.y[i], &t->c.arena);
    if (t->backward) {
        ot_case_backward(&s->run, s->dy);
        for (int i = 0; i < t->c.n_in; i++) s->dx[i] = snapshot(&s->run, s->run.dx[i], &t->c.arena);
    }
    ot_case_close(&s->run);
    return true;
}

static void *run_thread(void *arg) {
    struct side *s = arg;
    for (int i = 0; i < ROUNDS; i++) {
        forward(s);
        check_outputs(s);
        if (s->run.config.want) backward(s);
    }
    return NULL;
}

static void run_in_turns(struct trial *t) {
    for (int i = 0; i < COPIES; i++) forward(&t->side[i]);
    for (int i = 0; i < COPIES; i++) check_outputs(&t->side[i]);
    for (int i = 0; i < COPIES && t->backward; i++) backward(&t->side[i]);
}

static void run_at_once(struct trial *t) {
    pthread_t thread[COPIES];
    int started = 0;
    while (started < COPIES &&
           !pthread_create(&thread[started], NULL, run_thread, &t->side[started]))
        started++;
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    check(t, started == COPIES, "no thread");
}

static void check_same(struct trial *t, const char *what) {
    for (int i = 0; i < COPIES; i++) {
        check(t, t->side[i].same, what);
        t->side[i].same = true;
    }
}

/* ---- the node that is prepared ---- */

/* Its tensors become garbage, and so does itself. */
struct hidden {
    struct tensor x[CASE_TENSORS], y[CASE_TENSORS];
    struct op_node n;
};

static void hide(struct case_run *r, struct hidden *h) {
    for (int i = 0; i < CASE_TENSORS; i++) {
        struct tensor *const pair[] = {r->x[i], r->y[i]};
        struct tensor *const kept[] = {&h->x[i], &h->y[i]};
        for (int k = 0; k < 2; k++) {
            if (!pair[k]) continue;
            *kept[k] = *pair[k];
            memset(pair[k], GARBAGE, sizeof *pair[k]);
        }
    }
    h->n = r->n;
    memset(&r->n, GARBAGE, sizeof r->n);
}

static void restore(struct case_run *r, const struct hidden *h) {
    for (int i = 0; i < CASE_TENSORS; i++) {
        if (r->x[i]) *r->x[i] = h->x[i];
        if (r->y[i]) *r->y[i] = h->y[i];
    }
    r->n = h->n;
}

static void run_copies(struct trial *t, struct case_run *owner, const struct plan_memory *m) {
    ot_error err = {0};
    struct hidden hidden;
    int made = 0;
    while (made < COPIES && !ot_case_copy(owner, t->side[made].pool, &t->side[made].run, &err))
        t->side[made++].same = true;
    if (check(t, made == COPIES, err.message) &&
        check(t, protect(m, PROT_READ), "memory cannot be protected")) {
        hide(owner, &hidden);
        run_in_turns(t);
        check_same(t, "run in turns, two nodes with one plan differ from one alone");
        run_at_once(t);
        check_same(t, "run at once, two nodes with one plan differ from one alone");
        restore(owner, &hidden);
        protect(m, PROT_READ | PROT_WRITE);
    }
    for (int i = 0; i < made; i++) ot_case_close(&t->side[i].run);
}

static void check_layout(struct trial *t, struct case_config config) {
    static struct plan_memory memory;
    const ot_allocator pages = {take_pages, give_pages, &memory};
    struct case_run owner;
    bool declined;
    ot_error err = {0};
    for (int i = 0; i < COPIES; i++)
        if (!run_alone(t, config, &t->side[i])) return;
    config.pool = t->side[0].pool;
    config.plan_memory = &pages;
    if (!check(t, !ot_case_open(&owner, &t->c, config, t->side[0].x, &declined, &err), err.message))
        return;
    run_copies(t, &owner, &memory);
    ot_case_close(&owner);
}

/* ---- cases ---- */

/* Other values than the first side's, but for constants and integers. */
static bool draw_second(struct trial *t) {
    for (int i = 0; i < t->c.n_in; i++) {
        const struct case_tensor *in = &t->c.in[i];
        int64_t n;
        void *first = t->side[0].x[i];
        t->side[1].x[i] = first;
        if (in->absent || in->role == OT_ROLE_CONST || in->type != OT_FLOAT) continue;
        if (!ot_shape_count(in->dim, in->rank, 1 << 24, &n)) return false;
        float *x = t->side[1].x[i] = ot_arena_alloc(&t->c.arena, (size_t)n, sizeof *x);
        if (!x) return false;
        for (int64_t k = 0; k < n; k++) x[k] = 0.75f * ((const float *)first)[k];
    }
    return true;
}

/* Which gradients there are, and those of the outputs. false: the case is refused. */
static bool draw_gradients(struct trial *t, struct case_config *config) {
    struct case_run r;
    bool declined;
    if (ot_case_open(&r, &t->c, *config, t->side[0].x, &declined, NULL)) return false;
    for (int i = 0; !declined && i < t->c.n_out; i++) {
        if (!r.dy[i]) continue;
        const int64_t n = ot_elements(r.y[i]);
        for (int s = 0; s < COPIES; s++) {
            float *dy = t->side[s].dy[i] = ot_arena_alloc(&t->c.arena, (size_t)n, sizeof *dy);
            for (int64_t k = 0; dy && k < n; k++)
                dy[k] = (float)(2 * ot_case_random(600 + (uint64_t)s, (uint64_t)k) - 1);
        }
        t->backward |= t->c.op->backward || t->c.op->view;
    }
    for (int i = 0; t->backward && i < t->c.n_in; i++) {
        const struct case_tensor *x = &t->c.in[i];
        const bool fixed = x->absent || x->role == OT_ROLE_CONST || x->type != OT_FLOAT;
        if (!fixed && !(t->c.op->statistics >> i & 1)) config->want |= 1u << i;
    }
    t->backward = config->want != 0;
    if (!declined) ot_case_close(&r);
    return !declined;
}

/* Rows and lanes, dense weights and patterns in all forms. */
static void check_layouts(struct trial *t, struct case_config first) {
    int rank = 0;
    bool sparse = false;
    for (int i = 0; i < t->c.n_in; i++) {
        const struct case_tensor *x = &t->c.in[i];
        sparse = sparse || x->sparse;
        if (!x->absent && x->role == OT_ROLE_ACTIVATION && x->rank > rank) rank = x->rank;
    }
    for (int form = 0; form < (sparse ? 1 + OT_FORMS : 1); form++)
        for (int lane_rank = 0; lane_rank <= rank; lane_rank++) {
            struct case_config config = first;
            config.lane_rank = lane_rank;
            config.lanes = lane_rank ? 16 : 0;
            config.patterns = form > 0;
            config.form = form ? (enum ot_form)(form - 1) : OT_FORM_SPARSE;
            check_layout(t, config);
        }
}

static void check_case(const struct op *op, const char *text, struct pool *const *pool,
                       struct report *report) {
    struct trial t = {.report = report};
    ot_error err = {0};
    for (int i = 0; i < COPIES; i++) t.side[i].pool = pool[i];
    current = text;
    int last = 0;
    while (ot_kernels_at(last + 1)) last++;
    struct case_config config = {.kernels = ot_kernels_at(last), .pool = pool[0]};
    const bool parsed = !ot_case_parse(&t.c, op, text, &err);
    if (check(&t, parsed && !ot_case_draw(&t.c, t.side[0].x, &err), err.message) && !t.c.error &&
        draw_second(&t) && draw_gradients(&t, &config))
        check_layouts(&t, config);
    ot_arena_free(&t.c.arena);
}

int main(int argc, char **argv) {
    struct report report = {0};
    struct pool *pool[COPIES] = {NULL};
    bool ready;
    ot_error err = {0};
    struct sigaction action = {.sa_handler = on_fault};
    setvbuf(stdout, NULL, _IOLBF, 0);
    ready = !sigaction(SIGSEGV, &action, NULL);
    for (int i = 0; i < COPIES; i++)
        ready = ready && !ot_pool_new(NULL, COPIES - i, NULL, NULL, &pool[i], &err);
    for (int i = 0; ready && ot_op_at(i); i++) {
        const struct op *op = ot_op_at(i);
        if (argc > 1 && strcmp(argv[1], op->name)) continue;
        for (int k = 0; op->cases && op->cases[k]; k++) check_case(op, op->cases[k], pool, &report);
    }
    for (int i = 0; i < COPIES; i++) ot_pool_free(pool[i]);
    if (!ready) printf("%s\n", err.message);
    printf("%ld checks, %ld failures\n", report.checks, report.failures);
    return report.failures || !ready || !report.checks;
}
