"""Rules of the house that a test can keep: no pickle, no dimension asked for, light imports, small files that ship."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [path for folder in ("sciffusion", "data_loaders") for path in (ROOT / folder).rglob("*.py")]


def lines_matching(pattern):
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_nothing_is_pickled():
    assert not lines_matching(
        r"import pickle|torch\.save|torch\.load\(|allow_pickle=True|weights_only=False|joblib|dill"
    )


def test_nothing_is_clipped_to_a_range():
    """The faults of published samplers: x0 clamped to [-1, 1], data scaled to [0, 1]."""
    assert not [line for line in lines_matching(r"\.clamp_?\(") if "sample.py" in line or "generate.py" in line]


@pytest.mark.parametrize("module", ["sciffusion", "data_loaders", "sciffusion.config", "sciffusion.cli.train"])
def test_imports_are_light(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'matplotlib', 'xarray', 'astropy'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("path", "megabytes"),
    [("data_loaders/data/cdm.h5", 12), ("data_loaders/data/dust.fits", 3), ("sciffusion/models/cdm.safetensors", 10)],
)
def test_what_ships_is_small(path, megabytes):
    assert (ROOT / path).stat().st_size < megabytes * 1e6
