/* check.c - `onnx-train check`: the gradients of a model, or an ONNX backend test suite. */
#include "tools/check/check.h"
#include "tools/command.h"

int ot_run_check(struct settings *s, struct failure *f) {
    const char *suite = ot_text(s, OPTION_onnx_tests);
    check_fn *check = ot_integer(s, OPTION_gradients, 0) ? ot_check_gradients : ot_check_outputs;
    if (suite) return ot_check_suite(suite, check, s, f);
    if (ot_text(s, OPTION_model)) return ot_check_model(s, f);
    return ot_refuse(f, EXIT_USAGE, "nothing to check: give a MODEL, or onnx_tests=DIR");
}
