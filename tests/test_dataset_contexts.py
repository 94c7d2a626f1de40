"""Contexts on their way to the network: with their samples, moved by their own symmetries, hidden band by band."""

import numpy as np
import pytest
import torch
from known_contexts import dataset, toy

from sciffusion import dataset as module
from sciffusion.augmentation import hide
from sciffusion.nn.embed import MASK, Condition
from sciffusion.symmetry import Flip, Rotate90

TURNS = {"image": (Flip(), Rotate90())}


def physical(data, batch, name="image"):
    """The values of a context of a batch in the units of the data."""
    context = data.conditions.contexts[name]
    axes = (1, -1, *(1,) * (batch.cond[name].value.ndim - 2))
    soft, mean, std = (np.reshape(v, axes) for v in (context.soft, context.mean, context.std))
    return soft * np.sinh(batch.cond[name].value.numpy() * std + mean)


def equal(one, other):
    assert torch.equal(one.x, other.x)
    for name, c in one.cond.items():
        assert torch.equal(c.value, other.cond[name].value), name
        assert torch.equal(c.present, other.cond[name].present), name
    assert np.array_equal(one.group, other.group)


def test_contexts_belong_to_their_samples():
    ds = toy()
    data = dataset(ds, index=np.arange(5, 41))
    batch = data.stream(7, 60)
    np.testing.assert_allclose(physical(data, batch), ds["image"].values[batch.index], rtol=1e-4, atol=1e-5)
    assert batch.cond["magnitudes"].value.shape == (60, 3)
    np.testing.assert_array_equal(batch.cond["magnitudes"].present, np.isfinite(ds["magnitudes"].values[batch.index]))
    np.testing.assert_array_equal(batch.group, ds["group"].values[batch.index])
    fixed = data.fixed(np.array([3, 0]))
    np.testing.assert_allclose(physical(data, fixed), ds["image"].values[[8, 5]], rtol=1e-4, atol=1e-5)


def test_groups_are_numbers_and_without_them_every_sample_is_its_own():
    ds = toy(8)
    named = ds.assign_coords(group=("sample", np.array(list("zzaabbcc"))))
    assert dataset(named).fixed(np.arange(8)).group.tolist() == [3, 3, 0, 0, 1, 1, 2, 2]
    assert dataset(ds.drop_vars("group")).fixed(np.arange(8)).group.tolist() == list(range(8))


@pytest.mark.parametrize("room", [0, 4 * 16 * 48, 4 * (16 + 2 * 64) * 48], ids=["none", "fields", "fields and image"])
def test_reading_block_by_block_equals_the_cache(monkeypatch, room):
    cached = dataset(toy(), invariances=TURNS).stream(5, 30)
    monkeypatch.setattr(module, "_CACHE", room)
    monkeypatch.setattr(module, "BLOCK", 7)
    lazy = dataset(toy(), invariances=TURNS)
    assert (lazy._cached is not None, *lazy._contexts) == (room > 0, *(["image"] if room > 4 * 16 * 48 else []))
    equal(lazy.stream(5, 30), cached)


def test_what_is_drawn_depends_on_the_position_alone():
    data = dataset(toy(), invariances=TURNS, seed=3)
    whole = data.stream(0, 60)
    parts = [data.stream(0, 7), data.stream(7, 40), data.stream(47, 13)]
    for name, c in whole.cond.items():
        assert torch.equal(c.value, torch.cat([part.cond[name].value for part in parts]))
        assert torch.equal(c.present, torch.cat([part.cond[name].present for part in parts]))


def test_invariances_move_the_image_and_nothing_else():
    ds = toy()
    ds["image"][:, 1, 0, 3] = np.nan  # moves along
    still, moved = dataset(ds, seed=1), dataset(ds, seed=1, invariances=TURNS)
    one, other = still.stream(0, 96), moved.stream(0, 96)
    assert torch.equal(one.x, other.x)
    for name in ("magnitudes", "redshift"):
        assert torch.equal(one.cond[name].value, other.cond[name].value)
    turned = 0
    for a, a_there, b, b_there in zip(*one.cond["image"], *other.cond["image"]):
        ways = [torch.rot90(flip(a), k, (1, 2)) for flip in (lambda v: v, lambda v: v.flip(1)) for k in range(4)]
        there = [torch.rot90(flip(a_there), k, (1, 2)) for flip in (lambda v: v, lambda v: v.flip(1)) for k in range(4)]
        which = [i for i, way in enumerate(ways) if torch.equal(way, b)]
        assert len(which) == 1
        assert torch.equal(there[which[0]], b_there)
        turned += which[0] > 0
    assert 0.75 < turned / 96 < 0.99  # 7 of 8
    first, second = (moved.stream(start, 48) for start in (0, 48))
    again = {int(i): v for i, v in zip(second.index, second.cond["image"].value)}
    assert any(not torch.equal(v, again[int(i)]) for i, v in zip(first.index, first.cond["image"].value))
    equal(moved.fixed(np.arange(48)), still.fixed(np.arange(48)))  # what judges is never turned


def conditions_of(num=20000):
    image = torch.ones(num, 3, 2, 2, dtype=torch.bool)
    image[: num // 2, 2, 0, 0] = False  # a pixel that is not known
    vector = torch.ones(num, 4, dtype=torch.bool)
    one = torch.ones(num, dtype=torch.bool)
    there = {"image": image, "magnitudes": vector, "redshift": one, MASK: one}
    return {name: Condition(present.float(), present) for name, present in there.items()}


def test_channels_are_hidden_by_themselves_on_top_at_their_rate():
    p, num = 0.2, 20000
    cond = conditions_of(num)
    kept = hide(cond, np.arange(num), p, seed=4)
    error = 4 * 0.5 / num**0.5
    own = (1 - p) ** 2  # neither all conditions nor this one
    assert kept[MASK].present.all()
    assert abs(kept["redshift"].present.float().mean() - own) < error
    image = kept["image"].present
    channels = {"image": image[..., 1, 1], "magnitudes": kept["magnitudes"].present}
    # A channel as a whole; what is not known stays so.
    assert torch.equal(image, channels["image"][..., None, None] & cond["image"].present)
    for name, shown in channels.items():
        assert ((shown.float().mean(0) - own * (1 - p)).abs() < error).all(), name
        both = (shown[:, 0] & shown[:, 1]).float().mean()
        assert abs(both - own * (1 - p) ** 2) < error  # independent, once the context is shown
    together = (channels["image"][:, 0] & channels["magnitudes"][:, 0]).float().mean()
    assert abs(together - (1 - p) ** 3 * (1 - p) ** 2) < error
    alone = hide({"image": cond["image"]}, np.arange(num), p, seed=4)["image"].present
    assert abs(alone[:, 0, 0, 0].float().mean() - (1 - p) ** 2) < error  # hidden at p, then this band at p


def test_what_is_hidden_depends_on_seed_and_position_alone():
    cond = conditions_of(100)
    whole = hide(cond, np.arange(100), 0.3, seed=1)
    part = {name: Condition(c.value[40:60], c.present[40:60]) for name, c in cond.items()}
    for name, c in hide(part, np.arange(40, 60), 0.3, seed=1).items():
        assert torch.equal(c.present, whole[name].present[40:60])
    other = hide(cond, np.arange(100), 0.3, seed=2)
    assert not torch.equal(other["image"].present, whole["image"].present)
    assert all(torch.equal(c.present, cond[n].present) for n, c in hide(cond, np.arange(100), 0.0, seed=1).items())
