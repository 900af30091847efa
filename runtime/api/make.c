/* make.c - networks that begin sparse. */
#include "onnx/mlp.h"
#include "runtime/api/session.h"
#include "runtime/base/options.h"
#include "runtime/train/init.h"

ot_status ot_open_mlp(const int64_t *units, int n, const ot_options *options, ot_session **session,
                      ot_error *err) {
    ot_options o = {0};
    void *bytes = NULL;
    size_t size = 0;
    if (!units) return ot_fail(err, OT_ERROR_ARGUMENT, "units is NULL");
    if (options) OT_TRY(ot_options_read(&ot_options_type, options, &o, err));
    const ot_allocator al = ot_allocator_or_default(&o.allocator);
    OT_TRY(ot_mlp_write(&al, units, n, &bytes, &size, err));
    const ot_status status = ot_open_buffer(bytes, size, options, session, err);
    ot_block_free(&al, bytes);
    return status;
}

static ot_status check_draw(const ot_sparsity_options *o, ot_error *err) {
    if (o->constraint > OT_CONSTRAIN_FAN_IN)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "constraint: masks are drawn free or with a constant fan-in; others come "
                       "from pruning");
    if (o->budget == OT_BUDGET_GLOBAL)
        return ot_fail(
            err, OT_ERROR_ARGUMENT,
            "budget global compares weights that are there; masks are drawn with uniform, "
            "erk, er or a list");
    return OT_OK;
}

ot_status ot_draw_weights(ot_session *s, const ot_sparsity_options *options, ot_error *err) {
    ot_sparsity_options o;
    struct sparsity sparsity;
    OT_TRY(ot_session_check(s, err));
    if (!options) return ot_fail(err, OT_ERROR_ARGUMENT, "options is NULL");
    if (s->topology.is_set)
        return ot_fail(err, OT_ERROR_STATE, "masks are drawn before ot_set_topology, not after it");
    OT_TRY(ot_options_read(&ot_sparsity_options_type, options, &o, err));
    OT_TRY(check_draw(&o, err));
    OT_TRY(ot_sparsity_read(s->model, &o, &s->log, &sparsity, err));
    const ot_status status = ot_weights_init(s->model, &s->context.weights, &sparsity, err);
    ot_sparsity_free(&sparsity);
    if (status) return status;
    ot_session_forget_scores(s);
    s->optimizer.bound = 0;
    ot_session_drop_plans(s);
    return OT_OK;
}
