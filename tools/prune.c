/* prune.c - `onnx-train prune`: weights of a model become zero for good. */
#include "tools/command.h"
#include "tools/out_file.h"
#include "tools/out_model.h"
#include "tools/sparsity.h"
#include "tools/train/evaluate.h"
#include "tools/train/loss.h"

#include <stdlib.h>

/* Options that only data give a meaning to. */
static int check_unused(const struct settings *s, struct failure *f) {
    for (int i = 0; i < OPTION_COUNT; i++) {
        const unsigned commands = ot_option_table[i].commands;
        if (!(commands & PRUNE) || !(commands & EVAL) || (commands & INIT)) continue;
        if (ot_is_given(s, (enum option_id)i))
            return ot_refuse(f, EXIT_USAGE, "%s is given, but only by=taylor reads data",
                             ot_option_table[i].key);
    }
    return 0;
}

/* All batches of a feed, in order. */
static int score_feed(struct model *m, const struct feed *feed, int64_t most, struct failure *f) {
    struct batch b;
    ot_error err = {0};
    int64_t *index = ot_take((size_t)most, sizeof *index, f);
    int code = index ? ot_batch_make(&b, feed, most, f) : f->code;
    if (code) {
        free(index);
        return code;
    }
    for (int64_t done = 0; done < feed->count && !code; done += most) {
        const int64_t count = feed->count - done < most ? feed->count - done : most;
        ot_count_up(index, done, count);
        code = ot_batch_fill(&b, feed, index, count, f);
        const ot_tensor *target = b.target.rank ? &b.target : NULL;
        if (!code && ot_score_step(m->session, b.input, b.n_inputs, target, NULL, &err))
            code = ot_refuse_status(f, EXIT_MODEL, &err);
    }
    ot_batch_free(&b);
    free(index);
    return code;
}

static int score(struct model *m, const struct settings *s, struct failure *f) {
    struct data_source d;
    struct data_request request;
    ot_loss_info loss;
    if (!ot_text(s, OPTION_data))
        return ot_refuse(f, EXIT_USAGE, "by=taylor needs data; usage: onnx-train prune MODEL DATA");
    enum split split = (enum split)ot_integer(s, OPTION_split, 0);
    if (split == SPLIT_AUTO) split = SPLIT_TRAIN;
    ot_model_request(m, s, &request);
    int code = ot_data_open(&d, ot_text(s, OPTION_data), split, &request, f);
    if (code) return code;
    const int64_t batch = ot_integer(s, OPTION_batch, 32);
    struct feed *feed = ot_take(1, sizeof *feed, f);
    code = feed ? ot_loss_feed(feed, s, m, &d, batch, &loss, f) : f->code;
    if (!code) code = score_feed(m, feed, batch < feed->count ? batch : feed->count, f);
    free(feed);
    ot_data_close(&d);
    return code ? ot_model_blame(m, f) : 0;
}

static int prune(struct model *m, const struct settings *s, struct sparsity *p, struct failure *f) {
    ot_error err = {0};
    p->options.by = (ot_prune_by)ot_integer(s, OPTION_by, 0);
    const int code = p->options.by == OT_PRUNE_TAYLOR ? score(m, s, f) : check_unused(s, f);
    if (code) return code;
    const ot_status status = ot_prune(m->session, &p->options, &err);
    if (!status) return 0;
    return ot_refuse_status(f, status == OT_ERROR_ARGUMENT ? EXIT_USAGE : EXIT_MODEL, &err);
}

int ot_run_prune(struct settings *s, struct failure *f) {
    const char *model = ot_text(s, OPTION_model), *out = ot_text(s, OPTION_out);
    if (model && !out) return ot_refuse(f, EXIT_USAGE, "no out=FILE given");
    if (model && ot_same_file(model, out))
        return ot_refuse(f, EXIT_USAGE, "out: '%s' is the model itself", out);
    struct model m = {0};
    struct sparsity *p = ot_take(1, sizeof *p, f);
    if (!p) return f->code;
    const ot_export_options options = {
        .size = sizeof options, .sparse = (ot_export_sparse)ot_integer(s, OPTION_made_sparse, 0)};
    int code = ot_out_check(s, f);
    if (!code) code = ot_sparsity_open(p, s, f);
    if (!code) code = ot_model_open(&m, s, f);
    if (!code) code = prune(&m, s, p, f);
    if (!code && !ot_out_is_standard(out)) code = ot_sparsity_print(&m, f);
    if (!code) code = ot_model_write(&m, out, &options, f);
    ot_sparsity_close(p);
    free(p);
    ot_model_close(&m);
    return code;
}
