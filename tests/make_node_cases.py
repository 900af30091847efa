#!/usr/bin/env python3
"""Writes the node cases that the installed onnx generates, as `onnx-train check --onnx-tests` reads
them, into FOLDER: until22/NAME for models of opset 22 and below, after22/NAME for later ones.

    tests/make_node_cases.py FOLDER [PATTERN]

NAME/model.onnx is the model; NAME/test_data_set_0 has input_I.pb and output_I.pb, a TensorProto,
SequenceProto or OptionalProto each. With a pattern of the shell, only cases of such names are
written. The tests' random inputs are those of numpy's seed 0. tests/conformance_new.sh runs it.
"""
import fnmatch
import pathlib
import sys
import warnings

import numpy as np
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_node_model_tests

NEWEST_OF_FIRST = 22


def message(value, info):
    """A value as the message that its declared type asks for."""
    kind = info.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    if kind == "map_type":
        return numpy_helper.from_dict(value, info.name)
    if isinstance(value, TensorProto):
        return value
    return numpy_helper.from_array(np.asarray(value), info.name)


def opset(model):
    """The opset of the default domain; 0 where a model does without it."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def write(case, folder):
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    inputs, outputs = case.data_sets[0]
    graph = case.model.graph
    for stem, values, infos in ("input", inputs, graph.input), ("output", outputs, graph.output):
        for i, (value, info) in enumerate(zip(values, infos)):
            (data / f"{stem}_{i}.pb").write_bytes(message(value, info).SerializeToString())


def main():
    root = pathlib.Path(sys.argv[1])
    pattern = sys.argv[2] if len(sys.argv) > 2 else "*"
    warnings.simplefilter("ignore")  # of numpy, about overflows that the cases intend
    np.random.seed(0)
    count = {}
    for case in load_node_model_tests():
        if not fnmatch.fnmatch(case.name, pattern):
            continue
        tree = "until22" if opset(case.model) <= NEWEST_OF_FIRST else "after22"
        write(case, root / tree / case.name)
        count[tree] = count.get(tree, 0) + 1
    print(", ".join(f"{tree}: {n} cases" for tree, n in sorted(count.items())))


if __name__ == "__main__":
    main()
