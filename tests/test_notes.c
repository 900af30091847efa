/* test_notes.c - what a run notes in its checkpoints is checked when it is resumed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/model.h"
#include "tools/command.h"
#include "tools/data/npy_write.h"
#include "tools/stale.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
enum { MOST = 80 };

/* A model, data and a run of two epochs of three steps, in a folder of their own. */
static char folder[] = "/tmp/notes-XXXXXX";

static int run_command(int argc, char **argv, struct failure *f) {
    struct settings s = {.command = TRAIN, .name = "train"};
    *f = (struct failure){0};
    int code = ot_settings_parse(&s, argc, argv, f);
    if (!code) code = ot_run_train(&s, f);
    ot_settings_free(&s);
    return code;
}

static int make_run(void **state) {
    static float w[6] = {1, -1, 0.5f, 2, 0.25f, -2}, x[18];
    static int64_t y[9] = {0, 1, 0, 1, 1, 0, 0, 1, 1};
    static const char *const names[] = {"x", "y"};
    (void)state;
    struct failure f;
    struct test_model m;
    size_t size;
    if (!mkdtemp(folder) || chdir(folder)) return -1;
    for (int i = 0; i < 18; i++) x[i] = (float)(i % 5) - 2;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 2));
    model_floats(&m, "w", 2, DIMS(2, 3), w);
    model_node(&m, "MatMul", "x w", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, 3));
    unsigned char *bytes = model_finish(&m, &size);
    FILE *file = fopen("m.onnx", "wb");
    const bool written = file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0;
    free(bytes);
    const ot_tensor data[] = {{.type = OT_FLOAT, .rank = 2, .dim = {9, 2}, .data = x},
                              {.type = OT_INT64, .rank = 1, .dim = {9}, .data = y}};
    if (!written || ot_npz_write("d.npz", data, names, 2, &f)) return -1;
    char *arguments[] = {"m.onnx", "d.npz", "out=r", "val=0", "batch=3", "epochs=2"};
    return run_command(6, arguments, &f);
}

static int remove_run(void **state) {
    (void)state;
    ot_folder_remove(folder);
    return 0;
}

struct notes {
    char key[MOST][64], value[MOST][64];
    int n;
};

static void collect(void *context, const char *key, const char *value) {
    struct notes *all = context;
    assert_true(all->n < MOST);
    snprintf(all->key[all->n], 64, "%s", key);
    snprintf(all->value[all->n++], 64, "%s", value);
}

/* The run's checkpoint again, with another value of one note; NULL: without it. */
static void damage(const char *key, const char *value) {
    static struct notes all;
    ot_note notes[MOST];
    ot_session *s;
    ot_error err = {0};
    int n = 0;
    all.n = 0;
    assert_int_equal(ot_open("m.onnx", NULL, &s, &err), OT_OK);
    if (ot_load_checkpoint(s, "r/checkpoints/last.otc", collect, &all, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < all.n; i++) {
        const bool it = strcmp(all.key[i], key) == 0;
        if (!it || value) notes[n++] = (ot_note){all.key[i], it ? value : all.value[i]};
    }
    assert_true(n == all.n || !value);
    assert_int_equal(ot_save_checkpoint(s, "r/damaged.otc", notes, n, &err), OT_OK);
    ot_close(s);
}

static void notes_that_are_none_are_named(void **state) {
    static const struct {
        const char *key, *value, *text;
    } cases[] = {
        {"epoch", "2", NULL},
        {"epoch", NULL, "no note 'epoch'"},
        {"epoch", "two", "note 'epoch' is 'two'"},
        {"epoch", "2.5", "note 'epoch' is '2.5'"},
        {"epoch", "-1", "note 'epoch' is '-1'"},
        {"epoch", "99999999999999999999", "note 'epoch'"},
        {"epoch", "", "note 'epoch' is ''"},
        {"done", "4", "note 'done' does not fit"},
        {"loss_sum", "nan", "note 'loss_sum' does not fit"},
        {"loss_sum", "inf", "note 'loss_sum' is 'inf'"},
        {"loss_sum", "1.5x", "note 'loss_sum' is '1.5x'"},
        {"correct", "7", "note 'correct' does not fit"},
        {"count", "-3", "note 'count' is '-3'"},
        {"best", "nan", "note 'best' does not fit"},
        {"best", "inf", "note 'best' is 'inf'"},
        {"best_epoch", "9", "note 'best_epoch' does not fit"},
        {"metrics", "-1", "note 'metrics'"},
        {"results", "x", "note 'results'"},
        {"data", "0123456789abcdef", "data: these are not the data"},
        {"val_data", "0123456789abcdef", "val: these are not the validation data"},
        {"samples", "8", "data: the run has 8 training samples, now there are 9"},
        {"batch", "0x3", "note 'batch'"},
        {"seed", "5", "seed is 5 in the run, 0 is given"},
        {"option.loss", "mse", "loss is mse in the run"},
        {"option.val", "path", "val is path in the run, 0 is given"},
        {"option.channels", "grey", "channels is grey in the run"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct failure f;
        char *arguments[] = {"m.onnx", "d.npz",   "resume=r/damaged.otc",
                             "val=0",  "batch=3", "out=fresh"};
        damage(cases[i].key, cases[i].value);
        const int code = run_command(6, arguments, &f);
        if (code != (cases[i].text ? EXIT_USAGE : 0)) fail_msg("case %zu: %d %s", i, code, f.text);
        if (cases[i].text && !strstr(f.text, cases[i].text)) fail_msg("case %zu: %s", i, f.text);
        ot_folder_remove("fresh");
    }
}

/* Checkpoints of 0.1.0 have neither options nor hashes. */
static void notes_of_earlier_versions_are_enough(void **state) {
    static const char *const newer[] = {"data", "val_data", "option.loss", "option.seed"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct failure f;
        char *arguments[] = {"m.onnx", "d.npz",   "resume=r/damaged.otc",
                             "val=0",  "batch=3", "out=fresh"};
        damage(newer[i], NULL);
        if (run_command(6, arguments, &f)) fail_msg("without %s: %s", newer[i], f.text);
        ot_folder_remove("fresh");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_that_are_none_are_named),
        cmocka_unit_test(notes_of_earlier_versions_are_enough),
    };
    return cmocka_run_group_tests(tests, make_run, remove_run);
}
