"""Trains a checkpoint's network on in PyTorch, with its convolutions in bfloat16.

python scripts/train_torch.py weights/small.ckpt --data_path DIR --max_work 52800 --train_path RUN
python scripts/pack_weights.py RUN small.ckpt

On a GPU, or a CPU that multiplies in bfloat16, it takes half the time of train.py or less. It
computes the same: whole sequences, the sum of the forecast's cross-entropy and the encoder's, Muon
and the cosine schedule.

At each validation best.ckpt gets the mean of the weights along the run, in which newer ones weigh
more, if its MSE is the lowest so far, and metrics.csv a row. The same command again goes on with a
run that was stopped.
"""

import csv
import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src import checkpoint, run_folder  # noqa: E402
from src.config import cli  # noqa: E402
from src.data.sources import training_sources  # noqa: E402
from src.errors import InputError, NonFiniteError, StoppedError  # noqa: E402
from src.model.convlstm import GATE_GROUP, GATES  # noqa: E402
from src.model.forecaster import SLOPE  # noqa: E402
from src.runtime.distributed import Ranks  # noqa: E402
from src.runtime.files import write_atomically  # noqa: E402
from src.runtime.progress import progress  # noqa: E402
from src.tools.callback import StopSignals  # noqa: E402
from src.tools.optimizers import learning_rate  # noqa: E402

STATE = "state.pt"
# How much of the mean each step keeps.
KEEP = 0.9995
# Of `activate`: with and without gates, share and c, in training and in validation.
VARIANTS = 32


class Forecaster(nn.Module):
    """`src.model.EncoderForecaster` for the training of whole sequences.

    Args:
        config: the network, a `ModelConfig`.
        weights: its weights, arrays by parameter name.
        matrices: `EncoderForecaster.kernel_matrices()`; each gate's kernel is a parameter of its
            own, (out, in * k * k), as `torch.optim.Muon` takes them.
        activate: `activate`, or the same compiled.
    """

    def __init__(self, config, weights, matrices, activate):
        super().__init__()
        self.activate = activate
        self.config, self.shapes = config, {name: a.shape for name, a in weights.items()}
        self.parts = nn.ModuleDict()
        for name, array in weights.items():
            parts = [torch.tensor(array)]
            if name in matrices:
                parts = parts[0].reshape(matrices[name], -1, array[0].size).unbind()
            self.parts[name.replace(".", "/")] = nn.ParameterList(p.clone() for p in parts)

    def weights(self):
        """The weights by parameter name, as the convolutions take them."""
        return {
            name: torch.cat(list(self.parts[name.replace(".", "/")])).reshape(shape)
            for name, shape in self.shapes.items()
        }

    def forward(self, inputs, forecast_frames):
        """Logits of the forecast, and of each frame after an input frame by the encoder."""
        w, stages = self.weights(), self.config.stages
        x = functional.pixel_unshuffle(inputs.transpose(0, 1), self.config.patch_size)
        read, states = [], []
        for k in range(len(stages)):
            x = self.between(w, f"encoder_convs.{k}", x, functional.conv2d, stages[k])
            x, state = self.layer(w, f"encoder_layers.{k}", x, None, len(x))
            read.append(x)
            states.append(state)
        x, made = None, []
        for k in reversed(range(len(stages))):
            x, _ = self.layer(w, f"forecaster_layers.{k}", x, states[k], forecast_frames)
            made.insert(0, x)
            if k:
                up = functional.conv_transpose2d
                x = self.between(w, f"forecaster_convs.{k - 1}", x, up, stages[k])
        return self.head(w, made), self.head(w, read)

    def between(self, w, name, x, convolve, stage):
        """The convolution below a stage, or nothing."""
        if not stage.conv_channels:
            return x
        y = apply(w, f"{name}.0", x, convolve, stride=stage.stride, padding=1)
        return functional.leaky_relu(y, SLOPE)

    def layer(self, w, name, x, state, steps):
        """A ConvLSTM over time: its h, (T, B, C, H, W), and its last state."""
        cell = {key.removeprefix(f"{name}.cell."): w[key] for key in w if key.startswith(name)}
        h, c = state or (None, None)
        shares, size = [None] * steps, self.config.kernel_size // 2
        if x is not None:
            reach = cell["input_conv.weight"].shape[-1] // 2
            shares = apply(cell, "input_conv", x, padding=reach).unbind()
        kernel, bias = cell["state_conv.weight"], cell.get("state_conv.bias")
        outputs = []
        for share in shares:
            gates = None if h is None else functional.conv2d(h, kernel, bias, padding=size)
            h, c = self.activate(gates, share, c, cell.get("norm.gamma"), cell.get("norm.beta"))
            outputs.append(h)
        return torch.cat(outputs).unflatten(0, (steps, -1)), (h, c)

    def head(self, w, outputs):
        """Logits of frames, (B, T, C, H, W)."""
        x, size = outputs[0], self.config.output_kernel_size // 2
        if self.config.head_channels:
            x = functional.leaky_relu(apply(w, "head_conv.0", x, padding=1), SLOPE)
        else:
            x = torch.cat(outputs, 2)
        x = apply(w, "output_conv", x, padding=size).float()
        return functional.pixel_shuffle(x, self.config.patch_size).transpose(0, 1)


def apply(weights, name, x, convolve=functional.conv2d, **options):
    """A convolution of the frames of all times, (T, B, C, H, W), channels last in memory."""
    frames = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    y = convolve(frames, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)
    return y.unflatten(0, x.shape[:2])


def activate(gates, share, c, gamma, beta):
    """A step's h, of the type of its gates, and c, in float32, from the two parts of its gates."""
    dtype = (share if gates is None else gates).dtype
    gates = sum(part.float() for part in (gates, share) if part is not None)
    if gamma is not None:
        gates = functional.group_norm(gates, gates.shape[1] // GATE_GROUP, gamma, beta)
    i, f, g, o = gates.chunk(GATES, 1)
    new = torch.sigmoid(i) * torch.tanh(g)
    c = new if c is None else torch.sigmoid(f) * c + new
    return (torch.sigmoid(o) * torch.tanh(c)).to(dtype), c


class Run:
    """A training: the network, the mean of its weights, and where it stands.

    Args:
        loaded: the `Checkpoint` that it begins from, its config with the settings of the run.
        folder: the run's folder.
        activate: as in `Forecaster`.
    """

    def __init__(self, loaded, folder, activate):
        self.loaded, self.folder = loaded, folder
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.training, self.horizon = loaded.config.training, loaded.config.horizons[-1]
        matrices = loaded.network().kernel_matrices()
        self.model = Forecaster(loaded.config.model, loaded.weights, matrices, activate).to(
            self.device
        )
        self.mean = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(KEEP))
        kernels, others = (
            [p for p in self.model.parameters() if (p.ndim == 2) == is_kernel]
            for is_kernel in (True, False)
        )
        self.optimizers = (
            torch.optim.Muon(kernels, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.Adam(others),
        )
        self.source, self.validation = training_sources(loaded.config)
        self.step, self.rows = 0, []

    @property
    def done(self):
        """Sequences trained on."""
        return self.step * self.training.batch_size

    def parts(self):
        """What has a state of its own."""
        return self.model, self.mean, *self.optimizers

    def losses(self, model, source, first, count):
        """The losses on sequences of a `Dataset`, from the `first` on.

        Returns:
            The cross-entropy of the forecast, that of the encoder's next frames, and the MSE a
            frame of the forecast.
        """
        frames = source.normalizer.normalize(source[np.arange(first, first + count)])
        frames = torch.from_numpy(frames).to(self.device)
        given, left = self.horizon.input_frames, self.horizon.forecast_frames
        with torch.autocast(self.device, torch.bfloat16):
            forecast, following = model(frames[:, :given], left)
        truth, bce = frames[:, given:], functional.binary_cross_entropy_with_logits
        mse = (torch.sigmoid(forecast) - truth).square().sum((2, 3, 4)).mean()
        return bce(forecast, truth), bce(following, frames[:, 1 : given + 1]), mse

    def train_step(self):
        """One step; returns the loss and the learning rate.

        Raises:
            NonFiniteError: a gradient is not finite.
        """
        rate = learning_rate(self.training, self.step, self.done / self.training.max_work)
        size = self.training.batch_size
        forecast, following, _ = self.losses(self.model, self.source, self.done, size)
        loss = forecast + following
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.training.grad_clip)
        if not torch.isfinite(norm):
            raise NonFiniteError(f"step {self.step + 1}: a gradient is not finite")
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        self.mean.update_parameters(self.model)
        self.step += 1
        return loss.item(), rate

    def validate(self):
        """The MSE a frame of the mean weights on the validation sequences."""
        total, count, size = 0.0, len(self.validation), self.training.batch_size
        with torch.no_grad():
            for first in range(0, count, size):
                part = min(size, count - first)
                total += part * self.losses(self.mean, self.validation, first, part)[2].item()
        return total / count

    def record(self, loss, rate):
        """Validates; writes a row of metrics.csv, and best.ckpt if it is the best."""
        value = self.validate()
        is_best = all(value < row["val_mse"] for row in self.rows)
        row = {"step": self.step, "sequences": self.done, "learning_rate": rate, "loss": loss}
        self.rows.append(row | {"val_mse": value})
        print(f"step {self.step}: validation mse {value:.4g}", flush=True)
        if is_best:
            weights = self.mean.module.weights().items()
            arrays = {name: w.detach().cpu().numpy() for name, w in weights}
            path = self.folder / run_folder.BEST
            checkpoint.save_weights(path, dataclasses.replace(self.loaded, weights=arrays))
        text = io.StringIO()
        writer = csv.DictWriter(text, self.rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.folder / run_folder.METRICS, [text.getvalue().encode()])

    def save(self):
        """Writes the state that `resume` takes over."""
        state, parts = io.BytesIO(), [part.state_dict() for part in self.parts()]
        settings = {"config": self.loaded.config.to_json(), "step": self.step, "rows": self.rows}
        torch.save({"parts": parts, **settings}, state)
        write_atomically(self.folder / STATE, [state.getvalue()])

    def resume(self):
        """Locks the folder, and takes over the state in it, if there is one.

        Raises:
            InputError: it is that of other settings, the folder holds something else, or another
                process is training in it.
        """
        path = self.folder / STATE
        others = {file.name for file in self.folder.iterdir()} - {run_folder.LOCK}
        if others and not path.is_file():
            raise InputError(f"{self.folder}: holds no run of this script (train_path)")
        run_folder.lock(self.folder)
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["config"] != self.loaded.config.to_json():
            raise InputError(f"{path}: is of a run with other settings: name another train_path")
        for part, its in zip(self.parts(), state["parts"], strict=True):
            part.load_state_dict(its)
        self.step, self.rows = state["step"], state["rows"]
        print(f"{path}: going on from step {self.step}", flush=True)


def configured(args):
    """The `Checkpoint` to begin from, its config with the settings of this run.

    Raises:
        InputError: this script does not train such a network, or the settings do not fit.
    """
    loaded = checkpoint.load(args.checkpoint)
    model, data, training = (getattr(loaded.config, part) for part in ("model", "data", "training"))
    if model.peepholes or model.residual or model.output_activation != "sigmoid" or data.dataset:
        raise InputError(
            f"{args.checkpoint}: train.py trains it on: this script is for moving digits and "
            "networks without peepholes whose output is a sigmoid"
        )
    training = dataclasses.replace(
        training,
        **{
            name: getattr(args, name)
            for name in ("learning_rate", "decay_start", "batch_size", "seed")
        },
        max_work=float(args.max_work),
        epochs=0,
        max_minutes=0.0,
        curriculum=(),
        optimizer="muon",
        weight_decay=0.0,
        lr_schedule="cosine",
        loss="bce",
        encoder_loss_weight=1.0,
        encoder_loss_decay=False,
        pretrained_model=str(args.checkpoint),
    )
    data = dataclasses.replace(
        data, data_path=args.data_path, epoch_size=args.max_work, eval_size=args.eval_size
    )
    config = dataclasses.replace(loaded.config, data=data, training=training)
    return dataclasses.replace(loaded, config=config)


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    add, whole = parser.add_argument, cli.whole_number(1)
    add("checkpoint", type=Path, help="the checkpoint to begin from")
    add("--data_path", required=True, help="folder with train-images-idx3-ubyte.gz")
    add("--train_path", type=Path, required=True, help="the run's folder")
    add("--max_work", type=whole, required=True, help="sequences to train on")
    add("--batch_size", type=whole, default=8, help="sequences a step")
    add("--learning_rate", type=float, default=5e-3, help="the rate before it falls")
    add("--decay_start", type=float, default=0.5, help="fraction of the run at which it begins to")
    add("--seed", type=cli.whole_number(0), default=1, help="seed of the sequences")
    add("--eval_size", type=whole, default=500, help="validation sequences")
    add("--eval_steps", type=whole, default=1000, help="steps from a validation to the next")
    return parser.parse_args(argv)


def main(args):
    """Trains until the work is done or a signal asks it to stop."""
    torch._dynamo.config.recompile_limit = VARIANTS
    loaded = configured(args)
    args.train_path.mkdir(parents=True, exist_ok=True)
    run = Run(loaded, args.train_path, torch.compile(activate, dynamic=False))
    run.resume()
    signals = StopSignals(Ranks())
    signals.listen()
    with progress(args.max_work, "train", initial=run.done) as bar:
        while run.done < args.max_work:
            loss, rate = run.train_step()
            bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
            bar.update(args.batch_size)
            is_due = run.step % args.eval_steps == 0 or run.done >= args.max_work
            if is_due:
                run.record(loss, rate)
            if is_due or signals.signal_received:
                run.save()
            if signals.signal_received and run.done < args.max_work:
                raise StoppedError(f"stopped at step {run.step}; the same command goes on")


if __name__ == "__main__":
    cli.run(main, parse_args)
