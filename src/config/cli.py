"""Command lines: flags made from the dataclasses of `schema`, and exit codes."""

import argparse
import dataclasses
import sys
import types
import typing

from src.config.presets import DEFAULT_PRESET, PRESETS, RECIPES
from src.config.schema import DataConfig, ModelConfig, TrainingConfig
from src.errors import DiskError, ExportError, InputError, NonFiniteError, StoppedError
from src.runtime import signals
from src.runtime.streams import Output

JIT_LEVELS = ("O0", "O1", "O2")
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


def add_run_flags(parser):
    """Where a training's files go, and what it goes on from."""
    add = parser.add_argument
    add("--train_path", help="folder for checkpoints and metrics (default: runs/<time>-<preset>)")
    add("--overwrite", action="store_true", help="remove the run in --train_path and start over")
    add("--resume", nargs="?", const=True, metavar="FILE",
        help="go on from a checkpoint (default: the newest good one in --train_path)")  # fmt: skip
    add(
        "--config", metavar="FILE", help="start with the settings of a run's config.json; flags win"
    )
    add("--compile_cache", metavar="FOLDER",
        help="where compiled graphs are kept for the next start; off: nowhere "
        "(default: ~/.cache/convlstm-mindspore)")  # fmt: skip
    add("--profile", metavar="FOLDER", help="write a profile of up to 20 steps there")


def add_distribute_flag(parser):
    """--distribute."""
    parser.add_argument(
        "--distribute", action="store_true",
        help="share the work with the other processes that msrun started, one a device",
    )  # fmt: skip


def add_device_flags(parser):
    """--device_target, --device_id and --jit_level."""
    parser.add_argument(
        "--device_target",
        choices=tuple(DEFAULT_PRESET),
        help="the kind of device (default: Ascend where one is usable, else CPU)",
    )
    parser.add_argument(
        "--device_id", type=whole_number(0), default=0, help="which card (default: 0)"
    )
    parser.add_argument(
        "--jit_level",
        choices=JIT_LEVELS,
        help="O0: kernel by kernel, O1: operators fused, O2: the whole graph by an Ascend's graph "
        "engine (default: MindSpore's choice)",
    )


def add_value_range_flag(parser, file):
    """--value_range for the file of another flag."""
    parser.add_argument(
        "--value_range", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help=f"the two values of {file} that become 0 and 1 (default: the checkpoint's)",
    )  # fmt: skip


def add_score_flags(parser):
    """--thresholds and --neighbourhoods."""
    parser.add_argument(
        "--thresholds", type=float, nargs="+", default=[],
        help="score the forecast of values at or above each, in the data's own units, beside "
        "persistence and climatology",
    )  # fmt: skip
    parser.add_argument(
        "--neighbourhoods", type=whole_number(1), nargs="+", default=[5, 15],
        help="sides in pixels of the squares of the FSS, odd (default: 5 15)",
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
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        help="published: that of the 2022 version, for any preset (default: the preset's own)",
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
    many = typing.get_origin(hint) is tuple
    kind = typing.get_args(hint)[0] if many else hint
    default = describe_default(f)
    group.add_argument(
        f"--{f.name}",
        type=_parser_of(f, kind),
        nargs=_number_of_values(f) if many else None,
        metavar=getattr(kind, "METAVAR", None),
        choices=f.metadata["choices"],
        default=argparse.SUPPRESS,
        help=f.metadata["help"] + (f" (default: {default})" if default else ""),
    )


def _parser_of(f, kind):
    """What turns an argument's text into a value of a field."""
    parse = f.metadata["parse"] or getattr(kind, "parse", kind)

    def checked(text):
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    checked.__name__ = parse.__name__
    return checked


def _number_of_values(f):
    """argparse's nargs of a field that is a tuple."""
    if f.metadata["parse"]:
        return "+"
    return f.metadata["length"] or ("*" if f.metadata["may_be_empty"] else "+")


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
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value)


def run(main, parse):
    """Runs an entry script's `main(parse())`; turns what a user can act on into one line and an
    exit code.

    SIGINT, SIGTERM and SIGHUP end it with one line, 130, 143 and 129, unless main handles them.
    A pipe that closes or a terminal that goes away ends nothing: the work goes on, to its own exit
    code. A full disk under stdout or stderr is told when the work is done.
    """
    signals.on_stop(signals.end_at_once)
    sys.stdout, sys.stderr = outputs = Output(sys.stdout, "stdout"), Output(sys.stderr, "stderr")
    code = _exit_code(lambda: main(parse())) or _exit_code(lambda: [out.check() for out in outputs])
    if code:
        sys.exit(code)


def _exit_code(action):
    """Runs something and returns its exit code, having said why it is not 0."""
    try:
        action()
    except SystemExit as end:
        return end.code
    except tuple(EXIT_CODES) as error:
        script = sys.argv[0].rsplit("/", 1)[-1]
        print(f"{script}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_CODES[type(error)]
    return 0
