/* command.h - the subcommands of onnx-train: a table, one file each. */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include "tools/options.h"

struct command {
    const char *name;
    unsigned bit;      /* of options.h */
    const char *usage; /* what stands behind the name */
    const char *summary;
    const char *examples; /* lines */
    int (*run)(const struct settings *s, struct failure *f);
};

extern const struct command ot_commands[]; /* name NULL behind the last */

const struct command *ot_command_find(const char *name); /* NULL: there is none */

/* Print help to stdout: of everything, or of one command, as text or as a manual page. */
void ot_help_overview(void);
void ot_help_command(const struct command *command);
void ot_help_man(const struct command *command); /* NULL: of onnx-train itself */

int ot_run_inspect(const struct settings *s, struct failure *f);
int ot_run_train(const struct settings *s, struct failure *f);
int ot_run_eval(const struct settings *s, struct failure *f);
int ot_run_predict(const struct settings *s, struct failure *f);
int ot_run_export(const struct settings *s, struct failure *f);
int ot_run_bench(const struct settings *s, struct failure *f);
int ot_run_check(const struct settings *s, struct failure *f);
int ot_run_env(const struct settings *s, struct failure *f);
int ot_run_help(const struct settings *s, struct failure *f);

#endif
