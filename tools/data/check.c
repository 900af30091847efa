/* check.c - decodes every image of a data set once, so that a broken one is named before hours
 * of training, not after them. */
#include "tools/data/data.h"
#include "tools/data/image.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 64, MANY = 2000 };

struct check {
    const struct data_source *d;
    char **reason; /* one an image; NULL: it is good */
    atomic_int_fast64_t next;
    atomic_int code; /* what no image is to blame for: memory */
};

/* Takes images until there are none; a pthread's function. */
static void *decode_images(void *context) {
    struct check *c = context;
    struct failure f;
    int64_t i;
    while ((i = atomic_fetch_add(&c->next, 1)) < c->d->count && !atomic_load(&c->code)) {
        struct image image;
        const int code = ot_image_read(c->d->file[i], &image, &f);
        free(image.pixels);
        if (!code) continue;
        c->reason[i] = ot_copy_text(f.text, &f);
        if (code != EXIT_DATA || !c->reason[i]) atomic_store(&c->code, EXIT_MEMORY);
    }
    return NULL;
}

/* On as many threads as are wanted, or fewer where the system has no more. */
static void decode_all(struct check *c, int threads) {
    pthread_t thread[MOST_THREADS];
    int n = 0;
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    while (n + 1 < threads && n + 1 < c->d->count &&
           pthread_create(&thread[n], NULL, decode_images, c) == 0)
        n++;
    decode_images(c);
    while (n > 0) pthread_join(thread[--n], NULL);
}

static void tell(const struct data_request *request, const char *line) {
    if (request->tell) request->tell(line);
}

/* Tells of every broken image; how many there are. */
static int64_t list_broken(const struct check *c, const struct data_request *request) {
    int64_t broken = 0;
    for (int64_t i = 0; i < c->d->count; i++) {
        if (!c->reason[i]) continue;
        broken++;
        tell(request, c->reason[i]);
    }
    return broken;
}

/* Takes the broken images out; the others keep their order. */
static void leave_out(struct data_source *d, int64_t *label, char **reason) {
    int64_t kept = 0;
    for (int64_t i = 0; i < d->count; i++) {
        if (reason[i]) {
            free(d->file[i]);
            continue;
        }
        label[kept] = label[i];
        d->file[kept++] = d->file[i];
    }
    d->left_out = d->count - kept;
    d->count = kept;
}

/* What is to be done with the images that cannot be read. */
static int judge(struct data_source *d, int64_t *label, struct check *c,
                 const struct data_request *request, struct failure *f) {
    if (atomic_load(&c->code))
        return ot_refuse(f, atomic_load(&c->code), "out of memory for the images of '%s'", d->path);
    const int64_t broken = list_broken(c, request);
    if (broken && request->skip_broken && broken < d->count)
        return leave_out(d, label, c->reason), 0;
    if (broken)
        return ot_refuse(f, EXIT_DATA, "%" PRId64 " of %" PRId64 " images of '%s' are broken%s",
                         broken, d->count, d->path,
                         request->skip_broken ? "" : "; skip_broken=1 skips them");
    return 0;
}

int ot_images_check(struct data_source *d, int64_t *label, const struct data_request *request,
                    struct failure *f) {
    char line[96];
    struct check c = {.d = d};
    const int64_t count = d->count;
    c.reason = ot_take((size_t)count, sizeof *c.reason, f);
    if (!c.reason) return f->code;
    snprintf(line, sizeof line, "decoding %" PRId64 " images once, to find broken ones", count);
    if (count >= MANY) tell(request, line);
    decode_all(&c, request->threads ? request->threads : ot_count_cpus());
    const int code = judge(d, label, &c, request, f);
    ot_names_free(c.reason, count);
    return code;
}
