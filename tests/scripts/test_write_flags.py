"""docs/flags.md says what the four parsers say."""

import argparse

import pytest

from scripts import write_flags


def test_flags_md_is_up_to_date():
    assert write_flags.PAGE.read_text() == write_flags.page()


@pytest.mark.parametrize("name", write_flags.SCRIPTS)
def test_every_flag_of_a_parser_is_on_the_page(name):
    """With its default, where its help has one."""
    parser = write_flags.parser_of(name)
    rows = "\n".join(write_flags.script_lines(name)).splitlines()
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            (row,) = [row for row in rows if row.startswith(f"| `{action.option_strings[0]}`")]
            default = (action.help or "").rpartition("(default: ")[2]
            if "(default: " in action.help:
                assert f"| {default[:-1].translate(write_flags.MARKDOWN)} |" in row
