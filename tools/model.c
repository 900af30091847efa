/* model.c - a model opened with the command's settings. */
#include "tools/model.h"

#include <stdio.h>
#include <string.h>

int ot_refuse_status(struct failure *f, int code, const ot_error *err) {
    static const struct {
        ot_status status;
        int code;
    } codes[] = {{OT_ERROR_NO_MEMORY, EXIT_MEMORY},
                 {OT_ERROR_NUMERIC, EXIT_DIVERGED},
                 {OT_ERROR_IO, EXIT_RUNTIME}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (err->status == codes[i].status) code = codes[i].code;
    return ot_refuse(f, code, "%s", err->message[0] ? err->message : ot_status_name(err->status));
}

static void print_held(struct model *m) {
    if (m->held[0]) fprintf(stderr, "onnx-train: %s\n", m->held);
    m->held[0] = '\0';
}

/* One line a warning; the library has escaped it. While a model is opened the last one is held
 * back, for it may be the error that is printed anyway. */
static void print_warning(void *context, ot_log_level level, const char *line) {
    struct model *m = context;
    if (level != OT_LOG_WARNING) return;
    print_held(m);
    snprintf(m->held, sizeof m->held, "%s", line);
    if (!m->opening) print_held(m);
}

int ot_model_choose_output(struct model *m, const struct settings *s, struct failure *f) {
    ot_error err = {0};
    const char *wanted = (s->command & (DATAS | EXPORT)) ? ot_text(s, OPTION_output) : NULL;
    for (int i = 0; i < m->n_outputs; i++) {
        if (ot_get_output(m->session, i, &m->output, &err))
            return ot_refuse_status(f, EXIT_MODEL, &err);
        m->output_index = i;
        if (!wanted || strcmp(wanted, m->output.name) == 0) return 0;
    }
    return wanted ? ot_refuse(f, EXIT_USAGE, "the model has no output '%s'", wanted)
                  : ot_refuse(f, EXIT_MODEL, "the model has no outputs");
}

static int look_at_values(struct model *m, const struct settings *s, struct failure *f) {
    ot_error err = {0};
    ot_get_model_info(m->session, &m->info);
    m->n_inputs = ot_input_count(m->session);
    m->n_outputs = ot_output_count(m->session);
    if (m->n_inputs > MAX_INPUTS)
        return ot_refuse(f, EXIT_MODEL, "the model has %d inputs; the command supports at most %d",
                         m->n_inputs, MAX_INPUTS);
    for (int i = 0; i < m->n_inputs; i++)
        if (ot_get_input(m->session, i, &m->input[i], &err))
            return ot_refuse_status(f, EXIT_MODEL, &err);
    return ot_model_choose_output(m, s, f);
}

/* Commands that train, or write how, read training_info. */
static bool reads_training(const struct settings *s) {
    if (s->command & TRAIN) return ot_integer(s, OPTION_training_info, 0);
    return (s->command & EXPORT) && ot_integer(s, OPTION_export_training_info, 0);
}

/* Options of the library as the settings have them. */
static ot_options options_of(struct model *m, const struct settings *s) {
    const bool computes = s->command & COMPUTES;
    return (ot_options){
        .size = sizeof(ot_options),
        .fix = ot_text(s, OPTION_fix),
        .threads = computes ? (int)ot_integer(s, OPTION_threads, 0) : 1,
        .isa = computes ? ot_text(s, OPTION_isa) : NULL,
        .sparse = computes ? (ot_sparse_mode)ot_integer(s, OPTION_sparse, 0) : OT_SPARSE_AUTO,
        .apart = computes && !ot_integer(s, OPTION_recognise, 1),
        .bn = (s->command & PLANS) ? (ot_bn_mode)ot_integer(s, OPTION_bn, 0) : OT_BN_AUTO,
        .seed = s->command & TRAIN ? (uint64_t)ot_integer(s, OPTION_seed, 0) : 0,
        .allow_nonfinite =
            (s->command & (EVAL | PREDICT)) && ot_integer(s, OPTION_allow_nonfinite, 0),
        .training_info = reads_training(s),
        .mask = ot_text(s, OPTION_mask),
        .mask_share = (float)ot_number(s, OPTION_mask_share, 0),
        .limits.memory_bytes = (uint64_t)ot_integer(s, OPTION_memory_limit, 0),
        .activation = ot_text(s, OPTION_activation),
        .log = print_warning,
        .log_context = m};
}

/* path, or where it is NULL a perceptron. */
static int open_session(struct model *m, const struct settings *s, const char *path,
                        const int64_t *units, int n, struct failure *f) {
    *m = (struct model){.opening = true};
    const ot_options options = options_of(m, s);
    ot_error err = {0};
    const ot_status status = path ? ot_open(path, &options, &m->session, &err)
                                  : ot_open_mlp(units, n, &options, &m->session, &err);
    m->opening = false;
    if (status == OT_OK || strcmp(m->held, err.message)) print_held(m);
    if (status == OT_OK) {
        const int code = look_at_values(m, s, f);
        if (code) ot_model_close(m);
        return code;
    }
    if (status == OT_ERROR_ARGUMENT) return ot_refuse_status(f, EXIT_USAGE, &err);
    if (status == OT_ERROR_LIMIT && ot_is_given(s, OPTION_memory_limit))
        return ot_refuse_status(f, EXIT_MEMORY, &err);
    if ((s->command & TRAIN) && strncmp(err.message, "training_info", 13) == 0)
        return ot_refuse(f, EXIT_MODEL, "%s; training_info=0 ignores it", err.message);
    /* a model with values that are not finite is a broken model, not a diverged run */
    ot_refuse_status(f, EXIT_MODEL, &err);
    f->code = f->code == EXIT_MEMORY ? EXIT_MEMORY : EXIT_MODEL;
    return f->code;
}

int ot_model_open(struct model *m, const struct settings *s, struct failure *f) {
    const char *path = ot_text(s, OPTION_model);
    if (!path)
        return ot_refuse(f, EXIT_USAGE, "no model given; usage: onnx-train %s MODEL ...", s->name);
    return open_session(m, s, path, NULL, 0, f);
}

int ot_model_open_mlp(struct model *m, const struct settings *s, const int64_t *units, int n,
                      struct failure *f) {
    return open_session(m, s, NULL, units, n, f);
}

void ot_model_close(struct model *m) {
    ot_close(m->session);
    *m = (struct model){0};
}

int ot_model_load(struct model *m, const struct settings *s, struct failure *f) {
    const char *path = ot_text(s, OPTION_checkpoint);
    ot_error err = {0};
    if (!path || ot_load_checkpoint(m->session, path, NULL, NULL, &err) == OT_OK) return 0;
    return ot_refuse_status(f, EXIT_MODEL, &err);
}

int ot_model_blame(struct model *m, struct failure *f) {
    ot_tensor inputs[MAX_INPUTS];
    size_t bytes;
    ot_error err = {0};
    if (f->code != EXIT_DATA || !m->session) return f->code;
    for (int k = 0; k < m->n_inputs; k++) {
        const ot_value_info *v = &m->input[k];
        inputs[k] = (ot_tensor){.type = v->type, .rank = v->rank};
        for (int i = 0; i < v->rank; i++) {
            inputs[k].dim[i] = i == 0 && v->dim[0] < 0 ? 1 : v->dim[i];
            if (inputs[k].dim[i] < 0) return f->code;
        }
        if (v->rank < 0) return f->code;
    }
    const ot_status status = ot_prepare(m->session, 0, inputs, m->n_inputs, &bytes, &err);
    if (status == OT_ERROR_INVALID || status == OT_ERROR_UNSUPPORTED)
        return ot_refuse_status(f, EXIT_MODEL, &err);
    return f->code;
}

static void warn(const char *line) { fprintf(stderr, "onnx-train: %s\n", line); }

void ot_model_request(const struct model *m, const struct settings *s,
                      struct data_request *request) {
    *request = (struct data_request){.n_inputs = m->n_inputs, .output = m->output.name};
    request->skip_broken = ot_integer(s, OPTION_skip_broken, 0);
    request->check = (s->command & TRAIN) || request->skip_broken;
    request->threads = (int)ot_integer(s, OPTION_threads, 0);
    request->tell = warn;
    for (int i = 0; i < m->n_inputs; i++) request->input[i] = m->input[i].name;
}

int ot_model_shapes(const struct model *m, const struct settings *s, ot_tensor *inputs,
                    struct failure *f) {
    int64_t width = 224, height = 0;
    const char *size = ot_text(s, OPTION_crop) ? ot_text(s, OPTION_crop) : ot_text(s, OPTION_size);
    if (size && !ot_parse_extent(size, &width, &height))
        return ot_refuse(f, EXIT_USAGE, "size: '%s' is neither N nor WxH", size);
    height = height ? height : width;
    for (int k = 0; k < m->n_inputs; k++) {
        const ot_value_info *v = &m->input[k];
        if (v->rank < 0) return ot_refuse(f, EXIT_MODEL, "input '%s' has no known shape", v->name);
        inputs[k] = (ot_tensor){.type = v->type, .rank = v->rank};
        const int64_t tokens = v->rank < 4 ? ot_integer(s, OPTION_length, 1) : 1;
        const int64_t free_dim[4] = {1, tokens, height, width};
        for (int i = 0; i < v->rank; i++)
            inputs[k].dim[i] = v->dim[i] > 0 ? v->dim[i] : i < 4 ? free_dim[i] : 1;
        if (v->rank > 0) inputs[k].dim[0] = ot_integer(s, OPTION_batch, 1);
    }
    return 0;
}

int ot_model_set_loss(struct model *m, const struct settings *s, struct failure *f) {
    const bool trains = s->command & RULES;
    const ot_loss_options options = {
        .size = sizeof options,
        .kind = (ot_loss_kind)ot_integer(s, OPTION_loss, 0),
        .label_smoothing = trains ? (float)ot_number(s, OPTION_label_smoothing, 0) : 0,
        .huber_delta = (float)ot_number(s, OPTION_huber_delta, 1),
        .ignore_index = ot_integer(s, OPTION_ignore_index, 0),
        .use_ignore_index = ot_is_given(s, OPTION_ignore_index),
        .class_axis = (int)ot_integer(s, OPTION_class_axis, 0),
        .output = m->output.name};
    ot_error err = {0};
    if (ot_set_loss(m->session, &options, &err)) return ot_refuse_status(f, EXIT_MODEL, &err);
    return 0;
}

int64_t ot_model_classes(const struct model *m) {
    return m->output.rank >= 2 && m->output.dim[1] > 0 ? m->output.dim[1] : 0;
}

double ot_model_sparsity(const struct model *m) {
    ot_model_info info;
    ot_get_model_info(m->session, &info);
    if (info.parameters < 1) return 0;
    return 1 - (double)info.nonzeros / (double)info.parameters;
}
