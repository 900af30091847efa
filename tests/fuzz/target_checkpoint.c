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

static ot_status load(struct fixture *f, const uint8_t *bytes, size_t size, ot_error *err) {
    size_t length = 0;
    const ot_status status =
        ot_load_checkpoint(f->s, fuzz_file(bytes, size), take_note, &length, err);
    if (status && (status != err->status || !*err->message || length))
        fuzz_fail("status %d, error %d '%s'", status, err->status, err->message);
    return status;
}

/* A network as every checkpoint here is for; what is loaded must train. */
void fuzz_checkpoint(const uint8_t *bytes, size_t size) {
    struct fixture f;
    ot_error err = {0};
    ot_result r;
    const ot_options options = {.threads = 1, .isa = "generic"};
    uint8_t *mended = fuzz_copy(bytes, size);
    fixture_open(&f, network_mlp, &options);
    ot_status status = load(&f, bytes, size, &err);
    if (status && mend(mended, size, err.message)) status = load(&f, mended, size, &err);
    if (!status) {
        f.in.dim[0] = f.target.dim[0] = 3;
        status = ot_train_step(f.s, &f.in, 1, &f.target, &r, &err);
        if (!status) status = ot_optimizer_step(f.s, &err);
        if (status && !*err.message) fuzz_fail("status %d", status);
        if (ot_save_checkpoint(f.s, fuzz_path("out.otc"), NULL, 0, &err) && !*err.message)
            fuzz_fail("status %d", err.status);
    }
    ot_close(f.s);
    free(mended);
}
