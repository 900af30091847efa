/* test_fuse.c - nodes that run as one operator: the same numbers as apart, where an Identity behind
 * every node keeps them so. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/onnxtrain.h"
#include "tests/model.h"

enum { BATCH = 3, TOKENS = 5, WIDTH = 8, MOST = 4096, PARAMETERS = 16, TEXT = 2048 };

/* A network from x [BATCH,TOKENS,WIDTH] to y. weights: "name:2,3 name:4", random, about half of
 * those of more than one dimension zero; "name=0.5" a constant of one element; "name#0,2" integers.
 * nodes: "Op inputs > outputs ; attributes", one a line. */
struct net {
    const char *fused; /* the operator that is expected in the plan; NULL: none */
    int count;
    int opset;
    const char *weights, *nodes;
};

#define ATTENTION_WEIGHTS \
    "p:8,8 b:8 q:8,8 r:8,8 o:8,8 split#0,5,2,4 join#0,5,8 one#0,1,1,5 s=0.6 d=2 "
#define HEADS                                                                               \
    "MatMul x p > t1\nAdd t1 b > t2\nReshape t2 split > t3\nMatMul x q > u1\n"              \
    "Reshape u1 split > u2\nMatMul x r > v1\nReshape v1 split > v2\n"                      \
    "Transpose v2 > v3 ; perm=0,2,1,3\n"
#define HEADS_TURNED                                                                        \
    HEADS "Transpose t3 > t4 ; perm=0,2,1,3\nTranspose u2 > u3 ; perm=0,2,3,1\n"
#define JOIN                                                                                \
    "MatMul a v3 > y1\nTranspose y1 > y2 ; perm=0,2,1,3\nReshape y2 join > y3\n"            \
    "MatMul y3 o > y\n"

#define FORWARD(nodes) "MatMul x w > u\nAdd u b > v\n" nodes "MatMul t o > y\n"
#define FORWARD_WEIGHTS "w:8,6 b:6 o:6,4 half=0.5 root=1.4142135 inverse=0.70710677 one=1 three=3 "
#define ERF "Div v root > e1\nErf e1 > e2\nAdd e2 one > e3\n"
#define BENT "Mul c k > e1\nAdd v e1 > e2\nMul r e2 > e3\nTanh e3 > e4\nAdd e4 one > e5\n"
#define NORM_WEIGHTS FORWARD_WEIGHTS "g:6 h:6 epsilon=0.00001 two=2 "
#define DEVIATION(s)                                                                        \
    "ReduceMean v > n1 ; axes=-1,\nSub v n1 > d\n" s "ReduceMean q > n2 ; axes=-1,\n"      \
    "Add n2 epsilon > n3\nSqrt n3 > n4\nDiv d n4 > n5\n"

static const struct net nets[] = {
    {"Gelu", 1, 13, FORWARD_WEIGHTS, FORWARD(ERF "Mul v e3 > e4\nMul e4 half > t\n")},
    {"Gelu", 1, 13, FORWARD_WEIGHTS, FORWARD(ERF "Mul half v > e4\nMul e3 e4 > t\n")},
    {"Gelu", 1, 13, FORWARD_WEIGHTS, FORWARD(ERF "Mul e3 half > e4\nMul v e4 > t\n")},
    {"Gelu", 1, 13, FORWARD_WEIGHTS,
     FORWARD("Mul inverse v > e1\nErf e1 > e2\nAdd one e2 > e3\nMul e3 v > e4\nMul half e4 > t\n")},
    {"Gelu", 1, 13, FORWARD_WEIGHTS "k=0.044715 r=0.7978845",
     FORWARD("Pow v three > c\n" BENT "Mul v half > e6\nMul e6 e5 > t\n")},
    {"Gelu", 1, 13, FORWARD_WEIGHTS "k=0.044715 r=0.7978845",
     FORWARD("Mul v v > c1\nMul v c1 > c\n" BENT "Mul v e5 > e6\nMul e6 half > t\n")},
    /* another constant, and a sum that somebody else reads */
    {"Gelu", 0, 13, FORWARD_WEIGHTS, FORWARD(ERF "Mul v e3 > e4\nMul e4 three > t\n")},
    {"Gelu", 0, 13, FORWARD_WEIGHTS, FORWARD(ERF "Mul e3 e3 > e4\nMul e4 half > t\n")},
    {"Swish", 1, 13, FORWARD_WEIGHTS, FORWARD("Sigmoid v > e\nMul e v > t\n")},
    {"LayerNormalization", 1, 13, NORM_WEIGHTS,
     FORWARD(DEVIATION("Pow d two > q\n") "Mul n5 g > n6\nAdd n6 h > t\n")},
    {"LayerNormalization", 1, 13, NORM_WEIGHTS,
     FORWARD("ReduceMean v > m2 ; axes=-1,\nSub v m2 > d2\n" DEVIATION("Mul d2 d2 > q\n")
             "Mul g n5 > n6\nAdd h n6 > t\n")},
    {"LayerNormalization", 1, 18, NORM_WEIGHTS "last#-1",
     FORWARD("ReduceMean v last > n1\nSub v n1 > d\nPow d two > q\nReduceMean q last > n2\n"
             "Add n2 epsilon > n3\nSqrt n3 > n4\nDiv d n4 > n5\nMul n5 g > n6\nAdd n6 h > t\n")},
    /* means along an axis that is not the last */
    {"LayerNormalization", 0, 13, NORM_WEIGHTS,
     FORWARD("ReduceMean v > n1 ; axes=1,\nSub v n1 > d\nPow d two > q\n"
             "ReduceMean q > n2 ; axes=1,\nAdd n2 epsilon > n3\nSqrt n3 > n4\nDiv d n4 > n5\n"
             "Mul n5 g > n6\nAdd n6 h > t\n")},
    {"Linear", 2, 17, "g:8 w:8,6 b:6 v:6,4 c:4",
     "Mul x g > t\nMatMul t w > u\nAdd u b > r\nMatMul r v > s\nAdd c s > y"},
    /* not the one whose product somebody else reads, nor a sum of two products */
    {"Linear", 0, 17, "w:8,6 b:6",
     "MatMul x w > u\nAdd u b > r\nMul r u > y"},
    {"Linear", 0, 17, "w:8,6 v:8,6", "MatMul x w > u\nMatMul x v > r\nAdd u r > y"},
    {"Linear", 0, 17, "w:8,6", "MatMul x w > u\nAdd u u > y"},
    {"Linear", 0, 17, "w:8,6 b:5,6", "MatMul x w > u\nAdd u b > y"},
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS,
     HEADS_TURNED "MatMul t4 u3 > m\nMul s m > n\nSoftmax n > a\n" JOIN},
    {"ScaledAttention", 1, 11, ATTENTION_WEIGHTS,
     HEADS_TURNED "MatMul t4 u3 > m\nSoftmax m > a ; axis=3\n" JOIN},
    /* a mask that depends on the sample, and one that does not */
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS,
     "ReduceMax x > k1 ; axes=2, keepdims=0\nReshape k1 one > k2\n"
     HEADS_TURNED "MatMul t4 u3 > m\nDiv m d > n\nAdd n k2 > n2\nSoftmax n2 > a\n" JOIN},
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS "c=-1",
     HEADS_TURNED "MatMul t4 u3 > m\nDiv m d > n\nAdd c n > n2\nSoftmax n2 > a\n" JOIN},
    /* factors of q and k, which is turned twice */
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS,
     HEADS "Transpose t3 > t4 ; perm=0,2,1,3\nMul t4 s > t5\nTranspose u2 > u3 ; perm=0,2,1,3\n"
     "Transpose u3 > u4 ; perm=0,1,3,2\nMul u4 d > u5\nMatMul t5 u5 > m\nSoftmax m > a\n" JOIN},
    /* softmax along another axis; factors that are tensors; weights that others read */
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS,
     HEADS_TURNED "MatMul t4 u3 > m\nSoftmax m > a ; axis=2\n" JOIN},
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS "f:5,5",
     HEADS_TURNED "MatMul t4 u3 > m\nMul m f > n\nSoftmax n > a\n" JOIN},
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS,
     HEADS_TURNED "MatMul t4 u3 > m\nSoftmax m > a1\nMul a1 a1 > a\n" JOIN},
};

/* ---- models ---- */

static void add_weight(struct model *m, const char *text, uint64_t stream) {
    static float v[MOST];
    static int64_t ints[8];
    int64_t dim[4];
    char name[16];
    const size_t length = strcspn(text, ":=#");
    int rank = 0, n = 1;
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    if (text[length] == '=') {
        v[0] = strtof(text + length + 1, NULL);
        model_floats(m, name, 0, NULL, v);
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

/* apart: each output goes through an Identity. */
static void add_node(struct model *m, char *line, bool apart) {
    char *attributes = strchr(line, ';'), *out = strchr(line, '>'), *in = strchr(line, ' ');
    char inner[64];
    if (attributes) *attributes++ = 0;
    *in++ = *out++ = 0;
    out += strspn(out, " ");
    out[strcspn(out, " ")] = 0;
    in[strlen(in) - (in[strlen(in) - 1] == ' ')] = 0;
    snprintf(inner, sizeof inner, "%s%s", out, apart ? "_inner" : "");
    model_node(m, line, in, inner, attributes);
    if (apart) model_node(m, "Identity", inner, out, NULL);
}

/* more: a value that is an output, too; NULL: none. */
static unsigned char *build(const struct net *net, bool apart, const char *more, size_t *size) {
    struct model m;
    char text[TEXT], *rest = NULL;
    uint64_t stream = 0;
    model_begin(&m, net->opset);
    model_input(&m, "x", OT_FLOAT, 3, (const int64_t[]){-1, TOKENS, WIDTH});
    snprintf(text, sizeof text, "%s", net->weights);
    for (char *s = strtok_r(text, " ", &rest); s; s = strtok_r(NULL, " ", &rest))
        add_weight(&m, s, stream++);
    snprintf(text, sizeof text, "%s", net->nodes);
    for (char *s = strtok_r(text, "\n", &rest); s; s = strtok_r(NULL, "\n", &rest))
        add_node(&m, s, apart);
    model_output(&m, "y", OT_FLOAT, -1, NULL);
    if (more) model_output(&m, more, OT_FLOAT, -1, NULL);
    return model_finish(&m, size);
}

/* ---- runs ---- */

struct run {
    ot_session *s;
    double loss;
    float y[MOST];
    int64_t elements;
    int parameters, count; /* count: of the fused operator, forward */
    int64_t n[PARAMETERS];
    float gradient[PARAMETERS][MOST];
};

static void must(const struct net *net, ot_status status, const ot_error *err) {
    if (status) fail_msg("%s: %s", net->nodes, err->message);
}

static void count_step(void *context, const ot_profile_step *step) {
    struct run *r = ((void **)context)[0];
    const struct net *net = ((void **)context)[1];
    r->count += !strcmp(step->what, "forward") && !strcmp(step->op, net->fused);
}

static void train(const struct net *net, bool apart, const ot_options *options, struct run *r) {
    static float x[BATCH * TOKENS * WIDTH], target[MOST];
    ot_error err;
    ot_result result;
    size_t size;
    unsigned char *file = build(net, apart, NULL, &size);
    memset(r, 0, sizeof *r);
    must(net, ot_open_buffer(file, size, options, &r->s, &err), &err);
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
    r->parameters = ot_parameter_count(r->s);
    for (int i = 0; i < r->parameters; i++) {
        ot_parameter_info info;
        must(net, ot_get_parameter(r->s, i, &info, &err), &err);
        r->n[i] = info.is_trainable ? info.elements : 0;
        if (info.is_trainable) must(net, ot_get_gradient(r->s, i, r->gradient[i], &err), &err);
    }
    must(net, ot_get_profile(r->s, count_step, (void *[]){r, (void *)(uintptr_t)net}, &err), &err);
}

/* ---- tests ---- */

static void compare(const struct net *net, const char *what, const float *a, const float *b,
                    int64_t n, double tolerance) {
    double most = 1e-2; /* less is zero but for rounding */
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(b[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - b[i]) <= tolerance * most))
            fail_msg("%s: %s %d is %.9g, apart %.9g", net->nodes, what, (int)i, a[i], b[i]);
}

static void same(const struct net *net, const struct run *a, const struct run *b) {
    compare(net, "y", a->y, b->y, b->elements, 1e-5);
    for (int i = 0; i < b->parameters; i++)
        compare(net, "gradient", a->gradient[i], b->gradient[i], b->n[i], 1e-5);
}

static void fused_as_apart(void **state) {
    (void)state;
    static struct run apart, fused;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        for (int k = 0; ot_isa_name(k / 2); k++) {
            const ot_options o = {.threads = 1, .isa = ot_isa_name(k / 2),
                                  .sparse = k % 2 ? OT_SPARSE_ALWAYS : OT_SPARSE_NEVER};
            train(&nets[i], true, &o, &apart);
            assert_int_equal(apart.count, 0);
            train(&nets[i], false, &o, &fused);
            if (fused.count != nets[i].count)
                fail_msg("%s: %d times %s", nets[i].nodes, fused.count, nets[i].fused);
            same(&nets[i], &fused, &apart);
            ot_close(apart.s);
            ot_close(fused.s);
        }
}

/* Outputs y and `more`, and the gradients of half the sum of their squares. */
static void differentiate(const struct net *net, bool apart, const char *more, struct run *r) {
    static float x[BATCH * TOKENS * WIDTH];
    ot_error err;
    ot_tensor t[2];
    size_t size;
    unsigned char *file = build(net, apart, more, &size);
    memset(r, 0, sizeof *r);
    must(net, ot_open_buffer(file, size, &(ot_options){.threads = 1}, &r->s, &err), &err);
    free(file);
    for (int i = 0; i < BATCH * TOKENS * WIDTH; i++) x[i] = ot_random_normal(9, 0, (uint64_t)i);
    const ot_tensor in = {OT_FLOAT, 3, {BATCH, TOKENS, WIDTH}, x};
    must(net, ot_forward(r->s, &in, 1, t, 2, &err), &err);
    for (int k = 0; k < 2; k++) {
        int64_t n = 1;
        for (int i = 0; i < t[k].rank; i++) n *= t[k].dim[i];
        assert_true(r->elements + n <= MOST);
        memcpy(r->y + r->elements, t[k].data, (size_t)n * sizeof *r->y);
        t[k].data = r->y + r->elements;
        r->elements += n;
    }
    must(net, ot_backward(r->s, t, 2, &err), &err);
    r->parameters = ot_parameter_count(r->s);
    for (int i = 0; i < r->parameters; i++) {
        ot_parameter_info info;
        must(net, ot_get_parameter(r->s, i, &info, &err), &err);
        r->n[i] = info.is_trainable ? info.elements : 0;
        if (info.is_trainable) must(net, ot_get_gradient(r->s, i, r->gradient[i], &err), &err);
    }
}

/* What a fused operator does not make, and the graph gives out. */
static void inner_values_may_be_outputs(void **state) {
    (void)state;
    static struct run apart, fused;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        char text[TEXT], *rest = NULL;
        snprintf(text, sizeof text, "%s", nets[i].nodes);
        for (char *s = strtok_r(text, "\n", &rest); s; s = strtok_r(NULL, "\n", &rest)) {
            char *name = strchr(s, '>') + 2;
            name[strcspn(name, " ")] = 0;
            if (!strcmp(name, "y")) continue;
            differentiate(&nets[i], true, name, &apart);
            differentiate(&nets[i], false, name, &fused);
            same(&nets[i], &fused, &apart);
            ot_close(apart.s);
            ot_close(fused.s);
        }
    }
}

static void threads_change_no_bit(void **state) {
    (void)state;
    static struct run one, more;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        for (int sparse = OT_SPARSE_ALWAYS; sparse <= OT_SPARSE_LIVE; sparse++) {
            train(&nets[i], false, &(ot_options){.threads = 1, .sparse = sparse}, &one);
            train(&nets[i], false, &(ot_options){.threads = 3, .sparse = sparse}, &more);
            if (memcmp(one.y, more.y, sizeof one.y) ||
                memcmp(one.gradient, more.gradient, sizeof one.gradient))
                fail_msg("%s: not the same with three threads", nets[i].nodes);
            ot_close(one.s);
            ot_close(more.s);
        }
}

/* Sums against differences of the negative: no term sees what is added to the other's gradient. */
static void terms_share_a_gradient(void **state) {
    (void)state;
    static struct run sum, difference;
    static const char *const weights = "w:8,6 v:8,6 flat#0,30 full#0,5,6";
    static const struct net pairs[][2] = {
        {{"Add", 1, 17, weights,
          "MatMul x w > b\nMatMul x v > a\nTanh a > c\nAdd a b > s\nMul s c > y"},
         {"Sub", 1, 17, weights,
          "MatMul x w > b\nMatMul x v > a\nTanh a > c\nNeg b > n\nSub a n > s\nMul s c > y"}},
        {{"Add", 1, 17, weights, "MatMul x w > a\nTanh a > c\nAdd a a > s\nMul s c > y"},
         {"Sub", 1, 17, weights,
          "MatMul x w > a\nTanh a > c\nNeg a > n\nSub a n > s\nMul s c > y"}},
        {{"Add", 1, 17, weights,
          "MatMul x w > b\nMatMul x v > a\nTanh a > c\nReshape a flat > d\nReshape b flat > e\n"
          "Add d e > f\nReshape f full > s\nMul s c > y"},
         {"Sub", 1, 17, weights,
          "MatMul x w > b\nMatMul x v > a\nTanh a > c\nNeg b > n\nSub a n > s\nMul s c > y"}},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        train(&pairs[i][0], false, &(ot_options){.threads = 1}, &sum);
        train(&pairs[i][1], false, &(ot_options){.threads = 1}, &difference);
        assert_int_equal(sum.count, 1);
        same(&pairs[i][0], &sum, &difference);
        ot_close(sum.s);
        ot_close(difference.s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_as_apart),
        cmocka_unit_test(inner_values_may_be_outputs),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(terms_share_a_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
