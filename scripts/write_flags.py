"""Writes docs/flags.md from the parsers of the four entry scripts.

python scripts/write_flags.py
"""

import argparse
import importlib.util
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src import ROOT  # noqa: E402
from src.runtime.files import write_atomically  # noqa: E402

PAGE = ROOT / "docs" / "flags.md"
SCRIPTS = ("train", "test", "predict", "export")
HEAD = """# Flags

Generated from the parsers by `python scripts/write_flags.py`. The flags of networks, data and
training are the fields of `src/config/schema.py`. A checkpoint stores their values, so the other
scripts do not need them.
"""
DEFAULT = re.compile(r" ?\(default: (.*)\)$")
MARKDOWN = str.maketrans({"|": "&#124;", "<": "&lt;"})


def page():
    """The text of docs/flags.md."""
    return "\n".join([HEAD, *(line for name in SCRIPTS for line in script_lines(name))])


def script_lines(name):
    """Yields the lines about one entry script."""
    yield f"## {name}.py\n"
    for group in parser_of(name)._action_groups:
        actions = group._group_actions
        flags = [each for each in actions if "--help" not in each.option_strings]
        if not flags:
            continue
        if group.title != "options":
            yield f"### {name}.py: {group.title}\n"
        yield "| flag | values | default | what it does |\n|---|---|---|---|"
        yield "\n".join(map(row, flags)) + "\n"


def parser_of(name):
    """The parser of an entry script, loaded by path because Python has a package `test` too."""
    spec = importlib.util.spec_from_file_location(f"entry_{name}", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_parser()


def row(action):
    """The table row of a flag."""
    text = action.help.replace("%%", "%")
    default = DEFAULT.search(text)
    text = DEFAULT.sub("", text)
    flags = " ".join(f"`{flag}`" for flag in action.option_strings)
    cells = flags, values_of(action), default[1] if default else "", text
    return f"| {' | '.join(cell.translate(MARKDOWN) for cell in cells)} |"


def values_of(action):
    """The values of a flag, in words."""
    if action.choices:
        return ", ".join(f"`{choice}`" for choice in action.choices)
    if action.nargs == 0:
        return ""
    name = action.metavar or getattr(action.type, "__name__", "text")
    if isinstance(name, tuple):
        return " ".join(name)
    names = {"str": "text", "int": "whole number", "float": "number"}
    name = names.get(name, name)
    counts = {"+": "one or more", "*": "any number of", "?": "optional", None: ""}
    count = counts.get(action.nargs, str(action.nargs))
    return f"{count} {name}".strip()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    write_atomically(PAGE, [page().encode()])
    print(PAGE)
