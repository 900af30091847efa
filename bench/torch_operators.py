"""torch_operators.py - the operators of ONNX as functions of PyTorch, for torch_graph.py.

TABLE has a function for each operator's name: f(x, a) takes the inputs (None where one is left out)
and the attributes, and returns the output, or a tuple of outputs. What an attribute asks for that
PyTorch has no function for raises Unsupported.
"""
import functools
import math

import torch
from torch.nn import functional as F

from torch_recurrent import gru, lstm, rnn
from torch_tensors import TENSORS, Unsupported, axes_of, optional

# ---- elementwise ----


def divide(x, a):
    return torch.div(*x, rounding_mode=None if x[0].is_floating_point() else "trunc")


def clip(x, a):
    low, high = optional(x, 1), optional(x, 2)
    low = low.item() if low is not None else a.get("min")
    high = high.item() if high is not None else a.get("max")
    return x[0] if low is None and high is None else torch.clamp(x[0], low, high)


def gelu(x, a):
    return F.gelu(x[0], approximate=a.get("approximate", "none"))


def swish(x, a):
    alpha = a.get("alpha", 1.0)
    return F.silu(x[0]) if alpha == 1 else x[0] * torch.sigmoid(alpha * x[0])


def hard_sigmoid(x, a):
    return torch.clamp(a.get("alpha", 0.2) * x[0] + a.get("beta", 0.5), 0, 1)


def modulo(x, a):
    return torch.fmod(*x) if a.get("fmod", 0) else torch.remainder(*x)


def dropout(x, a):
    """Drops where the file says that it trains, as the library does."""
    training = optional(x, 2)
    if training is None or not training.item():
        return x[0], torch.ones_like(x[0], dtype=torch.bool)
    ratio = optional(x, 1)
    mask = torch.rand_like(x[0]) >= (0.5 if ratio is None else ratio.item())
    return x[0] * mask / mask.float().mean(), mask


def unary(f):
    return lambda x, a: f(x[0])


def binary(f):
    return lambda x, a: f(x[0], x[1])


def variadic(f):
    return lambda x, a: functools.reduce(f, x)


ELEMENTWISE = {
    **{name: unary(getattr(torch, name.lower())) for name in (
        "Abs", "Neg", "Sqrt", "Exp", "Log", "Erf", "Sigmoid", "Tanh", "Relu", "Reciprocal", "Sin",
        "Cos", "Sign", "Floor", "Ceil", "Round", "IsNaN", "IsInf")},
    "Not": unary(torch.logical_not), "Softplus": unary(F.softplus), "Softsign": unary(F.softsign),
    "Identity": unary(lambda x: x), "HardSwish": unary(F.hardswish), "Mish": unary(F.mish),
    "Add": binary(torch.add), "Sub": binary(torch.sub), "Mul": binary(torch.mul), "Div": divide,
    "Pow": binary(torch.pow), "Mod": modulo, "PRelu": binary(lambda x, s: torch.where(
        x < 0, x * s, x)),
    "Equal": binary(torch.eq), "Less": binary(torch.lt), "LessOrEqual": binary(torch.le),
    "Greater": binary(torch.gt), "GreaterOrEqual": binary(torch.ge),
    "And": binary(torch.logical_and), "Or": binary(torch.logical_or),
    "Xor": binary(torch.logical_xor),
    "Sum": variadic(torch.add), "Max": variadic(torch.maximum), "Min": variadic(torch.minimum),
    "Where": lambda x, a: torch.where(*x), "Clip": clip, "Gelu": gelu, "Swish": swish,
    "HardSigmoid": hard_sigmoid, "Dropout": dropout,
    "Elu": lambda x, a: F.elu(x[0], a.get("alpha", 1.0)),
    "LeakyRelu": lambda x, a: F.leaky_relu(x[0], a.get("alpha", 0.01)),
    "Selu": unary(F.selu),
}

# ---- reductions ----


def reduction(f):
    """f(x, axes, keep); axes are an attribute, or an input from opset 13 or 18 on."""
    def run(x, a):
        axes = axes_of(x, a)
        if axes is None and a.get("noop_with_empty_axes", 0):
            return x[0]
        axes = axes if axes is not None else list(range(x[0].dim()))
        return f(x[0], axes, bool(a.get("keepdims", 1)))
    return run


def arg_max(x, a):
    return x[0].argmax(a.get("axis", 0), keepdim=bool(a.get("keepdims", 1)))


REDUCTIONS = {
    "ReduceMean": reduction(torch.mean), "ReduceSum": reduction(torch.sum),
    "ReduceMax": reduction(torch.amax), "ReduceMin": reduction(torch.amin),
    "ReduceL1": reduction(lambda x, axes, keep: x.abs().sum(axes, keep)),
    "ReduceL2": reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceSumSquare": reduction(lambda x, axes, keep: x.square().sum(axes, keep)),
    "ReduceLogSumExp": reduction(torch.logsumexp),
    "Softmax": lambda x, a: F.softmax(x[0], a.get("axis", -1)),
    "LogSoftmax": lambda x, a: F.log_softmax(x[0], a.get("axis", -1)),
    "ArgMax": arg_max,
    "CumSum": lambda x, a: torch.cumsum(x[0], int(x[1])),
}

# ---- products ----


def gemm(x, a):
    left = x[0].t() if a.get("transA", 0) else x[0]
    right = x[1] if a.get("transB", 0) else x[1].t()
    c, alpha, beta = optional(x, 2), a.get("alpha", 1.0), a.get("beta", 1.0)
    if alpha == beta == 1 and (c is None or c.dim() == 1):
        return F.linear(left, right, c)
    y = alpha * F.linear(left, right)
    return y if c is None else y + beta * c


def begin_and_end(x, a, spatial):
    """The pads in front of and behind each axis, as the attributes say."""
    pads = a.get("pads", [0] * 2 * spatial)
    auto, stride = a.get("auto_pad", "NOTSET"), a.get("strides", [1] * spatial)
    if auto.startswith("SAME"):
        window = [d * (k - 1) + 1 for d, k in zip(a.get("dilations", [1] * spatial),
                                                  a["kernel_shape"])]
        total = [max((math.ceil(n / s) - 1) * s + w - n, 0)
                 for n, s, w in zip(x.shape[2:], stride, window)]
        small = [t // 2 for t in total]
        large = [t - s for t, s in zip(total, small)]
        return (small, large) if auto == "SAME_UPPER" else (large, small)
    return pads[:spatial], pads[spatial:]


def pad_where_unequal(x, before, after, value):
    """F.conv and its like pad both sides alike: what is left for them to pad."""
    if before == after:
        return x, before
    pairs = [p for pair in zip(reversed(before), reversed(after)) for p in pair]
    return F.pad(x, pairs, value=value), [0] * len(before)


def conv(x, a):
    spatial = x[1].dim() - 2
    shape = dict(a, kernel_shape=list(x[1].shape[2:]))
    y, pads = pad_where_unequal(x[0], *begin_and_end(x[0], shape, spatial), 0.0)
    return (F.conv1d, F.conv2d, F.conv3d)[spatial - 1](
        y, x[1], optional(x, 2), a.get("strides", [1] * spatial), pads,
        a.get("dilations", [1] * spatial), a.get("group", 1))


def conv_transpose(x, a):
    spatial = x[1].dim() - 2
    before, after = begin_and_end(x[0], a, spatial)
    if before != after or "output_shape" in a or a.get("auto_pad", "NOTSET") != "NOTSET":
        raise Unsupported("ConvTranspose with unequal pads or an output_shape")
    return (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[spatial - 1](
        x[0], x[1], optional(x, 2), a.get("strides", [1] * spatial), before,
        a.get("output_padding", [0] * spatial), a.get("group", 1),
        a.get("dilations", [1] * spatial))


def max_pool(x, a):
    kernel = a["kernel_shape"]
    y, pads = pad_where_unequal(x[0], *begin_and_end(x[0], a, len(kernel)), -math.inf)
    return (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1](
        y, kernel, a.get("strides", [1] * len(kernel)), pads,
        a.get("dilations", [1] * len(kernel)), bool(a.get("ceil_mode", 0)))


def average_pool(x, a):
    kernel, counted = a["kernel_shape"], bool(a.get("count_include_pad", 0))
    before, after = begin_and_end(x[0], a, len(kernel))
    if before != after and not counted:
        raise Unsupported("AveragePool with unequal pads")
    y, pads = pad_where_unequal(x[0], before, after, 0.0)
    return (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1](
        y, kernel, a.get("strides", [1] * len(kernel)), pads, bool(a.get("ceil_mode", 0)), counted)


def global_pool(f):
    return lambda x, a: f(x[0], list(range(2, x[0].dim())), True)


PRODUCTS = {
    "MatMul": binary(torch.matmul), "Gemm": gemm, "Conv": conv, "ConvTranspose": conv_transpose,
    "Einsum": lambda x, a: torch.einsum(a["equation"], *x),
    "MaxPool": max_pool, "AveragePool": average_pool,
    "GlobalAveragePool": global_pool(torch.mean), "GlobalMaxPool": global_pool(torch.amax),
    "LSTM": lstm, "GRU": gru, "RNN": rnn,
}

# ---- normalisation ----


def batch_norm(x, a):
    """With the statistics of the batch where `train_norms` is set, which is no attribute of ONNX:
    torch_graph.py sets it for steps of training."""
    train = a.get("train_norms", False) or bool(a.get("training_mode", 0))
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], training=train,
                        momentum=1 - a.get("momentum", 0.9), eps=a.get("epsilon", 1e-5))


def layer_norm(x, a):
    axis = a.get("axis", -1) % x[0].dim()
    return F.layer_norm(x[0], x[0].shape[axis:], x[1].expand(x[0].shape[axis:]), optional(x, 2),
                        a.get("epsilon", 1e-5))


def rms_norm(x, a):
    axis = a.get("axis", -1) % x[0].dim()
    return F.rms_norm(x[0], x[0].shape[axis:], x[1].expand(x[0].shape[axis:]),
                      a.get("epsilon", 1e-5))


def group_norm(x, a):
    groups, scale, bias = a["num_groups"], x[1], x[2]
    if len(scale) != x[0].shape[1]:  # opset 18: one for each group
        scale, bias = (v.repeat_interleave(x[0].shape[1] // groups) for v in (scale, bias))
    return F.group_norm(x[0], groups, scale, bias, a.get("epsilon", 1e-5))


def instance_norm(x, a):
    return F.instance_norm(x[0], weight=x[1], bias=x[2], eps=a.get("epsilon", 1e-5))


NORMS = {
    "BatchNormalization": batch_norm, "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm, "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
}

# ---- attention ----


def heads_apart(x, heads):
    return x if x.dim() == 4 else x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attention(x, a):
    q, k, v, mask = x[0], x[1], x[2], optional(x, 3)
    if len(x) > 4 or a.get("softcap", 0) or a.get("qk_matmul_output_mode", 0):
        raise Unsupported("Attention with caches or a cap")
    merged = q.dim() == 3
    if merged:
        q = heads_apart(q, a["q_num_heads"])
        k, v = (heads_apart(t, a["kv_num_heads"]) for t in (k, v))
    causal = bool(a.get("is_causal", 0))
    if causal and mask is not None:
        triangle = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril()
        mask = mask & triangle if mask.dtype == torch.bool else \
            mask.masked_fill(~triangle, -math.inf)
        causal = False
    y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=a.get("scale"),
                                       enable_gqa=q.shape[1] != k.shape[1])
    return y.transpose(1, 2).flatten(2) if merged else y


def rotary_embedding(x, a):
    """Of x [N, heads, T, D] or [N, T, heads * D]; tables [positions, D / 2], or [N, T, D / 2]."""
    y, ids = x[0], optional(x, 3)
    merged = y.dim() == 3
    if merged:
        y = y.unflatten(-1, (a["num_heads"], -1)).transpose(1, 2)
    cos, sin = ((t if ids is None else t[ids]).unsqueeze(1) for t in x[1:3])
    width = a.get("rotary_embedding_dim", 0) or y.shape[-1]
    y, rest = y[..., :width], y[..., width:]
    if a.get("interleaved", 0):
        u, v = y[..., ::2], y[..., 1::2]
        y = torch.stack((u * cos - v * sin, u * sin + v * cos), -1).flatten(-2)
    else:
        u, v = y.chunk(2, -1)
        y = torch.cat((u * cos - v * sin, u * sin + v * cos), -1)
    y = torch.cat((y, rest), -1)
    return y.transpose(1, 2).flatten(2) if merged else y


TABLE = {**ELEMENTWISE, **REDUCTIONS, **PRODUCTS, **NORMS, **TENSORS,
         "Attention": attention, "RotaryEmbedding": rotary_embedding}
