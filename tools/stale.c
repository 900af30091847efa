/* stale.c - removes temporaries of processes that are gone. */
#include "tools/stale.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH = 8 };

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info;
    (void)kind;
    (void)at;
    return remove(path) && errno != ENOENT;
}

void ot_folder_remove(const char *path) { nftw(path, remove_entry, DEPTH, FTW_DEPTH | FTW_PHYS); }

/* The process of "NAME.PID-I.tmp", *length that of NAME; 0: it is no such name. */
static long process_of(const char *file, size_t *length) {
    static const char suffix[] = ".tmp";
    const char *end = file + strlen(file), *p = end - (sizeof suffix - 1);
    if (p <= file || strcmp(p, suffix) != 0) return 0;
    const char *number = p;
    while (number > file && number[-1] >= '0' && number[-1] <= '9') number--;
    if (number == p || number == file || number[-1] != '-') return 0;
    const char *pid = number - 1;
    while (pid > file && pid[-1] >= '0' && pid[-1] <= '9') pid--;
    if (pid == number - 1 || pid == file || pid[-1] != '.') return 0;
    *length = (size_t)(pid - 1 - file);
    return strtol(pid, NULL, 10);
}

/* A number that is ours was another process's before: nothing of ours is there yet. */
static bool is_gone(long process) {
    if (process == (long)getpid()) return true;
    return process > 0 && kill((pid_t)process, 0) && errno == ESRCH;
}

void ot_stale_remove(const char *folder, const char *name) {
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        size_t length = 0;
        struct failure f;
        const long process = process_of(entry->d_name, &length);
        if (!process || !is_gone(process)) continue;
        if (name && (strlen(name) != length || strncmp(name, entry->d_name, length) != 0)) continue;
        char *path = ot_join_path(folder, entry->d_name, &f);
        if (path) ot_folder_remove(path); /* a file too */
        free(path);
    }
    if (dir) closedir(dir);
}
