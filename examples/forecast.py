"""Forecasts a sequence with the project as a library: prints the MSE of each frame, draws a strip.

python examples/forecast.py                                     # the first sequence of the test set
python examples/forecast.py --input FILE --picture strip.png    # .npy, (20, H, W), pixels 0 to 255
"""

import argparse
import sys
from pathlib import Path

import mindspore as ms
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from src.data.sources import evaluation_source  # noqa: E402
from src.evaluation.metrics import frame_scores  # noqa: E402
from src.forecast import predictor  # noqa: E402
from src.plots.frames import draw_strip  # noqa: E402
from src.runtime import device  # noqa: E402


def parse_args(argv=None):
    """The command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", help="frames as .npy (default: the test set's first sequence)")
    parser.add_argument("--picture", default="forecast.png", help="(default: forecast.png)")
    return parser.parse_args(argv)


def main(args):
    """Network, frames, forecast, scores, picture."""
    device.set_up()
    model = predictor.from_checkpoint(ROOT / "weights" / "small.ckpt")
    if args.input:
        pixels = np.load(args.input)[None, :, None]  # (1, T, 1, H, W)
    else:
        pixels = evaluation_source(model.config)[[0]]
    frames = pixels.astype(np.float32) / 255  # the network reads values in [0, 1]
    inputs, truth = np.split(frames, [model.config.data.input_frames], axis=1)
    forecast = model.network(ms.Tensor(inputs)).asnumpy()
    for number, mse in enumerate(frame_scores(forecast, truth)["mse"][0], start=1):
        print(f"forecast frame {number}: MSE {mse:.1f}")
    draw_strip(args.picture, inputs[0], forecast[0], truth[0])
    print(args.picture)


if __name__ == "__main__":
    main(parse_args())
