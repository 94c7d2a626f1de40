"""The examples of the document on spectra run, and its numbers are right."""

import re
from pathlib import Path

import numpy as np

from data_loaders.spectra import effective_ivar, rebin

DOCUMENT = Path(__file__).parents[2] / "docs/spectra.md"


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    for block in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, scope)
    ds = scope["ds"]
    assert ds.sizes == {"sample": 20, "wavelength": 1391}
    window = (ds.wavelength.values >= 5500) & (ds.wavelength.values <= 5700)
    assert np.allclose(np.median(ds.flux.values[:, window], axis=1), 1)
    assert len(scope["table"]) == 20
    assert np.all(scope["for_sums"] < scope["ivar"])
    assert np.allclose(scope["band"].diagonal(), 1 / scope["ivar"])


def test_how_much_too_confident_the_diagonal_is():
    old, new = np.arange(2000.0), np.arange(10, 1990, 0.3)
    ivar = np.ones(2000)
    ratio = rebin(old, new, ivar, ivar)[1].sum() / effective_ivar(old, new, ivar).sum()
    assert f"to {ratio:.1f} times as much" in DOCUMENT.read_text(encoding="utf-8")
