/* seeds_data.c - arrays in every type and format, archives, records, tensors, configurations. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"
#include "tests/wire.h"
#include "tools/data/npy_write.h"
#include "tools/options.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

static const unsigned char zeros[4096];

static size_t read_back(unsigned char *bytes, size_t room) {
    FILE *file = fopen(fuzz_path("seed"), "rb");
    if (!file) fuzz_fail("a seed is missing");
    const size_t n = fread(bytes, 1, room, file);
    fclose(file);
    return n;
}

/* ---- .npy ---- */

static size_t make_npy(unsigned char *out, const char *descr, const char *rest, size_t bytes) {
    const int n = snprintf((char *)out + 10, 256, "{'descr': '%s', %s, }\n", descr, rest);
    memcpy(out, "\x93NUMPY\1\0", 8);
    out[8] = (unsigned char)n;
    out[9] = (unsigned char)(n >> 8);
    memset(out + 10 + n, 1, bytes);
    return 10 + (size_t)n + bytes;
}

static void seed_npy(void) {
    static const char *const types[] = {"<f4", "<f8", "<f2", ">f4", "|u1", "|i1", "<i2",
                                        "<i4", "<i8", ">i8", "<u2", "<u4", "<u8", "|b1"};
    static const int sizes[] = {4, 8, 2, 4, 1, 1, 2, 4, 8, 8, 2, 4, 8, 1};
    static const char *const words[] = {
        "'descr'", "'fortran_order'", "'shape'", "True", "False", "<f4", ">f8", "|u1", "<i8", "(",
        "), }",    "\x93NUMPY"};
    static const char c[] = "'fortran_order': False, 'shape': (2, 3)",
                      fortran[] = "'fortran_order': True, 'shape': (2, 3)";
    unsigned char out[1024];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%zu", i);
        seed_write("npy", name, out, make_npy(out, types[i], c, 6 * (size_t)sizes[i]));
        name[0] = 'f';
        seed_write("npy", name, out, make_npy(out, types[i], fortran, 6 * (size_t)sizes[i]));
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        seed_word("npy", words[i], strlen(words[i]));
        seed_word("zip", words[i], strlen(words[i]));
    }
}

/* ---- zip ---- */

static void put(unsigned char *p, uint32_t v, int n) {
    for (int i = 0; i < n; i++) p[i] = (unsigned char)(v >> (8 * i));
}

/* An archive of one deflated member. */
static size_t make_deflated(unsigned char *zip, const char *name, const unsigned char *p,
                            size_t n) {
    z_stream z = {0};
    const size_t length = strlen(name);
    if (deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY)) fuzz_fail("no deflate");
    unsigned char *data = zip + 30 + length;
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = data;
    z.avail_out = 4096;
    deflate(&z, Z_FINISH);
    const size_t packed = z.total_out;
    deflateEnd(&z);
    unsigned char *entry = data + packed, *end = entry + 46 + length;
    put(zip, 0x04034b50, 4);
    put(entry, 0x02014b50, 4);
    for (int i = 0; i < 2; i++) {
        unsigned char *at = i ? entry + 2 : zip; /* the same fields, two bytes later */
        put(at + 4, 20, 2);
        put(at + 8, 8, 2);
        put(at + 14, (uint32_t)crc32(0, p, (uInt)n), 4);
        put(at + 18, (uint32_t)packed, 4);
        put(at + 22, (uint32_t)n, 4);
        put(at + 26, (uint32_t)length, 2);
    }
    memcpy(zip + 30, name, length);
    memcpy(entry + 46, name, length);
    put(end, 0x06054b50, 4);
    put(end + 8, 1, 2);
    put(end + 10, 1, 2);
    put(end + 12, (uint32_t)(46 + length), 4);
    put(end + 16, (uint32_t)(entry - zip), 4);
    return (size_t)(end + 22 - zip);
}

static void seed_zip(void) {
    static const float x[12] = {1, 2, 3};
    static const int64_t y[3] = {0, 1, 2};
    static const char *const names[][4] = {
        {"x", "y"}, {"a", "b", "y"}, {"x_train", "y_train", "x_val", "y_val"}};
    unsigned char bytes[8192] = {0}, npy[1024];
    struct failure f;
    for (int i = 0; i < 3; i++) {
        ot_tensor t[4];
        const int n = i + 2;
        for (int k = 0; k < n; k++) {
            const bool target = *names[i][k] == 'y';
            t[k] = target ? (ot_tensor){OT_INT64, 1, {3}, y} : (ot_tensor){OT_FLOAT, 2, {3, 4}, x};
        }
        if (ot_npz_write(fuzz_path("seed"), t, names[i], n, &f)) fuzz_fail("%s", f.text);
        const size_t size = read_back(bytes, sizeof bytes);
        seed_write("zip", names[i][0], bytes, size);
    }
    const size_t size = make_npy(npy, "<f4", "'fortran_order': False, 'shape': (4, 4)", 64);
    memset(bytes, 0, sizeof bytes);
    seed_write("zip", "deflated", bytes, make_deflated(bytes, "x.npy", npy, size));
    memset(bytes, 0, sizeof bytes);
    seed_write("zip", "zeros", bytes, make_deflated(bytes, "x.npy", zeros, sizeof zeros));
    static const char *const words[] = {"PK\3\4", "PK\1\2", "PK\5\6", "PK\6\6",
                                        "PK\6\7", "x.npy",  "y.npy",  "\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        seed_word("zip", words[i], strlen(words[i]));
    seed_word("zip", "\1\0\30\0", 4); /* the extra field of zip64 */
}

/* ---- IDX, CIFAR, TensorProto ---- */

static void seed_records(void) {
    static const unsigned char codes[] = {8, 9, 11, 12, 13, 14}, sizes[] = {1, 1, 2, 4, 4, 8};
    unsigned char idx[128];
    char name[16];
    for (unsigned i = 0; i < sizeof codes; i++) {
        memset(idx, 0, sizeof idx);
        idx[2] = codes[i];
        idx[3] = 2;
        idx[7] = 3;
        idx[11] = 2;
        snprintf(name, sizeof name, "idx%u", i);
        seed_write("records", name, idx, 12 + 6 * (size_t)sizes[i]);
        gzFile file = gzopen(fuzz_path("seed"), "wb");
        if (!file || gzwrite(file, idx, 12 + 6u * sizes[i]) <= 0 || gzclose(file))
            fuzz_fail("no gzip");
        name[0] = 'z';
        const size_t size = read_back(idx, sizeof idx);
        seed_write("records", name, idx, size);
        seed_word("records", &codes[i], 1);
    }
    seed_write("records", "cifar10", zeros, 3073);
    seed_write("records", "cifar100", zeros, 3074);
    seed_word("records", "\x1f\x8b\x08", 3);
}

static void seed_tensor(void) {
    seed_word("tensor", "\x10\1\x4a", 3); /* the type, and the key of raw_data */
    seed_word("tensor", "\x80\x80\x80\x80\x08", 5);
    static const int types[] = {OT_FLOAT,   OT_UINT8,  OT_INT32,  OT_INT64,   OT_BOOL,
                                OT_FLOAT16, OT_DOUBLE, OT_UINT64, OT_BFLOAT16};
    static const unsigned fields[] = {4, 5, 5, 7, 5, 5, 10, 11, 5},
                          sizes[] = {4, 1, 4, 8, 1, 2, 8, 8, 2};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int raw = 0; raw < 2; raw++) {
            struct wire w = {0};
            char name[16];
            const bool wide = fields[i] == 4 || fields[i] == 10;
            wire_int(&w, 1, 2);
            wire_int(&w, 1, 3);
            wire_int(&w, 2, types[i]);
            wire_bytes(&w, raw ? 9 : fields[i], zeros, raw || wide ? 6 * (size_t)sizes[i] : 6);
            snprintf(name, sizeof name, "%c%zu", raw ? 'r' : 'f', i);
            seed_write("tensor", name, w.p, w.n);
            wire_free(&w);
        }
}

/* ---- configurations ---- */

static void seed_yaml(void) {
    static const char plain[] = "model: a.onnx\ndata: 'b c'\nlr: 1e-3\nmean: [0.5, 0.5, 0.5]\n"
                                "epochs: 3 # three\nnesterov: true\nval: ~\n",
                      other[] =
                          "%YAML 1.1\n---\n{\"model\": \"x\\u0041\", batch: 4, std: [1,\n 2]}\n"
                          "...\n",
                      blocks[] = "freeze: |\n  a\n  b\nout: >-\n  c\n  d\nmean:\n- 1\n- 2\n";
    static const char *const words[] = {"---\n",       "...\n",      "&a ",     "*a", "!!str ",
                                        "<<: ",        "|\n",        ">-\n",    "? ", "- ",
                                        "%YAML 1.1\n", "%TAG ! t\n", "\\u0000", "{}"};
    seed_write("yaml", "plain", plain, sizeof plain - 1);
    seed_write("yaml", "flow", other, sizeof other - 1);
    seed_write("yaml", "blocks", blocks, sizeof blocks - 1);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        seed_word("yaml", words[i], strlen(words[i]));
    for (int i = 0; i < OPTION_COUNT; i++)
        seed_word("yaml", ot_option_table[i].key, strlen(ot_option_table[i].key));
}

void seed_data(void) {
    seed_npy();
    seed_zip();
    seed_records();
    seed_tensor();
    seed_yaml();
}
