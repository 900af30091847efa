/* open.c - opening a model, and closing it. */
#include "runtime/api/session.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/options.h"
#include "runtime/base/pattern.h"
#include "runtime/compile/masked.h"
#include "runtime/info/training.h"
#include "runtime/model/loop.h"

enum { PLANS_KEPT = 16 };

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

const char *ot_version(void) {
    return TEXT(OT_VERSION_MAJOR) "." TEXT(OT_VERSION_MINOR) "." TEXT(OT_VERSION_PATCH);
}

const char *ot_status_name(ot_status status) {
    static const char *const names[] = {
        [OT_OK] = "ok",
        [OT_ERROR_ARGUMENT] = "argument",
        [OT_ERROR_PARSE] = "parse",
        [OT_ERROR_LIMIT] = "limit",
        [OT_ERROR_INVALID] = "invalid",
        [OT_ERROR_UNSUPPORTED] = "unsupported",
        [OT_ERROR_PATH] = "path",
        [OT_ERROR_IO] = "io",
        [OT_ERROR_NO_MEMORY] = "no memory",
        [OT_ERROR_NUMERIC] = "numeric",
        [OT_ERROR_STATE] = "state",
    };
    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown";
}

/* ---- opening ---- */

static uint64_t physical_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : (uint64_t)1 << 36;
}

static void fill_limits(ot_limits *l) {
    const uint64_t most = ((uint64_t)1 << 31) - 1;
    if (!l->file_bytes || l->file_bytes > most) l->file_bytes = most;
    if (!l->nodes) l->nodes = 1000000;
    if (!l->tensor_elements) l->tensor_elements = (uint64_t)1 << 40;
    if (!l->memory_bytes) l->memory_bytes = physical_memory();
}

static ot_status check_options(const ot_options *o, ot_error *err) {
    if (o->threads < 0 || o->threads > 1024)
        return ot_fail(err, OT_ERROR_ARGUMENT, "threads is %d, expected 0 to 1024", o->threads);
    if (o->plans < 0)
        return ot_fail(err, OT_ERROR_ARGUMENT, "plans is %d, expected at least 0", o->plans);
    if ((unsigned)o->sparse > OT_SPARSE_LIVE || (unsigned)o->bn > OT_BN_AFFINE)
        return ot_fail(err, OT_ERROR_ARGUMENT, "sparse is %d or bn is %d: unknown mode",
                       (int)o->sparse, (int)o->bn);
    if (!(o->mask_share >= 0 && o->mask_share <= 1))
        return ot_fail(err, OT_ERROR_ARGUMENT, "mask_share is %g, expected 0 to 1", o->mask_share);
    if (o->parallel_for && (o->parallel_workers < 1 || o->parallel_workers > 1024))
        return ot_fail(err, OT_ERROR_ARGUMENT, "parallel_workers is %d, expected 1 to 1024",
                       o->parallel_workers);
    return OT_OK;
}

/* Is there an operator that takes the node, or a loop that can be unrolled? */
static ot_status check_node(const struct node *node, const bool *known, ot_error *why) {
    const struct op *op = ot_op_of(node);
    if (ot_is_loop(node)) return ot_loop_check(node, known, why);
    if (op && !op->internal) return ot_op_check(op, node, why);
    const bool branches = !*node->domain && !strcmp(node->op_type, "If");
    return ot_fail(
        why, OT_ERROR_UNSUPPORTED,
        branches ? "its condition is not a constant; fix=NAME=VALUE turns an input into a constant"
                 : "the operator is not supported");
}

/* Every node that no operator takes is logged; the first one is the error. */
static ot_status check_nodes(const struct graph *g, const bool *known, const struct log *log,
                             ot_error *err) {
    int problems = 0;
    ot_status status = OT_OK;
    char first[256] = "";
    for (int k = 0; k < g->all_nodes; k++) {
        const struct node *node = &g->node[k];
        ot_error why;
        if (!check_node(node, known, &why)) continue;
        char line[352];
        snprintf(line, sizeof line, "node %d '%.80s' operator %.40s%s%.40s opset %d: %.120s", k,
                 node->name, node->domain, *node->domain ? "." : "", node->op_type, node->opset,
                 why.message);
        ot_log(log, OT_LOG_WARNING, "%s", line);
        if (!problems++) {
            snprintf(first, sizeof first, "%.255s", line);
            status = why.status;
        } else if (why.status == OT_ERROR_UNSUPPORTED) {
            status = why.status;
        }
    }
    if (!problems) return OT_OK;
    return ot_fail(err, status, "%d of %d nodes cannot be run; %s", problems, g->all_nodes, first);
}

static ot_status check_operators(const struct ot_session *s, ot_error *err) {
    bool *known = ot_block_alloc(&s->allocator, (size_t)s->model->graph->n_values, sizeof *known);
    if (!known) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the model");
    ot_loop_find_known(s->model->graph, known);
    const ot_status status = check_nodes(s->model->graph, known, &s->log, err);
    ot_block_free(&s->allocator, known);
    return status;
}

/* Each glob of ot_options.mask names a weight. */
static ot_status check_mask(const struct ot_session *s, ot_error *err) {
    const char *list = s->options.mask;
    char glob[OT_GLOB_SIZE];
    bool negated;
    while (list && ot_glob_next(&list, glob, &negated)) {
        int matches = 0;
        for (int i = 0; i < s->model->n_parameters; i++)
            matches +=
                ot_glob(glob, s->model->parameter[i].name) && s->model->parameter[i].t.rank > 1;
        if (!matches)
            return ot_fail(err, OT_ERROR_ARGUMENT, "mask: no matrix of weights matches '%s'", glob);
    }
    return list && *list ? ot_fail(err, OT_ERROR_ARGUMENT, "mask: a glob has more than %d bytes",
                                   OT_GLOB_SIZE - 1)
                         : OT_OK;
}

static ot_status start_threads(struct ot_session *s, ot_error *err) {
    const ot_options *o = &s->options;
    const int threads = o->threads ? o->threads : ot_usable_processors();
    const int workers = o->parallel_for ? o->parallel_workers : threads;
    return ot_pool_new(&s->allocator, workers, o->parallel_for, o->parallel_context,
                       &s->context.pool, err);
}

static ot_status set_up(struct ot_session *s, ot_error *err) {
    const ot_options *o = &s->options;
    OT_TRY(check_operators(s, err));
    s->kernels = ot_kernels_find(o->isa);
    if (!s->kernels)
        return ot_fail(err, OT_ERROR_ARGUMENT, "this machine does not run isa '%s'", o->isa);
    s->model->parameter_of = ot_block_alloc(&s->allocator, (size_t)s->model->graph->n_values,
                                            sizeof *s->model->parameter_of);
    if (!s->model->parameter_of)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the model");
    s->context.random.seed = o->seed;
    ot_session_reset_loss(s);
    const struct compiler compiler = {s->model, s->context.pool, &s->log};
    OT_TRY(ot_masks_fold(&compiler, s->kernels, (size_t)o->limits.memory_bytes, err));
    OT_TRY(ot_parameters_find(s->model->graph, &s->allocator, &s->model->parameter,
                              &s->model->n_parameters, s->model->parameter_of, err));
    s->context.parameter = s->model->parameter;
    s->context.weights = ot_weights_new(&s->allocator, ot_weights_size(s->model));
    if (!s->context.weights)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the weights");
    ot_weights_fill(s->model, s->context.weights);
    OT_TRY(check_mask(s, err));
    for (int i = 0; i < s->model->n_parameters; i++)
        if (!s->model->parameter[i].is_number)
            ot_parameter_wake(s->model->graph, s->model->parameter, i, s->model->parameter_of);
    const struct recipe recipe = ot_session_recipe(s);
    return s->model->graph->algorithm ? ot_training_recognise(&recipe, &s->training, err) : OT_OK;
}

struct import_options ot_session_import(const struct ot_session *s) {
    return (struct import_options){.fix = s->model->graph ? s->model->graph->fix : s->options.fix,
                                   .limits = s->options.limits,
                                   .allocator = s->allocator,
                                   .pool = s->context.pool,
                                   .log = s->log,
                                   .training = s->options.training_info != 0,
                                   .structure = {s->options.mask_share, s->options.mask},
                                   .activation = s->options.activation};
}

struct recipe ot_session_recipe(const struct ot_session *s) {
    return (struct recipe){.model = s->model,
                           .loss = s->loss,
                           .loss_kind = s->loss_kind,
                           .loss_output = s->loss_output,
                           .loss_axis = s->loss_axis,
                           .bn = s->options.bn,
                           .has_optimizer = s->optimizer.is_set,
                           .optimizer = s->optimizer.options,
                           .steps = s->optimizer.steps};
}

/* path, or bytes where it is NULL. */
static ot_status import_model(struct ot_session *s, const char *path, const void *bytes,
                              size_t size, ot_error *err) {
    OT_TRY(start_threads(s, err)); /* they read large weights */
    const struct import_options import = ot_session_import(s);
    return path ? ot_import_file(path, &import, &s->model->graph, err)
                : ot_import_buffer(bytes, size, &import, &s->model->graph, err);
}

static ot_status open_model(const char *path, const void *bytes, size_t size,
                            const ot_options *options, ot_session **session, ot_error *err) {
    ot_options o = {0};
    if (!session) return ot_fail(err, OT_ERROR_ARGUMENT, "session is NULL");
    if (options) OT_TRY(ot_options_read(&ot_options_type, options, &o, err));
    OT_TRY(check_options(&o, err));
    ot_allocator al = ot_allocator_or_default(&o.allocator);
    struct ot_session *s = ot_block_alloc(&al, 1, sizeof *s);
    if (!s) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
    s->allocator = al;
    s->context.allocator = s->state.allocator = al;
    s->context.allow_nonfinite = o.allow_nonfinite != 0;
    s->options = o;
    fill_limits(&s->options.limits);
    if (!s->options.plans) s->options.plans = PLANS_KEPT;
    s->log = (struct log){o.log, o.log_context};
    s->model = ot_block_alloc(&al, 1, sizeof *s->model);
    ot_status status = s->model ? OT_OK : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
    if (!status) s->model->allocator = al;
    if (!status) status = import_model(s, path, bytes, size, err);
    if (!status) status = set_up(s, err);
    if (status) {
        ot_close(s);
        return status;
    }
    s->options.mask = s->options.activation = NULL; /* the host's, and done with */
    *session = s;
    return OT_OK;
}

ot_status ot_open(const char *path, const ot_options *options, ot_session **session,
                  ot_error *err) {
    if (!path) return ot_fail(err, OT_ERROR_ARGUMENT, "path is NULL");
    return open_model(path, NULL, 0, options, session, err);
}

ot_status ot_open_buffer(const void *bytes, size_t size, const ot_options *options,
                         ot_session **session, ot_error *err) {
    if (!bytes) return ot_fail(err, OT_ERROR_ARGUMENT, "bytes is NULL");
    return open_model(NULL, bytes, size, options, session, err);
}

void ot_close(ot_session *s) {
    if (!s) return;
    ot_allocator al = s->allocator;
    ot_session_drop_plans(s);
    ot_state_free(&s->state);
    ot_probes_free(&s->probes);
    ot_block_free(&s->allocator, s->topology.layer);
    ot_context_free(&s->context);
    ot_block_free(&al, s->statistics);
    ot_block_free(&al, s->score);
    ot_block_free(&al, s->wants_input);
    ot_pool_free(s->context.pool);
    ot_model_free(s->model);
    ot_block_free(&al, s);
    ot_allocator_trim(&al);
}
