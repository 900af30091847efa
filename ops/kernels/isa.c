/* isa.c - the kernels of one instruction set; compiled once for each. */
#include <math.h>

#include "ops/kernels/exponential.h"
#include "ops/kernels/simd.h"

#include "ops/kernels/function.inc"
#include "ops/kernels/gates.inc"
#include "ops/kernels/norm.inc"
#include "ops/kernels/depthwise.inc"
#include "ops/kernels/layer_norm.inc"
#include "ops/kernels/softmax.inc"
#include "ops/kernels/loss.inc"
#include "ops/kernels/pack.inc"
#include "ops/kernels/pick.inc"
#include "ops/kernels/pool.inc"
#include "ops/kernels/scale.inc"
#include "ops/kernels/sddmm.inc"
#include "ops/kernels/spmm.inc"
#include "ops/kernels/spmm_narrow.inc"
#include "ops/kernels/unit_norm.inc"

#define FEW 1
#include "ops/kernels/few.inc"
#undef FEW
#define FEW 2
#include "ops/kernels/few.inc"
#undef FEW
#define FEW 4
#include "ops/kernels/few.inc"
#undef FEW
#define FEW 8
#include "ops/kernels/few.inc"
#undef FEW
#include "ops/kernels/few_one.inc"

/* Tile shapes: 1 x 1..16 and 2 x 1..8 units, as far as the registers reach. */
#define ONE_LINE_3(F) F(1, 1) F(1, 2) F(1, 3)
#define ONE_LINE_7(F) ONE_LINE_3(F) F(1, 4) F(1, 5) F(1, 6) F(1, 7)
#define ONE_LINE_16(F)                                                                             \
    ONE_LINE_7(F) F(1, 8) F(1, 9) F(1, 10) F(1, 11) F(1, 12) F(1, 13) F(1, 14) F(1, 15) F(1, 16)
#define TWO_LINES_1(F) F(2, 1)
#define TWO_LINES_3(F) TWO_LINES_1(F) F(2, 2) F(2, 3)
#define TWO_LINES_8(F) TWO_LINES_3(F) F(2, 4) F(2, 5) F(2, 6) F(2, 7) F(2, 8)

#if defined(OT_ISA_avx512)
#define TILES(F) ONE_LINE_16(F) TWO_LINES_8(F)
#elif defined(OT_ISA_avx2)
#define TILES(F) ONE_LINE_7(F) TWO_LINES_3(F)
#else
#define TILES(F) ONE_LINE_3(F) TWO_LINES_1(F)
#endif

#define BODY(h, w)                                                                                 \
    static void spmm_##h##x##w(const struct spmm *a) {                                             \
        if (INTERLEAVED_ROWS(UNIT_VECS * (h) * (w)) > 1)                                           \
            spmm_narrow(a, h, w);                                                                  \
        else                                                                                       \
            spmm_tile(a, h, w);                                                                    \
    }                                                                                              \
    static void sddmm_##h##x##w(const struct sddmm *a) { sddmm_tile(a, h, w); }
TILES(BODY)

#define PASTE_(a, b) a##b
#define PASTE(a, b)  PASTE_(a, b)
#define STRING_(s)   #s
#define STRING(s)    STRING_(s)
#define SPMM(h, w)   [h - 1][w - 1] = spmm_##h##x##w,
#define SDDMM(h, w)  [h - 1][w - 1] = sddmm_##h##x##w,

extern const struct kernels PASTE(ot_kernels_, OT_ISA);
const struct kernels PASTE(ot_kernels_, OT_ISA) = {
    .name = STRING(OT_ISA),
    .width = WIDTH,
    .tile = TILE,
    .pack = pack_lines,
    .pick = pick,
    .moments = moments,
    .unit_moments = unit_moments,
    .norm = norm,
    .norm_sums = norm_sums,
    .norm_gradient = norm_gradient,
    .max_pool = max_pool,
    .depthwise = depthwise,
    .depthwise_weight = depthwise_weight,
    .scale = scale_by,
    .transpose = transpose,
    .norm_lanes = layer_norm_lanes,
    .norm_lanes_back = layer_norm_lanes_back,
    .norm_row = layer_norm_row,
    .norm_row_back = layer_norm_row_back,
    .softmax_row = softmax_row,
    .softmax_row_back = softmax_row_back,
    .loss_log_sums = loss_log_sums,
    .loss_gradient = loss_gradient,
    .value = {FUNCTIONS(VALUE_OF)},
    .gradient = {FUNCTIONS(GRADIENT_OF)},
    .copy_past = copy_past,
    .gate_apply = gate_apply,
    .lstm_forward = lstm_forward,
    .lstm_back = lstm_back,
    .gru_reset = gru_reset,
    .gru_state = gru_state,
    .gru_state_back = gru_state_back,
    .gru_reset_back = gru_reset_back,
    .rnn_forward = rnn_forward,
    .rnn_back = rnn_back,
    .row_sums = row_sums,
    .spmm = {TILES(SPMM)},
    .sddmm = {TILES(SDDMM)},
    .few_forward = {few_forward_1, few_forward_2, few_forward_4, few_forward_8},
    .few_backward = {few_backward_1, few_backward_2, few_backward_4, few_backward_8},
};
