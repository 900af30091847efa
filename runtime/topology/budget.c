/* budget.c - densities of layers: uniform, Erdos-Renyi and Erdos-Renyi-Kernel. */
#include "runtime/topology/budget.h"

static ot_status check_density(double density, ot_error *err) {
    if (density > 0 && density <= 1) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT, "density is %g, not in (0, 1]", density);
}

ot_status ot_budget_uniform(struct budget_layer *layer, int n, double density, ot_error *err) {
    OT_TRY(check_density(density, err));
    for (int i = 0; i < n; i++) layer[i].density = density;
    return OT_OK;
}

static double elements(const struct budget_layer *l) { return (double)l->rows * (double)l->cols; }

static double raw_density(const struct budget_layer *l) { return (double)l->dims / elements(l); }

/* The factor of raw densities that leaves as many weights as asked for. Layers whose density is 1
 * are dense; the counts are rounded as the reference rounds them. */
static double scale(const struct budget_layer *layer, int n, double density) {
    double left = 0, weight = 0;
    for (int i = 0; i < n; i++) {
        const double zeros = (double)(int64_t)(elements(&layer[i]) * (1 - density));
        if (layer[i].density >= 1) {
            left -= zeros;
        } else {
            left += elements(&layer[i]) - zeros;
            weight += raw_density(&layer[i]) * elements(&layer[i]);
        }
    }
    return weight > 0 ? left / weight : 0;
}

static int largest_sparse(const struct budget_layer *layer, int n) {
    int largest = -1;
    for (int i = 0; i < n; i++)
        if (layer[i].density < 1 &&
            (largest < 0 || raw_density(&layer[i]) > raw_density(&layer[largest])))
            largest = i;
    return largest;
}

ot_status ot_budget_erk(struct budget_layer *layer, int n, double density, ot_error *err) {
    OT_TRY(check_density(density, err));
    for (int i = 0; i < n; i++) layer[i].density = density < 1 ? 0 : 1;
    double factor = 0;
    for (int i; (i = largest_sparse(layer, n)) >= 0;) {
        factor = scale(layer, n, density);
        if (factor * raw_density(&layer[i]) <= 1) break;
        layer[i].density = 1;
    }
    for (int i = 0; i < n; i++) {
        if (layer[i].density >= 1) continue;
        layer[i].density = 1 - (1 - factor * raw_density(&layer[i]));
        if (!(layer[i].density > 0))
            return ot_fail(err, OT_ERROR_ARGUMENT, "budget erk: density %g leaves '%s' empty",
                           density, layer[i].name);
    }
    return OT_OK;
}

ot_status ot_budget_er(struct budget_layer *layer, int n, double epsilon, ot_error *err) {
    if (!(epsilon > 0 && epsilon <= 1e9))
        return ot_fail(err, OT_ERROR_ARGUMENT, "budget er: epsilon is %g, not in (0, 1e9]",
                       epsilon);
    int sparse = 0;
    for (int i = 0; i < n; i++) {
        struct budget_layer *l = &layer[i];
        l->density = epsilon * (double)(l->rows + l->cols) / elements(l);
        sparse += l->density < 1;
        if (l->density > 1) l->density = 1;
    }
    if (sparse || !n) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT,
                   "budget er: with epsilon %g every layer is dense; '%s' needs less than %g",
                   epsilon, layer[0].name,
                   elements(&layer[0]) / (double)(layer[0].rows + layer[0].cols));
}
