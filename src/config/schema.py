"""Every setting of a run, with its default, its limits and its help.

The entry scripts make their flags from these dataclasses, and a checkpoint carries a whole `Config`
as JSON, so that nobody has to repeat on the command line what a checkpoint knows.
"""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, fields

from src.config.fields import Checked, from_dict, names, option
from src.data.moving_mnist import DIGIT_SIZE
from src.data.normalizer import TRANSFORMS, check_value_range
from src.errors import InputError

AUTO = ("auto",)


def number_or_auto(text):
    """A bound of `value_range`: a number, or the word that asks for both."""
    return text if text == AUTO[0] else float(text)


def threshold_weight(text):
    """A pair of `loss_weights`, "2:5" for example."""
    threshold, weight = text.split(":")
    return float(threshold), float(weight)


number_or_auto.__name__, threshold_weight.__name__ = "float or auto", "A:B"


@dataclass(frozen=True)
class Stage(Checked):
    """One ConvLSTM of the encoder and its mirror in the forecaster."""

    hidden_channels: int = option(64, "channels of each state", at_least=1)
    conv_channels: int = option(0, "channels of the 3x3 convolution before it; 0: none", at_least=0)
    stride: int = option(1, "stride of that convolution", at_least=1)


@dataclass(frozen=True)
class ModelConfig(Checked):
    """An encoder-forecaster: what `src.model.EncoderForecaster` builds."""

    stages: tuple[Stage, ...] = option((Stage(),), "the encoder's layers, finest first", flag=False)
    kernel_size: int = option(5, "side of the state-to-state kernels, odd", at_least=1, flag=False)
    input_kernel_size: int | None = option(
        None,
        "side of the input-to-state kernels, odd; default: kernel_size",
        at_least=1,
        flag=False,
    )
    patch_size: int = option(1, "side of the patches that become channels", at_least=1, flag=False)
    group_norm: bool = option(
        False, "GroupNorm over the gates in groups of 32 channels", flag=False
    )
    peepholes: bool = option(False, "per-channel peepholes", flag=False)
    head_channels: int = option(
        0,
        "channels of a 3x3 convolution over the finest states before the output convolution; "
        "0: the output convolution reads the states of all layers",
        at_least=0,
        flag=False,
    )
    output_kernel_size: int = option(1, "side of the output convolution's kernel", choices=(1, 3))
    output_activation: str = option(
        "sigmoid", "what ends the network", choices=("sigmoid", "leaky_relu", "identity")
    )
    residual: bool = option(
        False, "forecast the change since the last input frame; with output_activation identity"
    )
    channels: int = option(1, "channels of a frame", at_least=1, flag=False, found_in_dataset=True)

    def __post_init__(self):
        """Refuses combinations that no network can have."""
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
        if self.residual and self.output_activation != "identity":
            raise InputError(
                "residual is given: output_activation must be 'identity', not "
                f"{self.output_activation!r}, because a change may be negative"
            )
        if not self.head_channels and any(stage.stride > 1 for stage in self.stages):
            raise InputError(
                "head_channels is 0: states of different sizes need a head of their own"
            )

    @property
    def size_multiple(self):
        """The number that has to divide a frame's height and width."""
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
            f"{multiple}: {crop}pad them to {more[0]}x{more[1]} (np.pad; --pad does it by "
            "reflection)"
        )


@dataclass(frozen=True)
class DataConfig(Checked):
    """Where sequences come from and what they look like."""

    data_path: str | None = option(
        None,
        "folder with train-images-idx3-ubyte.gz; default: the embedded test digits",
        may_change=True,
        in_graph=False,
        is_path=True,
    )
    dataset: str | None = option(
        None,
        "own data in place of Moving MNIST: sequences, .npy or .npz of (N, T, H, W) or "
        "(N, T, C, H, W), or one long record, (T, H, W), NetCDF, Zarr, or a folder of files",
        inherited="with_dataset",
        may_change=True,
        in_graph=False,
        is_path=True,
    )
    variable: str | None = option(
        None,
        "variable of a NetCDF or Zarr dataset; default: the only one of three dimensions",
        belongs_to="dataset",
        inherited="with_file",
        in_graph=False,
    )
    time: str | None = option(
        None,
        "name of its time; default: by the CF conventions, as latitude and longitude",
        belongs_to="dataset",
        inherited="with_file",
        in_graph=False,
    )
    latitude: str | None = option(
        None,
        "name of its latitude, or of its rows",
        belongs_to="dataset",
        inherited="with_file",
        in_graph=False,
    )
    longitude: str | None = option(
        None,
        "name of its longitude, or of its columns",
        belongs_to="dataset",
        inherited="with_file",
        in_graph=False,
    )
    window_stride: int | None = option(
        None,
        "frames from one window of a long record to the next, 1 by default; makes a .npy file of "
        "four dimensions a record, (T, C, H, W)",
        at_least=1,
        belongs_to="dataset",
        inherited="with_file",
        in_graph=False,
    )
    value_range: tuple[float, ...] | None = option(
        None,
        "the two values of the dataset that become 0 and 1; has to be given with it; auto: the "
        "extremes of a record's training split",
        length=2,
        belongs_to="dataset",
        inherited="with_dataset",
        in_graph=False,
        parse=number_or_auto,
    )
    transform: str = option(
        "none",
        "what happens to values before they are scaled; log: natural logarithm; dbz: rain in mm/h "
        "to dBZ by Z = 200 R^1.6",
        choices=TRANSFORMS,
        belongs_to="dataset",
        inherited="with_dataset",
        in_graph=False,
    )
    missing: str = option(
        "refuse",
        "what to do with missing values (NaN) of the dataset; mask: fill them for the network with "
        "the training mean, and leave them out of loss and scores",
        choices=("refuse", "mask"),
        belongs_to="dataset",
        inherited="with_dataset",
    )
    pad: bool = option(
        False,
        "pad the dataset's frames by reflection to the multiple that the network needs, and crop "
        "its forecasts",
        belongs_to="dataset",
        inherited="with_dataset",
    )
    auto_range: bool = option(
        False,
        "whether value_range was auto",
        flag=False,
        belongs_to="dataset",
        in_graph=False,
        found_in_dataset=True,
    )
    fill: float | None = option(
        None,
        "what the network reads where values are missing",
        flag=False,
        belongs_to="dataset",
        in_graph=False,
        found_in_dataset=True,
    )
    units: str | None = option(
        None,
        "units of the dataset's values",
        flag=False,
        belongs_to="dataset",
        in_graph=False,
        found_in_dataset=True,
    )
    held_out: float = option(
        0.1,
        "share of the dataset to validate on, and as much again to test on",
        above=0,
        at_most=0.45,
        inherited="with_dataset",
        in_graph=False,
    )
    split_seed: int = option(
        0,
        "seed of the dataset's split into training, validation and test",
        at_least=0,
        at_most=2**32 - 1,
        inherited="with_dataset",
        in_graph=False,
    )
    dataset_crc: int | None = option(
        None,
        "fingerprint of the dataset, by which the split is valid",
        flag=False,
        belongs_to="dataset",
        in_graph=False,
        found_in_dataset=True,
    )
    num_digits: tuple[int, ...] = option(
        (2,),
        "digits in a sequence; of several numbers each sequence draws one",
        at_least=1,
        at_most=64,
        inherited="always",
        in_graph=False,
    )
    input_frames: int = option(10, "frames that the network sees", at_least=1, inherited="always")
    forecast_frames: int = option(10, "frames that it forecasts", at_least=1, inherited="always")
    image_size: tuple[int, ...] = option(
        (64, 64),
        "height and width of a frame in pixels; a dataset's own",
        at_least=7,
        length=2,
        inherited="always",
        found_in_dataset=True,
    )
    epoch_size: int = option(
        10_000,
        "training sequences in an epoch; default with a dataset: all of its own",
        at_least=1,
        in_graph=False,
        found_in_dataset=True,
    )
    eval_size: int | None = option(
        None,
        "validation sequences; default: a tenth of epoch_size; all of a dataset's",
        at_least=1,
        in_graph=False,
    )
    num_parallel_workers: int = option(
        1,
        "processes that make sequences, as many as there are cores at most",
        at_least=1,
        may_change=True,
        in_graph=False,
    )

    def __post_init__(self):
        """Refuses what one of the two kinds of data lacks."""
        super().__post_init__()
        if self.dataset is None:
            defaults = {f.name: f.default for f in fields(self)}
            for name in names(DataConfig, belongs_to="dataset"):
                if getattr(self, name) != defaults[name]:
                    raise InputError(f"{name} is {getattr(self, name)}: it belongs to a dataset")
            if min(self.image_size) <= DIGIT_SIZE:
                raise InputError(
                    f"image_size is {self.image_size[0]} {self.image_size[1]}: moving digits need "
                    f"more than {DIGIT_SIZE}"
                )
            return
        if self.dataset_crc is None:
            raise InputError(
                f"dataset is {self.dataset!r}: this run is of moving digits; start another for it"
            )
        if self.data_path is not None:
            raise InputError(
                f"dataset is {self.dataset!r}: data_path, which is for digits, is given too"
            )
        check_value_range(self.value_range, self.dataset, self.transform)
        if (self.fill is None) == (self.missing == "mask"):
            raise InputError(f"missing is {self.missing!r}: the run was started otherwise")


@dataclass(frozen=True)
class Horizon(Checked):
    """The beginning of a sequence that a run trains on until a share of it is done."""

    input_frames: int = option(10, "frames that the network sees", at_least=1)
    forecast_frames: int = option(10, "frames that it forecasts", at_least=1)
    until: float = option(1.0, "share of the run", above=0, at_most=1)

    METAVAR = "IN+OUT:UNTIL"
    FORM = re.compile(r"(\d+)\+(\d+):(\d*\.?\d+)")

    @classmethod
    def parse(cls, text):
        """Reads "4+2:0.3": 4 frames in, 2 out, for the first 30 % of the run."""
        match = cls.FORM.fullmatch(text)
        if not match:
            raise InputError(f"curriculum has {text!r}: a phase is written 4+2:0.3, in+out:until")
        return cls(int(match[1]), int(match[2]), float(match[3]))

    def __str__(self):
        return f"{self.input_frames}+{self.forecast_frames}:{self.until:g}"

    @property
    def frames(self):
        """All its frames."""
        return self.input_frames + self.forecast_frames


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """The recipe: by default that of the 2022 version; `PRESETS` says what a preset changes."""

    batch_size: int = option(32, "sequences that a device computes at a time", at_least=1)
    accumulate_steps: int = option(
        1, "batches of each device whose mean gradient makes a step", at_least=1
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
        "stop after so many minutes of training steps, compiling and validation apart; 0: no limit",
        at_least=0,
        may_change=True,
        in_graph=False,
    )
    max_work: float = option(
        0.0,
        "stop after the work of so many whole sequences, shorter ones counting by their frames; "
        "0: no limit",
        at_least=0,
        may_change=True,
        in_graph=False,
    )
    curriculum: tuple[Horizon, ...] = option(
        (),
        "phases to begin with, each in+out:until, until a share of the run's time or work; whole "
        "sequences after them; without a value: none",
        may_be_empty=True,
    )
    learning_rate: float = option(
        1e-4, "peak learning rate", above=0, may_change=True, in_graph=False
    )
    lr_schedule: str = option(
        "plateau",
        "constant; cosine: warm-up, hold, cosine to 0; one-cycle: cosine up from 1/25 over 30 %%, "
        "then down to 4e-6 of the peak; plateau: halved after 4 evaluations without a better one",
        choices=("constant", "cosine", "one-cycle", "plateau"),
        in_graph=False,
    )
    warmup_steps: int = option(0, "steps of linear warm-up (cosine)", at_least=0, in_graph=False)
    decay_start: float = option(
        0.0,
        "share of the run after which the cosine falls (cosine)",
        at_least=0,
        at_most=0.99,
        in_graph=False,
    )
    optimizer: str = option(
        "adam",
        "adamw decouples the weight decay and spares biases and norms; muon: for the weights "
        "of convolutions, adamw for the rest",
        choices=("adam", "adamw", "muon"),
    )
    weight_decay: float = option(0.0, "weight decay", at_least=0)
    loss: str = option(
        "mse",
        "mean per pixel; bce needs a sigmoid output, without one the default is mse",
        choices=("mse", "mse+mae", "bce"),
    )
    loss_weights: tuple[tuple[float, ...], ...] | None = option(
        None,
        "pairs THRESHOLD:WEIGHT in the data's units: errors where the truth is at or above a "
        "threshold weigh so much, below all of them 1 (mse, mse+mae); HKO-7's for rain in mm/h: "
        "2:2 5:5 10:10 30:30",
        parse=threshold_weight,
    )
    encoder_loss_weight: float = option(
        0.0, "weight of the encoder's own next-frame loss; 0: none", at_least=0
    )
    encoder_loss_decay: bool = option(
        False, "let that weight fall to 0 in a straight line over the run"
    )
    grad_clip: float = option(0.0, "largest global norm of the gradients; 0: no limit", at_least=0)
    recompute: bool = option(
        False,
        "compute the gates again for the gradient in place of keeping them: less memory, about a "
        "third more time",
        may_change=True,
    )
    amp_level: str = option(
        "O0",
        "O2: convolutions in float16 with dynamic loss scale, all else in float32; auto: O2 on an "
        "Ascend, O0 on a CPU",
        choices=("O0", "O2", "auto"),
    )
    seed: int = option(
        1, "seed of the weights and the sequences", at_least=0, at_most=2**32 - 1, in_graph=False
    )
    eval_every: int = option(
        1, "epochs between evaluations on the validation set", at_least=1, in_graph=False
    )
    early_stop: int = option(
        0,
        "stop after so many evaluations without a better one; 0: never",
        at_least=0,
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
        3, "newest epoch checkpoints to keep", at_least=1, may_change=True, in_graph=False
    )
    log_every: int = option(
        20, "steps between rows of metrics.csv", at_least=1, may_change=True, in_graph=False
    )
    pictures: int = option(
        4,
        "validation sequences to draw at every evaluation; 0: none",
        at_least=0,
        may_change=True,
        in_graph=False,
    )
    tensorboard: bool = option(
        False,
        "write metrics and pictures for TensorBoard too; needs the package tensorboardX",
        may_change=True,
        in_graph=False,
    )
    sink_size: int = option(
        1,
        "steps at a time in an Ascend's sink mode, at whose end saves and stops act",
        at_least=1,
        may_change=True,
        in_graph=False,
    )
    pretrained_model: str | None = option(
        None,
        "checkpoint whose weights to start from, with a fresh optimizer",
        in_graph=False,
        is_path=True,
    )

    def __post_init__(self):
        """Refuses a run without an end, and weights that contradict each other."""
        super().__post_init__()
        if not (self.epochs or self.max_minutes or self.max_work):
            raise InputError(
                "epochs is 0: a run without a limit of epochs needs --max_minutes or --max_work"
            )
        pairs = self.loss_weights or ()
        for k, pair in enumerate(pairs):
            if len(pair) != 2 or not all(map(math.isfinite, pair)) or pair[1] <= 0:
                raise InputError(
                    f"loss_weights has {':'.join(f'{x:g}' for x in pair)}: it must be "
                    "THRESHOLD:WEIGHT, finite, the weight greater than 0"
                )
            if k and pair[0] <= pairs[k - 1][0]:
                raise InputError(
                    f"loss_weights has the threshold {pair[0]:g} after {pairs[k - 1][0]:g}: they "
                    "must rise"
                )
        if pairs and self.loss == "bce":
            raise InputError(
                "loss_weights is given with loss 'bce', which they do not weigh: choose --loss mse "
                "or mse+mae"
            )

    def sequences_per_step(self, ranks):
        """Sequences in a step of so many devices."""
        return self.batch_size * self.accumulate_steps * ranks


@dataclass(frozen=True)
class Config(Checked):
    """All that a checkpoint has to know to be used or trained on."""

    preset: str
    model: ModelConfig
    data: DataConfig
    training: TrainingConfig

    def __post_init__(self):
        """Refuses settings that contradict each other."""
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

    def steps_per_epoch(self, ranks=1):
        """Steps in an epoch; raises `InputError` where an epoch is smaller than a step."""
        training, epoch = self.training, self.data.epoch_size
        steps = epoch // training.sequences_per_step(ranks)
        if steps:
            return steps
        parts = f", accumulate_steps {training.accumulate_steps}"
        parts = (parts if training.accumulate_steps > 1 else "") + (
            f", {ranks} ranks" if ranks > 1 else ""
        )
        raise InputError(
            f"batch_size is {training.batch_size}{parts}: larger than an epoch of {epoch} "
            "sequences; lower it or raise epoch_size"
        )

    def _check_curriculum(self):
        """Refuses horizons that are no part of a sequence, or whose turn never comes."""
        before = 0.0
        for horizon in self.training.curriculum:
            for name in ("input_frames", "forecast_frames"):
                if getattr(horizon, name) > getattr(self.data, name):
                    raise InputError(
                        f"curriculum has {horizon}: its {name} must be at most those of the whole "
                        f"sequences, {getattr(self.data, name)}"
                    )
            if not before < horizon.until < 1:
                raise InputError(
                    f"curriculum has {horizon}: its share must be below 1 and above that of the "
                    f"phase before it, {before:g}"
                )
            before = horizon.until

    @property
    def horizons(self):
        """What a run trains on: the curriculum's horizons, then whole sequences."""
        whole = Horizon(self.data.input_frames, self.data.forecast_frames)
        return (*self.training.curriculum, whole)

    @property
    def network_size(self):
        """(height, width) of the frames that the network reads: padded where the data's are."""
        size_multiple = self.model.size_multiple
        return tuple(side + -side % size_multiple for side in self.data.image_size)

    def graph_settings(self, count):
        """What the training graphs of the last `count` horizons are built from, as JSON values."""
        parts = (self.model, self.data, self.training)
        in_graph = set(names(*map(type, parts), in_graph=True))
        if self.training.loss_weights:
            # The graph holds their thresholds in the network's units.
            in_graph |= {"value_range", "transform"}
        settings = {k: v for part in parts for k, v in dataclasses.asdict(part).items()}
        horizons = [(h.input_frames, h.forecast_frames) for h in self.horizons[-count:]]
        return {k: v for k, v in settings.items() if k in in_graph} | {"curriculum": horizons}

    @property
    def eval_size(self):
        """Validation sequences of an evaluation."""
        return self.data.eval_size or max(1, self.data.epoch_size // 10)

    def to_json(self):
        """The text that checkpoints and `config.json` hold."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text):
        """Reads `to_json`'s text back; raises `InputError` where a name, type or limit is off."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the configuration is not JSON: {error}") from None
        return from_dict(cls, values)
