/* tf_idf.c - TfIdfVectorizer: how often the n-grams of a pool of integers occur in x, [C] or
 * [N, C], whose elements may stand up to max_skip_count + 1 apart; by mode the counts (TF), a
 * weight where there is one (IDF), or weighted counts (TFIDF). Weights belong to places of y, as
 * in onnxruntime. Not differentiable. */
#include <string.h>

#include "ops/number.h"
#include "ops/op.h"

struct tf_idf_plan {
    int64_t rows, length, places; /* of x, of a row of it, of a row of y */
    int64_t shortest, longest, skips;
    const struct attr *pool, *starts, *at, *weights;
    bool once; /* IDF: further occurrences change nothing */
};

static int64_t start_of(const struct tf_idf_plan *plan, int64_t n) {
    return n <= plan->starts->n ? plan->starts->ints[n - 1] : plan->pool->n;
}

/* n-grams of a size; those of all sizes are numbered one after the other. */
static int64_t ngrams_of_size(const struct tf_idf_plan *plan, int64_t n) {
    return (start_of(plan, n + 1) - start_of(plan, n)) / n;
}

static ot_status read_pool(const struct op_node *n, struct tf_idf_plan *plan, ot_error *err) {
    int64_t total = 0;
    plan->pool = ot_attr(n->node, "pool_int64s");
    plan->starts = ot_attr(n->node, "ngram_counts");
    plan->at = ot_attr(n->node, "ngram_indexes");
    plan->weights = ot_attr(n->node, "weights");
    if (!plan->pool)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "a pool of strings is not supported");
    if (!plan->starts || !plan->at)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'ngram_counts' or 'ngram_indexes' is missing");
    for (int64_t k = 1; k <= plan->starts->n; k++) {
        if (start_of(plan, k) < 0 || start_of(plan, k) > start_of(plan, k + 1) ||
            start_of(plan, k + 1) > plan->pool->n)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "attribute 'ngram_counts' does not ascend within the pool");
        total += ngrams_of_size(plan, k);
    }
    if (total > plan->at->n)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'ngram_indexes' has %lld values for %lld n-grams",
                          (long long)plan->at->n, (long long)total);
    for (int64_t k = 0; k < plan->at->n; k++) {
        if (plan->at->ints[k] < 0 || plan->at->ints[k] > INT32_MAX)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "attribute 'ngram_indexes' contains %lld, which is out of range",
                              (long long)plan->at->ints[k]);
        if (plan->at->ints[k] >= plan->places) plan->places = plan->at->ints[k] + 1;
    }
    return OT_OK;
}

static ot_status read_mode(const struct op_node *n, struct tf_idf_plan *plan, ot_error *err) {
    const char *mode = ot_attr_string(n->node, "mode", "");
    if (strcmp(mode, "TF") != 0 && strcmp(mode, "IDF") != 0 && strcmp(mode, "TFIDF") != 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'mode' is '%.40s', expected 'TF', 'IDF' or 'TFIDF'", mode);
    plan->once = !strcmp(mode, "IDF");
    if (!strcmp(mode, "TF")) plan->weights = NULL;
    if (plan->weights && plan->weights->n < plan->places)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'weights' has %lld values for %lld outputs",
                          (long long)plan->weights->n, (long long)plan->places);
    plan->shortest = ot_attr_int(n->node, "min_gram_length", 1);
    plan->longest = ot_attr_int(n->node, "max_gram_length", 1);
    plan->skips = ot_attr_int(n->node, "max_skip_count", 0);
    if (plan->shortest < 1 || plan->longest < plan->shortest || plan->longest > plan->starts->n ||
        plan->skips < 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attributes 'min_gram_length' %lld, 'max_gram_length' %lld and "
                          "'max_skip_count' %lld are invalid for this pool",
                          (long long)plan->shortest, (long long)plan->longest,
                          (long long)plan->skips);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct tf_idf_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[0];
    if (x->type != OT_INT32) OT_TRY(ot_op_type(n, 0, OT_INT64, err));
    if (x->rank < 1 || x->rank > 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected 1 or 2",
                          x->rank);
    OT_TRY(read_pool(n, plan, err));
    OT_TRY(read_mode(n, plan, err));
    plan->rows = x->rank == 2 ? x->dim[0] : 1;
    plan->length = x->dim[x->rank - 1];
    const int64_t dim[] = {plan->rows, plan->places};
    return ot_op_set(n, n->y[0], OT_FLOAT, x->rank, dim + (x->rank == 1), err);
}

/* How often these n numbers stand in the row, `step` apart. */
static int64_t occurrences(const struct op_node *n, int64_t row, const int64_t *gram, int64_t size,
                           int64_t step) {
    const struct tf_idf_plan *plan = n->plan;
    const struct tensor *x = n->x[0];
    int64_t found = 0;
    for (int64_t i = 0; i < plan->length && (size - 1) <= (plan->length - 1 - i) / step; i++) {
        int64_t k = 0;
        while (k < size &&
               ot_load_integer(x->data, x->type, row * plan->length + i + k * step) == gram[k])
            k++;
        found += k == size;
    }
    return found;
}

static void row_task(void *arg, int row, int worker) {
    const struct op_node *n = arg;
    const struct tf_idf_plan *plan = n->plan;
    float *y = ot_f(n->y[0]) + row * plan->places;
    int64_t number = 0;
    (void)worker;
    memset(y, 0, (size_t)plan->places * sizeof *y);
    for (int64_t size = 1; size <= plan->longest; size++) {
        const int64_t grams = ngrams_of_size(plan, size);
        const int64_t steps =
            size == 1 ? 1 : plan->skips + 1; /* skips do not matter to one number */
        for (int64_t g = 0; size >= plan->shortest && g < grams; g++)
            for (int64_t step = 1; step <= steps; step++)
                y[plan->at->ints[number + g]] += (float)occurrences(
                    n, row, plan->pool->ints + start_of(plan, size) + g * size, size, step);
        number += grams;
    }
    for (int64_t i = 0; i < plan->places; i++) {
        if (plan->once && y[i] > 0) y[i] = 1;
        if (plan->weights) y[i] *= plan->weights->floats[i];
    }
}

static void forward(struct op_node *n) {
    const struct tf_idf_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)plan->rows, row_task, n);
}

#define GRAMS "ngram_counts=0,4 ngram_indexes=0,1,2,3,4,5,6 pool_int64s=2,3,5,4,5,6,7,8,6,7 "
static const char *const cases[] = {
    "i64{1,1,3,3,3,7,8,6,7,5,6,8} mode=TF min_gram_length=2 max_gram_length=2 "
    "max_skip_count=0 " GRAMS "-> f{0,0,0,0,1,1,1}",
    "i32[2,6]{1,1,3,3,3,7,8,6,7,5,6,8} mode=TF min_gram_length=2 max_gram_length=2 "
    "max_skip_count=5 " GRAMS "-> f[2,7]{0,0,0,0,0,0,0,0,0,0,0,1,1,1}",
    "i64{1,1,3,3,3,7,8,6,7,5,6,8} mode=IDF min_gram_length=1 max_gram_length=1 "
    "max_skip_count=0 " GRAMS "weights=0.5,2,1,1,1,1,1 -> f{0,2,1,0,0,0,0}",
    "i64{1} mode=TF min_gram_length=1 max_gram_length=3 max_skip_count=0 " GRAMS
    "-> error: 'max_gram_length' 3",
    "i64{1} mode=TF max_gram_length=1 ngram_counts=0,9 ngram_indexes=0 pool_int64s=1,2 -> "
    "error: does not ascend",
    NULL,
};

const struct op ot_op_TfIdfVectorizer = {
    .name = "TfIdfVectorizer",
    .since = 9,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "max_gram_length:i max_skip_count:i min_gram_length:i mode:s ngram_counts:I "
                  "ngram_indexes:I pool_int64s:I pool_strings:S weights:F",
    .plan_size = sizeof(struct tf_idf_plan),
    .prepare = prepare,
    .forward = forward,
    .limits = "integers only",
    .cases = cases,
};
