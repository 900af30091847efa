/* progress.c - what a run shows: a table of epochs, and on a terminal a bar beneath it. */
#include "tools/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

double ot_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* "1:02:03" or "2:03". */
static const char *clock_text(double seconds, char *out, size_t size) {
    const long s = seconds > 0 && seconds < 1e9 ? (long)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
    return out;
}

void ot_progress_start(struct progress *p, const struct settings *s) {
    const bool terminal = isatty(1) && isatty(2);
    const int64_t color = ot_integer(s, OPTION_color, 0); /* auto, always, never */
    const char *none = getenv("NO_COLOR");
    *p = (struct progress){.start = ot_now(), .bar = terminal};
    p->color = color == 1 || (color == 0 && terminal && !(none && *none));
}

void ot_progress_epoch(struct progress *p, int64_t done) {
    p->epoch_start = p->shown = ot_now();
    p->first = done;
}

void ot_progress_head(struct progress *p, bool counts) {
    const char *on = p->color ? "\033[1m" : "", *off = p->color ? "\033[0m" : "";
    printf("%s%8s  %9s  %16s  %11s  %8s  %8s  %8s  %6s  %7s%s\n", on, "epoch", "loss", "val_loss",
           counts ? "acc%" : "", "lr", "sparsity", "samp/s", "mem", "time", off);
    fflush(stdout);
}

/* "0.5218+-.013", "-" where there is no number. */
static const char *measured(double value, double error, int digits, char *out, size_t size) {
    if (isnan(value))
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%.*f+-%.*f", digits, value, digits - (digits > 2), error);
    return out;
}

void ot_progress_row(struct progress *p, const struct row *row) {
    char epoch[48], loss[48], accuracy[48], time[24];
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    ot_progress_clear(p);
    snprintf(epoch, sizeof epoch, row->epochs ? "%" PRId64 "/%" PRId64 : "%" PRId64, row->epoch,
             row->epochs);
    printf("%8s  %9.5f  %16s  %11s  %8.2e  %7.2f%%  %8.1f  %5.2fG  %7s%s%s%s\n", epoch, row->loss,
           measured(row->val_loss, row->val_loss_error, 4, loss, sizeof loss),
           measured(100 * row->accuracy, 100 * row->accuracy_error, 2, accuracy, sizeof accuracy),
           row->lr, 100 * row->sparsity, row->rate, (double)usage.ru_maxrss / (1 << 20),
           clock_text(ot_now() - p->epoch_start, time, sizeof time),
           p->color && row->best ? "\033[32m" : "", row->best ? "  *best" : "",
           p->color && row->best ? "\033[0m" : "");
    fflush(stdout);
}

static void show_bar(struct progress *p, const struct standing *at, double rate, double left) {
    enum { CELLS = 10 };
    char bar[CELLS + 1], epoch_left[24], total_left[24];
    const int64_t filled = at->samples ? at->done * CELLS / at->samples : 0;
    memset(bar, ' ', CELLS);
    memset(bar, '#', (size_t)(filled < CELLS ? filled : CELLS));
    bar[CELLS] = '\0';
    clock_text(rate > 0 ? (double)(at->samples - at->done) / rate : 0, epoch_left,
               sizeof epoch_left);
    fprintf(stderr,
            "\r\033[K%8" PRId64 "  [%s] %3d%%  loss %.4f  %.1f samp/s  ETA epoch %s, "
            "total %s",
            at->epoch, bar, (int)(at->samples ? 100 * at->done / at->samples : 0), at->loss, rate,
            epoch_left, clock_text(left, total_left, sizeof total_left));
    p->line_open = true;
}

void ot_progress_show(struct progress *p, const struct standing *at) {
    char left_text[24];
    const double now = ot_now(), passed = now - p->epoch_start;
    if (now - p->shown < (p->bar ? 0.1 : 10)) return;
    p->shown = now;
    const double rate = passed > 0 ? (double)(at->done - p->first) / passed : 0;
    const double left = rate > 0 ? (double)(at->batches_left * at->batch) / rate : 0;
    if (p->bar) {
        show_bar(p, at, rate, left);
        return;
    }
    printf("epoch=%" PRId64 " step=%" PRId64 " loss=%.5f rate=%.1f eta=%s\n", at->epoch, at->step,
           at->loss, rate, clock_text(left, left_text, sizeof left_text));
    fflush(stdout);
}

void ot_progress_clear(struct progress *p) {
    if (p->line_open) fputs("\r\033[K", stderr);
    p->line_open = false;
}
