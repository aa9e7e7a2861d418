"""Command lines: flags made from the dataclasses of `src.config`, and exit codes."""

import argparse
import dataclasses
import os
import sys
import types
import typing

from src.config import DEFAULT_PRESET, PRESETS, DataConfig, ModelConfig, TrainingConfig, make_config
from src.data import own_data
from src.errors import DiskError, ExportError, InputError, NonFiniteError, StoppedError
from src.tools.device import TARGETS

INHERITED = ("num_digits", "input_frames", "forecast_frames", "image_size")
INHERITED_WITH_DATASET = (
    "dataset", "value_range", "held_out", "split_seed", "transform", "missing", "pad",
)  # fmt: skip
# How to read the very file that a checkpoint was trained on.
INHERITED_WITH_ITS_FILE = ("variable", "time", "latitude", "longitude", "window_stride")
EXIT_CODES = {InputError: 2, StoppedError: 3, NonFiniteError: 4, DiskError: 5, ExportError: 1}


class Parser(argparse.ArgumentParser):
    """A parser that answers a wrong command line with one line."""

    def __init__(self, description):
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message):
        """Prints one line and exits with 2."""
        self.exit(2, f"{self.prog}: {message}; --help lists the arguments\n")


def whole_number(at_least):
    """An argparse type: an int with a lower limit."""

    def parse(text):
        value = int(text)
        if value < at_least:
            raise argparse.ArgumentTypeError(f"is {value}: it must be at least {at_least}")
        return value

    parse.__name__ = "whole number"
    return parse


def add_device_flags(parser):
    """--device_target and --device_id."""
    parser.add_argument(
        "--device_target", choices=TARGETS, help="default: Ascend where one is usable, else CPU"
    )
    parser.add_argument(
        "--device_id", type=whole_number(0), default=0, help="which card (default: 0)"
    )


def add_value_range_flag(parser, file):
    """--value_range for the file of another flag."""
    parser.add_argument(
        "--value_range", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help=f"the two values of {file} that become 0 and 1 (default: the checkpoint's)",
    )  # fmt: skip


def add_summary_flag(parser):
    """--summary."""
    parser.add_argument(
        "--summary", action="store_true",
        help="print parameters, layers and cost of the network, and do nothing else",
    )  # fmt: skip


def add_config_flags(parser):
    """--preset and a flag for every field of the configuration that may be set."""
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help="network and recipe (default: that of --pretrained_model, else "
        + ", ".join(f"{preset} on {target}" for target, preset in DEFAULT_PRESET.items())
        + ")",
    )
    for part, title in (
        (TrainingConfig, "training"),
        (DataConfig, "data"),
        (ModelConfig, "network"),
    ):
        group = parser.add_argument_group(title)
        hints = typing.get_type_hints(part)
        for f in dataclasses.fields(part):
            if f.metadata["flag"]:
                _add_flag(group, f, hints[f.name])


def _add_flag(group, f, hint):
    """One flag of a field; what is not given stays out of the parsed arguments."""
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    if hint is bool:
        group.add_argument(
            f"--{f.name}", action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS,
            help=f.metadata["help"],
        )  # fmt: skip
        return
    many, word = typing.get_origin(hint) is tuple, f.metadata["word"]
    default = describe_default(f)
    kind = typing.get_args(hint)[0] if many else hint
    group.add_argument(
        f"--{f.name}",
        type=_or_word(kind, word) if word else kind,
        nargs="+" if word else f.metadata["length"] or "+" if many else None,
        choices=f.metadata["choices"],
        default=argparse.SUPPRESS,
        help=f.metadata["help"] + (f" (default: {default})" if default else ""),
    )


def _or_word(kind, word):
    """An argparse type: a value, or a word in its place."""

    def parse(text):
        return text if text == word else kind(text)

    parse.__name__ = f"{kind.__name__} or {word}"
    return parse


def describe_default(f):
    """The default of a flag, and where presets differ from it."""

    def of(preset):
        model = getattr(preset.model, f.name, f.default)
        return preset.training.get(f.name, model)

    if f.default is None:
        return ""
    values = {name: of(preset) for name, preset in PRESETS.items()}
    first = next(iter(values.values()))
    others = [f"{name}: {_text(value)}" for name, value in values.items() if value != first]
    return _text(first) + "".join(f"; {other}" for other in others)


def _text(value):
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def options_of(args):
    """The parsed flags as a dict, lists as tuples; a dataset's path from the root, because a
    checkpoint has to find it from any folder.
    """
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(args).items()
    }
    if "dataset" in options:
        options["dataset"] = os.path.abspath(options["dataset"])
    return options


def config_from(args, target, pretrained=None):
    """The configuration that the parsed flags ask for.

    What a pretrained checkpoint knows of frames, and without --preset of its network, holds where
    no flag says otherwise; without both the preset is the device's default. A dataset decides
    itself what its frames are like.
    """
    options, inherited = options_of(args), {}
    preset = args.preset or DEFAULT_PRESET[target]
    if pretrained:
        known = pretrained.config
        names = INHERITED if "data_path" in options else INHERITED + INHERITED_WITH_DATASET
        if not {"data_path", "dataset"} & set(options):
            names += INHERITED_WITH_ITS_FILE
        inherited = {name: getattr(known.data, name) for name in names}
        if not args.preset:
            preset = known.preset
            fields = dataclasses.fields(ModelConfig)
            inherited |= {f.name: getattr(known.model, f.name) for f in fields}
    merged = inherited | options
    if merged.get("dataset") is not None:
        if "image_size" not in options:
            merged.pop("image_size", None)
        merged = own_data.options_of(merged)
    return make_config(preset, merged)


def run(main, args):
    """Runs an entry script's main; turns what a user can act on into one line and an exit code."""
    try:
        main(args)
    except tuple(EXIT_CODES) as error:
        script = sys.argv[0].rsplit("/", 1)[-1]
        print(f"{script}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(EXIT_CODES[type(error)])
