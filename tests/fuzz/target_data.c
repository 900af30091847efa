/* target_data.c - data sets: .npy, .npz in zip archives, IDX and CIFAR records, TensorProtos. */
#include "tests/fuzz/fuzz.h"
#include "tools/data/data.h"
#include "tools/data/proto.h"
#include "tools/data/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const struct data_request one_input = {.n_inputs = 1, .input = {"x"}, .output = "y"},
                                 two_inputs = {.n_inputs = 2, .input = {"a", "b"}, .output = "y"};

/* Looks at all that a reader gives. */
static void look(const void *bytes, size_t size) {
    static volatile uint32_t sink;
    sink = sink + fuzz_hash(bytes, size);
}

static void look_at_array(const struct array *a) {
    size_t n;
    struct failure f;
    if (!a->rank || ot_array_count(a, "a", &n, &f)) return;
    look(a->data, n * (a->type == OT_FLOAT ? 4 : a->type == OT_UINT8 ? 1 : 8));
}

static void check_refusal(int code, const struct failure *f) {
    if (code != f->code || (code != EXIT_DATA && code != EXIT_MEMORY) || !*f->text)
        fuzz_fail("code %d, failure %d '%s'", code, f->code, f->text);
}

/* Opens a file as a data set and reads every sample. */
static void open_file(const char *path, const struct data_request *request) {
    struct data_source d;
    struct sample s;
    struct failure f = {0};
    for (int split = SPLIT_AUTO; split <= SPLIT_VAL; split++) {
        const int code = ot_data_open(&d, path, (enum split)split, request, &f);
        if (code) check_refusal(code, &f);
        if (code) continue;
        for (int k = 0; k < d.n_inputs; k++) look_at_array(&d.input[k]);
        look_at_array(&d.target);
        for (int64_t i = 0; i < d.count && i < 3; i++)
            if (!ot_data_read(&d, i, 0, &s, &f)) free(s.owned);
        ot_data_close(&d);
    }
}

/* ---- .npy ---- */

void fuzz_npy(const uint8_t *bytes, size_t size) {
    struct array a = {0};
    struct failure f = {0};
    uint8_t *copy = fuzz_copy(bytes, size);
    const int code = ot_npy_parse(copy, size, "npy", &a, &f);
    free(copy);
    if (code)
        check_refusal(code, &f);
    else
        look_at_array(&a);
    free(a.data);
}

/* ---- zip ---- */

static void read_members(const char *path) {
    struct zip *zip;
    struct failure f = {0};
    int code = ot_zip_open(path, &zip, &f);
    if (code) check_refusal(code, &f);
    for (int i = 0; !code && i < ot_zip_count(zip); i++) {
        unsigned char *member;
        size_t n;
        if (ot_zip_find(zip, ot_zip_name(zip, i)) != i) fuzz_fail("member %d is not found", i);
        const int read = ot_zip_read(zip, i, &member, &n, &f);
        if (read) check_refusal(read, &f);
        if (!read) look(member, n);
        if (!read) free(member);
    }
    ot_zip_close(zip);
}

static uint32_t little(const uint8_t *p, int n) {
    uint32_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint32_t)p[i] << (8 * i);
    return v;
}

/* The CRC of what a member unpacks to. */
static uint32_t unpacked_crc(const uint8_t *p, size_t n, bool deflated) {
    uint8_t out[4096];
    uint32_t crc = (uint32_t)crc32(0, NULL, 0);
    if (!deflated) return (uint32_t)crc32(crc, p, (uInt)n);
    z_stream z = {0};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return 0;
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    int state = Z_OK;
    while (state == Z_OK) {
        z.next_out = out;
        z.avail_out = sizeof out;
        state = inflate(&z, Z_NO_FLUSH);
        crc = (uint32_t)crc32(crc, out, (uInt)(sizeof out - z.avail_out));
    }
    inflateEnd(&z);
    return crc;
}

/* Gives the members the checksums that they have now. */
static void mend_zip(uint8_t *p, size_t n) {
    for (size_t i = 0; i + 46 <= n; i++) {
        if (little(p + i, 4) != 0x02014b50) continue;
        const size_t local = little(p + i + 42, 4), packed = little(p + i + 20, 4);
        if (n < 30 || local > n - 30) continue;
        const size_t start = local + 30 + little(p + local + 26, 2) + little(p + local + 28, 2);
        if (start > n || packed > n - start) continue;
        const uint32_t crc = unpacked_crc(p + start, packed, little(p + i + 10, 2) == 8);
        for (int k = 0; k < 4; k++) p[i + 16 + (size_t)k] = (uint8_t)(crc >> (8 * k));
    }
}

void fuzz_zip(const uint8_t *bytes, size_t size) {
    uint8_t *mended = fuzz_copy(bytes, size);
    mend_zip(mended, size);
    const char *path = fuzz_file(bytes, size);
    read_members(path);
    if (memcmp(mended, bytes, size)) read_members(path = fuzz_file(mended, size));
    open_file(path, &one_input);
    open_file(path, &two_inputs);
    free(mended);
}

/* ---- IDX and CIFAR; TensorProto ---- */

void fuzz_records(const uint8_t *bytes, size_t size) {
    struct data_source d = {0};
    struct failure f = {0};
    const char *path = fuzz_file(bytes, size);
    open_file(path, &one_input);
    const int code = ot_cifar_open(&d, path, SPLIT_AUTO, &one_input, &f);
    if (code) check_refusal(code, &f);
    ot_data_close(&d);
}

void fuzz_tensor(const uint8_t *bytes, size_t size) {
    struct proto_tensor t;
    struct failure f = {0};
    uint8_t *copy = fuzz_copy(bytes, size);
    const int code = ot_proto_tensor((struct proto){copy, copy + size}, "tensor", &t, &f);
    free(copy);
    if (code) check_refusal(code, &f);
    if (!code) look(t.data, t.count * (size_t)t.size);
    if (!code) free(t.data);
}
