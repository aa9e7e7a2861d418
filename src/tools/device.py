"""Device set-up: what every script does before anything else touches MindSpore."""

import os

import mindspore as ms

from src.errors import InputError


def ascend_is_usable():
    """Whether MindSpore loaded its Ascend backend: it starts with the best target it has."""
    return ms.get_context("device_target") == "Ascend"


def set_up(device_target=None, device_id=0):
    """Chooses the device and graph mode; to be called before any operator runs.

    On a CPU oneDNN is limited to AVX2 unless ONEDNN_MAX_CPU_ISA says otherwise: on AVX-512 the
    wheel's oneDNN takes its reference convolution, 100 times slower.

    Args:
        device_target: "Ascend", "CPU", or None for Ascend where one is usable.
        device_id: which card.

    Returns:
        The target that is in use.

    Raises:
        InputError: an Ascend is asked for and none is usable, or `device_id` is negative.
    """
    if device_id < 0:
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
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device(target, device_id if target == "Ascend" else 0)
    return target


def describe(target):
    """One line about the device for the log."""
    if target == "CPU":
        limit = os.environ["ONEDNN_MAX_CPU_ISA"]
        return f"device: CPU, oneDNN limited to {limit} (ONEDNN_MAX_CPU_ISA)"
    return "device: Ascend"
