"""Device set-up, which every script does before it uses MindSpore."""

import os

import mindspore as ms

from src.errors import InputError


def ascend_is_usable():
    """Whether MindSpore can use an Ascend; if so, that is the device that it starts with."""
    return ms.get_context("device_target") == "Ascend"


def setup_device(args):
    """Sets up the device that the parsed flags ask for; returns the target in use."""
    distribute = getattr(args, "distribute", False)
    return set_up(args.device_target, None if distribute else args.device_id, args.jit_level)


def default_jit_level(target):
    """How graphs are compiled where nothing is asked for: O0 on an Ascend, else MindSpore's choice.

    MindSpore's own choice on the first Ascend 910 is the graph engine. It is deprecated, has no
    adapter for GroupNorm, and takes no control flow, which the loss scale of float16 needs.
    """
    return "O0" if target == "Ascend" else None


def set_up(device_target=None, device_id=0, jit_level=None):
    """Sets the device and graph mode; call it before any operator runs.

    On a CPU oneDNN is limited to AVX2 unless ONEDNN_MAX_CPU_ISA is set: with AVX-512 the wheel's
    oneDNN falls back to its reference convolution, which is 100 times slower.

    Args:
        device_target: "Ascend", "CPU", or None for Ascend if one is usable, else CPU.
        device_id: number of the card; None for the one that msrun gives this process.
        jit_level: how graphs are compiled: "O0" kernel by kernel, "O1" with fused operators, "O2"
            as a whole by an Ascend's graph engine; None for `default_jit_level`.

    Returns:
        The target in use.

    Raises:
        InputError: an Ascend, or a level that needs one, is asked for and none is usable, or
            `device_id` is negative.
    """
    if device_id is not None and device_id < 0:
        raise InputError(f"device_id is {device_id}: it must be at least 0")
    if device_target != "CPU" and ascend_is_usable():
        target = "Ascend"
    elif device_target == "Ascend":
        raise InputError(
            "device_target is Ascend, and none is usable here: use --device_target CPU, or install "
            "MindSpore for Ascend and its CANN"
        )
    else:
        target = "CPU"
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    if jit_level == "O2" and target == "CPU":
        raise InputError("jit_level is O2: only an Ascend has a graph engine; use O0 or O1 here")
    ms.set_context(mode=ms.GRAPH_MODE)
    jit_level = jit_level or default_jit_level(target)
    if jit_level:
        ms.set_context(jit_config={"jit_level": jit_level})
    ms.set_device(target, device_id if target == "Ascend" else None)
    return target


def describe(target):
    """One line about the device, for the log."""
    level = ms.get_context("jit_config").get("jit_level")
    text = f"device: {target}" + (f", jit_level {level}" if level else "")
    if target == "CPU":
        limit = os.environ["ONEDNN_MAX_CPU_ISA"]
        text += f", oneDNN limited to {limit} (ONEDNN_MAX_CPU_ISA)"
    return text
