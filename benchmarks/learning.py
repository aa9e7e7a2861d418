"""Compares training recipes at equal budgets; each trial changes one thing.

python benchmarks/learning.py --list
python benchmarks/learning.py --data_path DIR --trials curriculum no_curriculum --results mine.json
python benchmarks/learning.py --data_path DIR --budget 1U --trials curriculum plain --seeds 1 2 3
python benchmarks/learning.py --table --plot curves.png

A budget is in minutes ("5min"), in sequences ("6600seq"), or in U, which is the same on every
machine: the multiply-accumulates of training `small` on 6,600 whole sequences (44.7 10^12; ten
64x64 frames in and ten out). Every run trains with train.py on the digits of --data_path (default:
the embedded ones) and is measured with test.py on the first sequences of the generated test set,
whose digits no run is trained on. The row of a run is added to the results file as soon as it is
measured, and a run that has one is not trained again: a benchmark that was killed continues where
it stopped. The results file that comes with the project has the rows of docs/training.md.
"""

import csv
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import common

from src import run_folder
from src.config import cli
from src.config.presets import make_config
from src.config.schema import Stage
from src.errors import InputError
from src.tools import new_run, start

U = 6600
RESULTS = Path(__file__).with_name("learning_results.json")
RUNS = common.PROJECT / "runs" / "learning"
SCORES = ("mse", "mae", "ssim")
LABELS = {"sequences": "sequences seen", "minutes": "minutes", "gmac": "training GMAC"}
# Evaluations are not part of a budget; with these flags a curve has ten to a hundred points.
EVERY_RUN = ("--epochs", "0", "--eval_size", "64", "--keep", "1", "--save_steps", "100")


@dataclasses.dataclass(frozen=True)
class Trial:
    """The settings of a trial.

    Args:
        changes: flags of train.py in addition to those of `base`, a string.
        model: fields of the `ModelConfig` that differ from the preset's.
        framework_start: start with the initial weights and biases of the framework's layers.
        base: flags of train.py, written out so that new defaults do not change a trial; if empty,
            the trial has the recipe and the network of the preset.
        preset: the preset of the network.
    """

    changes: str = ""
    model: dict = dataclasses.field(default_factory=dict)
    framework_start: bool = False
    base: str = (
        "--curriculum 4+2:0.3 7+5:0.6 --batch_size 8 --optimizer adam --learning_rate 3e-3 "
        "--lr_schedule cosine --warmup_steps 50 --decay_start 0.5 --loss bce "
        "--encoder_loss_weight 1 --grad_clip 1"
    )
    preset: str = "small"

    @property
    def flags(self):
        """All flags of the trial; of several with the same name the last one counts."""
        return f"{self.base} {self.changes}".strip()

    @property
    def network(self):
        """The fields of its `ModelConfig` that differ from the preset's."""
        return {"group_norm": False, **self.model} if self.base else self.model


MUON = "--optimizer muon --learning_rate 5e-3"
# For the large networks a small budget is about fifty steps.
FEW_STEPS = "--warmup_steps 10"
MULTISCALE = {"group_norm": True}
# Its curves have points every 48 sequences.
SLOW = "--batch_size 2 --epoch_size 48 --eval_size 16"
DEEP = {"stages": (Stage(48), Stage(48), Stage(48))}
TWO_SCALE = {"base": "", "preset": "two_scale"}
# Each trial changes one thing of "curriculum", or of "muon" where its name begins so. The last ones
# are of other presets or change a preset's own recipe.
TRIALS = {
    "curriculum": Trial(),
    "no_curriculum": Trial("--curriculum"),
    "early": Trial("--curriculum 4+2:0.15 7+5:0.35"),
    "late": Trial("--curriculum 4+2:0.4 7+5:0.75"),
    "four_stages": Trial("--curriculum 2+1:0.1 4+2:0.3 7+5:0.6"),
    "long_forecast": Trial("--curriculum 4+4:0.3 7+7:0.6"),
    "rate_2e-3": Trial("--learning_rate 2e-3"),
    "rate_5e-3": Trial("--learning_rate 5e-3"),
    "decay_from_0": Trial("--decay_start 0"),
    "decay_from_0.7": Trial("--decay_start 0.7"),
    "one_cycle": Trial("--lr_schedule one-cycle"),
    "batch_4": Trial("--batch_size 4"),
    "batch_16": Trial("--batch_size 16"),
    "no_clip": Trial("--grad_clip 0"),
    "clip_0.1": Trial("--grad_clip 0.1"),
    "no_encoder_loss": Trial("--encoder_loss_weight 0"),
    "encoder_loss_0.3": Trial("--encoder_loss_weight 0.3"),
    "encoder_loss_decay": Trial("--encoder_loss_decay"),
    "mse": Trial("--loss mse"),
    "mse+mae": Trial("--loss mse+mae"),
    "kernel_5": Trial(model={"kernel_size": 5, "stages": (Stage(40), Stage(40))}),
    "wide": Trial(model={"stages": (Stage(96), Stage(96))}),
    "narrow": Trial(model={"stages": (Stage(48), Stage(48))}),
    "three_layers": Trial(model={"stages": (Stage(52), Stage(52), Stage(52))}),
    "peepholes": Trial(model={"peepholes": True}),
    "group_norm": Trial(model={"group_norm": True}),
    "patch_2": Trial(model={"patch_size": 2, "stages": (Stage(32), Stage(32))}),
    "framework_start": Trial(framework_start=True),
    "muon": Trial(MUON),
    "muon_rate_3e-3": Trial(f"{MUON} --learning_rate 3e-3"),
    "muon_batch_4": Trial(f"{MUON} --batch_size 4"),
    "muon_group_norm": Trial(MUON, {"group_norm": True}),
    "muon_kernel_5": Trial(MUON, {"kernel_size": 5, "stages": (Stage(40), Stage(40))}),
    "plain": Trial(
        "--curriculum --encoder_loss_weight 0 --lr_schedule constant --learning_rate 1e-3 "
        "--grad_clip 0",
        framework_start=True,
    ),
    "published": Trial("--recipe published --batch_size 8", base=""),
    "small": Trial(base=""),
    "small_rate_8e-3": Trial("--learning_rate 8e-3", base=""),
    "small_rate_1.2e-2": Trial("--learning_rate 1.2e-2", base=""),
    "small_late": Trial("--curriculum 4+2:0.4 7+5:0.75", base=""),
    "small_decay_from_0.3": Trial("--decay_start 0.3", base=""),
    "deep_48": Trial(model=DEEP, base=""),
    "deep_48_batch_4": Trial("--batch_size 4", DEEP, base=""),
    "two_scale": Trial(**TWO_SCALE),
    "two_scale_32_96": Trial(model={"stages": (Stage(32), Stage(96, 48, 2))}, **TWO_SCALE),
    "two_scale_48_96": Trial(
        model={"stages": (Stage(48), Stage(96, 48, 2)), "head_channels": 64}, **TWO_SCALE
    ),
    "paper_adam": Trial(f"{FEW_STEPS} --learning_rate 1e-3", preset="paper"),
    "paper_muon": Trial(f"{FEW_STEPS} {MUON}", preset="paper"),
    "multiscale_published": Trial(f"--recipe published {SLOW}", base="", preset="multiscale"),
    "multiscale_adam": Trial(
        f"{FEW_STEPS} --learning_rate 1e-3 {SLOW}", MULTISCALE, preset="multiscale"
    ),
    "multiscale_muon": Trial(f"{FEW_STEPS} {MUON} {SLOW}", MULTISCALE, preset="multiscale"),
}


def training_macs(config, horizon):
    """The multiply-accumulates of the convolutions in training on one sequence.

    The forward pass, the gradient of the input and that of the weight take the same number each;
    the gradient of the network's own input is not computed.
    """
    model, (height, width) = config.model, config.data.image_size
    pixels = height * width // model.patch_size**2
    own, other = model.kernel_size**2, (model.input_kernel_size or model.kernel_size) ** 2
    below = model.channels * model.patch_size**2
    hidden = [stage.hidden_channels for stage in model.stages]
    forward, first = 0, 0
    frames_in, frames_out = horizon.input_frames, horizon.forecast_frames
    for k, stage in enumerate(model.stages):
        h, conv = stage.hidden_channels, stage.conv_channels
        pixels //= stage.stride**2
        down = 9 * below * conv * pixels * frames_in
        read = 4 * h * other * (conv or below) * pixels * frames_in
        forward += down + read + 4 * h * own * h * pixels * (frames_in - 1 + frames_out)
        first = first or down or read
        if k + 1 < len(model.stages):
            above = hidden[k + 1]
            forward += 4 * h * other * above * pixels * frames_out
            if model.stages[k + 1].conv_channels:
                s = model.stages[k + 1].stride
                forward += (s + 2) ** 2 * above**2 * (pixels // s**2) * frames_out
        below = h
    heads = frames_out + (frames_in if config.training.encoder_loss_weight else 0)
    pixels = height * width // model.patch_size**2
    out = model.channels * model.patch_size**2 * model.output_kernel_size**2
    head = 9 * hidden[0] * model.head_channels + (model.head_channels or sum(hidden)) * out
    return 3 * (forward + head * pixels * heads) - first


def whole_macs(config):
    """`training_macs` of a whole sequence."""
    return training_macs(config, config.horizons[-1])


def one_u():
    """The multiply-accumulates of one U."""
    return U * whole_macs(make_config("small", {"encoder_loss_weight": 0.0}))


def config_of(trial):
    """The `Config` that train.py makes for a trial."""
    parser = cli.Parser("")
    cli.add_config_flags(parser)
    args = parser.parse_args(["--preset", trial.preset, *trial.flags.split()])
    config, _ = new_run.new_config(start.given_flags(args), "CPU")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **trial.network))


def budget_flags(budget, config):
    """The flags of train.py that end a run at its budget."""
    match = re.fullmatch(r"([\d.]+)(U|min|seq)", budget)
    if not match or not float(match[1]):
        raise InputError(f"budget is {budget!r}: it is written 0.25U, 5min or 6600seq")
    amount, unit = float(match[1]), match[2]
    if unit == "min":
        return ["--max_minutes", str(amount)]
    if unit == "seq":
        size = config.training.batch_size
        return ["--epoch_size", str(round(amount / size) * size), "--epochs", "1"]
    return ["--max_work", f"{amount * one_u() / macs_per_work(config):.1f}"]


def macs_per_work(config):
    """The multiply-accumulates of a unit of `--max_work`, which counts a horizon by its frames."""
    begin, total, whole = 0.0, 0.0, config.horizons[-1]
    for horizon in config.horizons:
        per_unit = training_macs(config, horizon) * whole.frames / horizon.frames
        total, begin = total + (horizon.until - begin) * per_unit, horizon.until
    return total


def run_trial(name, seed, args):
    """Trains a run, or resumes it, and measures it; returns its row."""
    trial, folder = TRIALS[name], RUNS / f"{name}-{args.budget}-{seed}"
    config = config_of(trial)
    if folder.is_dir() and run_folder.resumable_checkpoints(folder):
        train = ["--resume", "--train_path", folder]
    else:
        train = [*EVERY_RUN, "--epoch_size", "1600", "--seed", seed, "--train_path", folder]
        train += [*trial.flags.split(), *budget_flags(args.budget, config), "--overwrite"]
        train += ["--data_path", args.data_path] if args.data_path else []
        train += start_flags(trial, config, seed, folder)
    call("train.py", *train)
    result = folder / "result.json"
    model = ["--pretrained_model", folder / run_folder.LAST]
    call("test.py", *model, "--limit", args.test_size, "--json", result)
    return row_of(name, seed, args, config, folder, json.loads(result.read_text()))


def start_flags(trial, config, seed, folder):
    """The preset as a flag, or a checkpoint to start from with the trial's own network or start."""
    if not trial.network and not trial.framework_start:
        return ["--preset", trial.preset]
    path = folder.with_name(f"{folder.name}.start.ckpt")
    path.parent.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("learning_start.py")
    kind = "framework" if trial.framework_start else "ours"
    command = [sys.executable, script, path, str(seed), config.to_json(), kind]
    subprocess.run(command, check=True)
    return ["--pretrained_model", path]


def call(script, *flags):
    """Runs an entry script of the project and shows its output."""
    command = [sys.executable, common.PROJECT / script, *flags]
    print("$", *command[1:], flush=True)
    if code := subprocess.run(list(map(str, command))).returncode:
        raise InputError(f"{script} ended with exit code {code}; the rows so far are saved")


def row_of(name, seed, args, config, folder, result):
    """The row of a run, with the numbers of the table and the curves."""
    with open(folder / run_folder.METRICS, newline="") as file:
        rows = list(csv.DictReader(file))
    points = [row for row in rows if row["val_mse"]]
    scale = macs_per_work(config) / 1e9
    curve = [
        {
            "sequences": int(row["sequences"]),
            "minutes": float(row["minutes"]),
            "gmac": round(float(row["work"]) * scale, 1),
            **{score: round(float(row[f"val_{score}"]), 4) for score in SCORES},
        }
        for row in points
    ]
    per_frame = result["per_frame"]["mse"]
    return {
        "trial": name,
        "budget": args.budget,
        "seed": seed,
        "changes": TRIALS[name].changes,
        **{key: curve[-1][key] for key in LABELS},
        **{score: round(result[score], 4) for score in SCORES},
        "mse_first": round(per_frame[0], 2),
        "mse_last": round(per_frame[-1], 2),
        "test_sequences": result["sequences"],
        "data": args.data_path and "60,000 digits" or "embedded digits",
        "cpu": common.describe_cpu(),
        "curve": curve,
    }


def read_rows(path):
    """Reads the rows of a results file; [] if there is no file."""
    return json.loads(path.read_text()) if path.is_file() else []


def add_row(path, row):
    """Adds a row to the results file, read again because another process may have written to it."""
    rows = read_rows(path) + [row]
    rows.sort(key=lambda r: (r["budget"], r["trial"], r["seed"]))
    text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    common.write_atomically(path, [text.encode()])


def show(rows):
    """Prints the rows as a table, the best first within each budget."""
    rows = sorted(rows, key=lambda row: (row["budget"], row["mse"]))
    columns = ("trial", "budget", "seed", *LABELS, *SCORES, "mse_first", "mse_last")
    if rows:
        common.print_table([{key: row[key] for key in columns} for row in rows])


def plot(rows, path):
    """Draws the validation MSE against sequences, minutes and multiply-accumulates."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(LABELS), figsize=(15, 5), sharey=True)
    for ax, (key, label) in zip(axes, LABELS.items(), strict=True):
        for row in rows:
            points = [(p[key], p["mse"]) for p in row["curve"]]
            name = f"{row['trial']} {row['budget']} seed {row['seed']}"
            ax.plot(*zip(*points, strict=True), marker=".", label=name)
        ax.set_xlabel(label)
    axes[0].set_ylabel("MSE a frame, validation sequences")
    axes[-1].legend(fontsize="x-small")
    figure.tight_layout()
    figure.savefig(path)


def is_done(rows, name, seed, budget):
    """Whether a run has a row."""
    return any((r["trial"], r["seed"], r["budget"]) == (name, seed, budget) for r in rows)


def main(args):
    """Trains the runs without a row, then shows all rows."""
    if args.list:
        for name, trial in TRIALS.items():
            cost = whole_macs(config_of(trial)) / 1e9
            print(f"{name:16} {cost:6.2f} GMAC a sequence  {trial.changes} {trial.model or ''}")
        return
    for seed in args.seeds if not args.table else ():
        for name in args.trials:
            if is_done(read_rows(args.results), name, seed, args.budget):
                print(
                    f"{name}, {args.budget}, seed {seed}: not trained, {args.results.name} has its "
                    "row; --results names another file"
                )
            else:
                add_row(args.results, run_trial(name, seed, args))
    rows = read_rows(args.results)
    show(rows)
    if args.plot:
        shown = [r for r in rows if r["trial"] in args.trials and r["budget"] == args.budget]
        plot(shown, args.plot)


if __name__ == "__main__":
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("--list", action="store_true", help="print the trials and their cost, and do nothing else")
    add("--table", action="store_true", help="train nothing; show the rows of the results file")
    add(
        "--trials",
        nargs="+",
        choices=tuple(TRIALS),
        default=list(TRIALS),
        metavar="NAME",
        help="the trials to run (default: all)",
    )
    add(
        "--budget",
        default="0.25U",
        help="budget of each run, 0.25U, 5min or 6600seq for example (default: 0.25U)",
    )
    add(
        "--seeds",
        type=cli.whole_number(0),
        nargs="+",
        default=[1],
        help="seeds of each trial (default: 1)",
    )
    add("--data_path", help="folder with train-images-idx3-ubyte.gz (default: embedded digits)")
    add(
        "--test_size",
        type=cli.whole_number(1),
        default=1000,
        help="test sequences (default: 1000)",
    )
    add("--results", type=Path, default=RESULTS, help=f"results file (default: {RESULTS.name})")
    add("--plot", metavar="FILE", help="draw the curves of the trials at the budget to this file")
    cli.run(main, parser.parse_args)
