"""Retrieval whose scores are known: perfect, by chance, by brute force over all pools."""

import itertools

import numpy as np
import pytest

from sciffusion.statistics import ranks, redshift_bins, retrieval_scores, within_bins
from sciffusion.statistics.ranking import Ranks, _distribution


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def within_errors(table, sigmas=4.0):
    return np.abs(table["value"] - table["chance"]) <= sigmas * table["error"]


def test_embeddings_that_agree_are_always_found():
    left = unit(np.random.default_rng(0).normal(size=(300, 16)))
    table = retrieval_scores(left, left, pool=200)
    np.testing.assert_allclose(table["value"], 1, atol=1e-9)
    np.testing.assert_allclose(table["error"], 0, atol=1e-9)
    assert table["score"].tolist() == ["recall@1", "recall@5", "recall@10", "mean_reciprocal_rank", "median_rank"]
    harmonic = (1 / np.arange(1, 201)).sum()
    np.testing.assert_allclose(table["chance"], [1 / 200, 5 / 200, 10 / 200, harmonic / 200, 100.5])
    assert table.meta == {"pool": 200, "queries": 300}


def test_random_embeddings_give_chance_within_errors():
    rng = np.random.default_rng(1)
    table = retrieval_scores(rng.normal(size=(1500, 64)), rng.normal(size=(1500, 64)), pool=500)
    assert within_errors(table).all()
    assert (table["error"] < 0.4 * table["chance"]).all()


def test_embeddings_that_are_all_equal_give_chance_and_not_perfection():
    table = retrieval_scores(np.ones((800, 4)), np.ones((800, 4)), pool=100)
    assert within_errors(table).all()


def test_ranks_in_pools_are_those_of_all_pools_one_by_one():
    """Of six others two are above the partner; every pool of three of them is looked at."""
    above, others, pool = 2, 6, 4
    places = [1 + sum(each < above for each in drawn) for drawn in itertools.combinations(range(others), pool - 1)]
    counts = np.bincount(places, minlength=pool + 1)[1:] / len(places)
    found = _distribution(Ranks(np.array([above, 0, 6]), np.array([others] * 3)), pool)
    np.testing.assert_allclose(found, [counts, [1, 0, 0, 0], [0, 0, 0, 1]], atol=1e-12)


def test_scores_are_the_mean_over_drawn_pools():
    rng = np.random.default_rng(2)
    left = unit(rng.normal(size=(120, 8)))
    right = unit(left + 0.9 * unit(rng.normal(size=(120, 8))))
    table = retrieval_scores(left, right, pool=40)
    similar = left @ right.T
    recall = []
    for _ in range(300):
        for query in range(0, 120, 4):
            drawn = rng.choice(np.delete(np.arange(120), query), 39, replace=False)
            recall.append(1 + (similar[query, drawn] > similar[query, query]).sum())
    queries = retrieval_of(similar[::4], np.arange(0, 120, 4), 40)
    assert (np.array(recall) <= 1).mean() == pytest.approx(queries, abs=0.015)
    assert 0.1 < table["value"][0] < 0.9


def retrieval_of(similar, own, pool):
    """Recall@1 of some of the queries, in closed form: none of those above the partner is drawn."""
    above = (similar > similar[np.arange(len(own)), own][:, None]).sum(axis=1)
    others = similar.shape[1] - 1
    steps = np.arange(pool - 1)
    return np.prod(np.clip((others - above[:, None] - steps) / (others - steps), 0, None), axis=1).mean()


def test_objects_of_the_querys_group_are_no_wrong_answers():
    left = unit(np.random.default_rng(3).normal(size=(100, 8)))
    doubled, group = np.repeat(left, 2, axis=0), np.repeat(np.arange(100), 2)
    alone = retrieval_scores(doubled, doubled, pool=50)
    assert alone["value"][0] < 0.95  # the twin stands above at random, where it is in the pool
    table = retrieval_scores(doubled, doubled, pool=50, group=group)
    assert table["value"][0] == pytest.approx(1)
    assert ranks(doubled, doubled, group).others.tolist() == [198] * 200
    # both samples of an object count as one: its errors do not shrink
    noisy = unit(left + 0.8 * unit(np.random.default_rng(4).normal(size=left.shape)))
    once = retrieval_scores(left, noisy, pool=50)
    twice = retrieval_scores(doubled, np.repeat(noisy, 2, axis=0), pool=50, group=group)
    np.testing.assert_allclose(twice["error"][[0, 3]], once["error"][[0, 3]], rtol=0.2)


def test_embeddings_that_know_the_bin_alone_give_chance_within_it():
    redshift = np.random.default_rng(5).uniform(0.05, 0.15, 1200)
    bins = redshift_bins(redshift, 8)
    assert np.bincount(bins).tolist() == [150] * 8
    known = np.eye(8)[bins]
    everywhere = retrieval_scores(known, known, pool=500)
    assert everywhere["value"][2] > 5 * everywhere["chance"][2]  # it looks as if something were found
    inside = within_bins(known, known, bins)
    assert within_errors(inside).all()
    assert inside.meta == {"pool": 150, "queries": 1200, "bins": 8}
    left = unit(np.random.default_rng(6).normal(size=(1200, 16)))
    np.testing.assert_allclose(within_bins(left, left, bins, pool=100)["value"], 1, atol=1e-9)


def test_bins_by_edges_leave_out_what_is_outside():
    redshift = np.array([0.04, 0.05, 0.09, 0.1, 0.15, np.nan])
    assert redshift_bins(redshift, np.array([0.05, 0.1, 0.15])).tolist() == [-1, 0, 0, 1, -1, -1]
    assert redshift_bins(redshift, 2).tolist() == [0, 0, 0, 1, 1, -1]
    left = np.eye(6)
    found = within_bins(left, left, redshift_bins(redshift, np.array([0.04, 0.1, 0.2])))
    assert found.meta == {"pool": 2, "queries": 5, "bins": 2}


def test_bins_of_one_object_alone_are_left_out():
    bins, group = np.repeat([0, 1], 4), np.array([7, 7, 7, 7, 1, 2, 3, 4])
    found = within_bins(np.eye(8), np.eye(8), bins, group=group)
    assert found.meta == {"pool": 4, "queries": 4, "bins": 1}
    with pytest.raises(ValueError, match="no stranger is among them"):
        within_bins(np.eye(8), np.eye(8), bins, group=bins)


def test_what_does_not_fit_is_refused_in_words():
    with pytest.raises(ValueError, match="expected pools of 2 to 10 objects"):
        retrieval_scores(np.eye(10), np.eye(10), pool=11)
    with pytest.raises(ValueError, match="expected pools of 2 to 6 objects"):
        retrieval_scores(np.eye(10), np.eye(10), pool=8, group=np.repeat([0, 1], 5))
    with pytest.raises(ValueError, match=r"got the shapes \(10, 10\) and \(9, 9\)"):
        ranks(np.eye(10), np.eye(9))
    with pytest.raises(ValueError, match="row 2 of right is not finite"):
        ranks(np.eye(3), np.diag([1, 1, np.nan]))
    with pytest.raises(ValueError, match="expected the bin of each of 10 objects"):
        within_bins(np.eye(10), np.eye(10), np.full(10, -1))
