"""Every setting of a run, with its default, limits and help text.

The entry scripts make their flags from these dataclasses. A checkpoint stores its whole `Config` as
JSON, so that nobody has to repeat its settings on the command line.
"""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, fields

import numpy as np

from src.config.fields import Checked, from_dict, names, option
from src.data.moving_mnist import DIGIT_SIZE
from src.data.normalizer import TRANSFORMS, check_value_range, normalize
from src.data.splits import check_dates
from src.errors import InputError

AUTO = ("auto",)


def number_or_auto(text):
    """Parses one item of --value_range: a number or "auto"."""
    return text if text == AUTO[0] else float(text)


def threshold_weight(text):
    """Parses one item of --loss_weights, "2:5" for example."""
    threshold, weight = text.split(":")
    return float(threshold), float(weight)


number_or_auto.__name__, threshold_weight.__name__ = "float or auto", "A:B"
# "csi@5", say: the CSI at a threshold.
CSI_AT = re.compile(r"csi@([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")


@dataclass(frozen=True)
class Stage(Checked):
    """One ConvLSTM layer of the encoder, and its counterpart in the forecaster."""

    hidden_channels: int = option(64, "channels of each state", at_least=1)
    conv_channels: int = option(
        0, "channels of the 3x3 convolution before the ConvLSTM; 0: none", at_least=0
    )
    stride: int = option(1, "stride of that convolution", at_least=1)


@dataclass(frozen=True)
class ModelConfig(Checked):
    """The network that `src.model.EncoderForecaster` builds."""

    stages: tuple[Stage, ...] = option((Stage(),), "the encoder's layers, finest first", flag=False)
    kernel_size: int = option(5, "side of the state-to-state kernels, odd", at_least=1, flag=False)
    input_kernel_size: int | None = option(
        None,
        "side of the input-to-state kernels, odd; default: kernel_size",
        at_least=1,
        flag=False,
    )
    patch_size: int = option(
        1, "side of the patches whose pixels become channels", at_least=1, flag=False
    )
    group_norm: bool = option(
        False, "GroupNorm over the gates in groups of 32 channels", flag=False
    )
    peepholes: bool = option(False, "per-channel peepholes", flag=False)
    head_channels: int = option(
        0,
        "channels of a 3x3 convolution of the finest states before the output convolution; "
        "0: the output convolution reads the states of all layers",
        at_least=0,
        flag=False,
    )
    output_kernel_size: int = option(1, "side of the output convolution's kernel", choices=(1, 3))
    output_activation: str = option(
        "sigmoid", "activation of the output", choices=("sigmoid", "leaky_relu", "identity")
    )
    residual: bool = option(
        False, "forecast the change since the last input frame; needs --output_activation identity"
    )
    residual_from: str = option(
        "last",
        "what a residual network adds its output to; last: the last input frame; flow: that frame, "
        "moved along a flow that the network forecasts too",
        choices=("last", "flow"),
    )
    channels: int = option(1, "channels of a frame", at_least=1, flag=False, found_in_dataset=True)

    def __post_init__(self):
        """Raises `InputError` for combinations that cannot be built."""
        super().__post_init__()
        for name in ("kernel_size", "input_kernel_size"):
            size = getattr(self, name)
            if size is not None and size % 2 == 0:
                raise InputError(f"{name} is {size}: it must be odd, or the states would shift")
        for stage in self.stages:
            if self.group_norm and stage.hidden_channels % 8:
                raise InputError(
                    f"hidden_channels is {stage.hidden_channels}: GroupNorm needs a multiple of 8"
                )
            if stage.stride > 1 and not stage.conv_channels:
                raise InputError(
                    f"stride is {stage.stride}: a stage without a convolution has stride 1"
                )
        if self.residual_from == "flow" and not self.residual:
            raise InputError("residual_from is 'flow': it needs --residual")
        if self.residual and self.output_activation != "identity":
            raise InputError(
                "residual is given: output_activation must be 'identity', not "
                f"{self.output_activation!r}, because a change may be negative"
            )
        if not self.head_channels and any(stage.stride > 1 for stage in self.stages):
            raise InputError(
                "head_channels is 0: with stages of different sizes it must be greater than 0"
            )

    @property
    def size_multiple(self):
        """The number of which a frame's height and width must be multiples."""
        return self.patch_size * math.prod(stage.stride for stage in self.stages)

    def check_image_size(self, image_size, file=None):
        """Raises `InputError` unless `size_multiple` divides height and width.

        Args:
            image_size: (height, width).
            file: the dataset whose frames they are, or None.
        """
        multiple, (height, width) = self.size_multiple, image_size
        if all(side % multiple == 0 for side in image_size):
            return
        if file is None:
            nearest = [max(1, round(side / multiple)) * multiple for side in image_size]
            raise InputError(
                f"image_size is {height} {width}: this preset needs multiples of {multiple}, "
                f"{nearest[0]} {nearest[1]} for example"
            )
        less = [side // multiple * multiple for side in image_size]
        more = [side + -side % multiple for side in image_size]
        crop = f"crop them to {less[0]}x{less[1]} or " if all(less) else ""
        raise InputError(
            f"{file}: has frames of {height}x{width}, and this network needs multiples of "
            f"{multiple}: {crop}pad them to {more[0]}x{more[1]} (np.pad)",
            pad="--pad does it by reflection",
        )


def reading(help, **properties):
    """An `option` that says how the dataset's files are read; default: as they say themselves."""
    belongs = {"belongs_to": "dataset", "inherited": "with_file"}
    return option(None, help, in_graph=False, reads_file=True, **belongs, **properties)


def found(help, default=None, **properties):
    """An `option` without a flag, which the dataset decides."""
    decided = {"belongs_to": "dataset", "found_in_dataset": True}
    return option(default, help, flag=False, in_graph=False, **decided, **properties)


@dataclass(frozen=True)
class DataConfig(Checked):
    """Where sequences come from and what they look like."""

    data_path: str | None = option(
        None,
        "folder with train-images-idx3-ubyte.gz; default: the MNIST test digits of the project",
        may_change=True,
        in_graph=False,
        is_path=True,
    )
    dataset: str | None = option(
        None,
        "own data instead of Moving MNIST: sequences in .npy or .npz, (N, T, H, W) or "
        "(N, T, C, H, W); or one long record: (T, H, W) in .npy or .npz, NetCDF, Zarr, or a folder "
        "of such files",
        inherited="with_dataset",
        may_change=True,
        in_graph=False,
        is_path=True,
    )
    variable: str | None = reading(
        "variable of a NetCDF or Zarr dataset; default: the only one with three or more "
        "dimensions, or with two in files of one frame each",
    )
    group: str | None = reading(
        "group of a NetCDF or Zarr dataset that holds the variable; default: the only one that "
        "does",
    )
    time: str | None = reading(
        "name of the dataset's time axis, or of the variable or attribute of a file that says the "
        "time of its frame; default: found by the CF conventions",
    )
    latitude: str | None = reading(
        "name of the dataset's latitude, or of its rows; default: found by the CF conventions",
    )
    longitude: str | None = reading(
        "name of the dataset's longitude, or of its columns; default: found by the CF conventions",
    )
    time_from_name: str | None = reading(
        "pattern, as of strptime, of the times in the names of a dataset's files, which hold one "
        "frame each, such as %%Y%%m%%d%%H%%M or radar_%%d-%%b-%%Y.nc",
    )
    nodata: tuple[float, ...] | None = reading(
        "values that mean missing although the dataset's files do not declare them, as stored in "
        "the files, before unpacking, 255 for example",
    )
    axes: str | None = reading(
        "order of the axes of a dataset in .npy or .npz: N sequences (without it one record), T "
        "frames, C channels, H rows, W columns, such as TNHW or THWC; default: THW, NTHW or NTCHW",
    )
    window_stride: int | None = option(
        None,
        "frames from the start of one window of a record to the next, by default 1; if given, a "
        ".npy file of four dimensions is a record, (T, C, H, W)",
        at_least=1,
        belongs_to="dataset",
        inherited="with_file",
        in_graph=False,
    )
    value_range: tuple[float, ...] | None = option(
        None,
        "data values that are scaled to 0 and 1, required with --dataset; auto: the smallest and "
        "the largest value of a record's training split",
        length=2,
        belongs_to="dataset",
        inherited="with_dataset",
        in_graph=False,
        parse=number_or_auto,
    )
    transform: str = option(
        "none",
        "transform of the values before scaling; log: natural logarithm; dbz: rain in mm/h to "
        "reflectivity in dBZ, Z = 200 R^1.6",
        choices=TRANSFORMS,
        belongs_to="dataset",
        inherited="with_dataset",
        in_graph=False,
    )
    missing: str = option(
        "refuse",
        "what to do with missing values (NaN) of the dataset; refuse: stop with an error; mask: "
        "let the network read the training mean, and leave them out of loss and scores",
        choices=("refuse", "mask"),
        belongs_to="dataset",
        inherited="with_dataset",
    )
    pad: bool = option(
        False,
        "pad the dataset's frames by reflection to a size that the network can read, and crop the "
        "forecasts to the frames' own size",
        belongs_to="dataset",
        inherited="with_dataset",
        reads_file=True,
    )
    tile: tuple[int, ...] | None = option(
        None,
        "height and width in pixels of the random parts of a dataset's frames that are trained on, "
        "which saves memory; validation, test and forecasts take whole frames; default: whole "
        "frames",
        at_least=1,
        length=2,
        belongs_to="dataset",
    )
    auto_range: bool = found("whether value_range was auto", default=False)
    fill: float | None = found("value that the network reads where data are missing")
    units: str | None = found("units of the dataset's values")
    frequency: str | None = found("rule of the times of the dataset's frames")
    found_variable: str | None = found("name of the variable of the dataset's values")
    standard_name: str | None = found("the variable's standard name, as of CF")
    cell_method: str | None = found("what the values are of their intervals of time, as of CF")
    levels: tuple[str, ...] | None = found(
        "levels of the dataset's values, such as 'pressure 500 hPa'",
        may_be_empty=True,
    )
    spacing: tuple[str, ...] | None = found(
        "spacing of the dataset's rows and columns, such as 'rows 1000 m'",
        may_be_empty=True,
    )
    held_out: float = option(
        0.1,
        "fraction of the dataset for validation; the same fraction again is for testing",
        above=0,
        at_most=0.45,
        inherited="with_dataset",
        in_graph=False,
    )
    validate_from: str | None = option(
        None,
        "date in ISO 8601, such as 2010-08-26 or 2010-08-26T06:30, from which on a record is for "
        "validation; with test_from in place of held_out; training ends one window before it",
        belongs_to="dataset",
        inherited="with_file",
        in_graph=False,
    )
    test_from: str | None = option(
        None,
        "date from which on a record is for testing; validation ends one window before it",
        belongs_to="dataset",
        inherited="with_file",
        in_graph=False,
    )
    split_seed: int = option(
        0,
        "seed of the random split of sequences into training, validation and test",
        at_least=0,
        at_most=2**32 - 1,
        inherited="with_dataset",
        in_graph=False,
    )
    dataset_crc: int | None = found("fingerprint of the dataset for which the split was made")
    read_by: str | None = found(
        "version of this project that read the dataset when the run began; none: before 0.3.0",
    )
    dataset_size: int | None = found("number of the dataset's frames or sequences")
    num_digits: tuple[int, ...] = option(
        (2,),
        "digits in a sequence; if several numbers are given, each sequence draws one",
        at_least=1,
        at_most=64,
        inherited="always",
        in_graph=False,
    )
    input_frames: int = option(10, "frames that the network reads", at_least=1, inherited="always")
    forecast_frames: int = option(
        10, "frames that the network forecasts", at_least=1, inherited="always"
    )
    image_size: tuple[int, ...] = option(
        (64, 64),
        "height and width of a frame in pixels; with --dataset always its own",
        at_least=7,
        length=2,
        inherited="always",
        found_in_dataset=True,
    )
    epoch_size: int = option(
        10_000,
        "training sequences in an epoch; default with --dataset: its whole training split, as "
        "often as it takes for 200 steps",
        at_least=1,
        in_graph=False,
        found_in_dataset=True,
    )
    wet_sampling: float = option(
        0.0,
        "fraction of a dataset's training windows that are drawn in proportion to their rain, the "
        "mean of 1 - exp(-R / (1 mm/h)); the others are drawn evenly; 0: all evenly; scores stay "
        "unweighted",
        at_least=0,
        at_most=1,
        belongs_to="dataset",
        in_graph=False,
    )
    eval_size: int | None = option(
        None,
        "validation sequences; default: a tenth of epoch_size, with --dataset its whole validation "
        "split",
        at_least=1,
        in_graph=False,
    )
    num_parallel_workers: int = option(
        1,
        "processes that make sequences, at most one per core",
        at_least=1,
        may_change=True,
        in_graph=False,
    )

    def __post_init__(self):
        """Raises `InputError` for settings that the kind of data does not have."""
        super().__post_init__()
        if self.dataset is None:
            defaults = {f.name: f.default for f in fields(self)}
            for name in names(DataConfig, belongs_to="dataset", reads_file=False):
                if getattr(self, name) != defaults[name]:
                    raise InputError(
                        f"{name} is {getattr(self, name)}: it can be set only with --dataset"
                    )
            if min(self.image_size) <= DIGIT_SIZE:
                raise InputError(
                    f"image_size is {self.image_size[0]} {self.image_size[1]}: moving digits need "
                    f"more than {DIGIT_SIZE}"
                )
            return
        if self.dataset_crc is None:
            raise InputError(
                f"dataset is {self.dataset!r}: this run trains on Moving MNIST; start a new one"
            )
        if self.data_path is not None:
            raise InputError(
                f"dataset is {self.dataset!r}: --data_path is given too, which is for digits; "
                "leave one of them out"
            )
        check_value_range(self.value_range, self.dataset, self.transform)
        check_dates(self.validate_from, self.test_from)
        if (self.fill is None) == (self.missing == "mask"):
            raise InputError(f"missing is {self.missing!r}: the run was started with another value")


@dataclass(frozen=True)
class Horizon(Checked):
    """A phase of the curriculum: how many frames of each sequence it uses, and when it ends."""

    input_frames: int = option(10, "frames that the network reads", at_least=1)
    forecast_frames: int = option(10, "frames that the network forecasts", at_least=1)
    until: float = option(1.0, "fraction of the run after which it ends", above=0, at_most=1)

    METAVAR = "IN+OUT:UNTIL"
    FORM = re.compile(r"(\d+)\+(\d+):(\d*\.?\d+)")

    @classmethod
    def parse(cls, text):
        """Parses "4+2:0.3": 4 input and 2 forecast frames until 30 % of the run are done."""
        match = cls.FORM.fullmatch(text)
        if not match:
            raise InputError(
                f"curriculum has {text!r}: a phase is written {cls.METAVAR}, 4+2:0.3 for example"
            )
        return cls(int(match[1]), int(match[2]), float(match[3]))

    def __str__(self):
        return f"{self.input_frames}+{self.forecast_frames}:{self.until:g}"

    @property
    def frames(self):
        """The number of all frames, input and forecast."""
        return self.input_frames + self.forecast_frames


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """How to train. The defaults are those of the 2022 version; each preset changes some."""

    batch_size: int = option(32, "sequences in a batch, per device", at_least=1)
    accumulate_steps: int = option(
        1, "batches per device whose gradients are averaged for one step", at_least=1
    )
    epochs: int = option(
        100,
        "epochs to train; 0: no limit but max_minutes or max_work",
        at_least=0,
        may_change=True,
        in_graph=False,
    )
    max_minutes: float = option(
        0.0,
        "stop after this many minutes of training steps, not counting compilation and validation; "
        "0: no limit",
        at_least=0,
        may_change=True,
        in_graph=False,
    )
    max_work: float = option(
        0.0,
        "stop after training on this many sequences; a shortened one counts as the fraction of its "
        "frames; 0: no limit",
        at_least=0,
        may_change=True,
        in_graph=False,
    )
    curriculum: tuple[Horizon, ...] = option(
        (),
        "phases with shortened sequences, each with its input frames, forecast frames, and the "
        "fraction of the run's time or work at which it ends; whole sequences follow; without a "
        "value: none",
        may_be_empty=True,
    )
    learning_rate: float = option(
        1e-4, "peak learning rate", above=0, may_change=True, in_graph=False
    )
    lr_schedule: str = option(
        "plateau",
        "constant; cosine: warm-up, constant, then cosine to 0; one-cycle: cosine from 1/25 of the "
        "peak to the peak in 30 %% of the run, then down to 4e-6 of it; plateau: halved after 4 "
        "evaluations without improvement",
        choices=("constant", "cosine", "one-cycle", "plateau"),
        in_graph=False,
    )
    warmup_steps: int = option(
        0, "steps of linear warm-up (only with cosine)", at_least=0, in_graph=False
    )
    decay_start: float = option(
        0.0,
        "fraction of the run after which the learning rate falls (only with cosine)",
        at_least=0,
        at_most=0.99,
        in_graph=False,
    )
    optimizer: str = option(
        "adam",
        "adamw: weight decay is decoupled and leaves out biases and norms; muon: for convolution "
        "weights, with adamw for the rest",
        choices=("adam", "adamw", "muon"),
    )
    weight_decay: float = option(0.0, "weight decay", at_least=0)
    loss: str = option(
        "mse",
        "loss, averaged over pixels; bce needs a sigmoid output, without one the default is mse",
        choices=("mse", "mse+mae", "bce"),
    )
    loss_weights: tuple[tuple[float, ...], ...] | None = option(
        None,
        "pairs THRESHOLD:WEIGHT, thresholds in the data's units: an error is multiplied by the "
        "weight where the truth is at or above the threshold, by 1 below all of them; only with "
        "mse and mse+mae; HKO-7's for rain in mm/h: 2:2 5:5 10:10 30:30",
        parse=threshold_weight,
    )
    encoder_loss_weight: float = option(
        0.0,
        "weight of the encoder's own loss, for its forecasts of each next input frame; 0: none",
        at_least=0,
    )
    encoder_loss_decay: bool = option(
        False, "reduce --encoder_loss_weight linearly to 0 over the run"
    )
    grad_clip: float = option(0.0, "clip gradients to this global norm; 0: no limit", at_least=0)
    recompute: bool = option(
        False,
        "recompute the gates in the backward pass instead of storing them: less memory, 1.3 to "
        "1.45 times the time",
        may_change=True,
    )
    amp_level: str = option(
        "O0",
        "O0: float32; O2: convolutions in float16 with dynamic loss scale, the rest in float32; "
        "auto: O2 on an Ascend, O0 on a CPU",
        choices=("O0", "O2", "auto"),
    )
    seed: int = option(
        1,
        "seed of the initial weights and of the sequences",
        at_least=0,
        at_most=2**32 - 1,
        in_graph=False,
    )
    eval_every: int = option(
        1,
        "epochs between evaluations on the validation set; default with --dataset: as many as it "
        "takes for validation to be at most a tenth of the work",
        at_least=1,
        in_graph=False,
    )
    early_stop: int = option(
        0,
        "stop after this many evaluations without improvement; 0: never",
        at_least=0,
        in_graph=False,
    )
    best_by: str = option(
        "mse",
        "what best.ckpt is chosen by on the validation set; mse: lowest MSE; csi@T: highest mean "
        "CSI over lead times at the threshold T, in the units of a dataset's values",
        in_graph=False,
    )
    save_every: int = option(
        1, "epochs between checkpoints", at_least=1, may_change=True, in_graph=False
    )
    save_steps: int = option(
        0,
        "steps between saves of last.ckpt within an epoch; 0: none",
        at_least=0,
        may_change=True,
        in_graph=False,
    )
    keep: int = option(
        3, "epoch checkpoints to keep, the newest", at_least=1, may_change=True, in_graph=False
    )
    log_every: int = option(
        20, "steps between rows of metrics.csv", at_least=1, may_change=True, in_graph=False
    )
    pictures: int = option(
        4,
        "validation sequences to draw at each evaluation; 0: none",
        at_least=0,
        may_change=True,
        in_graph=False,
    )
    tensorboard: bool = option(
        False,
        "also write metrics and pictures for TensorBoard; needs the package tensorboardX",
        may_change=True,
        in_graph=False,
    )
    sink_size: int = option(
        1,
        "steps per call in an Ascend's data sink mode; saving and stopping wait for its end",
        at_least=1,
        may_change=True,
        in_graph=False,
    )
    pretrained_model: str | None = option(
        None,
        "checkpoint to take the initial weights from; the optimizer starts anew",
        in_graph=False,
        is_path=True,
    )

    def __post_init__(self):
        """Raises `InputError` for a run without an end, and for wrong loss weights."""
        super().__post_init__()
        if not (self.epochs or self.max_minutes or self.max_work):
            raise InputError(
                "epochs is 0: a run without a limit of epochs needs --max_minutes or --max_work"
            )
        if self.best_by != "mse" and not CSI_AT.fullmatch(self.best_by):
            raise InputError(
                f"best_by is {self.best_by!r}: it must be mse, or csi@ and a threshold, csi@5 for "
                "example"
            )
        pairs = self.loss_weights or ()
        for k, pair in enumerate(pairs):
            if len(pair) != 2 or not all(map(math.isfinite, pair)) or pair[1] <= 0:
                raise InputError(
                    f"loss_weights has {':'.join(f'{x:g}' for x in pair)}: it must be "
                    "THRESHOLD:WEIGHT, both finite, the weight greater than 0"
                )
            if k and pair[0] <= pairs[k - 1][0]:
                raise InputError(
                    f"loss_weights has the threshold {pair[0]:g} after {pairs[k - 1][0]:g}: they "
                    "must be in ascending order"
                )
        if pairs and self.loss == "bce":
            raise InputError(
                "loss_weights is given with loss 'bce', which has no weights: choose --loss mse or "
                "mse+mae"
            )

    @property
    def csi_threshold(self):
        """The threshold of the CSI that best.ckpt is chosen by; None where the MSE chooses."""
        match = CSI_AT.fullmatch(self.best_by)
        return float(match[1]) if match else None

    def sequences_per_step(self, ranks):
        """Sequences in a step, over all ranks."""
        return self.batch_size * self.accumulate_steps * ranks


@dataclass(frozen=True)
class Config(Checked):
    """All settings of a run; every checkpoint contains them."""

    preset: str
    model: ModelConfig
    data: DataConfig
    training: TrainingConfig

    def __post_init__(self):
        """Raises `InputError` for settings that contradict each other."""
        super().__post_init__()
        if not self.data.pad:
            self.model.check_image_size(self.data.image_size, self.data.dataset)
        if self.data.dataset is None and self.model.channels != 1:
            raise InputError(f"channels is {self.model.channels}: moving digits have 1")
        if self.training.loss == "bce" and self.model.output_activation != "sigmoid":
            raise InputError(
                "loss is 'bce': output_activation must be 'sigmoid', not "
                f"{self.model.output_activation!r}"
            )
        self.steps_per_epoch()
        self._check_curriculum()
        self._check_tile()
        self._check_best_by()

    def reading(self, flags):
        """The `Config` with other settings of how own data are read.

        Args:
            flags: the settings by name; others than those are ignored. With "any_step" the
                frequency is that of the file, whatever it was in training.
        """
        given = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in flags.items()
            if name in names(DataConfig, reads_file=True)
        }
        if flags.get("any_step"):
            given["frequency"] = None
        return dataclasses.replace(self, data=dataclasses.replace(self.data, **given))

    def steps_per_epoch(self, ranks=1):
        """Steps in an epoch; raises `InputError` if an epoch has fewer sequences than a step."""
        training, epoch = self.training, self.data.epoch_size
        steps = epoch // training.sequences_per_step(ranks)
        if steps:
            return steps
        factors = f", accumulate_steps {training.accumulate_steps}"
        factors = (factors if training.accumulate_steps > 1 else "") + (
            f", {ranks} ranks" if ranks > 1 else ""
        )
        raise InputError(
            f"batch_size is {training.batch_size}{factors}: larger than an epoch of {epoch} "
            "sequences; lower it or raise epoch_size"
        )

    def _check_curriculum(self):
        """Raises `InputError` for phases longer than a sequence, or whose ends do not ascend."""
        previous = 0.0
        for horizon in self.training.curriculum:
            for name in ("input_frames", "forecast_frames"):
                if getattr(horizon, name) > getattr(self.data, name):
                    raise InputError(
                        f"curriculum has {horizon}: its {name} must be at most those of the whole "
                        f"sequences, {getattr(self.data, name)}"
                    )
            if not previous < horizon.until < 1:
                raise InputError(
                    f"curriculum has {horizon}: its fraction must be below 1 and above that of the "
                    f"previous phase, {previous:g}"
                )
            previous = horizon.until

    def _check_tile(self):
        """Raises `InputError` for a tile that the network cannot read, or larger than a frame."""
        if self.data.tile is None:
            return
        multiple, size = self.model.size_multiple, self.network_size
        if any(side % multiple for side in self.data.tile):
            fit = [max(1, side // multiple) * multiple for side in self.data.tile]
            raise InputError(
                f"tile is {_by(self.data.tile)}: this network needs multiples of {multiple}, "
                f"{_by(fit)} for example"
            )
        if any(side > most for side, most in zip(self.data.tile, size, strict=True)):
            padded = ", padded" if size != tuple(self.data.image_size) else ""
            raise InputError(
                f"tile is {_by(self.data.tile)}: it must be at most a frame, {_by(size)}{padded}"
            )

    def _check_best_by(self):
        """Raises `InputError` for a threshold that no data have, or that divides none of them."""
        threshold, data = self.training.csi_threshold, self.data
        if threshold is None:
            return
        if data.dataset is None:
            raise InputError(
                f"best_by is {self.training.best_by!r}: it can be csi only with --dataset"
            )
        low, high = data.value_range
        within = normalize(np.array([threshold]), (low, high), data.transform)[0]
        if not 0 < within <= 1:
            raise InputError(
                f"best_by is {self.training.best_by!r}: its threshold must be greater than {low:g} "
                f"and at most {high:g} (value_range), or every forecast is an event, or none"
            )

    @property
    def horizons(self):
        """The horizons that a run trains on: those of the curriculum, then whole sequences."""
        whole = Horizon(self.data.input_frames, self.data.forecast_frames)
        return (*self.training.curriculum, whole)

    @property
    def network_size(self):
        """(height, width) of the frames that the network reads, after padding."""
        size_multiple = self.model.size_multiple
        return tuple(side + -side % size_multiple for side in self.data.image_size)

    @property
    def training_size(self):
        """(height, width) of what the network reads in training: a tile, or a whole frame."""
        return self.data.tile or self.network_size

    @property
    def eval_batch_size(self):
        """Sequences in a batch of the validation: where training reads tiles, so many that the
        whole frames have no more pixels than the tiles of a training batch, but at least one.
        """
        pixels = math.prod(self.training_size) / math.prod(self.network_size)
        return max(1, int(self.training.batch_size * pixels))

    def graph_settings(self, count):
        """The settings that the training graphs of the last `count` horizons depend on, as a dict
        of JSON values.
        """
        parts = (self.model, self.data, self.training)
        in_graph = set(names(*map(type, parts), in_graph=True))
        if self.training.loss_weights:
            # The graph holds the thresholds in the network's units, which depend on these two.
            in_graph |= {"value_range", "transform"}
        settings = {k: v for part in parts for k, v in dataclasses.asdict(part).items()}
        horizons = [(h.input_frames, h.forecast_frames) for h in self.horizons[-count:]]
        return {k: v for k, v in settings.items() if k in in_graph} | {"curriculum": horizons}

    @property
    def eval_size(self):
        """The number of validation sequences."""
        return self.data.eval_size or max(1, self.data.epoch_size // 10)

    def to_json(self):
        """The configuration as JSON, as checkpoints and config.json hold it."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text):
        """Reads what `to_json` wrote; raises `InputError` for a wrong name, type or value."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the configuration is not JSON: {error}") from None
        return from_dict(cls, values)


def _by(size):
    """A height and a width as text."""
    return " ".join(map(str, size))
