"""Two sets by their features: equal ones score as two real halves do, and each fault is found by the right line."""

import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr

from sciffusion.statistics import energy_distance, frechet_distance, maximum_mean_discrepancy, precision_recall
from sciffusion.statistics.features import Features, SpectralFeatures
from sciffusion.statistics.manifold import Whitening
from sciffusion.statistics.pixels import Pixels
from sciffusion.statistics.split import draw, halves, weights
from sciffusion.statistics.statistic import Parts, measure

KINDS = ("frechet", "energy", "mmd", "pqm", "classifier", "precision", "recall", "density", "coverage")
NEIGHBORS = ("precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Pixelwise(Features):
    """The pixels themselves."""

    name: str = field(default="toy", init=False)
    title: ClassVar[str] = "toy numbers"

    def measure(self, part):
        return {"features": part.values.reshape(part.sizes["sample"], -1)}


def parts_of(statistic, real, generated, splits=60, groups=None, seed=0):
    rng = np.random.default_rng(seed)
    groups = groups or (np.arange(len(real)), np.arange(len(generated)))
    first, second = halves(groups[0], splits, rng)
    drawn = draw(groups[1], splits, min(first.shape[1], len(generated)), rng)
    subsets = weights(first, len(real)), weights(second, len(real)), weights(drawn, len(generated))
    return Parts.of(statistic, ({"features": real}, {"features": generated}), groups, subsets)


def rows_of(real, generated, statistic=None, **options):
    parts = parts_of(statistic or Pixelwise(), real, generated, **options)
    rows = [parts.row(score, score.distance(parts.second, parts.first)) for score in parts_scores(parts, statistic)]
    return {row["name"].split("_")[0]: row for row in rows}


def parts_scores(parts, statistic=None):
    return (statistic or Pixelwise()).scores(parts.samples[0])


def differs(row):
    return row["score"] > row["floor"]["p95"]


@pytest.mark.parametrize(("samples", "features"), [(80, 1), (200, 4), (200, 60)])
def test_equal_distributions_score_as_two_real_halves_do(samples, features):
    """Also of many features without structure, in which principal components are of chance."""
    found = {kind: [] for kind in KINDS}
    for seed in range(4):
        real, generated = np.random.default_rng(seed).normal(size=(2, samples, features))
        rows = rows_of(real, generated, Pixelwise(tests=True), splits=40, seed=seed)
        assert tuple(rows) == KINDS
        for kind, row in rows.items():
            found[kind].append(differs(row))
            assert row["p_value"] is None or row["p_value"] > 0.005
    # the mean over the splits scatters less than a split: 5 % is more than is to be expected
    assert all(sum(each) <= 1 for each in found.values()), found
    assert sum(sum(each) for each in found.values()) <= 3, found


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda x: x + np.array([0.5, 0, 0, 0]), ("frechet", "energy", "mmd", "classifier")),
        (lambda x: 1.5 * x, ("frechet", "energy", "mmd", "classifier", "pqm", "precision", "density")),
        (lambda x: 0.6 * x, ("frechet", "energy", "mmd", "classifier", "pqm", "recall", "density", "coverage")),
        (lambda x: x[np.arange(len(x)) % 6], ("recall", "coverage", "pqm", "energy")),
    ],
    ids=["shift", "more variance", "less variance", "few samples copied"],
)
def test_faults_are_found_by_the_right_lines(change, lines):
    real, generated = np.random.default_rng(1).normal(size=(2, 300, 4))
    rows = rows_of(real, change(generated))
    assert all(differs(rows[line]) for line in lines), {line: rows[line] for line in lines if not differs(rows[line])}
    assert all(rows[line]["p_value"] < 0.02 for line in lines if rows[line]["p_value"] is not None)


def modes(shares, rng, samples=400):
    centers = np.array([[0, 0, 0], [8, 0, 0], [0, 8, 0], [0, 0, 8]])
    return centers[rng.choice(4, samples, p=shares)] + rng.normal(size=(samples, 3))


def test_a_dropped_mode_takes_its_share_of_recall_and_leaves_precision():
    rng = np.random.default_rng(2)
    rows = rows_of(modes([0.25] * 4, rng), modes([1 / 3, 1 / 3, 1 / 3, 0], rng))
    assert rows["recall"]["generated"] == pytest.approx(0.72, abs=0.06)
    assert rows["recall"]["real"] is None
    assert differs(rows["recall"])
    assert differs(rows["coverage"])
    assert not differs(rows["precision"])


def test_a_mode_drawn_too_often_is_found_by_its_share_and_not_by_recall():
    rng = np.random.default_rng(3)
    rows = rows_of(modes([0.25] * 4, rng), modes([0.55, 0.15, 0.15, 0.15], rng))
    for line in ("energy", "mmd", "pqm", "classifier"):
        assert differs(rows[line]), line
        assert rows[line]["p_value"] <= 0.002
    assert not differs(rows["recall"])
    assert not differs(rows["precision"])


def test_numbers_of_all_samples_are_those_of_the_public_functions():
    rng = np.random.default_rng(4)
    real, generated = rng.normal(size=(150, 5)) @ rng.normal(size=(5, 5)), rng.normal(size=(120, 5))
    rows = rows_of(real, generated, splits=2)
    frame = Whitening.of(np.concatenate([generated, real])).scaled(real)
    x, y = frame.apply(generated), frame.apply(real)
    distances = np.linalg.norm(y[:, None] - y[None], axis=-1)
    scale = np.median(distances[np.triu_indices(len(y), 1)])
    expected = {
        "frechet": frechet_distance(x, y),
        "energy": energy_distance(x, y),
        "mmd": maximum_mean_discrepancy(x, y, scale),
    }
    near = precision_recall(y, x)
    for name, number in expected.items():
        assert rows[name]["all_samples"] == pytest.approx(number, rel=1e-8), name
    for name in NEIGHBORS:
        assert rows[name]["generated"] == pytest.approx(float(near[name]), abs=1e-12)
        assert rows[name]["all_samples"] == pytest.approx(abs(1 - float(near[name])), abs=1e-12)


def test_numbers_of_subsets_are_those_of_their_samples():
    rng = np.random.default_rng(5)
    real, generated = rng.normal(size=(60, 3)), 1.3 * rng.normal(size=(50, 3))
    parts = parts_of(Pixelwise(), real, generated, splits=3)
    scores = {score.name: score for score in parts_scores(parts)}
    frame = Whitening.of(np.concatenate([generated, real])).scaled(real)
    x, y = frame.apply(generated), frame.apply(real)
    for row, (a, b) in enumerate(zip(parts.drawn["index"], parts.first["index"])):
        near = precision_recall(y[b], x[a])
        assert scores["frechet_toy"].distance(parts.drawn, parts.first)[row] == pytest.approx(
            frechet_distance(x[a], y[b]), rel=1e-8
        )
        assert scores["energy_toy"].distance(parts.drawn, parts.first)[row] == pytest.approx(
            energy_distance(x[a], y[b]), rel=1e-8
        )
        for name in NEIGHBORS:
            found = scores[f"{name}_toy"].distance(parts.drawn, parts.first)[row]
            assert found == pytest.approx(abs(1 - float(near[name])), abs=1e-12)


@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e20])
def test_units_of_features_do_not_matter(unit):
    real, generated = np.random.default_rng(6).normal(size=(2, 80, 3))
    one = rows_of(real, generated + 0.3, splits=5)
    other = rows_of(real * [unit, 1, 1], (generated + 0.3) * [unit, 1, 1], splits=5)
    for kind in KINDS:
        assert other[kind]["score"] == pytest.approx(one[kind]["score"], rel=1e-6, abs=1e-9)


def test_siblings_are_no_evidence():
    """Sixty objects with five samples each, generated for other objects: as independent samples they would differ."""
    group, found, p_values = np.arange(300) // 5, [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        objects = rng.normal(size=(2, 60, 3))
        real, generated = np.repeat(objects, 5, axis=1) + 0.05 * rng.normal(size=(2, 300, 3))
        rows = rows_of(real, generated, groups=(group, group + 60), splits=40, seed=seed)
        found += [differs(row) for row in rows.values()]
        p_values += [row["p_value"] for row in rows.values() if row["p_value"] is not None]
        # the groups of one set are known, the samples of the other are independent
        loose = rows_of(real, rng.normal(size=(300, 3)), groups=(group, np.arange(300)), splits=2)
        assert all(loose[line]["p_value"] > 0.002 for line in ("energy", "mmd", "classifier"))
    assert sum(found) <= 4  # of 27
    assert np.sum(np.array(p_values) <= 0.01) <= 1  # of 12, in four lines that see the same samples
    assert rows_of(real, generated, splits=2)["pqm"]["p_value"] == 0.001


def test_one_group_teaches_a_classifier_nothing():
    real, generated = np.random.default_rng(14).normal(size=(2, 60, 3))
    groups = np.arange(60) // 5, np.full(60, 99)
    parts = parts_of(Pixelwise(), real, generated, splits=2, groups=groups)
    found = {score.name: score.test(parts) for score in parts_scores(parts) if score.test}
    assert np.isnan(found.pop("classifier_toy"))
    assert all(p >= 1 / 14 for p in found.values())  # one of thirteen groups has changed sides


def test_without_tests_neither_classifier_nor_p_values():
    real, generated = np.random.default_rng(8).normal(size=(2, 60, 3))
    rows = rows_of(real, generated, Pixelwise(tests=False), splits=5)
    assert tuple(rows) == tuple(kind for kind in KINDS if kind != "classifier")
    assert all(row["p_value"] is None for row in rows.values())


@pytest.mark.parametrize("samples", [4, 9, 15])
def test_very_small_sets_have_numbers_or_none(samples):
    real, generated = np.random.default_rng(9).normal(size=(2, samples, 3))
    rows = rows_of(real, generated, splits=5)
    assert rows["classifier"]["score"] is None
    assert all(np.isfinite(row["score"]) for kind, row in rows.items() if kind != "classifier")


def test_outliers_of_the_generated_set_do_not_hide_the_rest():
    real, generated = np.random.default_rng(10).normal(size=(2, 200, 3))
    generated[:, 0] += 1
    generated[0] = 1e6
    rows = rows_of(real, generated, splits=20)
    assert differs(rows["mmd"])
    assert differs(rows["classifier"])
    assert rows["frechet"]["score"] > 1e6


def test_names_labels_and_what_cannot_be_compared():
    real = np.random.default_rng(11).normal(size=(40, 3))
    rows = rows_of(real, real[::-1].copy(), splits=3)
    assert rows["frechet"]["name"] == "frechet_toy"
    assert rows["frechet"]["label"] == "Fréchet distance of toy numbers"
    assert rows["recall"]["label"] == "recall of toy numbers, |1 − recall|"
    with pytest.raises(ValueError, match="all 40 samples have the same features"):
        rows_of(np.ones((40, 3)), real, splits=3)
    broken = real.copy()
    broken[3, 1] = np.inf
    with pytest.raises(ValueError, match="sample 3 of the set of toy numbers"):
        rows_of(real, broken, splits=3)


def test_more_samples_than_distances_are_taken_of(monkeypatch):
    monkeypatch.setattr("sciffusion.statistics.cloud._MOST", 150)
    monkeypatch.setattr("sciffusion.statistics.cloud._COSTLY", 6000)
    rng = np.random.default_rng(12)
    real, generated = rng.normal(size=(500, 3)), rng.normal(size=(400, 3))
    parts = parts_of(Pixelwise(), real, generated, splits=120)
    scores = {score.name.split("_")[0]: score for score in parts_scores(parts)}
    for kind, score in scores.items():
        floor = score.distance(parts.second, parts.first)
        known = 100 if kind in ("pqm", "classifier", *NEIGHBORS) else 120
        assert np.isfinite(floor[:known]).all()
        assert not np.isfinite(floor[known:]).any()
        assert np.isnan(score.distance(parts.drawn, parts.first)).sum() == 120 - known
    shifted = rows_of(real, generated + 0.7, splits=20)
    assert differs(shifted["energy"])
    assert shifted["energy"]["p_value"] == 0.001


def spectra(samples, seed, pixels=200, tilt=0.0, masked=0.1):
    rng = np.random.default_rng(seed)
    wavelength = np.linspace(4000, 8000, pixels)
    x = np.linspace(-1, 1, pixels)
    flux = 5 + rng.normal(size=(samples, 1)) * x + 0.5 * rng.normal(size=(samples, 1)) * x**2
    flux = flux + tilt * x + 0.1 * rng.normal(size=(samples, pixels))
    mask = rng.random((samples, pixels)) < masked
    coords = {
        "wavelength": ("wavelength", wavelength, {"units": "Angstrom"}),
        "mask": (("sample", "wavelength"), mask),
    }
    return xr.DataArray(flux, dims=("sample", "wavelength"), coords=coords, name="flux")


def test_features_of_spectra_are_means_over_good_pixels():
    real = spectra(40, 0)
    pixels = Pixels.of(real, real)
    statistic = SpectralFeatures.of(pixels)
    found = statistic.measure(real)["features"]
    assert found.shape == (40, 64)
    offset = np.clip((real.values - pixels.median) / pixels.sigma, -5, 5)
    for number, each in enumerate(pixels.bins()):
        good = ~real.mask.values[7, each]
        assert found[7, number] == pytest.approx(offset[7, each][good].mean() if good.any() else 0, rel=1e-12)
    garbage = real.copy(data=np.where(real.mask, 1e5, real))
    np.testing.assert_array_equal(statistic.measure(garbage)["features"], found)


def test_spectra_of_one_distribution_and_of_two():
    real = spectra(200, 0)
    for tilt in (0.0, 1.0):
        generated = spectra(200, 1, tilt=tilt)
        statistic = SpectralFeatures.of(Pixels.of(real, generated))
        ours, theirs = (measure([statistic], each)[0]["features"] for each in (real, generated))
        rows = rows_of(ours, theirs, statistic, splits=30)
        assert {row["name"] for row in rows.values()} == {f"{kind}_features" for kind in KINDS}
        for kind in ("frechet", "energy", "mmd", "classifier"):
            assert differs(rows[kind]) == (tilt > 0), (kind, tilt)
        assert (rows["energy"]["p_value"] < 0.01) == (tilt > 0)


@pytest.mark.slow
def test_two_hundred_splits_of_a_thousand_samples_take_seconds():
    real, generated = np.random.default_rng(13).normal(size=(2, 1000, 35))
    parts = parts_of(Pixelwise(tests=True), real, generated, splits=200)
    start = time.perf_counter()
    for score in parts_scores(parts):
        score.distance(parts.second, parts.first)
    assert time.perf_counter() - start < 30
