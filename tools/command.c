/* command.c - the table of subcommands. */
#include "tools/command.h"

#include <string.h>

const struct command ot_commands[] = {
    {"inspect", INSPECT, "MODEL [key=value ...]",
     "show a model's inputs, outputs and weights, and how it can be trained",
     "onnx-train inspect model.onnx\n"
     "onnx-train inspect model.onnx --plan batch=64\n"
     "onnx-train inspect model.onnx --json\n",
     ot_run_inspect},
    {"train", TRAIN, "MODEL DATA [config.yaml] [key=value ...]",
     "train a model and keep every zero of its sparse weights",
     "onnx-train train model.onnx photos/ epochs=5 lr=0.01\n"
     "onnx-train train model.onnx data.npz optimizer=adamw freeze='features.*' out=run1\n"
     "onnx-train train resume=runs/train1\n",
     ot_run_train},
    {"eval", EVAL, "MODEL DATA [config.yaml] [key=value ...]",
     "measure loss and accuracy on labelled data",
     "onnx-train eval model.onnx photos/\n"
     "onnx-train eval model.onnx mnist/ mean=0.1307 std=0.3081 --json\n"
     "onnx-train eval model.onnx mnist/ split=train batch=256\n",
     ot_run_eval},
    {"predict", PREDICT, "MODEL DATA [config.yaml] [key=value ...]",
     "run a model, and print or write its outputs",
     "onnx-train predict model.onnx photo.jpg\n"
     "onnx-train predict model.onnx photos/ out=scores.csv\n"
     "onnx-train predict model.onnx x.npy out=y.npy\n",
     ot_run_predict},
    {"export", EXPORT, "MODEL out=FILE [key=value ...]",
     "write a model with another encoding of sparse weights, another form, or other weights",
     "onnx-train export model.onnx out=small.onnx sparse=initializer\n"
     "onnx-train export model.onnx out=served.onnx form=inference\n"
     "onnx-train export model.onnx checkpoint=runs/train1/checkpoints/best.otc out=best.onnx\n"
     "onnx-train export model.onnx training_info=1 optimizer=adagrad lr=0.01 out=course.onnx\n",
     ot_run_export},
    {"init", INIT, "MODEL|mlp=UNITS density=NUMBER out=FILE [key=value ...]",
     "make a sparse network with random masks and weights",
     "onnx-train init mlp=784-1000-1000-1000-10 density=er:20 activation=all-relu:0.6 "
     "out=net.onnx\n"
     "onnx-train init mlp=784-300-100-10 density=erk:0.1 constraint=fan_in out=net.onnx\n"
     "onnx-train init model.onnx density=0.1 seed=1 out=fresh.onnx\n",
     ot_run_init},
    {"prune", PRUNE, "MODEL [DATA] sparsity=NUMBER out=FILE [key=value ...]",
     "set weights of a model to zero for good",
     "onnx-train prune model.onnx sparsity=0.9 out=sparse.onnx\n"
     "onnx-train prune model.onnx sparsity=0.9 budget=global layers='!*fc*' out=sparse.onnx\n"
     "onnx-train prune model.onnx constraint=nm:2:4 out=sparse.onnx\n"
     "onnx-train prune model.onnx photos/ sparsity=0.9 by=taylor out=sparse.onnx\n",
     ot_run_prune},
    {"bench", BENCH, "MODEL [key=value ...] | --kernels [key=value ...]",
     "time training steps of a model, or sparse layers against dense ones",
     "onnx-train bench model.onnx batch=16 threads=1 steps=20\n"
     "onnx-train bench model.onnx batch=16 sparse=never --json\n"
     "onnx-train bench --kernels suite=quick\n",
     ot_run_bench},
    {"check", CHECK, "MODEL | --onnx-tests DIR [key=value ...]",
     "check a model's gradients against finite differences, or run an ONNX backend test suite",
     "onnx-train check model.onnx\n"
     "onnx-train check --onnx-tests /usr/share/libonnx-testdata/data\n"
     "onnx-train check --onnx-tests suite refused=refused.txt --json\n"
     "onnx-train check --onnx-tests suite --gradients\n",
     ot_run_check},
    {"env", ENV, "[--json]", "print versions and features of this machine, for bug reports",
     "onnx-train env\n", ot_run_env},
    {"help", HELP, "[COMMAND | operators]", "explain a command, or list the supported operators",
     "onnx-train help train\nonnx-train help operators\nonnx-train help topology\n", ot_run_help},
    {0}};

const struct command *ot_command_find(const char *name) {
    for (const struct command *c = ot_commands; c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}
