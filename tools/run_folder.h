/* run_folder.h - the folder of a training run: args.yaml, metrics.jsonl, results.csv, weights/,
 * checkpoints/. */
#ifndef TOOLS_RUN_FOLDER_H
#define TOOLS_RUN_FOLDER_H

#include "tools/evaluate.h"

#include <stdio.h>

struct run_folder {
    char *path;
    FILE *metrics, *results;
};

/* Makes the folder: `out`, or the next free runs/trainN. A folder that holds a run already is
 * EXIT_USAGE. */
int ot_run_create(struct run_folder *run, const struct settings *s, struct failure *f);

/* Opens the folder of the run that `resume` names; *checkpoint gets the file to load, in fresh
 * memory. Where a checkpoint lies in no run's folder, a new folder is made. */
int ot_run_resume(struct run_folder *run, const struct settings *s, char **checkpoint,
                  struct failure *f);

/* Cuts the logs back to the lengths they had when the checkpoint was written. */
int ot_run_rewind(struct run_folder *run, long metrics, long results, struct failure *f);

/* Lengths of the logs, after they are on disk. */
int ot_run_lengths(struct run_folder *run, long *metrics, long *results, struct failure *f);

/* Writes args.yaml: every setting, paths made absolute. */
int ot_run_write_args(const struct run_folder *run, const struct settings *s, const struct model *m,
                      struct failure *f);

/* "folder/file" in fresh memory. */
char *ot_run_file(const struct run_folder *run, const char *file, struct failure *f);

void ot_run_close(struct run_folder *run);

#endif
