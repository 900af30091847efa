"""torch_recurrent.py - LSTM, GRU and RNN of ONNX on PyTorch's fused functions, for
torch_operators.py.

ONNX has the directions as the first axis of every weight, and gates in other orders.
"""
import torch

from torch_tensors import Unsupported, optional

DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def refuse_what_is_different(op, x, a, directions):
    lengths, peepholes = optional(x, 4), optional(x, 7)
    if a.get("activations", DEFAULTS[op] * directions) != DEFAULTS[op] * directions:
        raise Unsupported(f"{op} with other activations")
    if lengths is not None and (lengths != x[0].shape[0]).any():
        raise Unsupported(f"{op} with sequence_lens")
    if a.get("clip", 0) or a.get("layout", 0) or a.get("input_forget", 0) or peepholes is not None:
        raise Unsupported(f"{op} with clip, layout, input_forget or peepholes")


def weights(x, order):
    """[W, R, bias of W, bias of R] for each direction, the gates in PyTorch's order."""
    w, r, b = x[1], x[2], optional(x, 3)
    hidden, gates = r.shape[2], len(order)

    def turn(v):
        if gates == 1:
            return v
        return torch.cat([v[i * hidden:(i + 1) * hidden] for i in order])

    flat = []
    for i in range(w.shape[0]):
        flat += [turn(w[i]), turn(r[i])]
        if b is not None:
            flat += [turn(v) for v in b[i].chunk(2)]
    return flat, b is not None


def run(op, f, x, a, order):
    """Outputs Y [T, directions, N, H], and the last states."""
    directions, hidden = x[1].shape[0], x[2].shape[2]
    refuse_what_is_different(op, x, a, directions)
    steps, batch = x[0].shape[:2]
    backwards = a.get("direction", "forward") == "reverse"
    start = [optional(x, i) for i in ((5, 6) if op == "LSTM" else (5,))]
    start = [x[0].new_zeros(directions, batch, hidden) if s is None else s.contiguous()
             for s in start]
    flat, has_bias = weights(x, order)
    y, *states = f(x[0].flip(0) if backwards else x[0], start if op == "LSTM" else start[0], flat,
                   has_bias, 1, 0.0, True, directions == 2, False)
    y = y.flip(0) if backwards else y
    return y.reshape(steps, batch, directions, hidden).transpose(1, 2), *states


def lstm(x, a):
    """Gates i o f c; PyTorch's are i f c o."""
    return run("LSTM", torch._VF.lstm, x, a, (0, 2, 3, 1))


def gru(x, a):
    """Gates z r h; PyTorch's are r z h."""
    if not a.get("linear_before_reset", 0):
        raise Unsupported("GRU without linear_before_reset")
    return run("GRU", torch._VF.gru, x, a, (1, 0, 2))


def rnn(x, a):
    return run("RNN", torch._VF.rnn_tanh, x, a, (0,))
