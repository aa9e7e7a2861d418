"""Command lines: flags made from the dataclasses of `schema`, and exit codes."""

import argparse
import dataclasses
import re
import sys
import types
import typing

from src.config.fields import names
from src.config.presets import DEFAULT_PRESET, PRESETS, RECIPES
from src.config.schema import DataConfig, ModelConfig, TrainingConfig
from src.data.own_data import check_reading
from src.errors import DiskError, ExportError, InputError, NonFiniteError, StoppedError
from src.runtime import signals
from src.runtime.files import remove_half_written
from src.runtime.streams import Output

JIT_LEVELS = ("O0", "O1", "O2")
EXIT_CODES = {InputError: 2, StoppedError: 3, NonFiniteError: 4, DiskError: 5, ExportError: 1}


class Parser(argparse.ArgumentParser):
    """An argparse parser that reports a wrong command line in one line."""

    def __init__(self, description):
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        # argparse's own pattern takes -1e-5 for a flag.
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")

    def parse_known_args(self, args=None, namespace=None):
        """As in `argparse`; the result also has `flags`, the names that the script knows."""
        namespace, unknown = super().parse_known_args(args, namespace)
        namespace.flags = tuple(self._option_string_actions)
        return namespace, unknown

    def error(self, message):
        """Prints one line and exits with code 2."""
        self.exit(2, f"{self.prog}: {message}; --help lists the arguments\n")


class Switch(argparse.Action):
    """A flag that is on or off: `--flag`, `--no-flag`, or with a word as cloud platforms write it,
    `--flag True` or `--flag=false`.
    """

    def __init__(self, option_strings, dest, default=False, help=None):
        off = [name.replace("--", "--no-", 1) for name in option_strings]
        super().__init__(
            [*option_strings, *off],
            dest,
            nargs="?",
            const=True,
            default=default,
            type=true_or_false,
            metavar="true|false",
            help=help,
        )

    def __call__(self, parser, namespace, values, option_string=None):
        if option_string.startswith("--no-") and values is not self.const:
            raise argparse.ArgumentError(self, "takes no value after --no-")
        setattr(namespace, self.dest, values != option_string.startswith("--no-"))


def true_or_false(text):
    """An argparse type: a word for on or off in its usual spellings."""
    word = text.lower()
    if word in ("true", "yes", "on", "1", "t", "y"):
        return True
    if word in ("false", "no", "off", "0", "f", "n"):
        return False
    raise argparse.ArgumentTypeError(f"is {text!r}: it must be true or false")


def file_or_switch(text):
    """An argparse type: a path, or a word for on (True) or off (None)."""
    try:
        return true_or_false(text) or None
    except argparse.ArgumentTypeError:
        return text


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
    """Adds the flags for a run's folder, what it starts from, its compile cache and its profile."""
    add = parser.add_argument
    add("--train_path", help="folder for checkpoints and metrics (default: runs/<time>-<preset>)")
    add("--overwrite", action=Switch, help="remove the run in --train_path and start over")
    add(
        "--resume",
        nargs="?",
        const=True,
        metavar="FILE",
        type=file_or_switch,
        help="continue from a checkpoint (default: the newest intact one in --train_path)",
    )
    add(
        "--config",
        metavar="FILE",
        help="start with the settings in a run's config.json; other flags override them",
    )
    add(
        "--compile_cache",
        metavar="FOLDER",
        help="folder that keeps compiled graphs for later starts; off: keep none "
        "(default: ~/.cache/convlstm-mindspore)",
    )
    add("--profile", metavar="FOLDER", help="folder for a profile of up to 20 training steps")


def add_distribute_flag(parser):
    """Adds --distribute."""
    parser.add_argument(
        "--distribute",
        action=Switch,
        help="share the work among the processes that msrun started, one per device",
    )


def add_device_flags(parser):
    """Adds --device_target, --device_id and --jit_level."""
    parser.add_argument(
        "--device_target",
        choices=tuple(DEFAULT_PRESET),
        help="type of device (default: Ascend if one is usable, else CPU)",
    )
    parser.add_argument(
        "--device_id", type=whole_number(0), default=0, help="number of the card (default: 0)"
    )
    parser.add_argument(
        "--jit_level",
        choices=JIT_LEVELS,
        help="how graphs are compiled; O0: kernel by kernel; O1: with fused operators; O2: as a "
        "whole, by an Ascend's graph engine (default: O0 on an Ascend)",
    )


def add_reading_flags(parser, file):
    """Adds the flags that say how own data are read, in the file of the flag named `file`."""
    group = parser.add_argument_group(f"how {file} is read, where not as the checkpoint says")
    hints = typing.get_type_hints(DataConfig)
    for f in dataclasses.fields(DataConfig):
        if f.metadata["reads_file"]:
            _add_flag(group, f, hints[f.name])
    group.add_argument(
        "--any_step",
        action=Switch,
        help="also take a file whose time step differs from that of the training; forecasts then "
        "have the file's time step",
    )


def check_reading_flags(args, file):
    """Raises `InputError` for a flag of `add_reading_flags` without the flag named `file`, or that
    its data cannot follow.
    """
    path = getattr(args, file.lstrip("-"))
    for name in (*names(DataConfig, reads_file=True), "any_step"):
        if getattr(args, name, None) and path is None:
            raise InputError(f"--{name} is given without {file}, to which it belongs")
    if path is not None:
        check_reading(path, vars(args))


def add_value_range_flag(parser, file):
    """Adds --value_range, which belongs to the flag that is named `file`."""
    parser.add_argument(
        "--value_range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help=f"data values of {file} that are scaled to 0 and 1 (default: the checkpoint's)",
    )


def add_score_flags(parser):
    """Adds --thresholds and --neighbourhoods."""
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs="+",
        default=[],
        help="score events, values at or above each threshold, in the data's units; compares with "
        "persistence and climatology",
    )
    parser.add_argument(
        "--neighbourhoods",
        type=whole_number(1),
        nargs="+",
        default=[5, 15],
        help="side lengths in pixels, odd, of the FSS's square neighbourhoods (default: 5 15)",
    )


def add_summary_flag(parser):
    """Adds --summary."""
    parser.add_argument(
        "--summary", action=Switch, help="only print the network's parameters, layers and cost"
    )


def add_config_flags(parser):
    """Adds --preset, --recipe, and a flag for every setting that has one."""
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
        help="training settings; published: those of the 2022 version, with any preset "
        "(default: the preset's own)",
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
    """Adds the flag of a field; if it is not given, the parsed arguments lack it."""
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    if hint is bool:
        group.add_argument(
            f"--{f.name}",
            action=Switch,
            default=argparse.SUPPRESS,
            help=f.metadata["help"],
        )
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
    """The function that parses one value of a field."""
    parse = f.metadata["parse"] or getattr(kind, "parse", kind)

    def checked(text):
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    checked.__name__ = parse.__name__
    return checked


def _number_of_values(f):
    """argparse's `nargs` for a field that is a tuple."""
    if f.metadata["parse"]:
        return "+"
    return f.metadata["length"] or ("*" if f.metadata["may_be_empty"] else "+")


def describe_default(f):
    """The default of a flag as text; where presets differ, that of each."""

    def default_of(preset):
        model = getattr(preset.model, f.name, f.default)
        return preset.training.get(f.name, model)

    if f.default is None:
        return ""
    values = {name: default_of(preset) for name, preset in PRESETS.items()}
    first = next(iter(values.values()))
    others = [f"{name}: {_text(value)}" for name, value in values.items() if value != first]
    return _text(first) + "".join(f"; {other}" for other in others)


def _text(value):
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value)


def run(main, parse):
    """Runs an entry script's `main(parse())`; reports the errors of `EXIT_CODES` in one line each.

    SIGINT, SIGTERM and SIGHUP end it with one line and 130, 143 or 129, unless `main` handles them.
    A closed pipe or terminal ends nothing: the work goes on, to its own exit code. A full disk
    under stdout or stderr is reported when the work is done.
    """
    signals.on_stop(signals.end_at_once)
    sys.stdout, sys.stderr = outputs = Output(sys.stdout, "stdout"), Output(sys.stderr, "stderr")
    known = []

    def work():
        args = parse()
        known.extend(getattr(args, "flags", ()))
        main(args)

    try:
        code = _exit_code(work, known)
    finally:
        remove_half_written()
    code = code or _exit_code(lambda: [out.check() for out in outputs], known)
    if code:
        sys.exit(code)


def _exit_code(action, flags):
    """Runs something and returns its exit code, after it has said why that is not 0."""
    try:
        action()
    except SystemExit as end:
        return end.code
    except tuple(EXIT_CODES) as error:
        script = sys.argv[0].rsplit("/", 1)[-1]
        text = error.text_for(flags) if isinstance(error, InputError) else str(error)
        print(f"{script}: {' '.join(text.split())}", file=sys.stderr)
        return EXIT_CODES[type(error)]
    return 0
