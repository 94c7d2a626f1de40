"""docs/own_data.md runs as it stands: its Python, in order, and the flags of its commands."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import sciffusion
from sciffusion.cli import train

DOCUMENT = (Path(__file__).parent.parent / "docs" / "own_data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", DOCUMENT, re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [text.strip() for language, text in BLOCKS if not language]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Run all blocks in one folder; returns it and the names that they define."""
    folder, names = tmp_path_factory.mktemp("own_data"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sciffusion.field._registered", {})
        for code in PYTHON:
            exec(compile(code, "docs/own_data.md", "exec"), names)
    return folder, names


def test_the_ten_lines_are_ten():
    code = next(code for code in PYTHON if "register(" in code)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_a_model_of_ones_own_data(page):
    folder, names = page
    drawn = names["drawn"]
    assert (drawn.dims, drawn.shape, drawn.attrs["units"]) == (("sample", "y", "x"), (4, 16, 16), "K")
    assert drawn["x"].attrs == {"units": "pc", "boundary": "reflect"}
    assert drawn["age"].values.tolist() == [3.0] * 4
    assert bool(np.isfinite(drawn).all())
    assert bool((drawn > 0).all())
    made = {path.name for path in (folder / "runs" / "clouds").iterdir()}
    assert {"checkpoint.safetensors", "scores.json", "power.png", "config.yaml"} <= made
    # Whole snapshots are on one side of the split.
    split = sciffusion.load(folder / "runs" / "clouds", "cpu").header["split"]
    assert sum(map(len, split.values())) == len(set().union(*split.values())) == 24


def test_the_labelled_file_needs_no_labels(page, monkeypatch):
    folder, names = page
    monkeypatch.chdir(folder)
    back = sciffusion.main_variable(sciffusion.open_field("labelled.h5"))
    assert back.identical(names["field"])
    assert back["group"].dtype == np.int64


def test_the_command_reads_the_same_data(page, monkeypatch, capsys):
    monkeypatch.chdir(page[0])
    words = shlex.split(COMMANDS[0])
    assert words[0] == "sciffusion-train"
    assert train.main([*words[1:], "--options.select.age", "[2, 5]", "--out", "other", "--dry_run"]) == 0
    told = capsys.readouterr().out
    assert "16 x 16 pixels [K]" in told
    assert "conditional on age" in told


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_other_commands_are_understood(command):
    words = shlex.split(command)
    assert train.parse(words[1:]).data == words[words.index("--data") + 1 :]


def test_files_that_it_points_to_exist():
    folder = Path(__file__).parent.parent / "docs"
    assert not [link for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", DOCUMENT) if not (folder / link).exists()]


def test_the_python_of_extending_runs():
    text = (Path(__file__).parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for code in blocks:
        exec(compile(code, "docs/extending.md", "exec"), {})
