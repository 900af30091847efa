/* target_yaml.c - configurations. */
#include "tests/fuzz/fuzz.h"
#include "tools/options.h"

#include <stdlib.h>

void fuzz_yaml(const uint8_t *bytes, size_t size) {
    struct settings *s = calloc(1, sizeof *s);
    struct failure f = {0};
    if (!s) fuzz_fail("out of memory");
    s->command = TRAIN;
    s->name = "train";
    const int code = ot_settings_read(s, fuzz_file(bytes, size), &f);
    if (code != f.code || (code && !*f.text)) fuzz_fail("code %d, failure %d", code, f.code);
    ot_settings_free(s);
    free(s);
}
