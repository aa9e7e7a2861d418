"""Flags that take more than a number or a word."""

from types import SimpleNamespace

import pytest

from src.config import cli
from src.config.presets import make_config
from src.errors import InputError
from src.tools.start import given_flags


def parse(*options):
    parser = cli.Parser("a test")
    cli.add_config_flags(parser)
    return given_flags(parser.parse_args(options))


def test_pairs():
    """A space keeps a negative threshold from being taken for a flag."""
    options = parse("--loss", "mse", "--loss_weights", " -40:2", "5:5.5", "1e1:10")
    assert options["loss_weights"] == ((-40.0, 2.0), (5.0, 5.5), (10.0, 10.0))
    assert make_config("small", options).training.loss_weights == options["loss_weights"]


@pytest.mark.parametrize("text", ["2", "2:", "2:2:2", "two:2", ""])
def test_no_pair(text, capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--loss_weights", text)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--loss_weights: invalid A:B value: {text!r}" in line


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("", False),
        ("--overwrite", True),
        ("--no-overwrite", False),
        ("--overwrite True", True),
        ("--overwrite=true", True),
        ("--overwrite False", False),
        ("--overwrite=no", False),
        ("--overwrite 0", False),
        ("--overwrite --no-overwrite", False),
    ],
)
def test_a_switch_in_every_spelling(words, value):
    parser = cli.Parser("a test")
    cli.add_run_flags(parser)
    assert parser.parse_args(words.split()).overwrite is value


@pytest.mark.parametrize(
    "words", ["--overwrite maybe", "--no-overwrite false", "--overwrite yes no"]
)
def test_a_stray_value_is_refused(words, capsys):
    parser = cli.Parser("a test")
    cli.add_run_flags(parser)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(words.split())
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_resume_takes_a_file_or_a_word():
    parser = cli.Parser("a test")
    cli.add_run_flags(parser)
    words = {"--resume": True, "--resume True": True, "--resume false": None, "--resume a/b": "a/b"}
    assert {text: parser.parse_args(text.split()).resume for text in words} == words


def test_negative_numbers_are_no_flags():
    flags = parse("--value_range", "-1e-5", "1e-5")
    assert flags["value_range"] == (-1e-5, 1e-5)
    parser = cli.Parser("a test")
    cli.add_score_flags(parser)
    cli.add_value_range_flag(parser, "a file")
    args = parser.parse_args(
        ["--thresholds", "-1e-4", "-.5", "-3.", "-2E+1", "--value_range", "-2", "-1e0"]
    )
    assert args.thresholds == [-1e-4, -0.5, -3.0, -20.0]
    assert args.value_range == [-2.0, -1.0]


def test_a_message_names_flags_that_the_script_has(capsys):
    def main(args):
        raise InputError("x: too wide", pad="--pad pads it")

    for flags, line in ((("--pad",), "x: too wide; --pad pads it"), ((), "x: too wide")):
        with pytest.raises(SystemExit) as stop:
            cli.run(main, lambda flags=flags: SimpleNamespace(flags=flags))
        assert stop.value.code == 2
        assert capsys.readouterr().err.endswith(f": {line}\n")
