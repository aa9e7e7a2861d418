"""Documents: their commands parse, their links lead somewhere, both languages say the same."""

import importlib.util
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src import checkpoint
from src.data.sources import evaluation_source

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README_CN.md")
MOST_LINES, MOST_BYTES = 250, 18_000
CHINESE = sorted(path.name for path in (ROOT / "docs" / "zh").glob("*.md"))
PAIRS = [READMES, *((f"docs/{name}", f"docs/zh/{name}") for name in CHINESE)]
# Folders of the project; what a command names in one of them has to be there.
SHIPPED = ("benchmarks", "data", "docs", "examples", "scripts", "src", "tests", "weights")
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *(p for part in SHIPPED for p in (ROOT / part).rglob("*.md"))]
)
# Programs of others that commands call: nothing here can say whether their flags are right.
OTHERS = {"source", "pip", "git", "tensorboard", "atc", "converter_lite"}


def text_of(name):
    return (ROOT / name).read_text()


def blocks_in(text, language=r"\w*"):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose_of(text):
    """A document without its code blocks, in which # is no heading."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def commands_in(text):
    """The commands of its bash blocks as lists of words, without comments, optional parts in
    square brackets and settings of the environment.
    """
    for block in blocks_in(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(re.sub(r" \[[^]]*\]", "", line), comments=True)
            while words and re.match(r"[A-Z]+=", words[0]):
                # NAME=VALUE command, or NAME=$(command).
                words = [] if "$(" in words[0] else words[1:]
            if words:
                yield words


@cache
def module_of(path):
    """A script as a module; by its path, because Python has a `test` of its own."""
    folder = str((ROOT / path).parent)
    spec = importlib.util.spec_from_file_location(f"documented_{Path(path).stem}", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def check(command, capsys):
    """Asserts that a command names what is there, and has arguments that its program takes."""
    program, *arguments = command
    for word in arguments:
        if word.split("/")[0] in SHIPPED:
            assert (ROOT / word).exists(), command
    if program == "bash":
        check_shell_script(*arguments, command=command, capsys=capsys)
    elif program == "python" and arguments[0] != "-m":
        check_python_script(*arguments, command=command, capsys=capsys)
    else:
        assert program in OTHERS | {"python"}, command
    if "-r" in arguments:
        assert (ROOT / arguments[arguments.index("-r") + 1]).is_file(), command


def check_shell_script(script, *arguments, command, capsys):
    """Its usage names what it needs in capitals, and in brackets what may follow."""
    usage = re.search(rf"^# usage: .*{script}(.*)$", text_of(script), re.MULTILINE)[1]
    names = re.findall(r"\b[A-Z_]+\b", usage.partition("[")[0])
    assert len(arguments) >= len(names), command
    options = arguments[len(names) :]
    if not options:
        return
    assert "options]" in usage, command
    if "train.py" in usage:
        check_python_script(*options_of_train(options), command=command, capsys=capsys)


def options_of_train(options):
    """train.py and those of the options that are not msrun's."""
    msrun = ("--local_worker_num", "1", "train.py", *options)
    return module_of("scripts/launch.py").parse(msrun)[1]


def check_python_script(script, *arguments, command, capsys):
    """Its own parser has to take the arguments, where it has one that can be called."""
    source = text_of(script)
    if script == "scripts/launch.py":
        check_python_script(*module_of(script).parse(arguments)[1], command=command, capsys=capsys)
    elif re.search(r"(?<![.\w])parse_args\b", source):
        try:
            module_of(script).parse_args(list(arguments))
        except SystemExit:
            pytest.fail(f"{' '.join(command)}\n{capsys.readouterr().err}")
        assert "not used" not in capsys.readouterr().err, command


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands(name, capsys):
    for command in commands_in(text_of(name)):
        check(command, capsys)


def test_there_are_commands():
    """The entry scripts and shell scripts are all shown: the test above looks at something."""
    commands = [" ".join(c) for name in DOCUMENTS for c in commands_in(text_of(name))]
    scripts = ["train.py", "test.py", "predict.py", "export.py", "examples/forecast.py"]
    scripts += [f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.sh")]
    scripts.remove("scripts/python.sh")  # which the others read
    for script in scripts:
        assert any(f" {script}" in command for command in commands), script


@pytest.mark.parametrize("name", ["docs/cloud.md", "docs/zh/cloud.md"])
def test_cloud_jobs_install_what_the_code_imports(name):
    """All of requirements.txt but MindSpore, which a platform's image brings."""
    needed = set(re.findall(r"^[a-z-]+", text_of("requirements.txt"), re.MULTILINE))
    installs = [c for c in commands_in(text_of(name)) if c[:2] == ["pip", "install"]]
    assert installs
    for command in installs:
        named = {re.match(r"[a-z-]*", word)[0] for word in command[2:]}
        assert needed - {"mindspore"} <= named, command


def test_the_tree_is_the_project():
    """CONTRIBUTING.md names every file of src/, and no other but those of the root and scripts."""
    (tree,) = [b for b in blocks_in(text_of("CONTRIBUTING.md"), "text") if "errors.py" in b]
    named = set(re.findall(r"\w+\.py\b", tree))
    others = {path.name for folder in (ROOT, ROOT / "scripts") for path in folder.glob("*.py")}
    others |= {"__init__.py", "learning.py"}
    assert named - others == {path.name for path in (ROOT / "src").rglob("*.py")} - others


def anchors_of(name):
    """GitHub's anchors of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", prose_of(text_of(name)), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_folders_are_small():
    """At most twelve modules in a folder of src, as CONTRIBUTING.md promises."""
    for package in (ROOT / "src").rglob("__init__.py"):
        assert len(list(package.parent.glob("*.py"))) <= 12 + 1, package.parent


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)]+)\)", prose_of(text_of(name))):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        if anchor:
            assert anchor in anchors_of(path), target


@pytest.mark.parametrize("name", READMES)
def test_readmes_are_short(name):
    content = (ROOT / name).read_bytes()
    assert content.count(b"\n") <= MOST_LINES
    assert len(content) <= MOST_BYTES


@pytest.mark.parametrize("pair", PAIRS, ids=[pair[1] for pair in PAIRS])
def test_both_languages_have_the_same_parts(pair):
    """Commands word by word and programs letter by letter; comments of commands are translated."""
    english, chinese = map(text_of, pair)
    assert list(commands_in(english)) == list(commands_in(chinese))
    assert blocks_in(english, "python") == blocks_in(chinese, "python")
    assert len(blocks_in(english)) == len(blocks_in(chinese))
    for pattern in (r"^#+ ", r"^\|", r"^- ", r"^\d+\. ", r"!\["):
        counts = [len(re.findall(pattern, prose_of(t), re.MULTILINE)) for t in (english, chinese)]
        assert counts[0] == counts[1], pattern


@pytest.mark.parametrize("pair", PAIRS, ids=[pair[1] for pair in PAIRS])
def test_tables_have_the_same_figures(pair):
    """Row by row: the numbers of a table's cells do not depend on the language."""
    rows = [re.findall(r"^\|.*$", text_of(name), re.MULTILINE) for name in pair]
    for english, chinese in zip(*rows, strict=True):
        figures = [sorted(re.findall(r"\d[\d.,]*\d|\d", row)) for row in (english, chinese)]
        assert figures[0] == figures[1], (english, chinese)


def run_example(folder, *arguments):
    """The lines that examples/forecast.py prints in a folder."""
    command = [sys.executable, ROOT / "examples" / "forecast.py", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def test_example(tmp_path):
    """It forecasts better than black frames, and a file of its sequence as the sequence itself."""
    lines = run_example(tmp_path)
    errors = [float(line.split("MSE ")[1]) for line in lines if "MSE" in line]
    assert len(errors) == 10
    config = checkpoint.load(checkpoint.BUNDLED).config
    pixels = evaluation_source(config)[[0]][0, :, 0]
    black = ((pixels[10:] / 255.0) ** 2).sum((1, 2))
    assert all(0 < error < zeros for error, zeros in zip(errors, black, strict=True))
    with Image.open(tmp_path / "forecast.png") as picture:
        picture.verify()
    np.save(tmp_path / "own.npy", pixels)
    assert run_example(tmp_path, "--input", "own.npy")[: len(errors)] == lines[: len(errors)]
