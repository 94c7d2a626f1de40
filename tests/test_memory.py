"""Copies of training samples in a comparison: found however they lie, by their numbers, and no honest set blamed."""

import numpy as np
import pytest
import xarray as xr

from sciffusion.validate import compare

COPIED = {4: 31, 11: 7, 17: 31}
"""Numbers of generated samples, and of the training samples that they copy."""


def fields(seed, samples=60, shape=(16, 16), siblings=1, boundary="periodic"):
    """Lognormal fields; samples of one group are alike."""
    rng = np.random.default_rng(seed)
    k = np.sqrt(sum(np.square(g) for g in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij", sparse=True)))
    axes = tuple(range(1, len(shape) + 1))
    noise = rng.normal(size=(samples // siblings, *shape)).repeat(siblings, axis=0)
    noise = noise + 0.3 * (siblings > 1) * rng.normal(size=noise.shape)
    smooth = np.fft.ifftn(np.fft.fftn(noise, axes=axes) / (0.1 + k), axes=axes).real
    dims, axis = ("z", "y", "x")[-len(shape) :], {"units": "Mpc/h", "boundary": boundary}
    coords: dict = {dim: (dim, (np.arange(n) + 0.5) * 0.5, axis) for dim, n in zip(dims, shape)}
    if siblings > 1:
        coords["group"] = ("sample", 1000 * seed + np.arange(samples) // siblings)
    labels = {"units": "K", "long_name": "temperature"}
    return xr.DataArray(10 ** (0.1 * smooth), dims=("sample", *dims), coords=coords, name="T", attrs=labels)


def spectra(seed, samples=60):
    wavelength = np.geomspace(8500, 24000, 60)
    rng = np.random.default_rng(seed)
    values = 10 + rng.normal(size=(samples, 6)) @ np.cos(np.outer(np.arange(6), np.linspace(0, 3, 60)))
    axis = {"units": "Angstrom", "medium": "vacuum", "boundary": "reflect"}
    coords = {"wavelength": ("wavelength", wavelength, axis)}
    return xr.DataArray(
        values + 0.1 * rng.normal(size=values.shape),
        dims=("sample", "wavelength"),
        coords=coords,
        name="flux",
        attrs={"units": "", "long_name": "flux over its median"},
    )


def planted(generated, train, move=lambda values: values, copied=COPIED):
    """Put copies into a set, moved, with a little noise."""
    found, rng = generated.copy(deep=True), np.random.default_rng(9)
    for number, original in copied.items():
        values = move(train.values[original])
        found.values[number] = values + 0.01 * values.std() * rng.normal(size=values.shape)
    return found


def rolled_and_flipped(values):
    axes = tuple(range(values.ndim))
    return np.flip(np.roll(values, (3, 5, 2)[: values.ndim], axes), axes[:1])


def rows(comparison):
    names = ("copies", "nearest", "nearest_by_density")
    return {row["name"]: row for row in comparison.scores["statistics"] if row["name"] in names}


def told(comparison):
    return [text for text in comparison.findings if "training samples" in text]


@pytest.mark.parametrize("shape", [(64,), (16, 16), (8, 8, 8)])
def test_copies_rolled_and_flipped_are_named_by_their_numbers(shape):
    real, generated, train = (fields(seed, shape=shape) for seed in (1, 2, 3))
    comparison = compare(real, planted(generated, train, rolled_and_flipped), train=train, splits=20)
    (text,) = told(comparison)
    assert text.startswith("3 samples are near copies of training samples (number ")
    assert sorted(map(int, text.split("number ")[1].rstrip(")").split(", "))) == list(COPIED)
    assert comparison.level == "none"
    found = comparison.results["nearest"]
    assert dict(zip(found.copied.values.tolist(), found.original.values.tolist())) == COPIED
    line = rows(comparison)["copies"]
    assert (line["score"], line["generated"], line["real"], line["level"]) == (3, 3, 0, "none")
    assert line["floor"] == {"median": 0, "p95": 0, "own": None, "limit": 0}
    assert comparison.scores["sizes"]["train_samples"] == 60


def test_one_copy_is_enough_and_is_said_first():
    real, generated, train = (fields(seed) for seed in (1, 2, 3))
    generated = generated.copy(data=generated.values**1.3)  # differs besides
    comparison = compare(real, planted(generated, train, copied={8: 2}), train=train, splits=20)
    assert comparison.findings.count("1 sample is a near copy of training samples (number 8)") == 1
    assert len(comparison.findings) > 2
    assert "- 1 sample is a near copy of training samples (number 8)" in str(comparison).splitlines()


@pytest.mark.parametrize("shape", [(64,), (16, 16)])
def test_a_clean_set_is_gold(shape):
    real, generated, train = (fields(seed, shape=shape) for seed in (1, 2, 3))
    comparison = compare(real, generated, train=train, splits=20)
    found = rows(comparison)
    assert comparison.level == "gold"
    assert not told(comparison)
    assert [found[name]["level"] for name in found] == ["gold"] * 3
    assert found["copies"]["score"] == 0
    assert found["nearest"]["p_value"] > 0.01
    assert found["nearest"]["score"] is None
    assert found["nearest"]["generated"] == pytest.approx(found["nearest"]["real"], rel=0.1)


def test_without_a_training_set_nothing_is_said_of_copies():
    comparison = compare(fields(1), fields(2), splits=5)
    assert not rows(comparison)
    assert "nearest" not in comparison.results
    assert comparison.scores["sizes"]["train_samples"] is None


def test_only_symmetries_that_were_named_are_looked_under():
    real, generated, train = (fields(seed) for seed in (1, 2, 3))
    moved = planted(generated, train, rolled_and_flipped)
    scores = [
        rows(compare(real, moved, train=train, splits=5, symmetries=symmetries))["copies"]["score"]
        for symmetries in (["roll", "flip"], ["roll"], [])
    ]
    assert scores == [3, 0, 0]
    with pytest.raises(ValueError, match="unknown symmetry 'turn'; known are roll, flip, rotate90"):
        compare(real, generated, train=train, symmetries=["turn"])


def test_open_fields_are_mirrored_but_not_rolled():
    real, generated, train = (fields(seed, boundary="reflect") for seed in (1, 2, 3))
    mirrored = planted(generated, train, lambda values: values[::-1])
    assert rows(compare(real, mirrored, train=train, splits=5))["copies"]["score"] == 3
    assert (
        rows(compare(real, planted(generated, train, rolled_and_flipped), train=train, splits=5))["copies"]["score"]
        == 0
    )


def test_samples_that_lean_on_the_training_set_are_no_copies_and_yet_too_near():
    def even(log):
        """Fields of one amplitude: two weak ones are near each other without being copies."""
        return 10 ** (log / log.std(axis=(1, 2), keepdims=True))

    real, generated, train = (fields(seed, 120) for seed in (1, 2, 3))
    leaning = 0.95 * np.log10(generated.values) + 0.3 * np.log10(train.values)
    generated.values = even(leaning)
    real.values, train.values = even(np.log10(real.values)), even(np.log10(train.values))
    comparison = compare(real, generated, train=train, splits=20, symmetries=())
    found = rows(comparison)
    assert found["copies"]["score"] == 0
    assert found["nearest"]["p_value"] < 1e-9
    assert (found["nearest"]["level"], found["nearest"]["differs"]) == ("bronze", True)
    assert found["nearest_by_density"]["p_value"] < 1e-3
    (text,) = told(comparison)
    assert text.startswith("samples are nearer to training samples than held-out ones are (p = ")
    assert comparison.level == "bronze"


def test_siblings_count_once_in_a_probability():
    """Three siblings of each sample are worth about one; as 120 samples they would often be nearer by chance."""
    train = fields(3)
    once, siblings = [], []
    for seed in range(10, 30, 2):
        real, generated = (fields(seed + i, 120, siblings=4) for i in (0, 1))
        siblings.append(rows(compare(real, generated, train=train, splits=5))["nearest"]["p_value"])
        first = [each.isel(sample=slice(None, None, 4)).drop_vars("group") for each in (real, generated)]
        once.append(rows(compare(*first, train=train, splits=5))["nearest"]["p_value"])
    assert siblings == once


def test_a_copy_among_siblings_is_found_and_there_is_no_probability_by_density():
    real, generated, train = fields(1, 120, siblings=4), fields(2, 120, siblings=4), fields(3)
    comparison = compare(real, planted(generated, train), train=train, splits=20)
    found = rows(comparison)
    assert found["copies"]["score"] == 3
    assert sorted(comparison.results["nearest"].copied.values) == list(COPIED)
    assert found["nearest_by_density"]["p_value"] is None
    assert found["nearest_by_density"]["level"] is None


def test_a_real_set_that_was_trained_on_is_told():
    """Groups of another file may have the same numbers, so that it is no error."""
    real, generated, train = fields(1, 120, siblings=4), fields(2, 120), fields(3, 120, siblings=4)
    leaked = train.assign_coords(group=("sample", np.where(np.arange(120) < 12, real["group"], train["group"])))
    with pytest.warns(
        UserWarning, match=r"^3 groups \(simulations, objects\) of 'real T' .* the real set is not held out"
    ):
        compare(real, generated, train=leaked, splits=5)


def test_without_groups_copies_among_held_out_samples_are_counted():
    real, generated, train = (fields(seed) for seed in (1, 2, 3))
    leaked = planted(real, train, copied={5: 8, 6: 9})
    assert rows(compare(leaked, generated, train=train, splits=5))["copies"]["real"] == 2


def test_a_training_set_that_does_not_fit_is_refused_in_words():
    real, generated, train = (fields(seed) for seed in (1, 2, 3))
    with pytest.raises(ValueError, match=r"\(16, 16\) pixels along .*\(16, 12\)"):
        compare(real, generated, train=train.isel(x=slice(12)))
    with pytest.raises(ValueError, match=r"pixels of \(0\.5, 0\.5\) Mpc/h along .*\(0\.5, 1\.0\) Mpc/h"):
        compare(real, generated, train=train.assign_coords(x=("x", train.x.values * 2, train.x.attrs)))
    with pytest.raises(ValueError, match=r"'m' cannot be converted into 'K'"):
        compare(real, generated, train=train.assign_attrs(units="m"))
    with pytest.raises(ValueError, match=r"grid dims .*'x'.*'u'"):
        compare(real, generated, train=train.rename(x="u"))
    with pytest.raises(ValueError, match=r"sample 0 of 'training .*' has values that are not positive"):
        compare(real, generated, train=train - 20)
    with pytest.raises(ValueError, match=r"has 8 samples; to look for copies of training samples at least 20"):
        compare(real.isel(sample=slice(8)), generated, train=train)


def test_units_of_the_training_set_are_converted():
    real, generated, train = (fields(seed) for seed in (1, 2, 3))
    milli = (train * 1000).assign_attrs(train.attrs, units="mK")
    comparison = compare(real, planted(generated, train), train=milli, splits=5)
    assert sorted(comparison.results["nearest"].copied.values) == list(COPIED)


def test_spectra_are_compared_as_they_lie():
    real, generated, train = (spectra(seed) for seed in (1, 2, 3))
    comparison = compare(real, planted(generated, train), train=train, splits=20)
    (text,) = told(comparison)
    assert text.startswith("3 samples are near copies of training samples")
    assert sorted(comparison.results["nearest"].copied.values) == list(COPIED)
    assert "nearest.png" in comparison.files
    clean = compare(real, generated, train=train, splits=20)
    assert rows(clean)["copies"]["score"] == 0
    assert not told(clean)
    mirrored = compare(real, planted(generated, train, lambda values: values[::-1]), train=train, splits=20)
    assert rows(mirrored)["copies"]["score"] == 0
    other = train.assign_coords(wavelength=("wavelength", train.wavelength.values + 50, train.wavelength.attrs))
    with pytest.raises(ValueError, match="bring both onto one grid first"):
        compare(real, generated, train=other)


def test_channels_are_searched_each_by_itself():
    def both(one, two):
        joined = xr.concat([one, two], "channel").transpose("sample", "channel", ...)
        return joined.assign_coords(channel=["gas", "stars"], channel_units=("channel", ["K", "K"]))

    real, train = (both(fields(seed), fields(seed + 10)) for seed in (1, 3))
    generated = both(fields(2), planted(fields(12), fields(13)))
    comparison = compare(real, generated, train=train, splits=10)
    (text,) = told(comparison)
    assert text.startswith("stars: 3 samples are near copies of training samples")
    counted = {row["channel"]: row["score"] for row in comparison.scores["statistics"] if row["name"] == "copies"}
    assert counted == {"gas": 0, "stars": 3}
    assert {"nearest_gas.png", "nearest_stars.png"} <= set(comparison.files)
    with pytest.raises(ValueError, match=r"the training set has one channel, the real one the channels gas"):
        compare(real, generated, train=fields(3))
