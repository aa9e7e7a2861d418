"""Sink mode: several training steps at a time without a word from the host in between.

MindSpore has it on an Ascend; on a CPU it trains step by step whatever it is told. In sink mode it
calls a sink an epoch, so that `Model`'s events come once a sink.
"""

import dataclasses

import mindspore as ms


def is_used():
    """Whether the device in use has sink mode."""
    return ms.get_context("device_target") == "Ascend"


def settle(config, target):
    """The `Config` as it will be used: without an Ascend its `sink_size` is 1, which it says."""
    training = config.training
    if target == "Ascend" or training.sink_size == 1:
        return config
    print(
        f"sink_size {training.sink_size} is not used: MindSpore has no sink mode on a {target}; "
        "steps run one by one"
    )
    return dataclasses.replace(config, training=dataclasses.replace(training, sink_size=1))


def steps_at_once(sink_size, steps):
    """The largest number up to `sink_size` that divides the steps to an epoch's end."""
    return max(size for size in range(1, sink_size + 1) if steps % size == 0)


def describe(size):
    """One line for the log."""
    if size == 1:
        return "sink mode: 1 step at a time"
    return (
        f"sink mode: {size} steps at a time; saves, stop signals, --max_minutes, checks for NaN, "
        f"learning rate and rows of metrics.csv act at multiples of {size}"
    )
