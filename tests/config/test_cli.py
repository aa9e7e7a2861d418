"""Flags that take more than a number or a word."""

import pytest

from src.config import cli
from src.config.presets import make_config
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
