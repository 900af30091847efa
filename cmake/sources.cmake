# Every source file that is not an operator (ops/ops.def lists those), by layer, sorted, one a line.
# tests/test_x.c is the test x, linked with cmocka, the static library and the command's objects.

set(KERNEL_SOURCES # compiled once for the machine; ops/kernels/isa.c is compiled once per ISA
  ops/kernels/kernels.c
)

set(BASE_SOURCES
  runtime/base/arena.c
  runtime/base/crc32.c
  runtime/base/error.c
  runtime/base/file.c
  runtime/base/graph.c
  runtime/base/json.c
  runtime/base/pattern.c
  runtime/base/pool.c
  runtime/base/rng.c
  runtime/base/safetensors.c
  runtime/base/sha256.c
  runtime/base/tensor.c
)

set(OPS_SOURCES
  ops/fold.c
  ops/pooling.c
  ops/index.c
  ops/dense_gemm.c
  ops/dnnl.c
  ops/linear.c
  ops/binary.c
  ops/broadcast.c
  ops/unary.c
  ops/op.c
  ops/pack.c
  ops/sparse.c
  ops/stream.c
  ops/window.c
)

set(ONNX_SOURCES
  onnx/attributes.c
  onnx/beneath.c
  onnx/bump.c
  onnx/constant.c
  onnx/external.c
  onnx/functions.c
  onnx/import.c
  onnx/late.c
  onnx/names.c
  onnx/nodes.c
  onnx/payload.c
  onnx/scan.c
  onnx/schema.c
  onnx/skeleton.c
  onnx/sparse.c
  onnx/values.c
  onnx/weights.c
)

set(RUNTIME_SOURCES
  runtime/access.c
  runtime/autodiff.c
  runtime/head.c
  runtime/loss.c
  runtime/lower.c
  runtime/memory.c
  runtime/optimizer.c
  runtime/parameter.c
  runtime/plan.c
  runtime/run.c
  runtime/schedule.c
  runtime/session.c
  runtime/train.c
)

set(TOOL_SOURCES
  tools/arguments.c
  tools/batch.c
  tools/command.c
  tools/data.c
  tools/data_array.c
  tools/data_cifar.c
  tools/data_idx.c
  tools/data_images.c
  tools/data_npy.c
  tools/data_onnx.c
  tools/env.c
  tools/help.c
  tools/image.c
  tools/image_jpeg.c
  tools/image_png.c
  tools/jsonout.c
  tools/model.c
  tools/options.c
  tools/resize.c
  tools/tool.c
  tools/transform.c
  tools/yaml.c
  tools/zip.c
)

set(UNIT_TESTS # names of tests/NAME.c, and after a colon further files that the test needs
  test_conv:node_bench.c
  test_dense:node_bench.c
  test_options
  test_base
  test_conv:node_bench.c
  test_dense:node_bench.c
  test_file
  test_ops:cases.c:case_run.c
  test_parity
  test_optimizer
  test_hostile:hostile.c:wire.c
  test_payload:hostile.c:wire.c
  test_safetensors
  test_session:model.c
  test_sparse:sparse_case.c
)
