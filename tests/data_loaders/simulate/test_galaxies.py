"""Sets of simulated galaxies: truth against data, independence of how they are made, files and the cache."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from data_loaders import open_field, write_field
from data_loaders.simulate import Galaxies, cached, pieces, simulated_galaxies
from data_loaders.simulate.galaxies import collect, galaxies
from data_loaders.simulate.galaxy_images import BANDS, Frame
from data_loaders.simulate.galaxy_priors import MAGNITUDES, draw
from data_loaders.simulate.galaxy_record import COLORS, TRUTH, record
from data_loaders.simulate.galaxy_spectra import LOG_WAVELENGTH
from data_loaders.simulate.nebular import LINES
from data_loaders.simulate.populations import calzetti
from data_loaders.spectra.filters import filter_curve

SETTINGS = Galaxies(num=150, seed=5, noise_free=True, test=30, validation=10)
WAVELENGTH = 10**LOG_WAVELENGTH
STEP = WAVELENGTH * np.log(10) * 1e-4


@pytest.fixture(scope="module")
def ds():
    return galaxies(SETTINGS)


@pytest.fixture(scope="module")
def quiet():
    return galaxies(replace(SETTINGS, image_noise=False, spectrum_noise=False))


def drawn(number):
    generator = np.random.default_rng([SETTINGS.seed, number])
    return draw(generator, SETTINGS.redshift), generator


def forming():
    """A galaxy with strong lines and an old bulge."""
    return next(galaxy for galaxy, _ in map(drawn, range(100)) if galaxy.components[1].photons > 1e43)


def without_lines(galaxy):
    return replace(galaxy, components=tuple(replace(each, photons=0.0) for each in galaxy.components))


def test_the_layout_is_that_of_spectra_with_an_image(ds):
    assert dict(ds.sizes) == {"sample": 150, "wavelength": 3598, "band": 5, "y": 32, "x": 32}
    assert ds.attrs["field"] == "flux"
    assert ds["flux"].dims == ("sample", "wavelength")
    assert ds["image"].dims == ("sample", "band", "y", "x")
    assert (ds["image"].dtype, ds["flux"].dtype, ds["ivar"].dtype) == (np.float32, np.float32, np.float32)
    assert ds["image"].attrs["units"] == "nanomaggy"
    assert ds["flux"].attrs["units"] == "1e-17 erg / (s cm2 Angstrom)"
    assert (ds["wavelength"].attrs["medium"], ds["wavelength"].attrs["frame"]) == ("vacuum", "observed")
    assert ds["band"].values.tolist() == list(BANDS)
    np.testing.assert_allclose(np.diff(ds["x"]) * 3600, 0.792)
    assert float(ds["y"].sum()) == pytest.approx(0, abs=1e-12)
    for name in (*TRUTH, *COLORS, "fiber_r"):
        assert ds[name].dims == ("sample",)
        assert ds[name].attrs["long_name"]
        assert ds[name].attrs["units"]
    np.testing.assert_array_equal(ds["group"], np.arange(150))
    np.testing.assert_array_equal(ds["split"], ["test"] * 30 + ["validation"] * 10 + ["train"] * 110)
    assert json.loads(ds.attrs["settings"])["seed"] == 5


def test_errors_are_those_of_the_noise(ds):
    good = ~ds["mask"].values
    assert 0.98 < good.mean(axis=1).min() < 1
    np.testing.assert_array_equal(ds["ivar"].values > 0, good)
    assert np.all(ds["flux"].values[~good] == 0)
    assert np.isfinite(ds["flux"].values).all()
    pull = ((ds["flux"] - ds["flux_true"]) * np.sqrt(ds["ivar"])).values[good]
    assert pull.mean() == pytest.approx(0, abs=5 / np.sqrt(pull.size))
    assert pull.std() == pytest.approx(1, abs=5 / np.sqrt(2 * pull.size) + 2e-4)  # and the rounding of values
    assert (np.abs(pull) > 3).mean() == pytest.approx(0.0027, rel=0.1)


def test_noise_of_images_is_the_same_galaxy_with_noise(ds, quiet):
    np.testing.assert_array_equal(ds["flux_true"], quiet["flux_true"])
    np.testing.assert_array_equal(quiet["flux"], quiet["flux_true"])
    assert not quiet["mask"].any()
    assert np.all(quiet["image"].values > -1e-6)
    corner = (ds["image"] - quiet["image"]).values[:, 2, :4, :4]
    sky = 10 ** (0.4 * 0.3) / 5 / np.sqrt(4 * np.pi) / (1.3 / 2.3548) * 0.792
    assert corner.std() == pytest.approx(sky, rel=0.05)
    assert corner.mean() == pytest.approx(0, abs=5 * sky / np.sqrt(corner.size))


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [
        (3715, 3742, {"OII_3727": 1}),
        (4840, 4885, {"Hbeta": 1}),
        (4990, 5030, {"OIII_5007": 1}),
        (6520, 6620, {"Halpha": 1, "NII_6584": 1 + 1 / 3.05}),
        (6695, 6755, {"SII_6717_6731": 1}),
    ],
)
def test_line_fluxes_are_those_of_the_noise_free_spectrum(low, high, names):
    # At a redshift where all lines lie in the window.
    galaxy = replace(forming(), redshift=0.08)
    frame = Frame(32, 0.792)
    made, dark = (record(each, frame, np.random.default_rng(0)) for each in (galaxy, without_lines(galaxy)))
    # The total magnitude is kept, so that without lines there is more of the stars.
    scale = np.median(made["flux_true"] / dark["flux_true"])
    lines = made["flux_true"].astype(float) - scale * dark["flux_true"]
    rest = WAVELENGTH / 1.08
    inside = (rest > low) & (rest < high)
    expected = sum(factor * made[name] for name, factor in names.items())
    assert expected > 10
    assert (lines * STEP)[inside].sum() == pytest.approx(expected, rel=5e-3)


def test_the_balmer_decrement_tells_the_dust():
    galaxy = forming()
    galaxy = replace(galaxy, components=(replace(galaxy.components[0], photons=0.0), galaxy.components[1]))
    bare = replace(galaxy, components=tuple(replace(each, A_V=0.0) for each in galaxy.components))
    frame = Frame(32, 0.792)
    made, without = (record(each, frame, np.random.default_rng(0)) for each in (galaxy, bare))
    assert without["Halpha"] / without["Hbeta"] == pytest.approx(2.86)
    assert without["A_V"] == pytest.approx(0, abs=1e-9)
    curve = calzetti([LINES["Hbeta"], LINES["Halpha"]])
    expected = 2.86 * 10 ** (0.4 * galaxy.components[1].A_V / 0.44 * (curve[0] - curve[1]))
    assert made["Halpha"] / made["Hbeta"] == pytest.approx(expected)


def test_colors_of_the_noise_free_spectrum_are_the_true_ones(quiet):
    def magnitude(band):
        response = np.interp(WAVELENGTH, *filter_curve(f"sdss-{band}"), left=0, right=0) * STEP
        flux = (quiet["flux_true"].values.astype(float) * WAVELENGTH) @ response
        return -2.5 * np.log10(flux / (response * 3.631e-3 * 299792.458e13 / WAVELENGTH).sum()) - 2.5 * np.log10(1e9)

    r, i = magnitude("r") + 22.5, magnitude("i") + 22.5
    np.testing.assert_allclose(r, quiet["true_fiber_r"], atol=2e-3)
    np.testing.assert_allclose(r - i, quiet["true_r_i"], atol=2e-3)


def test_images_hold_the_light_of_the_fiber(ds, quiet):
    # Pixels smear the light, and the seeing differs between bands: not more than that.
    for name in ("g_r", "r_i", "i_z"):
        difference = (quiet[name] - quiet[f"true_{name}"]).values
        assert abs(np.median(difference)) < 0.04
        assert difference.std() < 0.03
    assert np.abs(quiet["fiber_r"] - quiet["true_fiber_r"]).max() < 0.12
    noisy = (ds["g_r"] - quiet["g_r"]).values
    assert 0.003 < noisy.std() < 0.04


def test_total_light_of_the_image_is_the_magnitude():
    frame = Frame(160, 0.792)
    for number in range(4):
        galaxy, generator = drawn(number)
        image = record(galaxy, frame, generator, image_noise=False)["image"]
        assert 22.5 - 2.5 * np.log10(image[2].sum()) == pytest.approx(galaxy.magnitude, abs=0.03)


def test_the_sample_has_limits_of_flux_and_redshift_and_follows_relations(ds):
    magnitudes = np.array([drawn(i)[0].magnitude for i in range(150)])
    assert MAGNITUDES[0] - 0.05 < magnitudes.min()
    assert magnitudes.max() < MAGNITUDES[1] + 0.05
    assert np.median(magnitudes) > 16.8  # most are faint
    redshift = ds["redshift"].values
    assert redshift.min() >= 0.05
    assert redshift.max() <= 0.15
    rest = WAVELENGTH / (1 + redshift[:, None])

    def mean(low, high):
        return np.array([f[(r > low) & (r < high)].mean() for f, r in zip(ds["flux_true"].values, rest)])

    break_ = mean(4000, 4100) / mean(3850, 3950)
    assert spearmanr(break_, ds["age"]).statistic > 0.6
    assert spearmanr(break_, ds["young_fraction"]).statistic < -0.7
    assert spearmanr(ds["true_g_r"], ds["bulge_fraction"]).statistic > 0.3
    ratio = np.median(ds["flux_true"].values * np.sqrt(ds["ivar"].values), axis=1)
    assert 8 < np.median(ratio) < 25


def test_a_galaxy_depends_on_its_number_alone(tmp_path):
    settings = Galaxies(num=130, seed=2)
    assert sorted(pieces.run(settings, tmp_path / "parts", processes=2)) == [0, 1]
    made = collect(settings, tmp_path / "parts", "a command")
    alone = galaxies(replace(settings, num=3))
    assert made.isel(sample=slice(3)).drop_attrs().identical(alone.drop_attrs())
    for number in (99, 100, 129):
        one = settings.observe(number)
        np.testing.assert_array_equal(made["image"].values[number], one["image"])
        np.testing.assert_array_equal(made["flux"].values[number], one["flux"])
    assert made.attrs["command"] == "a command"
    other = replace(settings, seed=3).observe(0)
    assert other["redshift"] != made["redshift"].values[0]


def test_a_file_keeps_everything(ds, tmp_path):
    path = tmp_path / "galaxies.h5"
    write_field(ds, path)
    with open_field(path) as opened:
        assert set(opened.variables) == set(ds.variables)
        for name in ds.variables:
            np.testing.assert_array_equal(opened[name].values, ds[name].values)
            assert opened[name].attrs == ds[name].attrs
    assert path.stat().st_size < 150 * 32e3  # of 57 kB a galaxy, the noise-free spectrum among them


def test_finer_images_are_of_the_same_galaxies():
    coarse, fine = (
        galaxies(Galaxies(num=2, size=size, pixel_scale=scale, image_noise=False, seed=5))
        for size, scale in ((32, 0.792), (64, 0.396))
    )
    blocks = fine["image"].values.reshape(2, 5, 32, 2, 32, 2).sum((3, 5))
    np.testing.assert_allclose(blocks, coarse["image"], rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(fine["true_fiber_r"], coarse["true_fiber_r"], atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num": 0}, "at least 1"),
        ({"num": 5, "test": 4, "validation": 2}, "of the 5 galaxies"),
        ({"size": 33}, "even number"),
        ({"size": 2}, "as wide as the fiber"),
        ({"pixel_scale": 0.0}, "as wide as the fiber"),
        ({"redshift": (0.1, 0.4)}, "within 0.02 and 0.17"),
        ({"redshift": (0.1, 0.1)}, "give a range"),
        ({"seed": -1}, "negative"),
    ],
)
def test_settings_without_meaning_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Galaxies(**wrong)


def test_the_first_use_makes_the_file_and_the_next_finds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIFFUSION_CACHE", str(tmp_path / "cache"))
    settings = Galaxies(num=2, test=1)
    path = simulated_galaxies(settings, processes=1)
    assert path.parent == tmp_path / "cache"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert open_field(path)["split"].values.tolist() == ["test", "train"]
    stamp = path.stat().st_mtime_ns
    assert simulated_galaxies(settings, processes=1) == path
    assert path.stat().st_mtime_ns == stamp
    assert cached.file_of(replace(settings, seed=1)) != path
    assert cached.file_of(replace(settings, noise_free=True)) != path


def test_where_sets_are_kept(monkeypatch):
    monkeypatch.delenv("SCIFFUSION_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(cached.cache_folder()) == "/somewhere/sciffusion"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cached.cache_folder().parts[-2:] == (".cache", "sciffusion")
    monkeypatch.setenv("SCIFFUSION_CACHE", "/mine")
    assert str(cached.cache_folder()) == "/mine"


def test_two_at_once_and_a_run_that_was_killed_do_no_harm(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIFFUSION_CACHE", str(tmp_path))
    settings = Galaxies(num=3)
    folder = cached.file_of(settings).with_suffix(".parts")
    next(pieces.run(settings, folder))  # as if killed before the file was written
    (folder / ".galaxies_0000000.abcd.tmp.npz").write_bytes(b"half")
    found: list = []
    threads = [
        threading.Thread(target=lambda: found.append(simulated_galaxies(settings, processes=1))) for _ in range(2)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [cached.file_of(settings)] * 2
    assert [each.name for each in tmp_path.iterdir()] == [found[0].name]
    assert open_field(found[0]).sizes["sample"] == 3
