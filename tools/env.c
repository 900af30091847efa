/* env.c - `onnx-train env`: versions and what this machine offers. */
#include "tools/command.h"
#include "tools/jsonout.h"

#include <jpeglib.h>
#include <png.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <yaml.h>
#include <zlib.h>

struct fact {
    const char *name;
    char text[256];
};

/* The CPU's name from /proc/cpuinfo, "unknown" elsewhere. */
static void find_cpu(char *out, size_t size) {
    char line[512];
    snprintf(out, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            snprintf(out, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    if (file) fclose(file);
}

static void find_isas(char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; ot_isa_name(i) && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? " " : "", ot_isa_name(i));
}

static void find_machine(struct fact *os, struct fact *threads, struct fact *memory) {
    struct utsname name;
    if (uname(&name) == 0)
        snprintf(os->text, sizeof os->text, "%.60s %.100s %.60s", name.sysname, name.release,
                 name.machine);
    snprintf(threads->text, sizeof threads->text, "%d", ot_count_cpus());
    const double bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    snprintf(memory->text, sizeof memory->text, "%.1f GiB", bytes / (1 << 30));
}

int ot_run_env(struct settings *s, struct failure *f) {
    (void)f;
    enum { VERSION, DNNL, ISA, CPU, THREADS, MEMORY, OS, ZLIB, PNG, JPEG, YAML, COMPILER, FACTS };
    struct fact fact[FACTS] = {{"onnx-train", ""}, {"oneDNN", ""},  {"isa", ""},
                               {"cpu", ""},        {"threads", ""}, {"memory", ""},
                               {"system", ""},     {"zlib", ""},    {"libpng", ""},
                               {"libjpeg", ""},    {"libyaml", ""}, {"compiler", ""}};
    const size_t size = sizeof fact[0].text;
    snprintf(fact[VERSION].text, size, "%s", ot_version());
    snprintf(fact[DNNL].text, size, "%s", ot_dnnl_version());
    find_isas(fact[ISA].text, size);
    find_cpu(fact[CPU].text, size);
    find_machine(&fact[OS], &fact[THREADS], &fact[MEMORY]);
    snprintf(fact[ZLIB].text, size, "%s", zlibVersion());
    snprintf(fact[PNG].text, size, "%s", png_get_libpng_ver(NULL));
    snprintf(fact[JPEG].text, size, "API %d", JPEG_LIB_VERSION);
    snprintf(fact[YAML].text, size, "%s", yaml_get_version_string());
    snprintf(fact[COMPILER].text, size, "%s", __VERSION__);
    const bool json = ot_integer(s, OPTION_json, 0);
    for (int i = 0; i < FACTS; i++) {
        if (!json) {
            printf("%-11s %s\n", fact[i].name, fact[i].text);
            continue;
        }
        fputs(i ? "," : "{", stdout);
        ot_print_string(stdout, fact[i].name);
        putchar(':');
        ot_print_string(stdout, fact[i].text);
    }
    fputs(json ? "}\n" : "", stdout);
    return 0;
}
