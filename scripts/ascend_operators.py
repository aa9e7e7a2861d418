"""Which operators MindSpore has for an Ascend, by backend, as the installed wheel says it.

An Ascend runs a graph in one of two ways. Kernel by kernel (jit_level O0 and O1), the host launches
each operator. The graph engine of CANN, GE (O2), takes the graph as a whole, and needs an adapter
for each operator.

Nothing is listed by hand. Where the documentation of an operator names platforms and the Ascend is
none of them, no backend has it. Else the wheel says it in

- the kernel classes in the Ascend's library, whose names end with `Ascend`;
- the collective operators that its headers register for HCCL, `hccl/*.h`;
- the adapters to CANN's operators that its headers declare, `op_declare/*.h`, and the names under
  which they are registered, `op_adapter_map.h`; kernel by kernel calls CANN by them too;
- the AI CPU operators of `mindspore.ops._op_impl.aicpu`;
- the documentation, which is about kernel by kernel: MindSpore has deprecated GE since 2.9.
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
KERNEL_BY_KERNEL, GRAPH_ENGINE = BACKENDS = ("kernel by kernel", "GE")
NOT_THERE = {
    KERNEL_BY_KERNEL: "neither documented nor registered for an Ascend",
    GRAPH_ENGINE: "no adapter of this name",
}
MODULES = [
    importlib.import_module(f"mindspore.ops{name}")
    for name in ("", ".operations", ".auto_generate", ".operations._grad_ops")
]
# The documentation of primitives that talk to the host.
DEBUGGING = importlib.import_module("mindspore.ops.operations.debug_ops")


class Evidence(NamedTuple):
    """Whether a backend has an operator, and which part of the wheel says so."""

    supported: bool
    source: str


@functools.cache
def evidence(primitive, backend):
    """The `Evidence` on an operator, by its name in a graph; `backend` is one of `BACKENDS`."""
    where, platforms = documentation(primitive) or ("", ["Ascend"])
    documented = f"{where}: {', '.join(platforms)}"
    if "Ascend" not in platforms:
        return Evidence(False, documented)
    for names, source in registers(backend):
        if primitive in names:
            return Evidence(True, source.format(names[primitive]))
    if where and backend == KERNEL_BY_KERNEL:
        return Evidence(True, documented)
    return Evidence(False, NOT_THERE[backend])


def registers(backend):
    """Where a backend finds an operator that is registered: pairs of names and a text."""
    adapter = [(adapters(), "adapter, {}")]
    if backend == GRAPH_ENGINE:
        return adapter
    return [
        (kernels(), "kernel class {} in " + KERNELS),
        (collectives(), "HCCL kernel, {}"),
        *adapter,
        (ai_cpu(), "AI CPU operator, {}"),
    ]


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
    """Operators with an adapter to CANN's: name to header."""
    return registered("op_adapter_map.h", r'constexpr const char kName\w+\[\] = "(\w+)"') | (
        registered("op_declare/*.h", r"DECLARE_(?:CUST_)?OP_ADAPTER\((\w+)\)")
    )


@functools.cache
def collectives():
    """Operators between ranks: name to the header that registers the kernel."""
    return registered("hccl/*.h", r"MS_HCCL_REG_KERNEL\((\w+), \w+\);")


def registered(pattern, declaration):
    """The names that the wheel's headers of a pattern declare: name to header."""
    return {
        name: header.name
        for header in WHEEL.rglob(pattern)
        for name in re.findall(declaration, header.read_text())
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
