"""The document on the file format is right: its examples run, and every way to write the file gives one dataset."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_loaders import main_variable, open_field, readers, registry

DOCUMENT = Path(__file__).parents[2] / "docs/data_format.md"


@pytest.fixture
def examples(tmp_path, monkeypatch):
    readers()
    monkeypatch.setattr(registry, "_READERS", dict(registry._READERS))
    monkeypatch.chdir(tmp_path)
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, scope)
    return scope


def test_the_examples_of_the_document_run(examples, tmp_path):
    assert examples["field"].shape == (15, 64, 64)
    assert set(examples["ds"].dims) == {"sample", "z", "y", "x"}
    assert examples["ds"].attrs["redshift"] == 1.0
    np.testing.assert_allclose(examples["field"], examples["maps"][:15], rtol=2e-4)
    np.testing.assert_array_equal(examples["table"].FLUX, examples["maps"][10:20, 0])
    assert examples["both"].fields.shape == (15, 2, 64, 64)
    assert examples["both"].channel.values.tolist() == ["surface_density", "gas"]
    by_xarray, by_h5py = open_field("maps_xarray.h5"), open_field("maps_h5py.h5")
    np.testing.assert_array_equal(main_variable(by_xarray), examples["maps"])
    assert by_xarray.split.values.tolist() == ["train"] * 15 + ["test"] * 15
    for name in ("surface_density", "group", "Omega_m", "y", "x"):
        xr.testing.assert_equal(
            by_h5py[name].drop_vars("sample", errors="ignore"), by_xarray[name].drop_vars("split", errors="ignore")
        )
    assert by_h5py.x.attrs == by_xarray.x.attrs
