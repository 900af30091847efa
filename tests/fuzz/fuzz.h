/* fuzz.h - fuzz targets: what reads files from anybody is given any bytes.
 *
 * A target is a function that takes the bytes of one input. fuzz_run calls it within limits: CPU
 * time, 1 s and 20 ms a MiB; and, where AddressSanitizer tells of allocations, no more than 64 MiB
 * and 64 times the input at once. What breaks a limit, or a promise of a reader, aborts.
 */
#ifndef OT_TESTS_FUZZ_H
#define OT_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void fuzz_fn(const uint8_t *bytes, size_t size);

fuzz_fn fuzz_model, fuzz_checkpoint, fuzz_zip, fuzz_npy, fuzz_records, fuzz_tensor, fuzz_image,
    fuzz_yaml;

/* All of them, by name; NULL behind the last. */
struct fuzz_target {
    const char *name;
    fuzz_fn *run;
};
extern const struct fuzz_target fuzz_targets[];

void fuzz_run(fuzz_fn *run, const uint8_t *bytes, size_t size);

/* Says why, and aborts. */
#if defined(__GNUC__)
__attribute__((noreturn, format(printf, 1, 2)))
#endif
void fuzz_fail(const char *format, ...);

/* ---- what targets use ---- */

/* A folder in memory that is made once, and a path in it. */
const char *fuzz_folder(void);
const char *fuzz_path(const char *name);
/* The bytes as a regular file; the same path in each call. */
const char *fuzz_file(const uint8_t *bytes, size_t size);
/* A copy without a byte behind it; free it. */
uint8_t *fuzz_copy(const uint8_t *bytes, size_t size);

/* The name by which a model speaks of its external data. */
#define FUZZ_DATA "data.bin"

/* Numbers that depend on the input alone. */
uint32_t fuzz_hash(const uint8_t *bytes, size_t size);

/* Changes one field of a protobuf message, and the lengths of all messages around it; the new size.
 * Where the bytes are none, or it would be larger than `room`, 0. */
size_t fuzz_mutate_message(uint8_t *bytes, size_t size, size_t room, uint32_t seed);

#endif
