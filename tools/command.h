/* command.h - the subcommands of onnx-train: a table, one file each. */
#ifndef OT_TOOLS_COMMAND_H
#define OT_TOOLS_COMMAND_H

#include "tools/options.h"

struct command {
    const char *name;
    unsigned bit;      /* of options.h */
    const char *usage; /* what stands behind the name */
    const char *summary;
    const char *examples; /* lines */
    int (*run)(struct settings *s, struct failure *f);
};

extern const struct command ot_commands[]; /* name NULL behind the last */

const struct command *ot_command_find(const char *name); /* NULL: there is none */

/* Print help to stdout: of everything, or of one command, as text or as a manual page. */
void ot_help_overview(void);
void ot_help_command(const struct command *command);
void ot_help_man(const struct command *command); /* NULL: of onnx-train itself */

int ot_run_init(struct settings *s, struct failure *f);
int ot_run_prune(struct settings *s, struct failure *f);
int ot_run_inspect(struct settings *s, struct failure *f);
int ot_run_train(struct settings *s, struct failure *f);
int ot_run_eval(struct settings *s, struct failure *f);
int ot_run_predict(struct settings *s, struct failure *f);
int ot_run_export(struct settings *s, struct failure *f);
int ot_run_bench(struct settings *s, struct failure *f);
int ot_run_check(struct settings *s, struct failure *f);
int ot_run_env(struct settings *s, struct failure *f);
int ot_run_help(struct settings *s, struct failure *f);

#endif
