/* trainer.h - one training run: what it is made of, its setup, its state on disk, its loop. */
#ifndef OT_TOOLS_TRAIN_TRAINER_H
#define OT_TOOLS_TRAIN_TRAINER_H

#include "tools/progress.h"
#include "tools/train/algorithm.h"
#include "tools/train/evaluate.h"
#include "tools/train/loss.h"
#include "tools/train/run_folder.h"

enum { TOO_MANY_SAVES = 3 };

/* What a checkpoint carries for us, besides what the library keeps. */
struct position {
    int64_t epoch;          /* epochs that are complete */
    int64_t done;           /* batches of the present epoch that are */
    double loss_sum;        /* over its targets */
    int64_t count, correct; /* its targets, and those that were right */
    double best;            /* metric of the best epoch, greater is better; NaN: none yet */
    int64_t best_epoch, bad_epochs;
    long metrics, results; /* lengths of the logs */
};

struct trainer {
    const struct settings *s;
    struct model model;
    struct algorithm algorithm;
    ot_export_options delivery; /* how the files in weights/ are written */
    struct data_source data, val_data;
    bool has_val, val_is_part; /* val_is_part: a subset of data */
    int64_t *subset, *val_subset;
    struct feed feed, val_feed;
    struct batch batch;
    int64_t *order; /* of the feed's samples in this epoch */
    struct run_folder run;
    struct progress progress;
    struct position at;

    ot_loss_info loss;
    bool counts;               /* the loss counts right answers */
    int64_t epochs, max_steps; /* 0: no limit */
    int64_t size, accumulate;  /* samples per batch, batches per step */
    int64_t batches;           /* per epoch */
    int64_t total_steps;       /* of the whole run; 0: no limit */
    uint64_t seed;
    size_t bytes;          /* memory that a step needs */
    ot_memory_info memory; /* once it is planned */
    uint64_t mask;         /* hash of all masks at the start */
    bool changes_masks;    /* they are to change */
    int64_t masks_every;   /* steps from one change to the next */
    int64_t masks_end;     /* step from which on they stay; 0: none */
    bool prunes;           /* until then, they lose weights */
    int64_t updates;       /* changes in this process, and weights that they moved, and removed */
    int64_t moved, removed;
    const char *new_head; /* name of a weight that was made afresh; NULL */
    int64_t old_classes, new_classes;
    double last_loss;
    uint64_t data_hash, val_hash; /* of the data; 0: there are none */
    int failed_saves;             /* one after the other; TOO_MANY_SAVES end the run */
    bool best_is_lost;            /* the last of them was of the best, as `lost` has it */
    struct position lost;
    char changed[512]; /* options that a resumed run has not had before; "" */
};

/* ---- kept.c: options of a run that is resumed ---- */

/* The value of an option that a run keeps, "" where it is not set; NULL: it may change. */
const char *ot_kept_text(const struct settings *s, enum option_id id);

/* Refuses an option that a run keeps and that is not what it was; done: batches of this epoch. */
int ot_kept_compare(const struct settings *s, enum option_id id, const char *was, int64_t done,
                    struct failure *f);

/* The same of what args.yaml says, before anything is opened. */
int ot_kept_check(const struct settings *s, struct failure *f);

/* "lr=0.5 (0.01), epochs=4 (2)": what was given, and what the run had. */
void ot_kept_changes(const struct settings *s, char *line, size_t size);

/* ---- the run ---- */

/* Everything before the first step; writes nothing but a new run's folder, and that last. */
int ot_trainer_make(struct trainer *t, struct settings *s, struct failure *f);
void ot_trainer_free(struct trainer *t);
void ot_trainer_print_header(const struct trainer *t);

/* A hash of all weights' masks. */
uint64_t ot_trainer_mask(const struct trainer *t);

/* Tells the session how masks are to change; the steps of the run are known. */
int ot_trainer_set_masks(struct trainer *t, struct failure *f);
/* Once a step is planned: what topology_every=auto comes to. */
int ot_trainer_settle_masks(struct trainer *t, struct settings *s, struct failure *f);
/* After each optimizer step: changes them where that is due. */
int ot_trainer_update_masks(struct trainer *t, struct failure *f);

/* Trains to the end, or until a signal comes. */
int ot_trainer_run(struct trainer *t, struct failure *f);

/* checkpoints/NAME with the position; ot_trainer_load reads it back. */
int ot_trainer_save(struct trainer *t, const char *name, struct failure *f);
int ot_trainer_load(struct trainer *t, const char *path, struct failure *f);

/* Decides how the files in weights/ are written, and refuses what cannot be. */
int ot_trainer_plan_export(struct trainer *t, struct failure *f);
/* weights/NAME. */
int ot_trainer_export(struct trainer *t, const char *name, struct failure *f);

#endif
