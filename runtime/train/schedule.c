/* schedule.c - the learning rate as a function of the step. */
#include <math.h>

#include "runtime/train/optimizer.h"

double ot_schedule_lr(const ot_optimizer_options *o, int64_t step) {
    if (step < o->warmup_steps) return o->lr * (double)(step + 1) / (double)o->warmup_steps;
    double span = (double)(o->total_steps - o->warmup_steps);
    double done = span > 0 ? fmin(1, (double)(step - o->warmup_steps) / span) : 1;
    double rest = o->final_factor;
    switch (o->schedule) {
    case OT_SCHEDULE_STEP:
        return o->lr * pow(o->gamma, (double)((step - o->warmup_steps) / o->step_size));
    case OT_SCHEDULE_LINEAR: return o->lr * (1 - (1 - rest) * done);
    case OT_SCHEDULE_COSINE:
        return o->lr * (rest + (1 - rest) * 0.5 * (1 + cos(3.141592653589793 * done)));
    default: return o->lr;
    }
}
