/* stop.h - Ctrl-C and SIGTERM ask a run to stop. */
#ifndef TOOLS_STOP_H
#define TOOLS_STOP_H

/* From now on the first SIGINT or SIGTERM is remembered, the second ends the process at once. */
void ot_stop_install(void);

/* The signal that came; 0: none. */
int ot_stop_signal(void);

#endif
