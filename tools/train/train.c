/* train.c - `onnx-train train`: header, the run, summary. */
#include "tools/command.h"
#include "tools/train/stop.h"
#include "tools/train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

static void print_model(const struct trainer *t) {
    const struct model *m = &t->model;
    int sparse = 0;
    for (int i = 0; i < ot_parameter_count(m->session); i++) {
        ot_parameter_info p;
        if (ot_get_parameter(m->session, i, &p, NULL) == OT_OK) sparse += p.is_sparse;
    }
    ot_model_info info;
    ot_get_model_info(m->session, &info);
    printf("model   %s  opset %" PRId64 ", ir %" PRId64 ", %" PRId64 " nodes\n",
           ot_text(t->s, OPTION_model), info.opset, info.ir_version, info.nodes);
    printf("        %" PRId64 " parameters, %" PRId64 " nonzeros (%.2f %% sparse), %d weights with "
           "sparse kernels\n",
           info.parameters, info.nonzeros, 100 * ot_model_sparsity(m), sparse);
    if (t->new_head)
        printf("        head %s re-initialised, %" PRId64 " -> %" PRId64 " classes\n", t->new_head,
               t->old_classes, t->new_classes);
    ot_algorithm_print(&t->algorithm, m);
}

void ot_trainer_print_header(const struct trainer *t) {
    const struct settings *s = t->s;
    char text[80];
    printf("onnx-train %s  |  %s  |  %" PRId64 " threads  |  oneDNN %s  |  seed %" PRIu64
           " (deterministic)\n",
           ot_version(), ot_text(s, OPTION_isa) ? ot_text(s, OPTION_isa) : ot_isa_name(0),
           ot_integer(s, OPTION_threads, ot_count_cpus()), ot_dnnl_version(), t->seed);
    print_model(t);
    printf("data    %s  %s, %" PRId64 " training samples", t->data.path, t->data.kind,
           t->feed.count);
    if (t->has_val)
        printf(t->val_is_part ? ", validation: %" PRId64 " samples held out"
                              : ", %" PRId64 " validation samples",
               t->val_feed.count);
    if (t->data.classes) printf(", %" PRId64 " classes", t->data.classes);
    if (t->data.left_out) printf(", %" PRId64 " broken images skipped", t->data.left_out);
    printf("\n");
    if (t->feed.input[0].note[0]) printf("        %s\n", t->feed.input[0].note);
    printf("loss    %s%s\n", ot_loss_text(&t->loss, text, sizeof text),
           ot_integer(s, OPTION_loss, 0) == OT_LOSS_AUTO ? ", chosen by the targets" : "");
    printf("plan    batch %" PRId64 ", accumulate %" PRId64 ", %" PRId64
           " steps, %.1f MiB per step\n",
           t->size, t->accumulate, t->total_steps, (double)t->bytes / (1 << 20));
    if (t->changes_masks)
        printf("masks   topology=%s, every %" PRId64 " steps\n", ot_text(s, OPTION_topology),
               t->masks_every);
    if (t->memory.parts > 1)
        printf("        %" PRId64 " micro-batches per batch, to fit the memory limit\n",
               t->memory.parts);
    if (t->memory.recomputed)
        printf("        %" PRId64
               " activations are recomputed in the backward pass instead of stored\n",
               t->memory.recomputed);
    printf("run     %s  (Ctrl-C: finish the step, save a checkpoint, exit 130)\n", t->run.path);
    if (ot_text(s, OPTION_resume))
        printf("        resumed at step %" PRId64 ", epoch %" PRId64 "\n",
               ot_step_count(t->model.session), t->at.epoch + 1);
    if (*t->changed) printf("        options changed from here on: %s\n", t->changed);
    printf("\n");
    fflush(stdout);
}

static int print_summary(struct trainer *t, struct failure *f) {
    struct rusage usage = {0};
    ot_memory_info memory;
    getrusage(RUSAGE_SELF, &usage);
    ot_get_memory_info(t->model.session, &memory);
    const bool kept = t->changes_masks || ot_trainer_mask(t) == t->mask;
    printf("\nsparsity  %.2f %%, ", 100 * ot_model_sparsity(&t->model));
    if (t->changes_masks)
        printf("masks changed %" PRId64 " times: %" PRId64 " weights removed, %" PRId64 " moved\n",
               t->updates, t->removed, t->moved);
    else
        printf("%s\n", kept ? "every mask unchanged" : "A MASK HAS CHANGED");
    if (t->at.best_epoch)
        printf("best      epoch %" PRId64 ", %s %.4f\n", t->at.best_epoch,
               t->counts ? "accuracy" : "loss", t->counts ? t->at.best : -t->at.best);
    printf("time      %.1f s, peak memory %.0f MiB (weights %.2f, gradients %.2f, moments %.2f)\n",
           ot_now() - t->progress.start, (double)usage.ru_maxrss / 1024,
           (double)memory.weights / (1 << 20), (double)memory.gradients / (1 << 20),
           (double)memory.moments / (1 << 20));
    printf("files     %s/weights/{best,last}.onnx, args.yaml, metrics.jsonl, results.csv\n",
           t->run.path);
    printf("use       onnx-train eval %s/weights/%s.onnx DATA\n", t->run.path,
           t->at.best_epoch ? "best" : "last");
    return kept ? 0 : ot_refuse(f, EXIT_SPARSITY, "a mask has changed during training");
}

int ot_run_train(struct settings *s, struct failure *f) {
    ot_stop_install(); /* a signal may come before the first step */
    struct trainer *t = ot_take(1, sizeof *t, f);
    int code = t ? ot_trainer_make(t, s, f) : f->code;
    if (!code) {
        ot_progress_start(&t->progress, s);
        ot_trainer_print_header(t);
        code = ot_trainer_run(t, f);
        if (!code) code = print_summary(t, f);
        ot_trainer_free(t);
    }
    free(t);
    return code;
}
