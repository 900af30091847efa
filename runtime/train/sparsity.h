/* sparsity.h - which layers become sparse, and how many weights each of them keeps: options of the
 * host, applied to the layers of a model. */
#ifndef OT_TRAIN_SPARSITY_H
#define OT_TRAIN_SPARSITY_H

#include "runtime/model/layer.h"
#include "runtime/topology/budget.h"

struct sparsity {
    const struct model *m;
    ot_sparsity_options o; /* never OT_BUDGET_AUTO */
    int n;                 /* layers that take part */
    int n_empty;           /* behind them: layers that do not, but have no slot */
    struct layer *layer;
    struct budget_layer *budget; /* their densities; with OT_BUDGET_GLOBAL still 0 */
};

/* Checks the options, and names the one that is wrong or the layer that does not fit. Layers that
 * are left out for another reason than the options are logged. After success, and only then,
 * ot_sparsity_free has to be called. */
ot_status ot_sparsity_read(const struct model *m, const ot_sparsity_options *o,
                           const struct log *log, struct sparsity *s, ot_error *err);
void ot_sparsity_free(struct sparsity *s);

/* Are layers compared with each other? (N:M sets the density of each.) */
static inline bool ot_sparsity_compares(const struct sparsity *s) {
    return s->o.budget == OT_BUDGET_GLOBAL && s->o.constraint != OT_CONSTRAIN_NM;
}

#endif
