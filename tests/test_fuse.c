/* test_fuse.c - nodes that run as one operator: the same numbers as apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "runtime/model/match.h"
#include "tests/net.h"

#define FORWARD(nodes)  "MatMul x w > u\nAdd u b > v\n" nodes "MatMul t o > y\n"
#define FORWARD_WEIGHTS "w:8,6 b:6 o:6,4 half=0.5 root=1.4142135 inverse=0.70710677 one=1 three=3 "
#define ERF             "Div v root > e1\nErf e1 > e2\nAdd e2 one > e3\n"
#define SIX             FORWARD_WEIGHTS "nought=0 six=6 sixth=0.16666667 "
#define NORMALISED      FORWARD_WEIGHTS "scale:5 shift:5 mean:5 deviation:5 "
#define CHANNELS                                                                                   \
    "Mul deviation deviation > variance\n"                                                         \
    "BatchNormalization v scale shift mean variance > n ; epsilon=0.5\n"
#define GATES        SIX "p:8,6 c:8,1 f:6 "
#define RELU_6(g)    "Add " g " three > e1\nClip e1 nought six > e2\n"
#define BENT         "Mul c k > e1\nAdd v e1 > e2\nMul r e2 > e3\nTanh e3 > e4\nAdd e4 one > e5\n"
#define NORM_WEIGHTS FORWARD_WEIGHTS "g:6 h:6 epsilon=0.00001 two=2 "
#define DEVIATION(s)                                                                               \
    "ReduceMean v > n1 ; axes=-1,\nSub v n1 > d\n" s "ReduceMean q > n2 ; axes=-1,\n"              \
    "Add n2 epsilon > n3\nSqrt n3 > n4\nDiv d n4 > n5\n"

#define SQUARES "Pow v two > q\nReduceMean q > n2 ; axes=-1,\n"
#define ROOT    "Add n2 epsilon > n3\nSqrt n3 > n4\nReciprocal n4 > n5\n"

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
    {"Swish", 1, 13, FORWARD_WEIGHTS "k=1.702",
     FORWARD("Mul k v > e1\nSigmoid e1 > e\nMul e v > t\n")},
    {"Swish", 0, 13, FORWARD_WEIGHTS "k:6", FORWARD("Mul k v > e1\nSigmoid e1 > e\nMul e v > t\n")},
    {"HardSwish", 1, 14, FORWARD_WEIGHTS,
     FORWARD("HardSigmoid v > e ; alpha=0.16666667 beta=0.5\nMul e v > t\n")},
    {"HardSwish", 1, 14, SIX, FORWARD(RELU_6("v") "Mul v e2 > e3\nDiv e3 six > t\n")},
    {"HardSwish", 1, 14, SIX, FORWARD(RELU_6("v") "Div e2 six > e3\nMul e3 v > t\n")},
    {"HardSwish", 1, 14, SIX, FORWARD(RELU_6("v") "Mul v e2 > e3\nMul e3 sixth > t\n")},
    {"BatchNormalization+Swish", 1, 15, NORMALISED,
     FORWARD(CHANNELS "Sigmoid n > e\nMul e n > t\n")},
    {"BatchNormalization+HardSwish", 1, 15, NORMALISED, FORWARD(CHANNELS "HardSwish n > t\n")},
    {"BatchNormalization+Swish", 0, 15, NORMALISED,
     FORWARD(CHANNELS "Sigmoid n > e\nMul e n > r\nAdd r n > t\n")},
    /* a gate of the shape of what it holds back, and one for each token */
    {"Gate", 1, 13, GATES, FORWARD("MatMul x p > g\nSigmoid g > e\nMul v e > t\n")},
    {"Gate", 1, 13, GATES, FORWARD("MatMul x c > g\nSigmoid g > e\nMul e v > t\n")},
    {"Gate", 1, 13, GATES, FORWARD("MatMul x c > g\nHardSigmoid g > e ; alpha=0.4\nMul v e > t\n")},
    {"Gate", 1, 13, GATES,
     FORWARD("ReduceMean v > g ; axes=-1,\n" RELU_6("g") "Div e2 six > e3\nMul e3 v > t\n")},
    {"Gate", 1, 13, GATES,
     FORWARD("ReduceMean v > g ; axes=-1,\n" RELU_6("g") "Mul sixth e2 > e3\nMul e3 v > t\n")},
    {"Gate", 1, 20, GATES, FORWARD("MatMul x p > g\nGelu g > e\nMul v e > t\n")},
    {"Gate", 1, 20, GATES, FORWARD("MatMul x c > g\nGelu g > e ; approximate=tanh\nMul e v > t\n")},
    {"Gate", 1, 13, GATES,
     FORWARD(ERF "Mul v e3 > e4\nMul e4 half > e5\nMatMul x p > g\n"
                 "Mul e5 g > t\n")},
    {"Gate", 1, 13, SIX "p:8,6 k=0.044715 r=0.7978845 ",
     FORWARD("Pow v three > c\n" BENT "Mul v half > e6\nMul e6 e5 > e7\n"
             "MatMul x p > g\nMul g e7 > t\n")},
    /* not what is the same for all samples, a weight, or a gate that somebody else reads */
    {"Gate", 0, 13, GATES, FORWARD("Sigmoid f > e\nMul v e > t\n")},
    {"Gate", 0, 13, GATES, FORWARD("MatMul x p > g\nSigmoid g > e\nMul e f > r\nAdd r v > t\n")},
    {"Gate", 0, 13, GATES, FORWARD("MatMul x c > g\nSigmoid g > e\nMul v e > r\nAdd r e > t\n")},
    {"Gate", 0, 13, GATES, FORWARD("ReduceMean v > g ; axes=1,\nSigmoid g > e\nMul v e > t\n")},
    {"LayerNormalization", 1, 13, NORM_WEIGHTS,
     FORWARD(DEVIATION("Pow d two > q\n") "Mul n5 g > n6\nAdd n6 h > t\n")},
    {"LayerNormalization", 1, 13, NORM_WEIGHTS,
     FORWARD("ReduceMean v > m2 ; axes=-1,\nSub v m2 > d2\n" DEVIATION(
         "Mul d2 d2 > q\n") "Mul g n5 > n6\nAdd h n6 > t\n")},
    {"LayerNormalization", 1, 18, NORM_WEIGHTS "last#-1",
     FORWARD("ReduceMean v last > n1\nSub v n1 > d\nPow d two > q\nReduceMean q last > n2\n"
             "Add n2 epsilon > n3\nSqrt n3 > n4\nDiv d n4 > n5\nMul n5 g > n6\nAdd n6 h > t\n")},
    /* means along an axis that is not the last */
    {"LayerNormalization", 0, 13, NORM_WEIGHTS,
     FORWARD("ReduceMean v > n1 ; axes=1,\nSub v n1 > d\nPow d two > q\n"
             "ReduceMean q > n2 ; axes=1,\nAdd n2 epsilon > n3\nSqrt n3 > n4\nDiv d n4 > n5\n"
             "Mul n5 g > n6\nAdd n6 h > t\n")},
    /* the deviation as its inverse, in other orders, with casts between */
    {"LayerNormalization", 1, 17, NORM_WEIGHTS,
     FORWARD("ReduceMean v > n1 ; axes=-1,\nSub v n1 > d\nPow d two > q\n"
             "ReduceMean q > n2 ; axes=-1,\nAdd epsilon n2 > n3\nSqrt n3 > n4\n"
             "Reciprocal n4 > n5\nMul n5 g > n6\nMul d n6 > n7\nAdd n7 h > t\n")},
    {"RMSNormalization", 1, 17, NORM_WEIGHTS,
     FORWARD(SQUARES ROOT "Mul v n5 > n6\nMul g n6 > t\n")},
    {"RMSNormalization", 1, 17, NORM_WEIGHTS,
     FORWARD("Cast v > c ; to=1\nMul c c > q\nReduceMean q > n2 ; axes=-1,\nAdd n2 epsilon > n3\n"
             "Sqrt n3 > n4\nDiv one n4 > n5\nMul c n5 > n6\nCast n6 > n7 ; to=1\n"
             "Mul n7 g > t\n")},
    {"RMSNormalization", 1, 18, NORM_WEIGHTS "last#-1",
     FORWARD("Pow v two > q\nReduceMean q last > n2\nAdd n2 epsilon > n3\nSqrt n3 > n4\n"
             "Div v n4 > n5\nMul n5 g > t\n")},
    {"RMSNormalization", 1, 17, NORM_WEIGHTS,
     FORWARD(SQUARES ROOT "Mul g n5 > n6\nMul n6 v > t\n")},
    /* another power; along another axis; a root that somebody else reads; no scale of its axis */
    {"RMSNormalization", 0, 17, NORM_WEIGHTS "four=4",
     FORWARD("Pow v four > q\nReduceMean q > n2 ; axes=-1,\n" ROOT
             "Mul v n5 > n6\nMul g n6 > t\n")},
    {"RMSNormalization", 0, 17, NORM_WEIGHTS,
     FORWARD("Pow v two > q\nReduceMean q > n2 ; axes=1,\n" ROOT "Mul v n5 > n6\nMul g n6 > t\n")},
    {"RMSNormalization", 0, 17, NORM_WEIGHTS,
     FORWARD(SQUARES ROOT "Mul v n5 > n6\nMul g n6 > n7\nMul n7 n5 > t\n")},
    {"RMSNormalization", 0, 17, NORM_WEIGHTS "k:5,6",
     FORWARD(SQUARES ROOT "Mul v n5 > n6\nMul k n6 > t\n")},
    /* a gate of the same shape; one that is broadcast leaves a Swish, or nothing */
    {"SwiGLU", 1, 17, FORWARD_WEIGHTS "k:8,6",
     FORWARD("MatMul x k > m\nSigmoid v > e\nMul e v > e2\nMul m e2 > t\n")},
    {"SwiGLU", 1, 24, FORWARD_WEIGHTS "k:8,6",
     FORWARD("MatMul x k > m\nSwish v > e\nMul e m > t\n")},
    {"SwiGLU", 1, 24, FORWARD_WEIGHTS "k:8,6",
     FORWARD("MatMul x k > m\nSwish v > e ; alpha=0.5\nMul e m > t\n")},
    {"SwiGLU", 0, 17, FORWARD_WEIGHTS "k:6",
     FORWARD("Sigmoid v > e\nMul e v > e2\nMul k e2 > t\n")},
    {"Swish", 1, 17, FORWARD_WEIGHTS "k:6", FORWARD("Sigmoid v > e\nMul e v > e2\nMul k e2 > t\n")},
    {"Linear", 2, 17, "g:8 w:8,6 b:6 v:6,4 c:4",
     "Mul x g > t\nMatMul t w > u\nAdd u b > r\nMatMul r v > s\nAdd c s > y"},
    /* not the one whose product somebody else reads, nor a sum of two products */
    {"Linear", 0, 17, "w:8,6 b:6", "MatMul x w > u\nAdd u b > r\nMul r u > y"},
    {"Linear", 0, 17, "w:8,6 v:8,6", "MatMul x w > u\nMatMul x v > r\nAdd u r > y"},
    {"Linear", 0, 17, "w:8,6", "MatMul x w > u\nAdd u u > y"},
    {"Linear", 0, 17, "w:8,6 b:5,6", "MatMul x w > u\nAdd u b > y"},
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

/* Sums against differences of the negative: no term sees what is added to the other's gradient. */
static void terms_share_a_gradient(void **state) {
    (void)state;
    static struct net_run sum, difference;
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
        net_train(&pairs[i][0], false, (ot_options){.threads = 1}, &sum);
        net_train(&pairs[i][1], false, (ot_options){.threads = 1}, &difference);
        assert_int_equal(sum.count, 1);
        net_same(&pairs[i][0], &sum, &difference);
        ot_close(sum.s);
        ot_close(difference.s);
    }
}

/* Patterns are part of the program; one with a mistake matches nothing, and does no harm. */
static void wrong_patterns_are_refused(void **state) {
    static const char *const good[] = {"Add(x, 0.5)", "Mul*(a,b,c)", "Mul|Div?({a; Exp(b)})"};
    static const char *const wrong[] = {"",
                                        "x",
                                        "0.5",
                                        "Add",
                                        "Add(",
                                        "Add(a",
                                        "Add(a;b)",
                                        "Add(a,b))",
                                        "Add(a,?)",
                                        "Sum(a,b,c,d,e,f,g)",
                                        "Sum(Sum(a,b,c,d,e,f),Sum(g,h,i,j,k,l))"};
    char deep[2 * OT_MATCH_TERMS * 3 + 8] = "", *end = deep;
    struct expression e;
    struct match m;
    struct node node = {.domain = "", .op_type = "Add"};
    struct graph g = {.node = &node, .n_nodes = 1};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(ot_expression(&e, good[i]));
    for (int i = 0; i < OT_MATCH_TERMS; i++) end += sprintf(end, "N(");
    for (size_t i = 0; i <= sizeof wrong / sizeof *wrong; i++) {
        assert_false(ot_expression(&e, i < sizeof wrong / sizeof *wrong ? wrong[i] : deep));
        assert_false(ot_match(&e, &g, 0, &m));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_as_apart),
        cmocka_unit_test(inner_values_may_be_outputs),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(terms_share_a_gradient),
        cmocka_unit_test(wrong_patterns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
