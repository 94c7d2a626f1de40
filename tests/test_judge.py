"""Retrieval of partners in both directions."""

import numpy as np

from sciffusion.judge import retrieval_table


def test_similarities_with_the_identity_are_searched_as_their_embeddings() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(size=(2, 60, 5))
    theirs += ours
    group, redshift = np.arange(60) // 2, rng.uniform(size=60)
    by_embedding = retrieval_table(ours, theirs, group, redshift, (20, 40))
    by_similarity = retrieval_table(ours @ theirs.T, np.eye(60), group, redshift, (20, 40))
    assert by_embedding["direction"].tolist() == by_similarity["direction"].tolist()
    for column in ("pool", "value", "error", "chance"):
        np.testing.assert_allclose(by_embedding[column], by_similarity[column], rtol=1e-9)


def test_both_directions_and_bins_of_redshift_are_told() -> None:
    table = retrieval_table(np.eye(48), np.eye(48), np.arange(48), np.linspace(0, 1, 48), (10, 500))
    assert {(row["direction"], row["pool"], bool(row["within"])) for row in table} == {
        (direction, pool, within)
        for direction in ("conditions to field", "field to conditions")
        for pool, within in ((10, False), (48, False), (24, True))
    }
    recall = table[[name.startswith("recall") for name in table["score"]]]
    assert (recall["value"] == 1).all()


def test_directions_differ_where_the_similarities_do() -> None:
    similarity = np.zeros((3, 3))
    similarity[:, 0] = [2, 3, 4]  # every query likes the first field best, which likes the last query best
    table = retrieval_table(similarity + np.eye(3), np.eye(3), np.arange(3), pools=(3,))
    first = {row["direction"]: row["value"] for row in table if row["score"] == "recall@1"}
    assert np.isclose(first["conditions to field"], 1 / 3)
    assert np.isclose(first["field to conditions"], 2 / 3)


def test_bins_need_objects_not_views_of_them() -> None:
    vectors = np.random.default_rng(0).normal(size=(90, 4))
    group, redshift = np.repeat(np.arange(3), 30), np.repeat([0.05, 0.1, 0.15], 30)
    assert not any(row["within"] for row in retrieval_table(vectors, vectors, group, redshift))
