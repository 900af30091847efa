/* test_context.c - many contexts in many threads on one plan and one set of weights, while another
 * thread publishes new ones: each run gives the bits that one session gives with its weights. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "tests/networks.h"

enum { READERS = 4, RUNS = 40, VERSIONS = 3, SAMPLES = 20 };

/* What all threads share. */
struct served {
    struct fixture f; /* opens the model, and tells what is right */
    struct plan *plan;
    pthread_mutex_t lock; /* of the pointer, not of what it leads to */
    struct weights *published;
    float right[VERSIONS][SAMPLES * CLASSES];
    atomic_int readers; /* that are not done */
};

struct server_thread {
    struct served *shared;
    int workers, wrong, seen[VERSIONS];
    ot_error err;
};

/* Version k of the model's weights: all of them a little smaller. */
static struct weights *version(const struct weights *first, int k) {
    struct weights *w = ot_weights_copy(first);
    assert_non_null(w);
    for (size_t i = 0; i < w->floats; i++) w->value[i] *= 1 - (float)k / 8;
    w->number = (uint64_t)k;
    return w;
}

static struct weights *acquire(struct served *s) {
    pthread_mutex_lock(&s->lock);
    struct weights *w = ot_weights_ref(s->published);
    pthread_mutex_unlock(&s->lock);
    return w;
}

static void publish(struct served *s, struct weights *w) {
    pthread_mutex_lock(&s->lock);
    struct weights *old = s->published;
    s->published = w;
    pthread_mutex_unlock(&s->lock);
    ot_weights_unref(old);
}

static ot_status run(struct context *c, struct bound *b, struct served *s, ot_tensor *y,
                     ot_error *err) {
    ot_weights_unref(c->weights);
    c->weights = acquire(s);
    OT_TRY(ot_bound_check(b, &s->f.in, err));
    OT_TRY(ot_bound_run(b, &s->f.in, &(struct loss_io){0}, err));
    ot_bound_results(b, y, 1);
    return OT_OK;
}

static void *read_on(void *arg) {
    struct server_thread *r = arg;
    struct served *s = r->shared;
    struct context c = {.allocator = s->f.s->allocator};
    struct bound *b = NULL;
    ot_tensor y;
    ot_status status = ot_pool_new(&c.allocator, r->workers, NULL, NULL, &c.pool, &r->err);
    if (!status) status = ot_context_set_block(&c, s->plan->block_bytes, &r->err);
    if (!status) status = ot_bind(&c, s->plan, &b, &r->err);
    for (int i = 0; i < RUNS && !status; i++) {
        status = run(&c, b, s, &y, &r->err);
        if (status) break;
        const uint64_t k = c.weights->number;
        r->wrong += memcmp(y.data, s->right[k], sizeof s->right[k]) != 0;
        r->seen[k]++;
    }
    ot_context_free(&c);
    ot_pool_free(c.pool);
    atomic_fetch_sub(&s->readers, 1);
    return NULL;
}

static void *write_on(void *arg) {
    struct served *s = arg;
    for (int k = 1; atomic_load(&s->readers) > 0; k = (k + 1) % VERSIONS)
        publish(s, version(s->f.s->context.weights, k));
    return NULL;
}

/* What the session itself computes with version k. */
static void find_right(struct served *s, int k) {
    struct context *c = &s->f.s->context;
    struct weights *own = c->weights;
    ot_tensor y;
    c->weights = version(own, k);
    assert_int_equal(ot_run(s->f.s, &s->f.in, 1, &y, 1, NULL), OT_OK);
    memcpy(s->right[k], y.data, sizeof s->right[k]);
    ot_weights_unref(c->weights);
    c->weights = own;
}

static void serve(make_fn *make) {
    static struct served s;
    struct server_thread reader[READERS];
    pthread_t thread[READERS], writer;
    const ot_options o = {.threads = 2};
    memset(&s, 0, sizeof s);
    fixture_open(&s.f, make, &o);
    s.f.in.dim[0] = SAMPLES;
    for (int k = 0; k < VERSIONS; k++) find_right(&s, k);
    s.plan = ot_plan_ref(s.f.s->plan);
    s.published = version(s.f.s->context.weights, 0);
    assert_int_equal(pthread_mutex_init(&s.lock, NULL), 0);
    atomic_init(&s.readers, READERS);
    for (int i = 0; i < READERS; i++) {
        reader[i] = (struct server_thread){.shared = &s, .workers = 1 + i % 2};
        assert_int_equal(pthread_create(&thread[i], NULL, read_on, &reader[i]), 0);
    }
    assert_int_equal(pthread_create(&writer, NULL, write_on, &s), 0);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(pthread_join(writer, NULL), 0);
    for (int i = 0; i < READERS; i++) {
        if (reader[i].err.status) fail_msg("%s", reader[i].err.message);
        assert_int_equal(reader[i].wrong, 0);
        assert_int_equal(reader[i].seen[0] + reader[i].seen[1] + reader[i].seen[2], RUNS);
    }
    ot_weights_unref(s.published);
    pthread_mutex_destroy(&s.lock);
    ot_plan_unref(s.plan);
    ot_close(s.f.s);
}

static void readers_share_a_plan_and_weights(void **state) {
    (void)state;
    serve(network_mlp);
    serve(network_cnn);
}

/* A further context takes its lists, what operators change, and its block: no weights. */
static void a_context_copies_no_weights(void **state) {
    (void)state;
    struct fixture f;
    const ot_options o = {.threads = 1};
    fixture_open(&f, network_cnn, &o);
    ot_tensor y;
    assert_int_equal(ot_run(f.s, &f.in, 1, &y, 1, NULL), OT_OK);
    const struct plan *p = f.s->plan;
    const struct bound *b = f.s->last;
    for (int i = 0; i < p->n_entries; i++) {
        const struct entry *e = &b->entry[i];
        if (e->parameter < 0) continue;
        assert_ptr_equal(e->t.data,
                         ot_weights_at(f.s->context.weights, &f.s->model->parameter[e->parameter]));
        assert_null(p->entries[i]->t.data);
    }
    ot_close(f.s);
}

/* Scratch memory is for as many workers as the plan was made for. */
static void more_workers_are_refused(void **state) {
    (void)state;
    struct fixture f;
    struct bound *b = NULL;
    ot_error err = {OT_OK, ""};
    ot_tensor y;
    const ot_options o = {.threads = 1};
    fixture_open(&f, network_mlp, &o);
    assert_int_equal(ot_run(f.s, &f.in, 1, &y, 1, NULL), OT_OK);
    struct context c = {.allocator = f.s->allocator};
    assert_int_equal(ot_pool_new(&c.allocator, 2, NULL, NULL, &c.pool, NULL), OT_OK);
    assert_int_equal(ot_bind(&c, f.s->plan, &b, &err), OT_ERROR_ARGUMENT);
    assert_null(b);
    ot_pool_free(c.pool);
    ot_close(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_share_a_plan_and_weights),
        cmocka_unit_test(a_context_copies_no_weights),
        cmocka_unit_test(more_workers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
