/* stop.h - Ctrl-C, SIGTERM and SIGHUP ask a run to stop. */
#ifndef OT_TOOLS_TRAIN_STOP_H
#define OT_TOOLS_TRAIN_STOP_H

/* From now on the first of these signals is remembered, the second ends the process at once. SIGHUP
 * that nohup ignores stays so. */
void ot_stop_install(void);

/* The signal that came; 0: none. */
int ot_stop_signal(void);

#endif
