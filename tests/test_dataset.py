"""The split keeps simulations together; the stream of samples is a function of seed and position."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from sciffusion import dataset
from sciffusion.conditions import Conditions
from sciffusion.dataset import FieldDataset, split_by_group
from sciffusion.symmetry import Flip, Roll, Rotate90
from sciffusion.transform import Standardize


def maps(num=30, per_group=3, shape=(8, 8), told=None):
    rng = np.random.default_rng(0)
    group = np.arange(num) // per_group
    coords = {"group": ("sample", group), "Omega_m": ("sample", 0.1 + 0.01 * group, {"units": ""})}
    if told is not None:
        coords["split"] = ("sample", told)
    dims = ("sample", "z", "y", "x")
    return xr.DataArray(rng.normal(size=(num, *shape)), dims=("sample", *dims[-len(shape) :]), coords=coords, name="m")


@given(st.integers(8, 60), st.integers(1, 15), st.integers(0, 99))
def test_no_group_is_on_two_sides(groups, size, seed):
    field = maps(groups * size, size, (2,))
    parts = split_by_group(field, 0.2, 0.1, seed)
    sets = [set(field["group"].values[index]) for index in parts.values()]
    assert all(sets)
    assert sum(map(len, sets)) == len(set.union(*sets))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(groups * size))
    assert all(np.array_equal(parts[k], v) for k, v in split_by_group(field, 0.2, 0.1, seed).items())


def test_marked_groups_stay_where_they_are_told():
    told = np.where(np.arange(30) >= 24, "test", "")
    parts = split_by_group(maps(told=told), 0.2, 0.0, 0)
    assert parts["test"].tolist() == list(range(24, 30))
    assert len(parts["validation"]) == 6


def test_a_group_on_two_sides_is_refused():
    told = np.array(["test", "train"] * 15)
    with pytest.raises(ValueError, match=r"group 0 is marked both 'train' and 'test'"):
        split_by_group(maps(told=told), 0.1, 0.1, 0)


def test_an_unknown_mark_is_refused_not_trained_on():
    with pytest.raises(ValueError, match="split: unknown mark 'held-out'; known are train, validation, test"):
        split_by_group(maps(told=np.where(np.arange(30) >= 24, "held-out", "")), 0.1, 0.1, 0)


def test_all_groups_may_be_marked():
    told = np.repeat(["train", "validation", "test"], [18, 6, 6])
    parts = split_by_group(maps(told=told), 0.1, 0.1, 0)
    assert {name: len(index) for name, index in parts.items()} == {"train": 18, "validation": 6, "test": 6}


def test_too_few_groups():
    with pytest.raises(ValueError, match=r"2 groups .* are too few"):
        split_by_group(maps(6), 0.1, 0.1, 0)


def build(field=None, index=None, **options):
    field = maps() if field is None else field
    index = np.arange(3, 27) if index is None else index
    train = field.isel(sample=index)
    return FieldDataset(field, index, Standardize().fit(train), Conditions.of(train, ["Omega_m"]), **options)


@pytest.mark.parametrize("shape", [(8,), (8, 8), (4, 4, 4)])
def test_stream_is_a_function_of_position_alone(shape):
    data = build(maps(shape=shape), symmetries=(Roll(), Flip()), seed=3)
    whole = data.stream(0, 60)
    parts = [data.stream(0, 7), data.stream(7, 40), data.stream(47, 13)]
    assert whole.x.shape == (60, 1, *shape)
    assert torch.equal(whole.x, torch.cat([part.x for part in parts]))
    assert np.array_equal(whole.index, np.concatenate([part.index for part in parts]))


def test_every_epoch_shows_each_sample_once_in_another_order():
    data = build(seed=1)
    first, second = data.stream(0, 24).index, data.stream(24, 24).index
    assert sorted(first) == sorted(second) == list(range(3, 27))
    assert first.tolist() != second.tolist()


def test_reading_batch_by_batch_equals_the_cache(monkeypatch):
    cached = build(symmetries=(Roll(),)).stream(5, 20)
    monkeypatch.setattr(dataset, "_CACHE", 0)
    lazy = build(symmetries=(Roll(),)).stream(5, 20)
    assert torch.equal(cached.x, lazy.x)
    torch.testing.assert_close(cached.cond["Omega_m"].value, lazy.cond["Omega_m"].value)


def test_transformed_samples_and_their_conditions_belong_together():
    field = maps()
    data = build(field)
    batch = data.fixed(np.array([0, 5]))
    train = field.isel(sample=slice(3, 27))
    np.testing.assert_allclose(batch.x[1, 0], (field[8] - train.mean()) / train.std(), rtol=1e-5)
    omega = train["Omega_m"].values
    np.testing.assert_allclose(batch.cond["Omega_m"].value[1], (omega[5] - omega.mean()) / omega.std(), rtol=1e-5)


def test_a_bad_sample_is_named_with_its_file():
    field = maps()
    field.attrs["source"] = "maps.npy"
    field = field.assign_coords(sample=np.arange(30))
    field.values[20, 1, 1] = np.inf
    with pytest.raises(ValueError, match=r"maps.npy: m: 1 of .* not finite, the first at sample 20, y 1, x 1"):
        FieldDataset(field, np.arange(30), Standardize((0.0,), (1.0,)), Conditions({}, {}))


def test_conditions():
    conditions = Conditions.of(maps(), ["Omega_m"])
    assert conditions.range("Omega_m") == pytest.approx((0.1, 0.19))
    absent = conditions.standardize({"Omega_m": np.array([np.nan, 0.145])})["Omega_m"]
    assert absent.present.tolist() == [False, True]
    assert absent.value.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    with pytest.raises(ValueError, match="unknown condition 'h'; known are Omega_m"):
        conditions.standardize({"h": np.zeros(1), "Omega_m": np.zeros(1)})
    with pytest.raises(ValueError, match="'Omega_m' is missing"):
        conditions.standardize({})
    with pytest.raises(ValueError, match=r"'sigma_8' along sample or on .*; the data have group, Omega_m"):
        Conditions.of(maps(), ["sigma_8"])


def with_maps(shape, num=30):
    """Maps whose errors are the field itself, and whose bad pixels are where it is above 1."""
    field = maps(num, shape=shape)
    return field.assign_coords(log_error=(field.dims, field.values), mask=(field.dims, field.values > 1))


@pytest.mark.parametrize("shape", [(8,), (8, 8), (4, 4, 4)])
def test_field_mask_and_maps_move_together(shape):
    field = with_maps(shape)
    conditions = Conditions.of(field, ["Omega_m", "log_error", "mask"])
    moves = (Roll(), Flip(), Rotate90())
    data = FieldDataset(field, np.arange(30), Standardize((0.0,), (1.0,)), conditions, moves, seed=2)
    batch = data.stream(7, 40)
    scale = conditions.scales["log_error"]
    torch.testing.assert_close(batch.cond["log_error"].value * scale.std + scale.mean, batch.x, atol=1e-5, rtol=1e-5)
    assert torch.equal(batch.mask, batch.x <= 1)
    assert torch.equal(batch.cond["mask"].value, (batch.x > 1).float())
    still = torch.from_numpy(field.values[batch.index].astype(np.float32)).unsqueeze(1)
    assert not torch.equal(still, batch.x)
    torch.testing.assert_close(data.fixed(np.arange(30)).x[batch.index], still)


def test_maps_of_fields_with_channels_and_without_the_cache(monkeypatch):
    field = with_maps((6, 5)).expand_dims(channel=["T", "rho"], axis=1).copy()
    field[:, 1] *= -1
    conditions = Conditions.of(field, ["log_error", "mask"])
    build = lambda: FieldDataset(field, np.arange(3, 27), Standardize((0.0, 0.0), (1.0, 1.0)), conditions, (Flip(),))  # noqa: E731
    cached = build().stream(5, 30)
    assert cached.x.shape == (30, 2, 6, 5)
    assert torch.equal(cached.x[:, 0], -cached.x[:, 1])
    assert torch.equal(cached.mask[:, 0], cached.x[:, 0] <= 1)
    monkeypatch.setattr(dataset, "_CACHE", 0)
    lazy = build().stream(5, 30)
    assert torch.equal(cached.x, lazy.x)
    assert torch.equal(cached.mask, lazy.mask)
    assert torch.equal(cached.cond["log_error"].value, lazy.cond["log_error"].value)
