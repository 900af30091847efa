/* inspect.c - `onnx-train inspect`: inputs, outputs, weights; with --plan the steps of training. */
#include "tools/command.h"
#include "tools/jsonout.h"
#include "tools/model.h"
#include "tools/operators.h"

#include <inttypes.h>
#include <string.h>

static const char *type_name(ot_type type) {
    static const char *const names[] = {"undefined",  "float32", "uint8",  "int8",   "uint16",
                                        "int16",      "int32",   "int64",  "string", "bool",
                                        "float16",    "float64", "uint32", "uint64", "complex64",
                                        "complex128", "bfloat16"};
    return (size_t)type < sizeof names / sizeof *names ? names[type] : "other";
}

static double density(const ot_parameter_info *p) {
    return p->elements ? (double)p->nonzeros / (double)p->elements : 0;
}

static void print_hash(FILE *file, const uint8_t *hash) {
    for (int i = 0; i < 32; i++) fprintf(file, "%02x", hash[i]);
}

/* ---- text --------------------------------------------------------------------------------- */

static void shape_text(char *out, size_t size, int rank, const int64_t *dim) {
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < rank && used + 24 < size; i++)
        used += dim[i] < 0
                    ? (size_t)snprintf(out + used, size - used, "%s?", i ? "," : "")
                    : (size_t)snprintf(out + used, size - used, "%s%" PRId64, i ? "," : "", dim[i]);
    snprintf(out + used, size - used, "]");
}

static void print_value(const char *what, const ot_value_info *v) {
    char name[256], shape[256];
    ot_make_safe(name, sizeof name, v->name);
    shape_text(shape, sizeof shape, v->rank, v->dim);
    printf("%-8s %s %s %s\n", what, name, v->rank < 0 ? "[...]" : shape, type_name(v->type));
}

/* What its zeros are: where structure comes from, and how many are values. */
static void zeros_text(char *out, size_t size, const ot_parameter_info *p) {
    char mask[128] = "";
    size_t used = 0;
    if (p->mask) ot_make_safe(mask, sizeof mask, p->mask);
    *out = 0;
    if (p->structure == OT_STRUCTURE_MASK)
        used = (size_t)snprintf(out, size, ", by mask '%s'", mask);
    else if (p->structure)
        used = (size_t)snprintf(out, size, ", by %s", ot_structure_name(p->structure));
    if (p->zeros)
        snprintf(out + used, size - used, ", %" PRId64 " zero%s", p->zeros,
                 p->zeros == 1 ? " is a value" : "s are values");
}

static void print_weight(const ot_parameter_info *p) {
    char name[256], shape[128], zeros[256];
    ot_make_safe(name, sizeof name, p->name);
    shape_text(shape, sizeof shape, p->rank, p->dim);
    zeros_text(zeros, sizeof zeros, p);
    printf(
        "%-36s %-18s %-18s %10" PRId64 " %10" PRId64 " %7.2f%%  %s%s%s%s\n", name, p->op, shape,
        p->elements, p->nonzeros, 100 * density(p), p->has_pattern ? "sparse" : "dense", zeros,
        p->is_trainable ? "" : ", fixed: ", p->is_trainable ? "" : ot_fixed_reason_name(p->fixed));
}

static int print_text(const struct model *m, const struct settings *s, struct failure *f) {
    const ot_model_info *i = &m->info;
    char producer[128];
    ot_make_safe(producer, sizeof producer, i->producer);
    printf("model    %s\n", ot_text(s, OPTION_model));
    printf("         opset %" PRId64 ", ir %" PRId64 ", %" PRId64 " nodes, by '%s'\n", i->opset,
           i->ir_version, i->nodes, producer);
    if (i->training_info) printf("         has training_info, which 'train' uses\n");
    for (int k = 0; k < m->n_inputs; k++) print_value("input", &m->input[k]);
    ot_error err = {0};
    for (int k = 0; k < m->n_outputs; k++) {
        ot_value_info v;
        if (ot_get_output(m->session, k, &v, &err)) return ot_refuse_status(f, EXIT_MODEL, &err);
        print_value("output", &v);
    }
    printf("\n%-36s %-18s %-18s %10s %10s %8s  %s\n", "weight", "operator", "shape", "elements",
           "nonzeros", "density", "kept");
    for (int k = 0; k < ot_parameter_count(m->session); k++) {
        ot_parameter_info p;
        if (ot_get_parameter(m->session, k, &p, &err)) return ot_refuse_status(f, EXIT_MODEL, &err);
        print_weight(&p);
    }
    printf("\n%" PRId64 " parameters, %" PRId64 " nonzeros, %.2f %% sparse\n", i->parameters,
           i->nonzeros, 100 * ot_model_sparsity(m));
    return ot_print_uses(m->session, false, f);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void json_value(const ot_value_info *v, int k) {
    fputs(k ? ",\n  {\"name\":" : "\n  {\"name\":", stdout);
    ot_print_string(stdout, v->name);
    printf(",\"type\":\"%s\",\"shape\":", type_name(v->type));
    ot_print_shape(stdout, v->rank, v->dim);
    putchar('}');
}

static void json_weight(const ot_parameter_info *p, int k) {
    fputs(k ? ",\n  {\"name\":" : "\n  {\"name\":", stdout);
    ot_print_string(stdout, p->name);
    printf(",\"operator\":");
    ot_print_string(stdout, p->op);
    printf(",\"type\":\"%s\",\"shape\":", type_name(p->file_type));
    ot_print_shape(stdout, p->rank, p->dim);
    printf(",\"elements\":%" PRId64 ",\"nnz\":%" PRId64 ",\"density\":%.9g", p->elements,
           p->nonzeros, density(p));
    printf(",\"kept\":\"%s\",\"trainable\":%s", p->has_pattern ? "sparse" : "dense",
           p->is_trainable ? "true" : "false");
    if (!p->is_trainable) printf(",\"fixed\":\"%s\"", ot_fixed_reason_name(p->fixed));
    printf(",\"structure\":\"%s\",\"zeros\":%" PRId64, ot_structure_name(p->structure), p->zeros);
    if (p->mask) fputs(",\"mask\":", stdout);
    if (p->mask) ot_print_string(stdout, p->mask);
    printf(",\"mask_hash\":\"%016" PRIx64 "\"}", p->mask_hash);
}

static int print_json(const struct model *m, const struct settings *s, struct failure *f) {
    const ot_model_info *i = &m->info;
    ot_error err = {0};
    fputs("{\"model\":", stdout);
    ot_print_string(stdout, ot_text(s, OPTION_model));
    printf(",\n \"sha256\":\"");
    print_hash(stdout, i->hash);
    printf("\",\n \"opset\":%" PRId64 ",\"ir_version\":%" PRId64 ",\"nodes\":%" PRId64
           ",\"producer\":",
           i->opset, i->ir_version, i->nodes);
    ot_print_string(stdout, i->producer);
    printf(",\n \"training_info\":%s", i->training_info ? "true" : "false");
    printf(",\n \"parameters\":%" PRId64 ",\n \"nonzeros\":%" PRId64 ",\n \"sparsity\":%.9g",
           i->parameters, i->nonzeros, ot_model_sparsity(m));
    fputs(",\n \"inputs\":[", stdout);
    for (int k = 0; k < m->n_inputs; k++) json_value(&m->input[k], k);
    fputs("],\n \"outputs\":[", stdout);
    for (int k = 0; k < m->n_outputs; k++) {
        ot_value_info v;
        if (ot_get_output(m->session, k, &v, &err)) return ot_refuse_status(f, EXIT_MODEL, &err);
        json_value(&v, k);
    }
    fputs("],\n \"weights\":[", stdout);
    for (int k = 0; k < ot_parameter_count(m->session); k++) {
        ot_parameter_info p;
        if (ot_get_parameter(m->session, k, &p, &err)) return ot_refuse_status(f, EXIT_MODEL, &err);
        json_weight(&p, k);
    }
    fputs("],\n \"operators\":[", stdout);
    const int code = ot_print_uses(m->session, true, f);
    fputs("]}\n", stdout);
    return code;
}

/* ---- plan --------------------------------------------------------------------------------- */

static void print_line(void *context, const char *line) {
    (void)context;
    printf("%s\n", line);
}

static int print_plan(const struct model *m, const struct settings *s, struct failure *f) {
    ot_tensor inputs[MAX_INPUTS];
    size_t bytes = 0;
    ot_error err = {0};
    const int code = ot_model_shapes(m, s, inputs, f);
    if (code) return code;
    if (ot_prepare(m->session, 1, inputs, m->n_inputs, &bytes, &err))
        return ot_refuse_status(f, err.status == OT_ERROR_LIMIT ? EXIT_MEMORY : EXIT_MODEL, &err);
    if (ot_print_plan(m->session, print_line, NULL, &err))
        return ot_refuse_status(f, EXIT_RUNTIME, &err);
    printf("\npeak memory of training %.1f MiB\n", (double)bytes / (1 << 20));
    return 0;
}

int ot_run_inspect(struct settings *s, struct failure *f) {
    struct model m;
    int code = ot_model_open(&m, s, f);
    if (code) return code;
    const bool plan = ot_integer(s, OPTION_plan, 0);
    if (plan)
        code = print_plan(&m, s, f);
    else if (ot_integer(s, OPTION_json, 0))
        code = print_json(&m, s, f);
    else
        code = print_text(&m, s, f);
    ot_model_close(&m);
    return code;
}
