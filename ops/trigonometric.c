/* trigonometric.c - Sin, Cos, Tan, Sinh, Cosh, their inverses, Atan and Atanh. */
#include <math.h>

#include "ops/walk/unary.h"

#define FUNCTION(name, value, derivative)                                                          \
    static inline float name##_of(float x, struct params p) {                                      \
        (void)p;                                                                                   \
        return value;                                                                              \
    }                                                                                              \
    static inline float name##_slope(float x, struct params p) {                                   \
        (void)p;                                                                                   \
        return derivative;                                                                         \
    }                                                                                              \
    OT_UNARY_FUNCTION(name)
FUNCTION(sin, sinf(x), cosf(x))
FUNCTION(cos, cosf(x), -sinf(x))
FUNCTION(tan, tanf(x), 1 + tanf(x) * tanf(x))
FUNCTION(asin, asinf(x), 1 / sqrtf((1 - x) * (1 + x)))
FUNCTION(acos, acosf(x), -1 / sqrtf((1 - x) * (1 + x)))
FUNCTION(atan, atanf(x), 1 / (1 + x * x))
FUNCTION(sinh, sinhf(x), coshf(x))
FUNCTION(cosh, coshf(x), sinhf(x))
FUNCTION(asinh, asinhf(x), 1 / sqrtf(x * x + 1))
FUNCTION(acosh, acoshf(x), 1 / sqrtf((x - 1) * (x + 1)))
FUNCTION(atanh, atanhf(x), 1 / ((1 - x) * (1 + x)))

#define LINE(range) "X[2,3,5] lanes " range " -> Y[2,3,5]"
#define RECORD(word, fn, first, range, values)                                                     \
    static const char *const fn##_cases[] = {LINE(range), values, NULL};                           \
    OT_UNARY_OP(word, fn, first, "", ot_unary_prepare, fn##_cases)
RECORD(Sin, sin, 7, "", "f{0,1,-2} -> f{0,0.84147098,-0.90929743}");
RECORD(Cos, cos, 7, "", "f{0,1,-2} -> f{1,0.54030231,-0.41614684}");
RECORD(Tan, tan, 7, "range=-1,1", "f{0,1,-1} -> f{0,1.5574077,-1.5574077}");
RECORD(Asin, asin, 7, "range=-0.9,0.9", "f{0,1,-0.5,2} -> f{0,1.5707963,-0.52359878,nan}");
RECORD(Acos, acos, 7, "range=-0.9,0.9", "f{0,1,-0.5,2} -> f{1.5707963,0,2.0943951,nan}");
RECORD(Atan, atan, 7, "", "f{0,1,-inf} -> f{0,0.78539816,-1.5707963}");
RECORD(Sinh, sinh, 9, "", "f{0,1,-2} -> f{0,1.1752012,-3.6268604}");
RECORD(Cosh, cosh, 9, "", "f{0,1,-2} -> f{1,1.5430806,3.7621957}");
RECORD(Asinh, asinh, 9, "", "f{0,1,-2} -> f{0,0.88137359,-1.4436355}");
RECORD(Acosh, acosh, 9, "range=1.5,4", "f{1,2,0} -> f{0,1.3169579,nan}");
RECORD(Atanh, atanh, 9, "range=-0.9,0.9", "f{0,0.5,-0.5} -> f{0,0.54930614,-0.54930614}");
