/* sparsity.h - the options of init and prune that say how sparse a network becomes. */
#ifndef OT_TOOLS_SPARSITY_H
#define OT_TOOLS_SPARSITY_H

#include "tools/model.h"

enum { MAX_DENSITIES = 256 };

/* What the library is told, and what its strings stand in. */
struct sparsity {
    ot_sparsity_options options;
    ot_layer_density density[MAX_DENSITIES];
    char *glob[MAX_DENSITIES];
};

/* Reads density, sparsity, budget, constraint, layers and seed. ot_sparsity_close has to be called,
 * after a failure too. */
int ot_sparsity_open(struct sparsity *p, const struct settings *s, struct failure *f);
void ot_sparsity_close(struct sparsity *p);

/* Prints a line for each layer with a mask, and the sum of all weights of products. */
int ot_sparsity_print(const struct model *m, struct failure *f);

#endif
