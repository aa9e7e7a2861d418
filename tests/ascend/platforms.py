"""Which primitives MindSpore has for an Ascend, as the installed wheel says it.

Nothing is listed by hand. What the documentation says of a primitive holds; where it says nothing,
as of most gradients, a registration for the Ascend is looked for in

- the operator adapters that the wheel's headers declare, `op_declare/*.h`;
- the kernel classes in the Ascend's library, whose names end with `Ascend`;
- the AI CPU operators of `mindspore.ops._op_impl.aicpu`.
"""

import functools
import importlib
import inspect
import re
from pathlib import Path
from typing import NamedTuple

import mindspore

WHEEL = Path(mindspore.__file__).parent
KERNELS = "lib/plugin/libmindspore_ops_ascend.so"
MODULES = [
    importlib.import_module(f"mindspore.ops{name}")
    for name in ("", ".operations", ".auto_generate", ".operations._grad_ops")
]
# The documentation of primitives that talk to the host.
DEBUGGING = importlib.import_module("mindspore.ops.operations.debug_ops")


class Evidence(NamedTuple):
    """Whether a primitive is there for an Ascend, and which part of the wheel says so."""

    supported: bool
    source: str


@functools.cache
def evidence(primitive):
    """The `Evidence` on a primitive, by its name in a graph."""
    documented = documentation(primitive)
    if documented:
        where, platforms = documented
        return Evidence("Ascend" in platforms, f"{where}: {', '.join(platforms)}")
    for names, source in (
        (adapters(), "operator adapter, {}"),
        (kernels(), "kernel class {} in " + KERNELS),
        (ai_cpu(), "AI CPU operator, {}"),
    ):
        if primitive in names:
            return Evidence(True, source.format(names[primitive]))
    return Evidence(False, "neither documented nor registered for an Ascend")


def documentation(primitive):
    """Where a primitive's platforms are documented, and which; None where nothing is said.

    A docstring that refers to a function is followed there. "Deprecated", of an interface, says
    nothing about platforms.
    """
    for module in MODULES:
        text = inspect.getdoc(getattr(module, primitive, None)) or ""
        where = f"docstring of {module.__name__}.{primitive}"
        reference = re.search(r"Refer to :func:`(mindspore\.ops\.\w+)`", text)
        if reference:
            where = f"docstring of {reference[1]}"
            text = inspect.getdoc(getattr(mindspore.ops, reference[1].split(".")[-1], None)) or ""
        line = re.search(r"Supported Platforms:\s*\n\s*(.*)", text)
        platforms = re.findall(r"``(\w+)``", line[1]) if line else []
        if platforms:
            return where, platforms
    return None


def is_host_callback(primitive):
    """Whether a primitive leaves the device in the middle of a graph: calls of Python (`PyExecute`,
    `PyFunc`, `PyInterpret`), and what MindSpore defines for debugging (`Print`, summaries)."""
    kind = getattr(DEBUGGING, primitive, None)
    debugging = inspect.isclass(kind) and kind.__module__ == DEBUGGING.__name__
    return primitive.startswith("Py") or debugging


@functools.cache
def adapters():
    """Operators with an adapter to the Ascend's graph engine: name to header."""
    return {
        name: header.name
        for header in WHEEL.rglob("op_declare/*.h")
        for name in re.findall(r"DECLARE_(?:CUST_)?OP_ADAPTER\((\w+)\)", header.read_text())
    }


@functools.cache
def kernels():
    """Primitives with a kernel class of their own in the Ascend's library: name to class."""
    library = (WHEEL / KERNELS).read_bytes()
    classes = re.findall(rb"\x00N9mindspore6kernel(\w+Ascend)E\x00", library)
    names = [last_name(mangled.decode()) for mangled in classes]
    return {name.removesuffix("Ascend"): name for name in names}


def last_name(mangled):
    """The class of a C++ name as compilers write it: "7pyboost4TanhAscend", "TanhAscend"."""
    name = ""
    while mangled:
        length = re.match(r"\d*", mangled)[0]
        end = len(length) + int(length or len(mangled))
        name, mangled = mangled[len(length) : end], mangled[end:]
    return name


@functools.cache
def ai_cpu():
    """Operators for the processor on an Ascend card: name to the file that registers it."""
    return {
        name: path.name
        for path in (WHEEL / "ops/_op_impl/aicpu").glob("*.py")
        for name in re.findall(r'AiCPURegOp\("(\w+)"\)', path.read_text())
    }
