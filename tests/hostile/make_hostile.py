#!/usr/bin/env python3
"""Makes the broken models of tests/hostile/: each is small, and each has one thing wrong.

Run it with onnx and numpy; the outputs are committed. tests/hostile_cli.sh feeds them to the
command, which has to refuse them with exit code 3 and leave nothing behind.
"""
import pathlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(name, nodes, weights=(), x=("N", 4), y=("N", None), sparse=(), opset=13, domains=()):
    graph = helper.make_graph(nodes, name, [info("x", x)], [info("y", y)], list(weights),
                              sparse_initializer=list(sparse))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    data = helper.make_model(graph, opset_imports=imports, ir_version=7).SerializeToString()
    (HERE / f"{name}.onnx").write_bytes(data)


def array(name, *shape):
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def gemm(weight="w", x="x", y="y"):
    return helper.make_node("Gemm", [x, weight], [y], "fc")


def nested_subgraphs(depth):
    """Attribute.g inside Node inside Graph, again and again: unpack recurses."""
    body = b""
    for _ in range(depth):
        for tag in (0x32, 0x2A, 0x0A):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            size, head = len(body), b""
            while size >= 128:
                head += bytes([size & 127 | 128])
                size >>= 7
            body = bytes([tag]) + head + bytes([size]) + body
    size, head = len(body), b""
    while size >= 128:
        head += bytes([size & 127 | 128])
        size >>= 7
    return b"\x3a" + head + bytes([size]) + body


def external(location, offset="0"):
    t = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3],
                    data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", "48")):
        entry = t.external_data.add()
        entry.key, entry.value = key, value
    return t


def sparse(indices):
    values = numpy_helper.from_array(np.ones(len(indices), np.float32), "w")
    return helper.make_sparse_tensor(
        values, numpy_helper.from_array(np.array(indices, np.int64), "w_index"), [4, 3])


def main():
    (HERE / "nested.onnx").write_bytes(nested_subgraphs(90))
    save("dims_overflow", [gemm()], [TensorProto(name="w", data_type=1, dims=[2**62, 2**62, 16])])
    save("dims_negative", [gemm()], [TensorProto(name="w", data_type=1, dims=[-4, 3])])
    save("payload_short", [gemm()],
         [TensorProto(name="w", data_type=1, dims=[4, 3], raw_data=b"\0" * 47)])
    save("external_parent", [gemm()], [external("../../etc/passwd")])
    save("external_absolute", [gemm()], [external("/etc/passwd")])
    save("external_missing", [gemm()], [external("nowhere.bin")])
    save("external_offset", [gemm()], [external("nested.onnx", "18446744073709551615")])
    save("cycle", [helper.make_node("Add", ["x", "b"], ["a"]),
                   helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["y"])])
    save("undefined_input", [gemm("nothing")])
    save("duplicate_name", [gemm(), gemm()], [array("w", 4, 3)])
    save("no_output", [gemm(y="z")], [array("w", 4, 3)])
    save("sparse_index_range", [gemm()], sparse=[sparse([0, 5, 12])])
    save("sparse_index_negative", [gemm()], sparse=[sparse([-1, 5])])
    save("sparse_index_order", [gemm()], sparse=[sparse([5, 5])])
    save("conv_group_zero", [helper.make_node("Conv", ["x", "w"], ["y"], "conv", group=0)],
         [array("w", 2, 1, 3, 3)], x=("N", 1, 8, 8))
    save("conv_stride_zero", [helper.make_node("Conv", ["x", "w"], ["y"], "conv", strides=[0, 1])],
         [array("w", 2, 1, 3, 3)], x=("N", 1, 8, 8))
    save("conv_pads_huge",
         [helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[2**62, 2**62, 2**62, 2**62])],
         [array("w", 2, 1, 3, 3)], x=("N", 1, 8, 8))
    save("gemm_shapes", [helper.make_node("Flatten", ["x"], ["f"]), gemm(x="f")],
         [array("w", 575, 3)], x=("N", 1, 24, 24))
    save("unknown_operator", [helper.make_node("Frobnicate", ["x"], ["y"], "f")])
    save("unknown_domain", [helper.make_node("Relu", ["x"], ["y"], "f", domain="evil")],
         domains=["evil"])
    save("opset_zero", [gemm()], [array("w", 4, 3)], opset=0)
    save("opset_huge", [gemm()], [array("w", 4, 3)], opset=2**31)
    (HERE / "empty.onnx").write_bytes(b"")
    (HERE / "text.onnx").write_bytes(b"<!DOCTYPE html><html><body>Not Found</body></html>\n")
    (HERE / "gzip.onnx").write_bytes(bytes.fromhex("1f8b0800000000000003") + b"\0" * 20)


main()
