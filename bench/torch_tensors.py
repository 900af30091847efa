"""torch_tensors.py - operators of ONNX that make, cut, join and index tensors, as functions of
PyTorch, for torch_operators.py.
"""
import numpy as np
import torch
from onnx import TensorProto, numpy_helper
from torch.nn import functional as F


class Unsupported(Exception):
    """A form of an operator that has no function here."""


TYPES = {TensorProto.FLOAT: torch.float32, TensorProto.DOUBLE: torch.float64,
         TensorProto.FLOAT16: torch.float16, TensorProto.BFLOAT16: torch.bfloat16,
         TensorProto.BOOL: torch.bool, TensorProto.INT64: torch.int64,
         TensorProto.INT32: torch.int32, TensorProto.INT8: torch.int8,
         TensorProto.UINT8: torch.uint8, TensorProto.INT16: torch.int16}


def to_torch(tensor):
    return torch.from_numpy(np.array(numpy_helper.to_array(tensor)))


def optional(x, i):
    return x[i] if i < len(x) else None


def axes_of(x, a, index=1):
    """An attribute before opset 13 or 18, an input from then on; None: neither."""
    if "axes" in a:
        return list(a["axes"])
    axes = optional(x, index)
    return None if axes is None or not axes.numel() else axes.tolist()


# ---- making ----


def constant(x, a):
    (kind, value), = a.items()
    if kind == "value":
        return to_torch(value)
    if kind in ("value_float", "value_floats"):
        return torch.tensor(value, dtype=torch.float32)
    if kind in ("value_int", "value_ints"):
        return torch.tensor(value, dtype=torch.int64)
    raise Unsupported(f"Constant with {kind}")


def constant_of_shape(x, a):
    value = to_torch(a["value"]) if "value" in a else torch.zeros(1)
    return value.reshape(()).expand(x[0].tolist()).clone()


def cast(x, a):
    return x[0].to(TYPES[a["to"]])


def shape(x, a):
    dims = list(x[0].shape)[slice(a.get("start", 0), a.get("end"))]
    return torch.tensor(dims, dtype=torch.int64)


def arange(x, a):
    return torch.arange(*(v.item() for v in x), dtype=x[0].dtype)


def trilu(x, a):
    k = 0 if optional(x, 1) is None else int(x[1])
    return torch.triu(x[0], k) if a.get("upper", 1) else torch.tril(x[0], k)


# ---- shapes ----


def reshape(x, a):
    dims = x[1].tolist()
    if not a.get("allowzero", 0):
        dims = [d or x[0].shape[i] for i, d in enumerate(dims)]
    return x[0].reshape(dims)


def flatten(x, a):
    axis = a.get("axis", 1)
    axis += x[0].dim() if axis < 0 else 0
    return x[0].reshape(int(np.prod(x[0].shape[:axis])), -1)


def squeeze(x, a):
    axes = axes_of(x, a)
    return x[0].squeeze() if axes is None else x[0].squeeze(axes)


def unsqueeze(x, a):
    axes = axes_of(x, a)
    rank = x[0].dim() + len(axes)
    y = x[0]
    for axis in sorted(axis % rank for axis in axes):
        y = y.unsqueeze(axis)
    return y


def transpose(x, a):
    return x[0].permute(a.get("perm", list(reversed(range(x[0].dim())))))


def expand(x, a):
    return x[0].expand(torch.broadcast_shapes(x[0].shape, x[1].tolist()))


def depth_to_space(x, a):
    n, c, h, w = x[0].shape
    b = a["blocksize"]
    if a.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x[0], b)
    y = x[0].reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // (b * b), h * b, w * b)


# ---- joining, cutting ----


def split(x, a):
    axis = a.get("axis", 0)
    sizes = a.get("split") if optional(x, 1) is None else x[1].tolist()
    if sizes is None:
        size = -(-x[0].shape[axis] // (a.get("num_outputs") or a["outputs"]))
        return torch.split(x[0], size, axis)
    return torch.split(x[0], list(sizes), axis)


def slices(x, a):
    """Opset 10 and later; before, limits are attributes."""
    if len(x) == 1:
        starts, ends = a["starts"], a["ends"]
        axes, steps = a.get("axes", range(len(starts))), [1] * len(starts)
    else:
        starts, ends = x[1].tolist(), x[2].tolist()
        axes = range(len(starts)) if optional(x, 3) is None else x[3].tolist()
        steps = [1] * len(starts) if optional(x, 4) is None else x[4].tolist()
    y = x[0]
    for start, end, axis, step in zip(starts, ends, axes, steps):
        n = y.shape[axis]
        begin, stop, stride = slice(start, end if end > -n or step > 0 else None, step).indices(n)
        if step < 0:
            y = y.index_select(axis, torch.arange(begin, stop, stride))
        else:
            y = y[(slice(None),) * (axis % y.dim()) + (slice(begin, stop, stride),)]
    return y


def pad(x, a):
    values = a["pads"] if "pads" in a else x[1].tolist()
    value = optional(x, 2)
    rank = x[0].dim()
    axes = range(rank) if optional(x, 3) is None else x[3].tolist()
    pairs = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        at = 2 * (rank - 1 - axis % rank)
        pairs[at:at + 2] = values[i], values[i + len(values) // 2]
    mode = a.get("mode", "constant")
    if mode != "constant":
        raise Unsupported(f"Pad with {mode}")
    return F.pad(x[0], pairs, value=0.0 if value is None else value.item())


# ---- indexing ----


def gather(x, a):
    axis, ids = a.get("axis", 0) % x[0].dim(), x[1]
    if axis == 0 and x[0].is_floating_point() and x[0].dim() == 2 and bool((ids >= 0).all()):
        return F.embedding(ids, x[0])
    ids = torch.where(ids < 0, ids + x[0].shape[axis], ids)
    y = x[0].index_select(axis, ids.reshape(-1))
    return y.reshape([*x[0].shape[:axis], *ids.shape, *x[0].shape[axis + 1:]])


def gather_elements(x, a):
    axis = a.get("axis", 0)
    return torch.gather(x[0], axis, torch.where(x[1] < 0, x[1] + x[0].shape[axis], x[1]))


def gather_nd(x, a):
    """x[1]'s last axis indexes the axes behind the `batch_dims` first."""
    batch = a.get("batch_dims", 0)
    lead = x[1].shape[:batch]
    data, ids = x[0].flatten(0, batch - 1) if batch else x[0][None], x[1]
    ids = ids.reshape(data.shape[0], -1, ids.shape[-1])
    rows = torch.arange(data.shape[0])[:, None].expand(ids.shape[:2])
    y = data[(rows, *ids.unbind(-1))]
    return y.reshape([*lead, *x[1].shape[batch:-1], *data.shape[1 + ids.shape[-1]:]])


def scatter_nd(x, a):
    if a.get("reduction", "none") != "none":
        raise Unsupported(f"ScatterND with {a['reduction']}")
    return x[0].index_put(tuple(x[1].unbind(-1)), x[2])


def resize(x, a):
    """Of the last axes, by their sizes or factors."""
    mode, place = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
    sizes, scales = optional(x, 3), optional(x, 2)
    if mode == "nearest" and place != "asymmetric" or mode == "cubic" or \
            place not in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"):
        raise Unsupported(f"Resize with {mode}, {place}")
    size = sizes.tolist() if sizes is not None and sizes.numel() else \
        [int(n * s) for n, s in zip(x[0].shape, scales.tolist())]
    mode = "bilinear" if mode == "linear" else mode
    aligned = {} if mode == "nearest" else {"align_corners": place == "align_corners"}
    return F.interpolate(x[0], size[2:], mode=mode, **aligned)


TENSORS = {
    "Constant": constant, "ConstantOfShape": constant_of_shape, "Cast": cast, "Shape": shape,
    "CastLike": lambda x, a: x[0].to(x[1].dtype), "Range": arange, "Trilu": trilu,
    "Size": lambda x, a: torch.tensor(x[0].numel()), "Reshape": reshape, "Flatten": flatten,
    "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose, "Expand": expand,
    "Tile": lambda x, a: x[0].repeat(x[1].tolist()), "DepthToSpace": depth_to_space,
    "Concat": lambda x, a: torch.cat(x, a["axis"]), "Split": split, "Slice": slices, "Pad": pad,
    "Gather": gather, "GatherElements": gather_elements, "GatherND": gather_nd,
    "ScatterND": scatter_nd, "Resize": resize,
}
