/* check.c - `onnx-train check`: an ONNX backend test suite against the library. */
#include "tools/check.h"
#include "tools/command.h"

int ot_run_check(const struct settings *s, struct failure *f) {
    const char *suite = ot_text(s, OPTION_onnx_tests);
    check_fn *check = ot_integer(s, OPTION_gradients, 0) ? ot_check_gradients : ot_check_outputs;
    if (suite) return ot_check_suite(suite, check, s, f);
    return ot_refuse(f, EXIT_USAGE, "nothing to check: give onnx_tests=DIR");
}
