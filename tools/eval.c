/* eval.c - `onnx-train eval`: loss and accuracy on labelled data. */
#include "tools/command.h"
#include "tools/jsonout.h"
#include "tools/train/evaluate.h"
#include "tools/train/loss.h"

#include <inttypes.h>
#include <stdlib.h>

static void print_score(const struct score *score, const ot_loss_info *loss, bool json) {
    const bool counts = ot_counts_right(loss->kind);
    char text[80];
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
    printf("target    %s\n", ot_loss_text(loss, text, sizeof text));
    printf("loss      %.6g +- %.2g\n", score->loss, score->loss_error);
    if (counts) printf("accuracy  %.4f +- %.4f\n", score->accuracy, score->accuracy_error);
    printf("n         %" PRId64 "\n", score->n);
}

static int evaluate(struct model *m, const struct data_source *d, const struct settings *s,
                    struct failure *f) {
    const int64_t batch = ot_integer(s, OPTION_batch, 32);
    ot_loss_info loss;
    struct feed *feed = ot_take(1, sizeof *feed, f);
    if (!feed) return f->code;
    struct score score;
    int code = ot_loss_feed(feed, s, m, d, batch, &loss, f);
    if (!code) code = ot_evaluate(m, feed, batch, NULL, NULL, &score, f);
    const bool json = ot_integer(s, OPTION_json, 0);
    if (!code && !json) {
        printf("model     %s\n", ot_text(s, OPTION_model));
        printf("data      %s, %s, %" PRId64 " samples\n", d->path, d->kind, d->count);
        if (feed->input[0].note[0]) printf("          %s\n", feed->input[0].note);
    }
    if (!code) print_score(&score, &loss, json);
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
