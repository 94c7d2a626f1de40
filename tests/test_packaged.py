"""The packaged set and the packaged model are what they say."""

import numpy as np
import pytest

import sciffusion

RHO_CRIT = 2.77536627e11  # (Msun/h) / (Mpc/h)^3


@pytest.fixture(scope="module")
def maps():
    return sciffusion.main_variable(sciffusion.open_field(sciffusion.packaged_data("cdm"))).load()


def test_the_set_has_what_was_promised(maps):
    fiducial = maps["split"].values == "test"
    assert len(np.unique(maps["group"][~fiducial])) >= 60
    assert len(np.unique(maps["group"][fiducial])) == 12
    assert maps.shape[1:] == (64, 64)
    assert set(maps["Omega_m"].values[fiducial]) == {0.3}
    assert set(maps["sigma_8"].values[fiducial]) == {0.8}
    for name, low, high in (("Omega_m", 0.1, 0.5), ("sigma_8", 0.6, 1.0)):
        assert low <= maps[name].min() < low + 0.02
        assert high - 0.02 < maps[name].max() <= high
    assert maps.attrs["units"] == "(Msun/h)/(Mpc/h)^2"


def test_mass_is_conserved_over_the_slabs_of_an_axis(maps):
    means = maps.mean(("y", "x")).values.reshape(-1, 3, 5).mean(axis=2)  # (simulation, axis)
    expected = maps["Omega_m"].values[::15] * RHO_CRIT * 5.0
    np.testing.assert_allclose(means, expected[:, None] * np.ones(3), rtol=2e-4)


def test_it_says_how_it_was_made():
    attrs = sciffusion.open_field(sciffusion.packaged_data("cdm")).attrs
    assert "sciffusion-simulate --field cdm" in attrs["command"]
    assert "sciffusion 0." in attrs["version"]
    assert "without baryonic physics" in attrs["comment"]


def test_no_such_set():
    with pytest.raises(FileNotFoundError, match=r"no packaged set 'dust9'; there is .*cdm"):
        sciffusion.packaged_data("dust9")


def test_the_model_draws_maps_of_the_right_kind(maps):
    """Loose bounds that an untrained or mislabelled model misses by far; the benchmark measures quality."""
    model = sciffusion.load("cdm", "cpu")
    assert set(model.conditions.names) == {"Omega_m", "sigma_8"}
    drawn = model.generate(12, conditions={"Omega_m": 0.3, "sigma_8": 0.8}, sampling={"steps": 30}, progress=False)
    real = maps[maps["split"].values == "test"]
    spectra = [
        np.log(sciffusion.power_spectrum(np.log10(f).assign_attrs(units="")).mean("sample")) for f in (real, drawn)
    ]
    assert float(np.abs(spectra[1] - spectra[0])[3:25].mean()) < 0.15  # scatter between sets of 12: about 0.05
    assert float(np.log10(drawn.mean() / real.mean())) == pytest.approx(0, abs=0.1)


def test_the_model_carries_its_scores_and_split():
    header = sciffusion.load("cdm", "cpu").header
    assert header["scores"]["statistics"]
    groups = {name: set(members) for name, members in header["split"].items()}
    assert not groups["train"] & groups["test"]
    fiducial = range(76, 88)
    assert set(fiducial) <= groups["test"]
