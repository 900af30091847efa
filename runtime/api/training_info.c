/* training_info.c - what a host may take from the training_info of its model. */
#include "runtime/base/options.h"
#include "runtime/api/session.h"

static ot_status check_training(const ot_session *s, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (s->training) return OT_OK;
    return ot_fail(err, OT_ERROR_STATE, "no training_info was read");
}

ot_status ot_get_training_info(const ot_session *s, ot_loss_options *loss,
                               ot_optimizer_options *optimizer, ot_error *err) {
    OT_TRY(check_training(s, err));
    const struct training *t = s->training;
    if (loss) OT_TRY(ot_options_write(&ot_loss_options_type, &t->loss, loss, err));
    return optimizer ? ot_options_write(&ot_optimizer_options_type, &t->optimizer, optimizer, err)
                     : OT_OK;
}

ot_status ot_take_training_state(ot_session *s, ot_error *err) {
    OT_TRY(check_training(s, err));
    const int moments = ot_optimizer_moments(&s->training->optimizer);
    if (!s->optimizer.is_set || s->optimizer.options.kind != s->training->optimizer.kind ||
        ot_optimizer_moments(&s->optimizer.options) != moments)
        return ot_fail(err, OT_ERROR_STATE,
                       "the optimizer is not of the kind that training_info has");
    s->optimizer.bound = 0;
    for (int i = 0; i < s->model->n_parameters; i++) {
        struct parameter *p = &s->model->parameter[i];
        for (int k = 0; ot_is_trained(p) && k < moments; k++) {
            const struct tensor *from = s->training->moment[i * OT_OPTIMIZER_MOMENTS + k];
            if (!from || !ot_same_shape(from, &p->t)) continue; /* a new head begins anew */
            OT_TRY(ot_state_need(&s->state, s->model, p, (enum state_part)k, err));
            OT_TRY(ot_training_gather(&s->allocator, p, from, p->moment[k], err));
        }
    }
    return OT_OK;
}
