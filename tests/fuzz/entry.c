/* entry.c - libFuzzer's way into one target: compiled with FUZZ_TARGET=fuzz_NAME. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fuzz_run(FUZZ_TARGET, bytes, size);
    return 0;
}

#ifdef FUZZ_MESSAGE
/* Half of the changes keep the lengths of protobuf messages right. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t room, unsigned seed) {
    const size_t n = seed % 4 ? fuzz_mutate_message(bytes, size, room, seed / 4) : 0;
    return n ? n : LLVMFuzzerMutate(bytes, size, room);
}
#endif
