"""Make the exact answers of tests/oracle.py importable: ``from oracle import ...``."""

import os
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes with threads on all cores each would wait for one another; torch reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real files beside the project, where there are some: tests on them add to those on files written here."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real files in {folder}")
    return folder


@pytest.fixture(autouse=True)
def _denormal_numbers_as_they_are():
    """Training and drawing flush them to zero in their thread, which tests that draw such numbers do not expect."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def bare_figures(monkeypatch):
    """Let a comparison write empty figures: for tests of its files and words, which drawing would make slow."""
    from matplotlib.figure import Figure

    from sciffusion import plot

    for name in ("draw_result", "plot_fields", "plot_scorecard"):
        monkeypatch.setattr(plot, name, lambda *_: Figure(figsize=(1, 1)).subplots())
