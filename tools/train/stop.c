/* stop.c - Ctrl-C, SIGTERM and SIGHUP ask a run to stop. */
#include "tools/train/stop.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A handler reaches nothing but static memory. */
static volatile sig_atomic_t came;

static void remember(int number) {
    if (came) _exit(128 + number);
    came = number;
}

void ot_stop_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = remember;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* nohup */
        sigaction(SIGHUP, &action, NULL);
}

int ot_stop_signal(void) { return came; }
