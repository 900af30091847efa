/* seeds.c - fuzz_seeds FOLDER: fills it with seeds and dictionaries for every target. */
#include "tests/fuzz/seeds.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *root;

static FILE *must_open(const char *path, const char *mode) {
    FILE *file = fopen(path, mode);
    if (!file) fuzz_fail("cannot write %s", path);
    return file;
}

void seed_write(const char *target, const char *name, const void *bytes, size_t size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/%s", root, target, name);
    FILE *file = must_open(path, "wb");
    if (fwrite(bytes, 1, size, file) != size || fclose(file)) fuzz_fail("cannot write %s", path);
}

void seed_word(const char *target, const void *bytes, size_t size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.dict", root, target);
    FILE *file = must_open(path, "a");
    fputc('"', file);
    for (size_t i = 0; i < size; i++) fprintf(file, "\\x%02x", ((const unsigned char *)bytes)[i]);
    fputs("\"\n", file);
    fclose(file);
}

int main(int argc, char **argv) {
    char path[4096];
    if (argc != 2) fuzz_fail("usage: fuzz_seeds FOLDER");
    root = argv[1];
    mkdir(root, 0777);
    for (const struct fuzz_target *t = fuzz_targets; t->name; t++) {
        snprintf(path, sizeof path, "%s/%s", root, t->name);
        mkdir(path, 0777);
        snprintf(path, sizeof path, "%s/%s.dict", root, t->name);
        fclose(must_open(path, "w"));
    }
    seed_models();
    seed_data();
    seed_images();
    return 0;
}
