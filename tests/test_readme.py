"""Documents say the same in both languages, and what they say of the arguments is so."""

import dataclasses
import re
from pathlib import Path

import pytest

from src.config.cli import describe_default
from src.config.schema import DataConfig, ModelConfig, TrainingConfig

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README_CN.md")
PAIRS = (READMES, ("docs/own_data.md", "docs/own_data_CN.md"))
DOCUMENTS = [name for pair in PAIRS for name in pair]


def text_of(name):
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", READMES)
def test_every_flag_and_its_default(name):
    # The first table is train.py's; other scripts have flags of the same name.
    rows = dict(reversed(re.findall(r"^\| `--(\w+)` \| (.*?) \|", text_of(name), re.MULTILINE)))
    for part in (TrainingConfig, DataConfig, ModelConfig):
        for f in dataclasses.fields(part):
            if f.metadata["flag"]:
                assert rows[f.name].strip() == describe_default(f), f.name


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text = text_of(name)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            slugs = [
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
                for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            ]
            assert target[1:] in slugs, target
        elif not target.startswith("http"):
            assert (ROOT / name).parent.joinpath(target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("pair", PAIRS)
def test_both_languages_have_the_same_parts(pair):
    """Commands letter by letter, headings, tables and figures by number."""
    english, chinese = map(text_of, pair)
    blocks = [
        re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL) for text in (english, chinese)
    ]
    assert blocks[0] == blocks[1]
    for pattern in (r"^#+ ", r"^\|", r"^- ", r"^!\["):
        counts = [len(re.findall(pattern, text, re.MULTILINE)) for text in (english, chinese)]
        assert counts[0] == counts[1], pattern


@pytest.mark.parametrize("pair", PAIRS)
def test_tables_have_the_same_figures(pair):
    """Row by row: the numbers of a table's cells do not depend on the language."""
    rows = [re.findall(r"^\|.*$", text_of(name), re.MULTILINE) for name in pair]
    for english, chinese in zip(*rows, strict=True):
        figures = [sorted(re.findall(r"\d[\d.,]*\d|\d", row)) for row in (english, chinese)]
        assert figures[0] == figures[1], (english, chinese)
