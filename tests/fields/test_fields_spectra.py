"""The fields of spectra: what training gets, with its mask, errors and conditions."""

import numpy as np
import pytest
import yaml

from data_loaders import DataError, open_field, packaged_data, write_field
from data_loaders.spectra import spectra_dataset
from sciffusion.conditions import Conditions, has_bad_pixels
from sciffusion.dataset import split_by_group
from sciffusion.field import field_names, get_field
from sciffusion.transform import chain, from_dict


@pytest.fixture(scope="module")
def stars():
    return get_field("stellar_spectra").read(())


def test_both_fields_are_known():
    assert {"stellar_spectra", "spectra"} <= set(field_names())
    for name in ("stellar_spectra", "spectra"):
        field = get_field(name)
        assert field.name == name
        assert yaml.safe_load(field.preset.read_text())["minutes"] == 20


def test_what_training_gets(stars):
    assert stars.dims == ("sample", "wavelength")
    assert stars.sizes == {"sample": 2282, "wavelength": 512}
    assert stars.attrs["left_out"] == "23 of 2305 spectra without a good pixel"
    assert np.isfinite(stars.values).all()
    assert np.isfinite(stars["log_error"].values).all()
    assert has_bad_pixels(stars)
    assert stars.attrs["noise"] == "in each pixel of its log_error"


def test_good_pixels_are_those_of_the_file(stars):
    ds = open_field(packaged_data("stellar_spectra"))
    ds = ds.isel(sample=~ds["mask"].values.all(axis=1))
    good = ~ds["mask"].values
    assert np.array_equal(stars.values[good], ds.flux.values[good])
    assert np.allclose(stars["log_error"].values[good], -0.5 * np.log10(ds.ivar.values[good]), atol=1e-6)


def test_its_conditions_are_scalars_and_a_map(stars):
    conditions = Conditions.of(stars, get_field("stellar_spectra").conditions)
    assert conditions.scalars == ("J_H", "H_K")
    assert conditions.maps == ("log_error",)
    assert conditions.units == {"J_H": "mag", "H_K": "mag", "log_error": "dex"}
    assert np.isnan(stars["J_H"].values).sum() == 81  # limits, or one number for all bands


def test_its_transform_gives_unit_variance_everywhere(stars):
    transform = chain(list(get_field("stellar_spectra").transform)).fit(stars)
    seen = transform(stars)
    assert np.allclose(seen.std("sample"), 1)
    assert np.allclose(seen.mean("sample"), 0, atol=1e-9)
    back = from_dict(transform.to_dict()).inverse(seen)
    assert np.allclose(back, stars, rtol=1e-5, atol=1e-6)


def test_spectra_of_one_object_are_on_one_side(stars):
    parts = split_by_group(stars, 0.1, 0.1, seed=0)
    groups = [set(stars["group"].values[part].tolist()) for part in parts.values()]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def noisy(n=4, errors=True):
    rng = np.random.default_rng(0)
    shape = (n, 60)
    mask = rng.random(shape) < 0.1
    mask[-1] = True
    flux = np.where(mask, 0, rng.lognormal(0, 0.2, shape))
    ivar = np.where(mask, 0, 25.0) if errors else None
    objects = {"teff": np.linspace(4000, 7000, n)}
    return spectra_dataset(flux, np.arange(5000.0, 5060), units="Jy", ivar=ivar, mask=mask, objects=objects)


def test_a_users_spectra(tmp_path):
    write_field(noisy(), tmp_path / "mine.h5")
    field = get_field("spectra").read([tmp_path / "mine.h5"], wavelength="5002:5056:2", normalize="median")
    assert field.shape == (3, 28)
    assert field.attrs["left_out"] == "1 of 4 spectra without a good pixel"
    assert (field.values > 0.3).all()  # filled under the mask, not zero
    assert Conditions.of(field, ["teff", "log_error"]).names == ("teff", "log_error")
    rms = 0.2 / 2**0.5 / field["norm"].values
    assert np.allclose(10 ** np.median(field["log_error"], axis=1), rms, rtol=0.3)


def test_spectra_whose_errors_nobody_knows(tmp_path):
    write_field(noisy(errors=False), tmp_path / "mine.h5")
    field = get_field("spectra").read([tmp_path / "mine.h5"])
    assert "log_error" not in field.coords
    with pytest.raises(ValueError, match="no condition 'log_error'"):
        Conditions.of(field, ["log_error"])


def test_what_is_no_data():
    with pytest.raises(ValueError, match="give --data"):
        get_field("spectra").read(())


def test_no_good_pixel_at_all(tmp_path):
    ds = noisy()
    ds["mask"] = ds["mask"] | True
    write_field(ds, tmp_path / "bad.h5")
    with pytest.raises(DataError, match="none of 4 spectra has a good pixel"):
        get_field("spectra").read([tmp_path / "bad.h5"])


def test_miles_with_its_parameters(shared_data):
    field = get_field("spectra").read([shared_data / "spectra" / "miles_stars.npz"], samples=slice(0, 50))
    assert field.shape == (50, 4300)
    conditions = Conditions.of(field, ["teff", "logg", "feh"])
    assert conditions.units["teff"] == "K"
    assert not has_bad_pixels(field)
