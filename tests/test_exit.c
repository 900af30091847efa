/* test_exit.c - a process that ends while another thread is inside of a training step. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/networks.h"

enum { PROCESSES = 40 };

static atomic_int steps;
static struct fixture f;

/* Dense layers, whose kernels oneDNN destroys in exit(). */
static void *train(void *arg) {
    (void)arg;
    ot_result r;
    fixture_open(&f, network_cnn, &(ot_options){.threads = 2, .sparse = OT_SPARSE_NEVER});
    while (ot_train_step(f.s, &f.in, 1, &f.target, &r, NULL) == OT_OK &&
           ot_optimizer_step(f.s, NULL) == OT_OK)
        atomic_fetch_add(&steps, 1);
    pause(); /* a host may go on with something else */
    return NULL;
}

static void end_while_training(unsigned delay) {
    pthread_t thread;
    pthread_create(&thread, NULL, train, NULL);
    while (atomic_load(&steps) < 2) usleep(200);
    usleep(delay);
    exit(0);
}

static void exit_may_come_at_any_time(void **state) {
    (void)state;
    for (unsigned i = 0; i < PROCESSES; i++) {
        fflush(NULL);
        const pid_t child = fork();
        int status;
        assert_true(child >= 0);
        if (!child) end_while_training(37 * i);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFEXITED(status) || WEXITSTATUS(status))
            fail_msg("process %u: status %x", i, (unsigned)status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(exit_may_come_at_any_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
