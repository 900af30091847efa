/* net.c - networks as text: built, trained, compared. */
#include "tests/net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "tests/model.h"

enum { BATCH = NET_BATCH, TOKENS = NET_TOKENS, WIDTH = NET_WIDTH, MOST = NET_MOST, TEXT = 4096 };

/* ---- models ---- */

static void add_weight(struct test_model *m, const char *text, uint64_t stream) {
    static float v[MOST];
    static int64_t ints[8];
    int64_t dim[8];
    char name[16];
    const size_t length = strcspn(text, ":=#@");
    int rank = 0, n = 1;
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    if (text[length] == '=') {
        v[0] = strtof(text + length + 1, NULL);
        model_floats(m, name, 0, NULL, v);
        return;
    }
    if (text[length] == '@') {
        model_integer(m, name, strtoll(text + length + 1, NULL, 10));
        return;
    }
    for (const char *s = text + length; *s; s += strcspn(s, ","), rank++)
        dim[rank] = ints[rank] = strtoll(++s, NULL, 10);
    if (text[length] == '#') {
        model_ints(m, name, rank, ints);
        return;
    }
    for (int i = 0; i < rank; i++) n *= (int)dim[i];
    for (int i = 0; i < n; i++)
        v[i] = rank > 1 && ot_random_u32(5, stream, (uint64_t)i) % 2
                   ? 0
                   : 0.5f * ot_random_normal(6, stream, (uint64_t)i);
    model_floats(m, name, rank, dim, v);
}

static void add_node(struct test_model *m, char *line) {
    char *attributes = strchr(line, ';'), *out = strchr(line, '>'), *in = strchr(line, ' ');
    if (attributes) *attributes++ = 0;
    *in++ = *out++ = 0;
    out += strspn(out, " ");
    out[strlen(out) - (out[strlen(out) - 1] == ' ')] = 0;
    in[strlen(in) - (in[strlen(in) - 1] == ' ')] = 0;
    model_node(m, line, in, out, attributes);
}

/* more: a value that is an output, too; NULL: none. */
static unsigned char *build(const struct net *net, const char *more, size_t *size) {
    struct test_model m;
    char text[TEXT], *rest = NULL;
    uint64_t stream = 0;
    model_begin(&m, net->opset);
    model_input(&m, "x", OT_FLOAT, 3, (const int64_t[]){-1, TOKENS, WIDTH});
    snprintf(text, sizeof text, "%s", net->weights);
    for (char *s = strtok_r(text, " ", &rest); s; s = strtok_r(NULL, " ", &rest))
        add_weight(&m, s, stream++);
    snprintf(text, sizeof text, "%s", net->nodes);
    for (char *s = strtok_r(text, "\n", &rest); s; s = strtok_r(NULL, "\n", &rest)) add_node(&m, s);
    model_output(&m, "y", OT_FLOAT, -1, NULL);
    if (more) model_output(&m, more, OT_FLOAT, -1, NULL);
    return model_finish(&m, size);
}

/* ---- runs ---- */

static void must(const struct net *net, ot_status status, const ot_error *err) {
    if (status) fail_msg("%s: %s", net->nodes, err->message);
}

static void count_step(void *context, const ot_profile_step *step) {
    struct net_run *r = ((void **)context)[0];
    const struct net *net = ((void **)context)[1];
    r->count += !strcmp(step->what, "forward") && !strcmp(step->op, net->fused);
}

static void read_gradients(const struct net *net, struct net_run *r) {
    ot_error err = {0};
    r->parameters = ot_parameter_count(r->s);
    for (int i = 0; i < r->parameters; i++) {
        ot_parameter_info info;
        must(net, ot_get_parameter(r->s, i, &info, &err), &err);
        r->n[i] = info.is_trainable ? info.elements : 0;
        if (info.is_trainable) must(net, ot_get_gradient(r->s, i, r->gradient[i], &err), &err);
    }
}

void net_train(const struct net *net, bool apart, ot_options options, struct net_run *r) {
    static float x[BATCH * TOKENS * WIDTH], target[MOST];
    ot_error err;
    ot_result result;
    size_t size;
    unsigned char *file = build(net, NULL, &size);
    options.apart = apart;
    memset(r, 0, sizeof *r);
    must(net, ot_open_buffer(file, size, &options, &r->s, &err), &err);
    free(file);
    for (int i = 0; i < BATCH * TOKENS * WIDTH; i++) x[i] = ot_random_normal(9, 0, (uint64_t)i);
    const ot_tensor in = {OT_FLOAT, 3, {BATCH, TOKENS, WIDTH}, x};
    must(net, ot_set_loss(r->s, &(ot_loss_options){.kind = OT_LOSS_MSE}, &err), &err);
    must(net, ot_set_optimizer(r->s, &(ot_optimizer_options){.lr = 0.1f}, &err), &err);
    ot_tensor t;
    must(net, ot_run(r->s, &in, 1, &t, 1, &err), &err);
    r->elements = 1;
    for (int i = 0; i < t.rank; i++) r->elements *= t.dim[i];
    memcpy(r->y, t.data, (size_t)r->elements * sizeof *r->y);
    t.data = target; /* zeros: the gradient is y but for a factor */
    must(net, ot_train_step(r->s, &in, 1, &t, &result, &err), &err);
    r->loss = result.loss;
    read_gradients(net, r);
    must(net, ot_get_profile(r->s, count_step, (void *[]){r, (void *)(uintptr_t)net}, &err), &err);
}

/* ---- checks ---- */

static void compare(const struct net *net, const char *what, const float *a, const float *b,
                    int64_t n, double tolerance) {
    double most = 1e-2; /* less is zero but for rounding */
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(b[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - b[i]) <= tolerance * most))
            fail_msg("%s: %s %d is %.9g, apart %.9g", net->nodes, what, (int)i, a[i], b[i]);
}

void net_same(const struct net *net, const struct net_run *a, const struct net_run *b) {
    compare(net, "y", a->y, b->y, b->elements, 1e-5);
    for (int i = 0; i < b->parameters; i++)
        compare(net, "gradient", a->gradient[i], b->gradient[i], b->n[i], 1e-5);
}

void net_check_apart(const struct net *nets, size_t n) {
    static struct net_run apart, fused;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; ot_isa_name(k / 2); k++) {
            const ot_options o = {.threads = 1,
                                  .isa = ot_isa_name(k / 2),
                                  .sparse = k % 2 ? OT_SPARSE_ALWAYS : OT_SPARSE_NEVER};
            net_train(&nets[i], true, o, &apart);
            if (apart.count) fail_msg("%s: apart, %d times", nets[i].nodes, apart.count);
            net_train(&nets[i], false, o, &fused);
            if (fused.count != nets[i].count)
                fail_msg("%s: %d times %s", nets[i].nodes, fused.count, nets[i].fused);
            net_same(&nets[i], &fused, &apart);
            ot_close(apart.s);
            ot_close(fused.s);
        }
}

/* Outputs y and `more`, and the gradients of half the sum of their squares. False: `more` has no
 * gradient. */
static bool differentiate(const struct net *net, bool apart, const char *more, struct net_run *r) {
    static float x[BATCH * TOKENS * WIDTH];
    ot_error err;
    ot_tensor t[2];
    size_t size;
    unsigned char *file = build(net, more, &size);
    memset(r, 0, sizeof *r);
    const ot_options options = {.threads = 1, .sparse = OT_SPARSE_NEVER, .apart = apart};
    must(net, ot_open_buffer(file, size, &options, &r->s, &err), &err);
    free(file);
    for (int i = 0; i < BATCH * TOKENS * WIDTH; i++) x[i] = ot_random_normal(9, 0, (uint64_t)i);
    const ot_tensor in = {OT_FLOAT, 3, {BATCH, TOKENS, WIDTH}, x};
    must(net, ot_forward(r->s, &in, 1, t, 2, &err), &err);
    if (t[1].type != OT_FLOAT) {
        ot_close(r->s);
        return false;
    }
    for (int k = 0; k < 2; k++) {
        int64_t n = 1;
        for (int i = 0; i < t[k].rank; i++) n *= t[k].dim[i];
        assert_true(r->elements + n <= MOST);
        memcpy(r->y + r->elements, t[k].data, (size_t)n * sizeof *r->y);
        t[k].data = r->y + r->elements;
        r->elements += n;
    }
    must(net, ot_backward(r->s, t, 2, &err), &err);
    read_gradients(net, r);
    return true;
}

/* What a fused operator does not make, and the graph gives out. */
void net_check_outputs(const struct net *nets, size_t n) {
    static struct net_run apart, fused;
    for (size_t i = 0; i < n; i++) {
        char text[TEXT], *rest = NULL;
        snprintf(text, sizeof text, "%s", nets[i].nodes);
        for (char *s = strtok_r(text, "\n", &rest); s; s = strtok_r(NULL, "\n", &rest)) {
            char *name = strchr(s, '>') + 2;
            name[strcspn(name, " \n;")] = 0;
            if (!strcmp(name, "y")) continue;
            if (!differentiate(&nets[i], true, name, &apart)) continue;
            assert_true(differentiate(&nets[i], false, name, &fused));
            net_same(&nets[i], &fused, &apart);
            ot_close(apart.s);
            ot_close(fused.s);
        }
    }
}

void net_check_threads(const struct net *nets, size_t n) {
    static struct net_run one, more;
    for (size_t i = 0; i < n; i++)
        for (int sparse = OT_SPARSE_ALWAYS; sparse <= OT_SPARSE_LIVE; sparse++) {
            net_train(&nets[i], false, (ot_options){.threads = 1, .sparse = sparse}, &one);
            net_train(&nets[i], false, (ot_options){.threads = 3, .sparse = sparse}, &more);
            if (memcmp(one.y, more.y, sizeof one.y) ||
                memcmp(one.gradient, more.gradient, sizeof one.gradient))
                fail_msg("%s: not the same with three threads", nets[i].nodes);
            ot_close(one.s);
            ot_close(more.s);
        }
}
