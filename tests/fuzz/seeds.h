/* seeds.h - writes what fuzzing begins with: for each target a folder of good inputs, and a list of
 * words (libFuzzer's dictionary). */
#ifndef OT_TESTS_FUZZ_SEEDS_H
#define OT_TESTS_FUZZ_SEEDS_H

#include <stddef.h>

/* TARGET/NAME in the folder that is being filled. */
void seed_write(const char *target, const char *name, const void *bytes, size_t size);
/* A word of TARGET.dict; any bytes. */
void seed_word(const char *target, const void *bytes, size_t size);

void seed_models(void);
void seed_data(void);
void seed_images(void);

#endif
