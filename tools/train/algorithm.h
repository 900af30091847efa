/* algorithm.h - how a model is trained: loss and optimizer as the settings say, or where nobody
 * gave them, as the model's training_info says. */
#ifndef OT_TOOLS_TRAIN_ALGORITHM_H
#define OT_TOOLS_TRAIN_ALGORITHM_H

#include "tools/model.h"

struct algorithm {
    bool is_read;      /* the model's was */
    bool goes_on;      /* the optimizer has its moments, and its count of steps */
    char text[256];    /* what it says: "sgd lr=0.01 momentum=0.9, mse" */
    char instead[256]; /* settings that were given in its place, with what it says; "" */
};

/* Reads the model's training_info into settings that nobody has set. */
int ot_algorithm_read(struct algorithm *a, struct model *m, struct settings *s, struct failure *f);

/* Sets the optimizer for a run of so many steps, with the state of training_info where it goes on
 * from there. */
int ot_algorithm_set(struct algorithm *a, struct model *m, const struct settings *s,
                     int64_t total_steps, struct failure *f);

/* For a run that is resumed, whose checkpoint has been loaded: the settings count from here on. */
int ot_algorithm_change(struct model *m, const struct settings *s, int64_t total_steps,
                        struct failure *f);

/* The weights that `freeze` names are not trained, or with an exclamation mark are. */
int ot_algorithm_freeze(struct model *m, const struct settings *s, struct failure *f);

/* Two lines of a run's header; nothing where the model says nothing. */
void ot_algorithm_print(const struct algorithm *a, const struct model *m);

#endif
