/* help.c - help texts and manual pages, made from the tables of commands and options. */
#include "tools/command.h"
#include "tools/model.h"
#include "tools/operators.h"

#include <stdio.h>
#include <string.h>

struct exit_text {
    int code;
    const char *text;
};

static const struct exit_text exits[] = {
    {EXIT_OK, "success"},
    {EXIT_RUNTIME, "a file cannot be read or written, or another system call failed"},
    {EXIT_USAGE, "the command line or the configuration is wrong"},
    {EXIT_MODEL, "the model is broken or not supported"},
    {EXIT_DATA, "the data are broken or do not fit the model"},
    {EXIT_DIVERGED, "a loss, gradient or result is not finite"},
    {EXIT_MEMORY, "the memory limit is exceeded"},
    {EXIT_CHECK, "a check has found a failure"},
    {EXIT_SPARSITY, "a pruned weight is not zero, which must never happen"},
    {EXIT_SIGNAL + 2, "stopped by Ctrl-C; a checkpoint is saved"},
    {EXIT_SIGNAL + 15, "stopped by SIGTERM; a checkpoint is saved"}};

static const char grammar[] =
    "key=value may be written --key value or --key=value, and _ as -. The command line overrides "
    "config.yaml, which overrides the defaults.";

void ot_help_overview(void) {
    puts("onnx-train - train ONNX models with sparse weights and keep every zero\n");
    puts("usage: onnx-train COMMAND MODEL [DATA] [config.yaml] [key=value ...]\n\ncommands:");
    for (const struct command *c = ot_commands; c->name; c++)
        printf("  %-9s %s\n", c->name, c->summary);
    puts("\nexamples:");
    puts("  onnx-train inspect model.onnx");
    puts("  onnx-train train model.onnx photos/ epochs=5");
    puts("  onnx-train eval runs/train1/weights/best.onnx photos/");
    puts("\n'onnx-train help COMMAND' lists the options of a command, 'onnx-train help operators' "
         "the supported ONNX operators, 'onnx-train help topology' the methods of changing masks; "
         "--version prints the version.");
}

/* What stands behind the help of an option: "[default]" and choices. */
static void print_option(const struct option *o) {
    printf("  %-15s %s", o->key, o->help);
    if (o->choices) printf("; %s", o->choices);
    if (o->value) printf(" [%s]", o->value);
    putchar('\n');
}

void ot_help_command(const struct command *command) {
    printf("usage: onnx-train %s %s\n\n%s.\n\nexamples:\n", command->name, command->usage,
           command->summary);
    for (const char *line = command->examples; *line; line = strchr(line, '\n') + 1)
        printf("  %.*s\n", (int)strcspn(line, "\n"), line);
    printf("\noptions, with [defaults]:\n");
    for (int i = 0; i < OPTION_COUNT; i++)
        if (ot_option_table[i].commands & command->bit) print_option(&ot_option_table[i]);
    printf("\n%s\n", grammar);
}

/* A line of running text for troff: backslashes, dashes, and leading dots are made safe. */
static void put_roff(const char *text) {
    if (*text == '.' || *text == '\'') fputs("\\&", stdout);
    for (; *text; text++)
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    putchar('\n');
}

static void man_options(const struct command *command) {
    puts(".SH OPTIONS");
    put_roff(grammar);
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &ot_option_table[i];
        if (!(o->commands & command->bit)) continue;
        printf(".TP\n.BI %s = %s\n", o->key, o->choices ? o->choices : "value");
        put_roff(o->help);
        if (o->value) {
            printf("Default: ");
            put_roff(o->value);
        }
    }
    puts(".SH EXAMPLES\n.nf");
    for (const char *line = command->examples; *line; line = strchr(line, '\n') + 1) {
        char copy[256];
        snprintf(copy, sizeof copy, "%.*s", (int)strcspn(line, "\n"), line);
        put_roff(copy);
    }
    puts(".fi");
}

static void man_commands(void) {
    puts(".SH COMMANDS");
    for (const struct command *c = ot_commands; c->name; c++) {
        printf(".TP\n.B %s\n", c->name);
        put_roff(c->summary);
    }
}

void ot_help_man(const struct command *command) {
    const char *dash = command ? "-" : "", *name = command ? command->name : "";
    printf(".TH ONNX\\-TRAIN%s%s 1 \"\" \"onnx\\-train %s\"\n", dash, name, ot_version());
    printf(".SH NAME\nonnx\\-train%s%s \\- %s\n", dash, name,
           command ? command->summary : "train ONNX models whose weights are sparse");
    printf(".SH SYNOPSIS\n.B onnx\\-train %s\n", name);
    put_roff(command ? command->usage : "COMMAND MODEL [DATA] [config.yaml] [key=value ...]");
    if (command)
        man_options(command);
    else
        man_commands();
    puts(".SH EXIT STATUS");
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++) {
        printf(".TP\n.B %d\n", exits[i].code);
        put_roff(exits[i].text);
    }
}

/* How masks can change, one method after the other. */
static int print_topology(struct failure *f) {
    ot_error err = {0};
    puts("Methods of changing masks while training (train topology=METHOD). Each part can be given "
         "as "
         "an option.\n");
    for (int i = 0; i < ot_topology_method_count(); i++) {
        ot_topology_method m;
        if (ot_get_topology_method(i, &m, &err)) return ot_refuse_status(f, EXIT_RUNTIME, &err);
        printf("%-10s %s%s%s\n", m.name, m.help, *m.source ? "; " : "", m.source);
        if (!strcmp(m.drop, "none") && !strcmp(m.grow, "none")) continue;
        printf("%-10s drop=%s grow=%s newborn=%s topology_start=%g topology_end=%g\n", "", m.drop,
               m.grow, m.newborn, m.start, m.end);
        printf("%-10s topology_every=", "");
        if (m.every > 0)
            printf("%lld\n", (long long)m.every);
        else if (m.every)
            printf("(end - start) / %lld\n", (long long)-m.every);
        else
            printf("1epoch\n");
    }
    return 0;
}

int ot_run_help(struct settings *s, struct failure *f) {
    if (s->topic && strcmp(s->topic, "operators") == 0)
        return ot_print_operators(ot_integer(s, OPTION_markdown, 0) != 0, f);
    if (s->topic && strcmp(s->topic, "topology") == 0) return print_topology(f);
    const struct command *c = s->topic ? ot_command_find(s->topic) : NULL;
    if (s->topic && !c) return ot_refuse(f, EXIT_USAGE, "there is no command '%s'", s->topic);
    if (ot_integer(s, OPTION_man, 0))
        ot_help_man(c);
    else if (c)
        ot_help_command(c);
    else
        ot_help_overview();
    return 0;
}
