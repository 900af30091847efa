/* fault_inputs.c - fault_inputs FOLDER: writes net.onnx, a small sparse network, and data.npz. */
#include "tests/networks.h"
#include "tools/data/npy_write.h"

#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 40, FEATURES = 12 };

int main(int argc, char **argv) {
    static float x[SAMPLES * FEATURES];
    static int64_t y[SAMPLES];
    static const char *const names[] = {"x", "y"};
    char path[4096];
    size_t size;
    struct failure f;
    if (argc != 2) return 2;
    unsigned char *model = network_mlp(&size);
    snprintf(path, sizeof path, "%s/net.onnx", argv[1]);
    FILE *file = fopen(path, "wb");
    const int bad = !file || fwrite(model, 1, size, file) != size || fclose(file);
    free(model);
    network_floats(x, SAMPLES * FEATURES, 5, 1);
    for (int i = 0; i < SAMPLES; i++) y[i] = i % CLASSES;
    const ot_tensor t[] = {{OT_FLOAT, 2, {SAMPLES, FEATURES}, x}, {OT_INT64, 1, {SAMPLES}, y}};
    snprintf(path, sizeof path, "%s/data.npz", argv[1]);
    return bad || ot_npz_write(path, t, names, 2, &f);
}
