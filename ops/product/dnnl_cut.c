/* dnnl_cut.c - convolutions on oneDNN: into which pieces each pass is cut, by the shape alone, and
 * the plain arrays of a piece. */
#include <math.h>

#include "ops/product/dnnl_parts.h"

/* The batch is cut into pieces of SAMPLES or more, enough for PIECES threads; where it makes fewer,
 * into slices of CHANNELS or more, which fill the registers of oneDNN's kernels, or of half as many
 * where there would be one slice; SLICES pieces in all at most, each of LEAST_WORK multiply-adds at
 * least. */
enum { PIECES = 8, SAMPLES = 4, SLICES = 16, CHANNELS = 32, LEAST_WORK = 1 << 20 };

bool ot_dnnl_has_pass(const struct dense_conv *c, int kind) {
    return kind == FORWARD || (kind == DATA && (c->want & OT_DENSE_DX)) ||
           (kind == WEIGHTS && (c->want & (OT_DENSE_DW | OT_DENSE_DB)));
}

bool ot_dnnl_has_operand(const struct dense_conv *c, int kind, int operand) {
    if (operand != B) return true;
    return kind == FORWARD ? c->bias : kind == WEIGHTS && (c->want & OT_DENSE_DB);
}

static double weights_of(const struct conv_shape *s) {
    return (double)s->m * (double)(s->c / s->groups) * s->kh * s->kw;
}

/* Each piece has a dW of its own: all of them shall not be larger than x and y. There are two
 * pieces in any case. */
static int64_t piece_size(const struct conv_shape *s) {
    const double x = (double)s->c * (double)(s->h * s->w);
    const double y = (double)s->m * (double)(s->oh * s->ow);
    double pieces = (double)s->n * (x + y) / weights_of(s);
    if (pieces > (double)s->n / SAMPLES) pieces = (double)s->n / SAMPLES;
    pieces = pieces < 2 ? 2 : pieces > PIECES ? PIECES : floor(pieces);
    return (int64_t)ceil((double)s->n / pieces);
}

/* Slices are whole blocks of channels. Of several samples in lanes of channels a slice would not be
 * what oneDNN takes as it stands. */
static void choose_slices(const struct dense_conv *c, int kind, struct cut *cut) {
    const struct conv_shape *s = &c->shape;
    const int64_t channels = kind == DATA ? s->c : s->m, block = ot_dnnl_block() ? 16 : 8;
    const double work = weights_of(s) * (double)(s->oh * s->ow) * (double)s->n / LEAST_WORK;
    double most = (double)SLICES / cut->batches;
    cut->slices = 1;
    cut->channels = channels;
    if (s->groups > 1 || channels % block || cut->batches >= PIECES) return;
    if (c->samples > 1 && (c->lanes[X] || c->lanes[Y])) return;
    const int64_t least = channels < 2 * CHANNELS ? CHANNELS / 2 : CHANNELS;
    if (most > (double)(channels / least)) most = (double)(channels / least);
    if (most > work / cut->batches) most = work / cut->batches;
    if (most < 2) return;
    const int64_t blocks = channels / block, slices = (int64_t)most;
    cut->channels = (blocks + slices - 1) / slices * block;
    cut->slices = (int)((channels + cut->channels - 1) / cut->channels);
}

ot_status ot_dnnl_choose_cuts(struct op_node *n, struct dense_conv *c, ot_error *err) {
    c->samples = piece_size(&c->shape);
    for (int kind = FORWARD; kind < PASSES; kind++) {
        struct cut *cut = &c->cut[kind];
        cut->batches = ot_task_count(c->shape.n, c->samples);
        choose_slices(c, kind, cut);
        const size_t pieces = (size_t)ot_dnnl_pieces(cut);
        cut->piece = ot_arena_alloc(n->arena, pieces, sizeof *cut->piece);
        if (!cut->piece) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
        cut->work = ot_op_ask_work(n, pieces * sizeof(struct handles));
    }
    return OT_OK;
}

struct dims {
    int rank;
    dnnl_dims_t dim;
};

/* Of x, W, y and the bias: batch and channels (of W: groups, outputs, inputs), then depth where
 * there is one, height and width. */
static void operand_dims(const struct conv_shape *s, int64_t samples, int64_t x_channels,
                         int64_t y_channels, struct dims dims[OPERANDS]) {
    const int64_t g = s->groups, c = x_channels, m = y_channels;
    const int64_t image[OPERANDS][3] = {[X] = {s->depth.in, s->h, s->w},
                                        [W] = {s->depth.kernel, s->kh, s->kw},
                                        [Y] = {s->depth.out, s->oh, s->ow}};
    dims[X] = (struct dims){2, {samples, c}};
    dims[Y] = (struct dims){2, {samples, m}};
    dims[B] = (struct dims){1, {m}};
    dims[W] = (struct dims){2 + (g > 1), {g > 1 ? g : m, g > 1 ? m / g : c, c / g}};
    for (int i = 0; i < B; i++)
        for (int k = s->depth.in ? 0 : 1; k < 3; k++) dims[i].dim[dims[i].rank++] = image[i][k];
}

/* An operand in rows, or x and y in lanes of channels; of a slice, a part of the whole. One sample
 * is no part of several: its slices have no gaps between them. */
static dnnl_status_t plain_desc(const struct dims *whole, const struct dims *part, bool lanes,
                                bool gaps, struct md *md) {
    static const dnnl_format_tag_t rows[] =
        {[1] = dnnl_a, [4] = dnnl_abcd, [5] = dnnl_abcde, [6] = dnnl_abcdef},
                                   blocks[] = {[4] = dnnl_aBcd16b, [5] = dnnl_aBcde16b};
    const dnnl_format_tag_t tag = (lanes ? blocks : rows)[whole->rank];
    struct md parent = {0};
    if (!gaps) return ot_dnnl_md_new(md, part->rank, part->dim, tag);
    dnnl_status_t status = ot_dnnl_md_new(&parent, whole->rank, whole->dim, tag);
    if (!status) status = ot_dnnl_md_part(md, &parent, part->rank, part->dim);
    ot_dnnl_md_free(&parent);
    return status;
}

dnnl_status_t ot_dnnl_plain(const struct dense_conv *c, int kind, int64_t samples, int64_t channels,
                            struct md *plain, struct md *any) {
    const struct conv_shape *s = &c->shape;
    const bool sliced = c->cut[kind].slices > 1;
    const bool gaps[OPERANDS] = {[X] = sliced && kind == DATA && samples > 1,
                                 [Y] = sliced && kind != DATA && samples > 1,
                                 [W] = sliced && kind == DATA};
    struct dims whole[OPERANDS], part[OPERANDS];
    dnnl_status_t status = dnnl_success;
    operand_dims(s, samples, s->c, s->m, whole);
    operand_dims(s, samples, kind == DATA ? channels : s->c, kind == DATA ? s->m : channels, part);
    for (int i = 0; i < OPERANDS && !status; i++) {
        status = plain_desc(&whole[i], &part[i], c->lanes[i], gaps[i], &plain[i]);
        if (!status && i != B)
            status = ot_dnnl_md_new(&any[i], part[i].rank, part[i].dim, dnnl_format_tag_any);
    }
    return status;
}
