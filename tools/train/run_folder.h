/* run_folder.h - the folder of a training run: args.yaml, metrics.jsonl, results.csv, weights/,
 * checkpoints/. */
#ifndef OT_TOOLS_TRAIN_RUN_FOLDER_H
#define OT_TOOLS_TRAIN_RUN_FOLDER_H

#include "tools/train/evaluate.h"

#include <stdio.h>

struct run_folder {
    char *path;
    char *temporary;  /* its name until it is published; NULL: it has its own */
    bool is_numbered; /* runs/trainN */
    FILE *metrics, *results;
    long kept_metrics, kept_results; /* lengths that are on disk for certain */
};

/* Makes the folder: `out`, or the next free runs/trainN. A folder that holds a run already is
 * EXIT_USAGE. Where it was not there before, it gets its name from ot_run_publish. */
int ot_run_create(struct run_folder *run, const struct settings *s, struct failure *f);

/* Opens the folder of the run that `resume` names; *checkpoint gets the file to load, in fresh
 * memory; NULL: the run was stopped before there was one, and begins. Where a checkpoint lies in no
 * run's folder, a new folder is made. A folder in which another process trains is EXIT_USAGE. */
int ot_run_resume(struct run_folder *run, const struct settings *s, char **checkpoint,
                  struct failure *f);

/* Gives a new folder its name, once args.yaml stands in it. */
int ot_run_publish(struct run_folder *run, struct failure *f);

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
