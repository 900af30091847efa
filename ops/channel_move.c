/* channel_move.c - gathers and spreads channels. */
#include "ops/channel_move.h"

#include <string.h>

#include "ops/op.h"

/* Floats in a task; pixels of a block of lanes that are moved at a time, so that what is written
 * stays in L1. */
enum { GRAIN = 1 << 15, PIXELS = 64 };

struct job {
    const struct channel_move *m;
    const float *in, *fill;
    float *out;
    bool spread;
    int64_t in_channels, out_channels;
    int64_t grain, chunks; /* channels of out in a task, and such tasks */
    int64_t run;           /* samples in a task */
};

/* Where the channels at and behind c begin in the list. */
static int64_t find(const struct channel_move *m, int64_t c) {
    int64_t from = 0, to = m->kept;
    while (from < to) {
        const int64_t middle = from + (to - from) / 2;
        if (m->channel[middle] < c) from = middle + 1;
        else to = middle;
    }
    return from;
}

/* The channel of in that channel c of out is made of; -1: there is none. *at: its place in the
 * list, or that of the next one. */
static int64_t source(const struct job *job, int64_t c, int64_t *at) {
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
    if (job->fill) memcpy(out + from, job->fill + from, bytes);
    else memset(out + from, 0, bytes);
    for (int64_t i = find(m, from); i < m->kept && m->channel[i] < to; i++)
        out[m->channel[i]] = in[i];
}

static void move_planes(const struct job *job, const float *in, float *out, int64_t from,
                        int64_t to) {
    const int64_t pixels = job->m->pixels;
    int64_t at = job->spread ? find(job->m, from) : 0;
    for (int64_t c = from; c < to; c++) {
        const int64_t s = source(job, c, &at);
        const float fill = s < 0 && job->fill ? job->fill[c] : 0;
        float *plane = out + c * pixels;
        if (s >= 0) memcpy(plane, in + s * pixels, (size_t)pixels * sizeof *plane);
        else for (int64_t i = 0; i < pixels; i++) plane[i] = fill;
    }
}

/* One block of lanes of out. */
static void move_block(const struct job *job, const float *in, float *out, int64_t block) {
    const int lanes = job->m->lanes;
    const int64_t pixels = job->m->pixels;
    const float *from[OT_CHANNEL_LANES];
    int step[OT_CHANNEL_LANES];
    static const float zero = 0;
    int64_t at = job->spread ? find(job->m, block * lanes) : 0;
    for (int l = 0; l < lanes; l++) {
        const int64_t c = block * lanes + l, s = source(job, c, &at);
        step[l] = s < 0 ? 0 : lanes;
        from[l] = s >= 0 ? in + s / lanes * pixels * lanes + s % lanes
                         : job->fill ? job->fill + c : &zero;
    }
    out += block * pixels * lanes;
    for (int64_t p = 0; p < pixels; p += PIXELS) {
        const int64_t end = p + PIXELS < pixels ? p + PIXELS : pixels;
        for (int l = 0; l < lanes; l++)
            for (int64_t i = p; i < end; i++) out[i * lanes + l] = from[l][i * step[l]];
    }
}

static void move_sample(const struct job *job, int64_t sample, int64_t from, int64_t to) {
    const struct channel_move *m = job->m;
    const float *in = job->in + sample * job->in_channels * m->pixels;
    float *out = job->out + sample * job->out_channels * m->pixels;
    if (m->pixels == 1) move_vector(job, in, out, from, to);
    else if (m->lanes == 1) move_planes(job, in, out, from, to);
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

static void move(struct pool *pool, struct job *job) {
    const struct channel_move *m = job->m;
    job->in_channels = job->spread ? m->kept : m->all;
    job->out_channels = job->spread ? m->all : m->kept;
    job->grain = (GRAIN / m->pixels + m->lanes) / m->lanes * m->lanes;
    job->chunks = ot_task_count(job->out_channels, job->grain);
    job->run = GRAIN / (job->out_channels * m->pixels) + 1;
    ot_parallel_for(pool, ot_task_count(m->samples, job->run) * (int)job->chunks, move_task, job);
}

void ot_channels_gather(struct pool *pool, const struct channel_move *m, const float *in,
                        float *out) {
    struct job job = {.m = m, .in = in, .out = out};
    move(pool, &job);
}

void ot_channels_spread(struct pool *pool, const struct channel_move *m, const float *in,
                        const float *fill, float *out) {
    struct job job = {.m = m, .in = in, .fill = fill, .out = out, .spread = true};
    move(pool, &job);
}
