/* test_feed.c - data and models together: which loss the command takes, what it feeds, and what it
 * refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/feed_model.h"
#include "tools/data/npy_write.h"
#include "tools/train/loss.h"

enum { N = 64, T = 6, WORDS = 9 };

static int make_folder(void **state) {
    static char folder[32];
    strcpy(folder, "/tmp/test_feed_XXXXXX");
    *state = mkdtemp(folder);
    return *state && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state) {
    unlink("d.npz");
    unlink("m.onnx");
    return chdir("/") || rmdir(*state) ? -1 : 0;
}

struct fixture {
    struct settings s;
    struct model m;
    struct data_source d;
    struct feed feed;
    ot_loss_info loss;
    struct failure f;
};

/* Feeds x and y (type OT_UNDEFINED: no targets) to m.onnx with these options. */
static int feed(struct fixture *x, const char *line, const ot_tensor *in,
                const ot_tensor *targets) {
    char copy[128], *argv[8] = {"m.onnx"};
    const ot_tensor t[2] = {*in, *targets};
    const char *const names[2] = {"x", "y"};
    int n = 1;
    struct data_request request;
    memset(x, 0, sizeof *x);
    x->s = (struct settings){.command = EVAL, .name = "eval"};
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) argv[n++] = word;
    assert_int_equal(ot_settings_parse(&x->s, n, argv, &x->f), 0);
    assert_int_equal(ot_npz_write("d.npz", t, names, targets->rank ? 2 : 1, &x->f), 0);
    if (ot_model_open(&x->m, &x->s, &x->f)) fail_msg("%s", x->f.text);
    ot_model_request(&x->m, &x->s, &request);
    if (ot_data_open(&x->d, "d.npz", SPLIT_AUTO, &request, &x->f)) fail_msg("%s", x->f.text);
    return ot_loss_feed(&x->feed, &x->s, &x->m, &x->d, 32, &x->loss, &x->f);
}

static void close_all(struct fixture *x) {
    ot_data_close(&x->d);
    ot_model_close(&x->m);
    ot_settings_free(&x->s);
}

/* Two samples as the model gets them, and a step with them. */
static ot_result run_two(struct fixture *x, ot_tensor *target) {
    const int64_t index[2] = {1, 2};
    struct batch b;
    ot_result r;
    ot_error err = {OT_OK, ""};
    assert_int_equal(ot_batch_make(&b, &x->feed, 2, &x->f), 0);
    assert_int_equal(ot_batch_fill(&b, &x->feed, index, 2, &x->f), 0);
    if (ot_eval_step(x->m.session, b.input, 1, b.target.rank ? &b.target : NULL, &r, &err))
        fail_msg("%s", err.message);
    *target = b.target;
    ot_batch_free(&b);
    return r;
}

static float values[N * FEED_IN], probabilities[N * 3], yes[N];
static int64_t labels[N], flags[N], tokens[N * T], next[N * T];
static const ot_tensor x_in = {OT_FLOAT, 2, {N, FEED_IN}, values},
                       token_in = {OT_INT64, 2, {N, T}, tokens}, no_targets = {0};

static void fill(void) {
    for (int i = 0; i < N * FEED_IN; i++) values[i] = (float)(i % 7) - 3;
    for (int i = 0; i < N * 3; i++) probabilities[i] = i % 3 == 1 ? 0.5f : 0.25f;
    for (int i = 0; i < N; i++) {
        labels[i] = i % 5;
        yes[i] = (float)(flags[i] = i % 2);
    }
    for (int i = 0; i < N * T; i++) {
        tokens[i] = i * 5 % WORDS;
        next[i] = i * 2 % WORDS;
    }
}

static void targets_choose(void **state) {
    (void)state;
    const ot_tensor classes = {OT_INT64, 1, {N}, labels}, column = {OT_INT64, 2, {N, 1}, labels},
                    soft = {OT_FLOAT, 2, {N, 3}, probabilities}, bits = {OT_INT64, 1, {N}, flags},
                    floats = {OT_FLOAT, 1, {N}, yes}, words = {OT_INT64, 2, {N, T}, next};
    const struct {
        int64_t outputs; /* 0: the language model */
        const char *tail, *line;
        const ot_tensor *in, *target;
        const char *text;
        int rank; /* of the target that steps get */
        int64_t count;
    } cases[] = {
        {5, "", "", &x_in, &classes, "cross_entropy of 5 classes", 1, 2},
        {5, "Softmax", "", &x_in, &column, "cross_entropy of 5 classes", 1, 2},
        {3, "", "", &x_in, &soft, "cross_entropy of 3 classes, targets are probabilities", 2, 2},
        {1, "Sigmoid", "", &x_in, &bits, "bce", 2, 2},
        {1, "", "", &x_in, &floats, "bce", 2, 2},
        {1, "Sigmoid", "loss=mse", &x_in, &bits, "mse", 2, 2},
        {1, "", "loss=l1", &x_in, &classes, "l1", 2, 2},
        {0, "", "", &token_in, &words, "cross_entropy of 9 classes", 2, 2 * T},
        {0, "", "", &token_in, &no_targets, "next_token of 9 classes", 0, 2 * (T - 1)},
        {0, "", "loss=next_token", &token_in, &words, "next_token of 9 classes", 0, 2 * (T - 1)},
    };
    struct fixture x;
    char text[80];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].outputs)
            feed_model("m.onnx", cases[i].outputs, cases[i].tail);
        else
            feed_language_model("m.onnx", WORDS);
        if (feed(&x, cases[i].line, cases[i].in, cases[i].target)) fail_msg("%s", x.f.text);
        assert_string_equal(ot_loss_text(&x.loss, text, sizeof text), cases[i].text);
        ot_tensor target;
        assert_int_equal(run_two(&x, &target).count, cases[i].count);
        assert_int_equal(target.rank, cases[i].rank);
        close_all(&x);
    }
}

/* Labels are checked before anything runs. */
static void wrong_values_are_named(void **state) {
    (void)state;
    const ot_tensor classes = {OT_INT64, 1, {N}, labels}, floats = {OT_FLOAT, 1, {N}, values};
    struct fixture x;
    feed_model("m.onnx", 5, "");
    labels[N - 1] = 9;
    assert_int_equal(feed(&x, "", &x_in, &classes), EXIT_DATA);
    assert_non_null(strstr(x.f.text, "label 9 of sample 63; the model has 5 classes. classes=10"));
    close_all(&x);
    assert_int_equal(feed(&x, "ignore_index=9", &x_in, &classes), 0);
    close_all(&x);
    labels[N - 1] = -100; /* does not count, as in PyTorch */
    assert_int_equal(feed(&x, "", &x_in, &classes), 0);
    close_all(&x);
    assert_int_equal(feed(&x, "", &x_in, &floats), EXIT_DATA);
    assert_non_null(strstr(x.f.text, "targets float [64] fit no loss on the output [32,5]"));
    close_all(&x);
    assert_int_equal(feed(&x, "loss=cross_entropy", &x_in, &floats), EXIT_DATA);
    assert_non_null(strstr(x.f.text, "must be int64"));
    close_all(&x);
    assert_int_equal(feed(&x, "", &x_in, &no_targets), EXIT_DATA);
    assert_non_null(strstr(x.f.text, "has no targets"));
    close_all(&x);
    labels[N - 1] = 3;
    feed_model("m.onnx", 1, "");
    assert_int_equal(feed(&x, "", &x_in, &classes), EXIT_DATA);
    assert_non_null(strstr(x.f.text, "label 2 of sample 2 is neither 0 nor 1"));
    close_all(&x);
    assert_int_equal(feed(&x, "loss=bce", &x_in, &classes), EXIT_DATA);
    assert_non_null(strstr(x.f.text, "the target of sample 2 is 2; bce needs targets from 0 to 1"));
    close_all(&x);
    feed_language_model("m.onnx", WORDS);
    tokens[4 * T + 1] = WORDS;
    assert_int_equal(feed(&x, "", &token_in, &no_targets), EXIT_DATA);
    assert_non_null(strstr(x.f.text, "label 9 of sample 4"));
    close_all(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_choose),
        cmocka_unit_test(wrong_values_are_named),
    };
    fill();
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
