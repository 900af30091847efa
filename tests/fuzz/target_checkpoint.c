/* target_checkpoint.c - checkpoints of a small network, whose checksums are mended. */
#include "tests/fuzz/fuzz.h"
#include "tests/networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Puts the checksum that is asked for in the place of the one that is there. */
static bool mend(uint8_t *p, size_t n, const char *message) {
    const char *is = strstr(message, "crc32 is "), *says = strstr(message, "the file says ");
    if (!is || !says || strlen(says) < 14 + 8) return false;
    for (size_t i = 0; i + 8 <= n; i++)
        if (!memcmp(p + i, says + 14, 8)) return memcpy(p + i, is + 9, 8), true;
    return false;
}

static void take_note(void *context, const char *key, const char *value) {
    *(size_t *)context += strlen(key) + strlen(value);
}

static ot_status load(ot_session *s, const uint8_t *bytes, size_t size, ot_error *err) {
    size_t length = 0;
    const ot_status status = ot_load_checkpoint(s, fuzz_file(bytes, size), take_note, &length, err);
    if (status && (status != err->status || !*err->message || length))
        fuzz_fail("status %d, error %d '%s'", status, err->status, err->message);
    return status;
}

/* The network that every checkpoint here is for. */
static ot_session *open_network(void) {
    static unsigned char *model; /* made once: its weights are drawn at random */
    static size_t size;
    const ot_options options = {.threads = 1, .isa = "generic"};
    const ot_optimizer_options sgd = {.lr = 0.05f, .momentum = 0.9f};
    ot_session *s;
    ot_error err;
    if (!model) model = network_mlp(&size);
    if (ot_open_buffer(model, size, &options, &s, &err) || ot_set_optimizer(s, &sgd, &err))
        fuzz_fail("%s", err.message);
    return s;
}

/* What was loaded trains, and is saved again. */
static void go_on(ot_session *s) {
    enum { SAMPLES = 3, FEATURES = 12 };
    static const float x[SAMPLES * FEATURES] = {1, 2, 3};
    static const int64_t y[SAMPLES] = {0, 1, CLASSES - 1};
    const ot_tensor in = {OT_FLOAT, 2, {SAMPLES, FEATURES}, x},
                    target = {OT_INT64, 1, {SAMPLES}, y};
    ot_error err = {0};
    ot_result r;
    ot_status status = ot_train_step(s, &in, 1, &target, &r, &err);
    if (!status) status = ot_optimizer_step(s, &err);
    if (status && !*err.message) fuzz_fail("status %d", status);
    status = ot_save_checkpoint(s, fuzz_path("out.otc"), NULL, 0, &err);
    if (status && !*err.message) fuzz_fail("status %d", status);
}

void fuzz_checkpoint(const uint8_t *bytes, size_t size) {
    ot_error err = {0};
    uint8_t *mended = fuzz_copy(bytes, size);
    ot_session *s = open_network();
    ot_status status = load(s, bytes, size, &err);
    if (status && mend(mended, size, err.message)) status = load(s, mended, size, &err);
    if (!status) go_on(s);
    ot_close(s);
    free(mended);
}
