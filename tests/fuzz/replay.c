/* replay.c - runs inputs through a target without libFuzzer.
 *
 * Usage: fuzz_replay FOLDER   named as a target, with inputs in it, at any depth
 *        fuzz_replay TARGET FILE...
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static long count;

static const struct fuzz_target *find(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (const struct fuzz_target *t = fuzz_targets; t->name; t++)
        if (!strcmp(t->name, name)) return t;
    return NULL;
}

static void replay_file(const struct fuzz_target *t, const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (!file || fstat(fileno(file), &info)) fuzz_fail("cannot open %s", path);
    const size_t size = (size_t)info.st_size;
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes || fread(bytes, 1, size, file) != size) fuzz_fail("cannot read %s", path);
    fclose(file);
    if (getenv("FUZZ_VERBOSE")) fprintf(stderr, "%s\n", path);
    fuzz_run(t->run, bytes, size);
    free(bytes);
    count++;
}

static void replay(const struct fuzz_target *t, const char *path) {
    char entry_path[4096];
    DIR *dir = opendir(path);
    if (!dir) {
        replay_file(t, path);
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.') continue;
        snprintf(entry_path, sizeof entry_path, "%s/%s", path, entry->d_name);
        replay(t, entry_path);
    }
    closedir(dir);
}

int main(int argc, char **argv) {
    const struct fuzz_target *t = argc > 1 ? find(argv[1]) : NULL;
    if (!t) fuzz_fail("usage: fuzz_replay FOLDER | TARGET FILE...; the folder has a target's name");
    if (argc == 2) replay(t, argv[1]);
    for (int i = 2; i < argc; i++) replay(t, argv[i]);
    printf("%s: %ld inputs\n", t->name, count);
    return 0;
}
