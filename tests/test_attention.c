/* test_attention.c - attention as it is spelled: recognised, with the numbers that its nodes give
 * apart; and what looks like it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/net.h"

#define ATTENTION_WEIGHTS                                                                          \
    "p:8,8 b:8 q:8,8 r:8,8 o:8,8 split#0,5,2,4 join#0,5,8 one#0,1,1,5 s=0.6 d=2 "
#define HEADS                                                                                      \
    "MatMul x p > t1\nAdd t1 b > t2\nReshape t2 split > t3\nMatMul x q > u1\n"                     \
    "Reshape u1 split > u2\nMatMul x r > v1\nReshape v1 split > v2\n"                              \
    "Transpose v2 > v3 ; perm=0,2,1,3\n"
#define HEADS_TURNED HEADS "Transpose t3 > t4 ; perm=0,2,1,3\nTranspose u2 > u3 ; perm=0,2,3,1\n"
#define JOIN                                                                                       \
    "MatMul a v3 > y1\nTranspose y1 > y2 ; perm=0,2,1,3\nReshape y2 join > y3\n"                   \
    "MatMul y3 o > y\n"

#define MASK_WEIGHTS                                                                               \
    "zero=0 low=-100 flat#-1,5,4 heads#-1,2,4,5 nowhere#1,1,5,5 cut#5,3 map#-1,1,5,5 "
#define TURN_Q "Transpose t3 > t4 ; perm=0,2,1,3\n"
/* c0 [-1,1,5,5], about half of it true */
#define CONDITION "Split x cut > c2 c3 ; axis=2\nReshape c2 map > c4\nGreater c4 zero > c0\n"
#define ONE_WEIGHTS                                                                                \
    "p:8,24 o:8,8 split#0,5,2,4 join#-1,5,8 keys#-1,1,1,5 s=0.6 first@0 last@1 second@2 "
#define CUT_HEADS                                                                                  \
    "Reshape t2 split > t3\nTranspose t3 > t4 ; perm=0,2,1,3\nReshape u2 split > u3\n"             \
    "Transpose u3 > u4 ; perm=0,2,3,1\nReshape v2 split > v3\n"                                    \
    "Transpose v3 > v4 ; perm=0,2,1,3\n"
#define ONE_JOIN                                                                                   \
    "MatMul t4 u4 > m\nMul m s > n\nSoftmax n > a\nMatMul a v4 > y1\n"                             \
    "Transpose y1 > y2 ; perm=0,2,1,3\nReshape y2 join > y3\nMatMul y3 o > y\n"
#define GROUP_WEIGHTS                                                                              \
    "p:8,16 q:8,8 r:8,8 o:16,8 four#0,5,4,4 two#0,5,2,4 axis#2 many#3,2,2,5,4 join#0,5,16 "        \
    "merged#0,4,5,4 s=0.6 "
#define GROUP_HEADS                                                                                \
    "MatMul x p > t1\nReshape t1 four > t2\nTranspose t2 > t4 ; perm=0,2,1,3\n"                    \
    "MatMul x q > u1\nReshape u1 two > u2\nTranspose u2 > u3 ; perm=0,2,1,3\n"                     \
    "Unsqueeze u3 axis > u4\nExpand u4 many > u5\nReshape u5 merged > u6\n"                        \
    "MatMul x r > v1\nReshape v1 two > v2\nTranspose v2 > v3 ; perm=0,2,1,3\n"                     \
    "Unsqueeze v3 axis > v4\nExpand v4 many > v5\nReshape v5 merged > v6\n"
#define ROTARY_WEIGHTS "f0#0 f2#2 f9#9223372036854775807 axis#3 table#0,1,5,4 "
/* One angle a sample, token and feature, made of x. */
#define ANGLES "Split x > i1 i2 ; axis=2\nReshape i1 table > i3\nCos i3 > cos\nSin i3 > sin\n"
#define ROTARY(x, r)                                                                               \
    "Slice " x " f0 f2 axis > " r "1\nSlice " x " f2 f9 axis > " r "2\nNeg " r "2 > " r "3\n"      \
    "Concat " r "3 " r "1 > " r "4 ; axis=-1\nMul " x " cos > " r "5\n"                            \
    "Mul " r "4 sin > " r "6\nAdd " r "5 " r "6 > " r "9\n"

static const struct net nets[] = {
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS,
     HEADS_TURNED "MatMul t4 u3 > m\nMul s m > n\nSoftmax n > a\n" JOIN},
    {"ScaledAttention", 1, 11, ATTENTION_WEIGHTS,
     HEADS_TURNED "MatMul t4 u3 > m\nSoftmax m > a ; axis=3\n" JOIN},
    /* a mask that depends on the sample, and one that does not */
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS,
     "ReduceMax x > k1 ; axes=2, keepdims=0\nReshape k1 one > k2\n" HEADS_TURNED
     "MatMul t4 u3 > m\nDiv m d > n\nAdd n k2 > n2\nSoftmax n2 > a\n" JOIN},
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS "c=-1",
     HEADS_TURNED "MatMul t4 u3 > m\nDiv m d > n\nAdd c n > n2\nSoftmax n2 > a\n" JOIN},
    /* factors of q and k, which is turned twice */
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS,
     HEADS
     "Transpose t3 > t4 ; perm=0,2,1,3\nMul t4 s > t5\nTranspose u2 > u3 ; perm=0,2,1,3\n"
     "Transpose u3 > u4 ; perm=0,1,3,2\nMul u4 d > u5\nMatMul t5 u5 > m\nSoftmax m > a\n" JOIN},
    /* softmax along another axis; factors that are tensors; weights that others read */
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS,
     HEADS_TURNED "MatMul t4 u3 > m\nSoftmax m > a ; axis=2\n" JOIN},
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS "f:5,5",
     HEADS_TURNED "MatMul t4 u3 > m\nMul m f > n\nSoftmax n > a\n" JOIN},
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS,
     HEADS_TURNED "MatMul t4 u3 > m\nSoftmax m > a1\nMul a1 a1 > a\n" JOIN},
    /* ---- the default exporter's: k turned by way of one axis for samples and heads, both scaled,
     * a mask made by Where, rows without a number set to 0 ---- */
    {"ScaledAttention", 1, 20, ATTENTION_WEIGHTS MASK_WEIGHTS,
     HEADS TURN_Q CONDITION
     "Where c0 zero low > c\n"
     "Transpose u2 > u3 ; perm=0,2,1,3\nReshape u3 flat > u4\nTranspose u4 > u5 ; perm=0,2,1\n"
     "Reshape u5 heads > u6\nMul t4 s > t5\nMul u6 s > u7\nMatMul t5 u7 > m\nAdd m c > n\n"
     "Softmax n > a0\nIsNaN a0 > a1\nWhere a1 zero a0 > a\n" JOIN},
    /* rows that are masked as a whole: uniform, and 0 where the guard is */
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS MASK_WEIGHTS,
     HEADS_TURNED "Equal zero zero > k1\nExpand k1 nowhere > k2\nMatMul t4 u3 > m\n"
                  "Where k2 low m > n\nSoftmax n > a\n" JOIN},
    /* scores that Where keeps or replaces, by a causal mask and one of keys */
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS MASK_WEIGHTS,
     HEADS_TURNED CONDITION
     "MatMul t4 u3 > m\nDiv m d > m1\nWhere c0 m1 low > n\nSoftmax n > a\n" JOIN},
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS MASK_WEIGHTS,
     HEADS_TURNED CONDITION "Not c0 > c1\nMatMul t4 u3 > m\nMul m s > m1\nWhere c1 low m1 > m2\n"
                            "ReduceMax x > k1 ; axes=2, keepdims=0\nReshape k1 one > k2\nAdd k2 m2 "
                            "> n\nSoftmax n > a\n" JOIN},
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS MASK_WEIGHTS,
     HEADS_TURNED CONDITION
     "MatMul t4 u3 > m\nWhere c0 zero low > c\nAdd m c > m1\n"
     "ReduceMax x > k1 ; axes=2, keepdims=0\nReshape k1 one > k2\nGreater k2 zero > k3\n"
     "Where k3 m1 low > m2\nCast m2 > n ; to=1\nSoftmax n > a0\nCast a0 > a ; to=1\n" JOIN},
    /* a position bias that is trained, for each head and for each sample and head */
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS "f:2,5,5",
     HEADS_TURNED "MatMul t4 u3 > m\nAdd m f > n\nSoftmax n > a\n" JOIN},
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS "f:8,5 g#0,5,1,5",
     HEADS_TURNED "MatMul x f > k1\nReshape k1 g > k2\nTranspose k2 > k3 ; perm=0,2,1,3\n"
                  "MatMul t4 u3 > m\nAdd k3 m > n\nSoftmax n > a\n" JOIN},
    /* q, k and v from one product: cut by Split; by Gather, with and without its axis; by Slice */
    {"ScaledAttention", 1, 17, ONE_WEIGHTS,
     "MatMul x p > t1\nSplit t1 > t2 u2 v2 ; axis=2\n" CUT_HEADS ONE_JOIN},
    {"ScaledAttention", 1, 17, ONE_WEIGHTS "parts#0,5,3,2,4",
     "MatMul x p > t1\nReshape t1 parts > t2\nTranspose t2 > t3 ; perm=2,0,3,1,4\n"
     "Gather t3 first > t4 ; axis=0\nGather t3 second > v1 ; axis=0\nGather t3 last > u1 ; axis=0\n"
     "Transpose u1 > u4 ; perm=0,1,3,2\nIdentity v1 > v4\n" ONE_JOIN},
    {"ScaledAttention", 1, 17, ONE_WEIGHTS "parts#0,5,2,12 f0#0 f4#4 f8#8 f12#12 three#3",
     "MatMul x p > t1\nReshape t1 parts > t2\nSlice t2 f0 f4 three > t3\n"
     "Slice t2 f4 f8 three > u3\nSlice t2 f8 f12 three > v3\n"
     "Transpose t3 > t4 ; perm=0,2,1,3\nTranspose u3 > u4 ; perm=0,2,3,1\n"
     "Transpose v3 > v4 ; perm=0,2,1,3\n" ONE_JOIN},
    /* the tokens of all samples as rows of a Gemm, before and after */
    {"ScaledAttention", 1, 17, ONE_WEIGHTS "rows#-1,8 full#-1,5,24",
     "Reshape x rows > x1\nGemm x1 p > t0\nReshape t0 full > t1\nSplit t1 > t2 u2 v2 ; "
     "axis=2\n" CUT_HEADS "MatMul t4 u4 > m\nMul m s > n\nSoftmax n > a\nMatMul a v4 > y1\n"
     "Transpose y1 > y2 ; perm=0,2,1,3\nReshape y2 rows > y3\nGemm y3 o > y4\n"
     "Reshape y4 join > y\n"},
    /* the axis of tokens first, and one axis for samples and heads */
    {"ScaledAttention", 1, 17,
     ONE_WEIGHTS "parts#5,-1,3,8 each#5,-1,4 back#5,-1,8 four#-1,2,5,5 "
                 "three#-1,5,5",
     "Transpose x > x1 ; perm=1,0,2\nMatMul x1 p > t1\nReshape t1 parts > t2\n"
     "Gather t2 first > t3 ; axis=2\nGather t2 last > u3 ; axis=2\nGather t2 second > v3 ; axis=2\n"
     "Reshape t3 each > t5\nTranspose t5 > t4 ; perm=1,0,2\nReshape u3 each > u5\n"
     "Transpose u5 > u4 ; perm=1,2,0\nReshape v3 each > v5\nTranspose v5 > v4 ; perm=1,0,2\n"
     "MatMul t4 u4 > m\nMul m s > m1\nReshape m1 four > m2\n"
     "ReduceMax x > k1 ; axes=2, keepdims=0\nReshape k1 keys > k2\nAdd m2 k2 > m3\n"
     "Reshape m3 three > n\nSoftmax n > a\nMatMul a v4 > y1\n"
     "Transpose y1 > y2 ; perm=1,0,2\nReshape y2 back > y3\nMatMul y3 o > y4\n"
     "Transpose y4 > y ; perm=1,0,2\n"},
    /* heads of q that share one of k and v */
    {"ScaledAttention", 1, 17, GROUP_WEIGHTS,
     GROUP_HEADS
     "Transpose u6 > u7 ; perm=0,1,3,2\nMatMul t4 u7 > m\nMul m s > n\nSoftmax n > a\n"
     "MatMul a v6 > y1\nTranspose y1 > y2 ; perm=0,2,1,3\nReshape y2 join > y3\nMatMul y3 o > y\n"},
    /* q and k turned, by tables and by what is computed; halves from Slice and from Split */
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS ROTARY_WEIGHTS,
     HEADS TURN_Q "Transpose u2 > u3 ; perm=0,2,1,3\n" ANGLES ROTARY("t4", "r")
         ROTARY("u3", "w") "Transpose w9 > w10 ; perm=0,1,3,2\nMatMul r9 w10 > m\nMul m s > "
                           "n\nSoftmax n > a\n" JOIN},
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS ROTARY_WEIGHTS,
     HEADS TURN_Q
     "Transpose u2 > u3 ; perm=0,2,3,1\n" ANGLES
     "Split t4 > r1 r2 ; axis=-1\nNeg r2 > r3\nConcat r3 r1 > r4 ; axis=-1\nMul sin r4 > r5\n"
     "Mul cos t4 > r6\nAdd r5 r6 > r9\nMul r9 s > r10\nMatMul r10 u3 > m\nSoftmax m > a\n" JOIN},

    /* ---- Attention of ONNX, of four axes and of three, with masks, with shared heads ---- */
    {"ScaledAttention", 1, 23, ATTENTION_WEIGHTS,
     HEADS TURN_Q "Transpose u2 > u3 ; perm=0,2,1,3\nAttention t4 u3 v3 > a ; is_causal=1\n"
                  "Transpose a > y2 ; perm=0,2,1,3\nReshape y2 join > y3\nMatMul y3 o > y\n"},
    {"ScaledAttention", 1, 23, ATTENTION_WEIGHTS MASK_WEIGHTS,
     HEADS TURN_Q "Transpose u2 > u3 ; perm=0,2,1,3\n" CONDITION
                  "Attention t4 u3 v3 c0 > a ; scale=0.3\n"
                  "Transpose a > y2 ; perm=0,2,1,3\nReshape y2 join > y3\nMatMul y3 o > y\n"},
    {"ScaledAttention", 1, 23, ATTENTION_WEIGHTS "f:2,5,5",
     "MatMul x p > t1\nMatMul x q > u1\nMatMul x r > v1\n"
     "Attention t1 u1 v1 f > a ; q_num_heads=2 kv_num_heads=2\nMatMul a o > y\n"},
    {"ScaledAttention", 1, 23, GROUP_WEIGHTS,
     "MatMul x p > t1\nMatMul x q > u1\nMatMul x r > v1\n"
     "Attention t1 u1 v1 > a ; q_num_heads=4 kv_num_heads=2 is_causal=1\nMatMul a o > y\n"},
    {"ScaledAttention", 0, 23, ATTENTION_WEIGHTS,
     "MatMul x p > t1\nMatMul x q > u1\nMatMul x r > v1\n"
     "Attention t1 u1 v1 > a ; q_num_heads=2 kv_num_heads=2 softcap=2.0\nMatMul a o > y\n"},

    /* ---- what is something else ---- */
    /* a choice between scores and what is computed; a factor of scores and mask; turned scores */
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS MASK_WEIGHTS,
     HEADS_TURNED CONDITION "MatMul t4 u3 > m\nReduceMax m > m1 ; axes=3,\nWhere c0 m m1 > n\n"
                            "Softmax n > a\n" JOIN},
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS "f:2,5,5",
     HEADS_TURNED "MatMul t4 u3 > m\nAdd m f > n\nMul n s > n2\nSoftmax n2 > a\n" JOIN},
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS,
     HEADS_TURNED "MatMul t4 u3 > m\nTranspose m > n ; perm=0,1,3,2\nSoftmax n > a\n" JOIN},
    /* probabilities and keys that are rounded to 16 bits */
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS,
     HEADS_TURNED
     "MatMul t4 u3 > m\nSoftmax m > a0\nCast a0 > a1 ; to=10\nCast a1 > a ; to=1\n" JOIN},
    {"ScaledAttention", 1, 17, ATTENTION_WEIGHTS,
     HEADS_TURNED "Cast u3 > u4 ; to=10\nCast u4 > u5 ; to=1\nMatMul t4 u5 > m\n"
                  "Softmax m > a\n" JOIN},
    /* a guard that sets rows to 1; every other feature of k */
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS "unit=1",
     HEADS_TURNED "MatMul t4 u3 > m\nSoftmax m > a0\nIsNaN a0 > a1\nWhere a1 unit a0 > a\n" JOIN},
    {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS "from#0 to#8 axis#3 step#2 parts#0,5,2,8 w:8,16 ",
     "MatMul x w > u1\nReshape u1 parts > u2\nSlice u2 from to axis step > u3\n"
     "Transpose u3 > u4 ; perm=0,2,3,1\nMatMul x p > t1\nReshape t1 split > t2\n"
     "Transpose t2 > t4 ; perm=0,2,1,3\nMatMul x r > v1\nReshape v1 split > v2\n"
     "Transpose v2 > v3 ; perm=0,2,1,3\nMatMul t4 u4 > m\nSoftmax m > a\n" JOIN},
};

static void fused_as_apart(void **state) {
    (void)state;
    net_check_apart(nets, sizeof nets / sizeof *nets);
}

/* What a fused operator does not make, and the graph gives out. */
static void inner_values_may_be_outputs(void **state) {
    (void)state;
    net_check_outputs(nets, sizeof nets / sizeof *nets);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    net_check_threads(nets, sizeof nets / sizeof *nets);
}

/* ---- what plans say ---- */

struct search {
    const char *text;
    int found;
    char last[512];
};

static void find_line(void *context, const char *line) {
    struct search *s = context;
    s->found += strstr(line, s->text) != NULL;
    snprintf(s->last, sizeof s->last, "%s", line);
}

static void expect_line(const struct net *net, const char *text) {
    static struct net_run r;
    struct search s = {.text = text};
    ot_error err;
    net_train(net, false, (ot_options){.threads = 1}, &r);
    assert_int_equal(ot_print_plan(r.s, find_line, &s, &err), OT_OK);
    if (s.found != 1)
        fail_msg("%s: %d lines with '%s'; last: %s", net->nodes, s.found, text, s.last);
    ot_close(r.s);
}

static void plans_name_what_is_recognised(void **state) {
    (void)state;
    const struct net turned = {
        "ScaledAttention", 1, 17, ATTENTION_WEIGHTS ROTARY_WEIGHTS,
        HEADS TURN_Q "Transpose u2 > u3 ; perm=0,2,1,3\n" ANGLES ROTARY("t4", "r")
            ROTARY("u3", "w") "Transpose w9 > w10 ; perm=0,1,3,2\nMatMul r9 w10 > m\n"
                              "Softmax m > a\n" JOIN};
    expect_line(&turned, "recognised: 1 ScaledAttention in place of ");
    expect_line(&turned, "recognised: 2 rotary embeddings within ScaledAttention");
}

/* As exporters read shapes: they are known, and the Transposes around need not run. */
static void what_is_read_for_its_shape_does_not_run(void **state) {
    (void)state;
    static struct net_run r;
    const struct net net = {"Transpose", 0, 17, ATTENTION_WEIGHTS "last@-1 half@2",
                            HEADS_TURNED "Shape t4 > s1\nGather s1 last > s2\n"
                                         "Cast s2 > s3 ; to=1\nSqrt s3 > s4\nMatMul t4 u3 > m\n"
                                         "Div m s4 > n\nSoftmax n > a\n" JOIN};
    net_train(&net, false, (ot_options){.threads = 1}, &r);
    assert_int_equal(r.count, 0);
    ot_close(r.s);
    net_check_apart(&(struct net){"ScaledAttention", 1, net.opset, net.weights, net.nodes}, 1);
}

static void plans_name_what_breaks_a_pattern(void **state) {
    (void)state;
    const struct net choice = {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS MASK_WEIGHTS,
                               HEADS_TURNED CONDITION
                               "MatMul t4 u3 > m\n"
                               "ReduceMax m > m1 ; axes=3,\nWhere c0 m m1 > n\n"
                               "Softmax n > a\n" JOIN};
    expect_line(&choice, "'a' (Softmax): its attention is not recognised; node 15 'n' (Where)");
    const struct net sigmoid = {"ScaledAttention", 0, 17, ATTENTION_WEIGHTS,
                                HEADS_TURNED
                                "MatMul t4 u3 > m\nSoftmax m > a1\nSigmoid a1 > a\n" JOIN};
    expect_line(&sigmoid, "'a1' (Softmax): its attention is not recognised; node 12 'a' (Sigmoid)");
    const struct net norm = {"RMSNormalization", 0, 17, "w:8,6 o:6,4 e=0.1 two=2",
                             "MatMul x w > v\nPow v two > q\nReduceMean q > n1 ; axes=-1,\n"
                             "Add n1 e > n2\nSqrt n2 > n3\nDiv v n3 > n4\nTanh n4 > t\n"
                             "MatMul t o > y\n"};
    expect_line(&norm, "'n3' (Sqrt): its normalisation is not recognised; node 5 'n4' (Div)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_as_apart),
        cmocka_unit_test(inner_values_may_be_outputs),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(plans_name_what_is_recognised),
        cmocka_unit_test(plans_name_what_breaks_a_pattern),
        cmocka_unit_test(what_is_read_for_its_shape_does_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
