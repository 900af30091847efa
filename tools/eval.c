/* eval.c - `onnx-train eval`: loss and accuracy on labelled data. */
#include "tools/command.h"
#include "tools/evaluate.h"
#include "tools/jsonout.h"

#include <inttypes.h>
#include <stdlib.h>

static void print_score(const struct score *score, bool counts, bool json) {
    if (json) {
        fputs("{\"loss\":", stdout);
        ot_print_number(stdout, score->loss, 9);
        if (counts) {
            fputs(",\"accuracy\":", stdout);
            ot_print_number(stdout, score->accuracy, 9);
        }
        printf(",\"n\":%" PRId64 "}\n", score->n);
        return;
    }
    printf("loss      %.6g +- %.2g\n", score->loss, score->loss_error);
    if (counts) printf("accuracy  %.4f +- %.4f\n", score->accuracy, score->accuracy_error);
    printf("n         %" PRId64 "\n", score->n);
}

static int evaluate(struct model *m, const struct data_source *d, const struct settings *s,
                    struct failure *f) {
    const ot_loss_kind loss = (ot_loss_kind)ot_integer(s, OPTION_loss, 0);
    struct feed *feed = ot_take(1, sizeof *feed, f);
    if (!feed) return f->code;
    struct score score;
    int code = ot_model_set_loss(m, s, f);
    if (!code)
        code = ot_feed_make(feed, s, d, m->input, m->n_inputs, &m->output, ot_target_of(loss),
                            ot_model_classes(m), f);
    if (!code) code = ot_evaluate(m, feed, ot_integer(s, OPTION_batch, 32), NULL, NULL, &score, f);
    const bool json = ot_integer(s, OPTION_json, 0);
    if (!code && !json) {
        printf("model     %s\n", ot_text(s, OPTION_model));
        printf("data      %s, %s, %" PRId64 " samples\n", d->path, d->kind, d->count);
        if (feed->input[0].note[0]) printf("          %s\n", feed->input[0].note);
    }
    if (!code) print_score(&score, ot_counts_right(loss), json);
    free(feed);
    return code;
}

int ot_run_eval(struct settings *s, struct failure *f) {
    struct model m;
    struct data_source d;
    struct data_request request;
    if (ot_text(s, OPTION_model) && !ot_text(s, OPTION_data))
        return ot_refuse(f, EXIT_USAGE, "no data given; usage: onnx-train eval MODEL DATA");
    int code = ot_model_open(&m, s, f);
    if (code) return code;
    code = ot_model_load(&m, s, f);
    ot_model_request(&m, s, &request);
    if (!code)
        code = ot_data_open(&d, ot_text(s, OPTION_data), (enum split)ot_integer(s, OPTION_split, 0),
                            &request, f);
    if (!code) {
        code = evaluate(&m, &d, s, f);
        ot_data_close(&d);
    }
    if (code) code = ot_model_blame(&m, f);
    ot_model_close(&m);
    return code;
}
