/* channel_move.c - gathers and spreads channels. */
#include "ops/product/channel_move.h"

#include <string.h>

#include "ops/kernels/kernels.h"

enum { GRAIN = 1 << 15 }; /* floats in a task */

struct job {
    const struct kernels *kernels;
    const struct channel_move *m;
    const float *in, *fill;
    float *out;
    bool spread;
    int64_t in_channels, out_channels;
    int64_t grain, chunks; /* channels of out in a task, and such tasks */
    int64_t run;           /* samples in a task */
};

/* Where the channels at and behind c begin in the list. */
static int64_t list_index(const struct channel_move *m, int64_t c) {
    int64_t from = 0, to = m->kept;
    while (from < to) {
        const int64_t middle = from + (to - from) / 2;
        if (m->channel[middle] < c)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* The channel of in that channel c of out is made of; -1: there is none. *at: its place in the
 * list, or that of the next one. */
static int64_t source_channel(const struct job *job, int64_t c, int64_t *at) {
    const struct channel_move *m = job->m;
    if (!job->spread) return m->channel[c];
    return *at < m->kept && m->channel[*at] == c ? (*at)++ : -1;
}

/* One pixel: channels stand side by side. */
static void move_vector(const struct job *job, const float *in, float *out, int64_t from,
                        int64_t to) {
    const struct channel_move *m = job->m;
    if (!job->spread) {
        for (int64_t c = from; c < to; c++) out[c] = in[m->channel[c]];
        return;
    }
    const size_t bytes = (size_t)(to - from) * sizeof *out;
    if (job->fill)
        memcpy(out + from, job->fill + from, bytes);
    else
        memset(out + from, 0, bytes);
    for (int64_t i = list_index(m, from); i < m->kept && m->channel[i] < to; i++)
        out[m->channel[i]] = in[i];
}

static void move_planes(const struct job *job, const float *in, float *out, int64_t from,
                        int64_t to) {
    const int64_t pixels = job->m->pixels;
    int64_t at = job->spread ? list_index(job->m, from) : 0;
    for (int64_t c = from; c < to; c++) {
        const int64_t s = source_channel(job, c, &at);
        const float fill = s < 0 && job->fill ? job->fill[c] : 0;
        float *plane = out + c * pixels;
        if (s >= 0)
            memcpy(plane, in + s * pixels, (size_t)pixels * sizeof *plane);
        else
            for (int64_t i = 0; i < pixels; i++) plane[i] = fill;
    }
}

/* One block of lanes of out. */
static void move_block(const struct job *job, const float *in, float *out, int64_t block) {
    const int64_t size = job->m->pixels * OT_UNIT;
    struct pick a = {.out = out + block * size, .pixels = (size_t)job->m->pixels};
    int64_t at = job->spread ? list_index(job->m, block * OT_UNIT) : 0, last = -1;
    for (int l = 0; l < OT_UNIT; l++) {
        const int64_t c = block * OT_UNIT + l, s = source_channel(job, c, &at);
        a.unit[l] = -1;
        if (s < 0) {
            a.fill[l] = job->fill ? job->fill[c] : 0;
            continue;
        }
        if (s / OT_UNIT != last) a.in[a.units++] = in + s / OT_UNIT * size;
        last = s / OT_UNIT;
        a.unit[l] = a.units - 1;
        a.lane[l] = (int32_t)(s % OT_UNIT);
    }
    job->kernels->pick(&a);
}

static void move_sample(const struct job *job, int64_t sample, int64_t from, int64_t to) {
    const struct channel_move *m = job->m;
    const float *in = job->in + sample * job->in_channels * m->pixels;
    float *out = job->out + sample * job->out_channels * m->pixels;
    if (m->pixels == 1)
        move_vector(job, in, out, from, to);
    else if (m->lanes == 1)
        move_planes(job, in, out, from, to);
    else
        for (int64_t b = from / m->lanes; b < to / m->lanes; b++) move_block(job, in, out, b);
}

static void move_task(void *arg, int task, int worker) {
    const struct job *job = arg;
    int64_t sample, end, from, to;
    (void)worker;
    ot_task_range(job->m->samples, job->run, (int)(task / job->chunks), &sample, &end);
    ot_task_range(job->out_channels, job->grain, (int)(task % job->chunks), &from, &to);
    for (; sample < end; sample++) move_sample(job, sample, from, to);
}

static void run_move(const struct op_node *n, struct job *job) {
    const struct channel_move *m = job->m;
    job->kernels = n->kernels;
    job->in_channels = job->spread ? m->kept : m->all;
    job->out_channels = job->spread ? m->all : m->kept;
    job->grain = (GRAIN / m->pixels + m->lanes) / m->lanes * m->lanes;
    job->chunks = ot_task_count(job->out_channels, job->grain);
    job->run = GRAIN / (job->out_channels * m->pixels) + 1;
    const int tasks = ot_task_count(m->samples, job->run) * (int)job->chunks;
    ot_parallel_for(n->pool, tasks, move_task, job);
}

void ot_channels_gather(const struct op_node *n, const struct channel_move *m, const float *in,
                        float *out) {
    struct job job = {.m = m, .in = in, .out = out};
    run_move(n, &job);
}

void ot_channels_spread(const struct op_node *n, const struct channel_move *m, const float *in,
                        const float *fill, float *out) {
    struct job job = {.m = m, .in = in, .fill = fill, .out = out, .spread = true};
    run_move(n, &job);
}
