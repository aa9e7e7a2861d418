"""Runs one network of `bench_step.py` in its own process: `step_worker.py SIDE PRESET BATCH`.

SIDE is "ours", this project's network, or "torch". A line "compile", "train" or "forward" on stdin
does that once; the answer on stdout is the seconds that it took. The answer to "memory" is the peak
so far, in bytes above that after the imports.
"""

import resource
import sys
import time

import mindspore as ms
import numpy as np
import torch
from common import PROJECT  # noqa: F401  (makes the project importable)

from src.config.presets import make_config
from src.model import EncoderForecaster
from src.runtime import device
from src.tools import loss, optimizers, train_step
from tests.torch_twin import Twin

FRAMES = 10


def peak_bytes():
    """The largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(preset, inputs, targets):
    """Functions that run a training step, a forward pass and the compiler of this network."""
    device.set_up("CPU")
    config = make_config(preset, {}, "published")
    network = EncoderForecaster(config.model, FRAMES)
    step_loss = loss.ForecastLoss(network, "mse")
    optimizer = optimizers.make_optimizer(network, config.training)
    step = train_step.TrainStep(step_loss, optimizer)
    inputs, targets = ms.Tensor(inputs), ms.Tensor(targets)
    return (
        lambda: step(inputs, targets)[0].asnumpy(),
        lambda: network(inputs).asnumpy(),
        lambda: step.compile(inputs, targets),
    )


def published(preset, inputs, targets):
    """The same functions of the network in PyTorch, which is not compiled."""
    config = make_config(preset, {}, "published")
    network = Twin(config.model, FRAMES)
    optimizer = torch.optim.Adam(network.parameters(), config.training.learning_rate)
    inputs, targets = torch.from_numpy(inputs), torch.from_numpy(targets)

    def train():
        optimizer.zero_grad()
        output = network.activate(network.forecast(inputs))
        torch.nn.functional.mse_loss(output, targets).backward()
        optimizer.step()

    def forward():
        with torch.no_grad():
            network.activate(network.forecast(inputs))

    return train, forward, lambda: None


def main(side, preset, batch):
    """Builds the network and answers the commands on stdin."""
    imported = peak_bytes()
    frames = np.random.default_rng(0).random((int(batch), 2 * FRAMES, 1, 64, 64), np.float32)
    make = {"ours": ours, "torch": published}[side]
    train, forward, compile_ = make(preset, frames[:, :FRAMES], frames[:, FRAMES:])
    commands = {"train": train, "forward": forward, "compile": compile_}
    for line in sys.stdin:
        command = line.strip()
        if command == "memory":
            print("answer", peak_bytes() - imported, flush=True)
            continue
        start = time.perf_counter()
        commands[command]()
        print("answer", time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
