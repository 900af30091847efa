"""libonnxtrain.so for Python, its structs as runtime/onnxtrain.h has them: read from the header,
their sizes and offsets compared with what a C compiler makes of it (CC, or cc).

    library = Library("build/libonnxtrain.so")
    with library.open("model.onnx", sparse=1) as session: session.step([x], target)
"""
import ctypes as c
import os
import pathlib
import re
import subprocess
import tempfile

import numpy as np

HEADER = pathlib.Path(__file__).parent.parent / "runtime" / "onnxtrain.h"
SCALARS = {"int": c.c_int, "unsigned": c.c_uint, "char": c.c_char, "float": c.c_float,
           "double": c.c_double, "size_t": c.c_size_t, "int64_t": c.c_int64, "int32_t": c.c_int32,
           "uint64_t": c.c_uint64, "uint32_t": c.c_uint32, "uint8_t": c.c_uint8}
TYPES = {np.dtype("float32"): 1, np.dtype("int64"): 7}


def field(declaration, numbers, known):
    """(name, type) of each thing that a line of a struct declares."""
    function = re.match(r"[\w\s*]+\(\s*\*\s*(\w+)\s*\)\s*\(", declaration)
    if function:
        return [(function[1], c.c_void_p)]
    base, rest = re.match(r"(?:const\s+)?(?:struct\s+)?(\w+)\s*(.*)$", declaration, re.S).groups()
    found = []
    for part in rest.split(","):
        stars, name, count = re.match(r"([\s*]*(?:const\b[\s*]*)*)(\w+)\s*(?:\[(\w+)\])?\s*$",
                                      part.strip()).groups()
        if "*" in stars:
            kind = c.c_char_p if base == "char" and stars.count("*") == 1 else c.c_void_p
        else:
            kind = known[base]
        found.append((name, kind * int(numbers.get(count, count)) if count else kind))
    return found


def read_header(text):
    """The structs by name, and the constants of enums and of #define."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)
    numbers = {name: int(value) for name, value in
               re.findall(r"^#define\s+(OT_\w+)\s+(\d+)\s*$", text, re.M)}
    known = dict(SCALARS)
    for body in re.findall(r"enum\s*\w*\s*\{([^}]*)\}", text):
        value = -1
        for name, _, given in re.findall(r"(\w+)\s*(=\s*(-?\w+))?\s*(?:,|$)", body.strip()):
            value = int(numbers.get(given, given)) if given else value + 1
            numbers[name] = value
    for name in re.findall(r"typedef\s+enum\s+\w+\s*\{[^}]*\}\s*(\w+)\s*;", text):
        known[name] = c.c_int
    structs = {}
    for name, body in re.findall(r"typedef\s+struct\s+(\w+)\s*\{([^}]*)\}", text):
        fields = [f for line in body.split(";") if line.strip()
                  for f in field(" ".join(line.split()), numbers, known)]
        known[name] = structs[name] = type(name, (c.Structure,), {"_fields_": fields})
    return structs, numbers


def check_layout(structs):
    """Size of each struct and offset of each field, against the compiler's."""
    items = [(f"sizeof({s})", c.sizeof(t)) for s, t in structs.items()]
    items += [(f"offsetof({s}, {f[0]})", getattr(t, f[0]).offset)
              for s, t in structs.items() for f in t._fields_]
    lines = "\n".join(f'_Static_assert({what} == {n}, "{what} is not {n}");' for what, n in items)
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "layout.c"
        source.write_text(f'#include <stddef.h>\n#include "{HEADER.resolve()}"\n{lines}\n')
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-fsyntax-only", str(source)],
                       check=True)


class Library:
    def __init__(self, path):
        self.structs, self.numbers = read_header(HEADER.read_text())
        check_layout(self.structs)
        self.c = c.CDLL(path)
        self.c.ot_close.argtypes = [c.c_void_p]
        self.c.ot_parameter_count.argtypes = [c.c_void_p]
        self.c.ot_fixed_reason_name.restype = c.c_char_p
        for name in ("ot_read_parameter", "ot_get_gradient"):
            getattr(self.c, name).argtypes = [c.c_void_p, c.c_int, c.c_void_p, c.c_void_p]

    def make(self, name, **fields):
        return self.structs[name](**fields)

    def view(self, a):
        t = self.structs["ot_tensor"]
        return t(TYPES[a.dtype], a.ndim, t().dim.__class__(*a.shape), a.ctypes.data)

    def call(self, function, *arguments):
        error = self.make("ot_error")
        if getattr(self.c, function)(*arguments, c.byref(error)):
            raise RuntimeError(error.message.decode())

    def open(self, path, **options):
        return Session(self, path, options)


class Session:
    """A model opened by the library."""

    def __init__(self, library, path, options):
        self.library, self.handle = library, c.c_void_p()
        made = library.make("ot_options", threads=2, **options)
        library.call("ot_open", str(path).encode(), c.byref(made), c.byref(self.handle))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.c.ot_close(self.handle)

    def step(self, inputs, target):
        """The loss of one training step: cross entropy where targets are integers, else mse."""
        l, kinds = self.library, self.library.numbers
        kind = kinds["OT_LOSS_CROSS_ENTROPY" if target.dtype == np.int64 else "OT_LOSS_MSE"]
        loss, result = l.make("ot_loss_options", kind=kind), l.make("ot_result")
        l.call("ot_set_loss", self.handle, c.byref(loss))
        l.call("ot_set_optimizer", self.handle, c.byref(l.make("ot_optimizer_options")))
        views = (l.structs["ot_tensor"] * len(inputs))(*map(l.view, inputs))
        l.call("ot_train_step", self.handle, views, len(inputs), c.byref(l.view(target)),
               c.byref(result))
        return result.loss

    def read(self, function, i, info):
        a = np.empty(tuple(info.dim[:info.rank]), np.float32)
        self.library.call(function, self.handle, i, a.ctypes.data_as(c.c_void_p))
        return a

    def weights(self):
        """(number, ot_parameter_info) of each, those that are fixed too."""
        for i in range(self.library.c.ot_parameter_count(self.handle)):
            info = self.library.make("ot_parameter_info")
            self.library.call("ot_get_parameter", self.handle, i, c.byref(info))
            yield i, info

    def reason(self, info):
        return self.library.c.ot_fixed_reason_name(info.fixed).decode()

    def parameters(self):
        """(name, has it a pattern, values, gradient) of each that is trained."""
        for i, info in self.weights():
            if info.is_trainable:
                yield (info.name.decode(), info.has_pattern,
                       self.read("ot_read_parameter", i, info),
                       self.read("ot_get_gradient", i, info))
