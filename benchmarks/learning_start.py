"""Writes the checkpoint that a trial of `learning.py` starts from: `PATH SEED CONFIG START`.

CONFIG is a `Config` as JSON. START is "ours", this project's initial values: orthogonal recurrent
weights, open forget gates, an output that starts from the mean image. Or it is "framework": the
convolutions' weights are those of `nn.Conv2d`, all biases are 0.
"""

import sys

import mindspore as ms
from common import PROJECT  # noqa: F401  (makes the project importable)
from mindspore.common.initializer import HeUniform, initializer

from src import checkpoint
from src.config.schema import Config
from src.model import EncoderForecaster
from src.runtime import device
from src.tools import optimizers


def main(path, seed, config, start):
    """Makes the network and writes its checkpoint."""
    device.set_up("CPU")
    config = Config.from_json(config)
    ms.set_seed(int(seed))
    network = EncoderForecaster(config.model, config.data.forecast_frames)
    if start == "framework":
        for parameter in network.trainable_params():
            kind = HeUniform(negative_slope=5**0.5) if parameter.ndim == 4 else "zeros"
            parameter.set_data(initializer(kind, parameter.shape, parameter.dtype))
    optimizer = optimizers.make_optimizer(network, config.training)
    checkpoint.save(path, network, optimizer, config, {})


if __name__ == "__main__":
    main(*sys.argv[1:])
