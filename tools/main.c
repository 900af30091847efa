/* main.c - the onnx-train command: finds the subcommand, runs it, prints its error. */
#include "tools/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Descriptors 0 to 2 exist afterwards, so that no file of ours gets their numbers and is then
 * written to by somebody's message. */
static bool open_standard_files(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

/* Every option with its value and where it came from. */
static void print_settings(const struct settings *s) {
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(ot_option_table[i].commands & s->command)) continue;
        const char *text = ot_text(s, (enum option_id)i);
        const char *origin = s->item[i].origin ? s->item[i].origin : "default";
        printf("%-15s %-20s # %s\n", ot_option_table[i].key, text ? text : "", origin);
    }
}

static int run(const struct command *command, int argc, char **argv, struct failure *f) {
    struct settings s = {.command = command->bit, .name = command->name};
    int code = ot_settings_parse(&s, argc, argv, f);
    if (!code && s.help)
        ot_help_command(command);
    else if (!code && ot_integer(&s, OPTION_print_config, 0) && (command->bit & MODELS))
        print_settings(&s);
    else if (!code)
        code = command->run(&s, f);
    ot_settings_free(&s);
    return code;
}

static int start(int argc, char **argv, struct failure *f) {
    if (argc < 2) return ot_refuse(f, EXIT_USAGE, "no command given; 'onnx-train help' lists them");
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        ot_help_overview();
        return 0;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("onnx-train %s (oneDNN %s)\n", ot_version(), ot_dnnl_version());
        return 0;
    }
    const struct command *command = ot_command_find(name);
    if (!command)
        return ot_refuse(f, EXIT_USAGE,
                         "there is no command '%s'; there are inspect, train, eval, "
                         "predict, export, init, prune, bench, check, env, help",
                         name);
    return run(command, argc - 2, argv + 2, f);
}

int main(int argc, char **argv) {
    if (!open_standard_files()) return EXIT_RUNTIME;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    struct failure f = {0};
    int code = start(argc, argv, &f);
    if ((fflush(stdout) || ferror(stdout)) && !code)
        code = ot_refuse(&f, EXIT_RUNTIME, "cannot write to standard output: %s", strerror(errno));
    if (code && f.text[0]) fprintf(stderr, "onnx-train: %s\n", f.text);
    return code;
}
