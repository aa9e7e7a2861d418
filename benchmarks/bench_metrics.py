"""How long the metrics take: the SSIM beside scikit-image's, and all of them beside the network.

python benchmarks/bench_metrics.py [--json FILE]

The first table is the three SSIMs that an evaluation takes of each frame, and one of them alone;
scikit-image is called once for each frame and SSIM. The second is an evaluation of the `small`
network in batches of 32: seconds per sequence in the network and in `frame_scores`. Medians, after
a call that does not count. The frames are test sequences and the copy of their last input, noisy.
"""

import common
import mindspore as ms
import numpy as np
from skimage.metrics import structural_similarity

from src.config import cli
from src.config.presets import make_config
from src.data.normalizer import to_unit_range
from src.data.sources import evaluation_source
from src.evaluation.metrics import frame_scores, ssim
from src.model import EncoderForecaster
from src.runtime import device

BATCH, INPUT_FRAMES, REPEATS = 32, 10, 7


def scikit_image(prediction, target, data_range):
    """The SSIM of each frame, one call for each."""
    frames = (x.reshape(-1, *x.shape[2:]).astype(np.float64) for x in (prediction, target))
    return [
        structural_similarity(x, y, data_range=data_range, channel_axis=0)
        for x, y in zip(*frames, strict=True)
    ]


def compare_ssim(prediction, target):
    """Rows: microseconds per frame of scikit-image and of `ssim`, and how far they differ."""
    eight_bit = np.uint8(prediction * 255), np.uint8(target * 255)
    cases = {"float, range 1": (prediction, target, 1.0), "uint8": (*eight_bit, 255.0)}
    frames = prediction.shape[0] * prediction.shape[1]
    rows = []
    for name, case in cases.items():
        theirs = common.median_seconds(lambda case=case: scikit_image(*case), REPEATS)
        ours = common.median_seconds(lambda case=case: ssim(*case), REPEATS)
        difference = np.abs(ssim(*case).ravel() - scikit_image(*case)).max()
        rows.append({
            "SSIM, us per frame": name, "scikit-image": 1e6 * theirs / frames,
            "ssim": 1e6 * ours / frames, "ratio": theirs / ours, "difference": float(difference),
        })  # fmt: skip
    return rows


def share_of_metrics(inputs, prediction, target):
    """Rows: milliseconds per sequence in the `small` network and in the metrics."""
    config = make_config("small", {})
    network = EncoderForecaster(config.model, config.data.forecast_frames)
    times = {
        "network": common.median_seconds(lambda: network(ms.Tensor(inputs)).asnumpy(), REPEATS),
        "metrics": common.median_seconds(lambda: frame_scores(prediction, target), REPEATS),
    }
    whole = sum(times.values())
    return [
        {"evaluation of small": name, "ms per sequence": 1e3 * t / BATCH, "share": t / whole}
        for name, t in times.items()
    ]


def main(args):
    """Both tables."""
    common.check_json(args.json)
    device.set_up("CPU")
    print(common.describe_cpu())
    frames = to_unit_range(evaluation_source(make_config("small", {})).frames(range(BATCH)))
    inputs, target = frames[:, :INPUT_FRAMES], frames[:, INPUT_FRAMES:]
    noise = np.random.default_rng(0).normal(0, 0.05, target.shape)
    prediction = np.clip(inputs[:, -1:] + noise, 0, 1).astype(np.float32)
    tables = compare_ssim(prediction, target), share_of_metrics(inputs, prediction, target)
    for rows in tables:
        print()
        common.print_table(rows)
    if args.json:
        common.write_json(args.json, sum(tables, []))


if __name__ == "__main__":
    cli.run(main, common.parser(__doc__).parse_args())
