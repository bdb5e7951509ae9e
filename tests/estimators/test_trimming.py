"""A trimmed loss leaves out what lies off the axes of the others, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from skae import BoxCoxTransformer, JetAutoencoder, KinematicsTransformer
from skae.datasets import make_jets
from skae.estimators._trimming import rows_far_off_axes

ROWS = np.random.default_rng(0).standard_normal((2000, 5)) * [9.0, 5.0, 1.0, 1.0, 1.0]


def with_a_corner(share=0.05, away=12.0):
    """Rows, of which a share is in a corner that no principal axis of the others leads to."""
    n = int(share * len(ROWS))
    corner = away + 0.3 * np.random.default_rng(1).standard_normal((n, 5))
    return np.vstack([ROWS, np.where([0, 0, 1, 0, 0], corner, 0.1 * corner)]), n


def test_a_corner_that_turns_the_axes_is_left_out():
    X, n = with_a_corner(away=50.0)
    found = PCA(2).fit(X)
    distance = np.square(X - found.inverse_transform(found.transform(X))).sum(axis=1)
    assert distance[-n:].mean() < distance[:-n].mean()  # all rows together learn it
    far = rows_far_off_axes(X, None, 2)
    assert far[-n:].all()
    assert far[:-n].mean() < 0.02


@pytest.mark.parametrize("alike", [False, True])
def test_units_and_an_offset_are_no_matter(alike):
    X, _ = with_a_corner()
    far = rows_far_off_axes(X, None, 2, alike=alike)
    for moved in (1e-12 * X, 1e12 * X, X + 1e8):
        assert np.mean(rows_far_off_axes(moved, None, 2, alike=alike) != far) < 2e-3
    if alike:
        units = [1e-6, 1.0, 1e3, 1e9, 7.0]
        np.testing.assert_array_equal(rows_far_off_axes(X * units, None, 2, alike=True), far)


def test_rows_count_by_their_weights():
    X, n = with_a_corner()
    twice = np.repeat(X, 2, axis=0)
    weight = np.tile([1.0, 0.0], len(X))
    far = rows_far_off_axes(X, None, 2)
    np.testing.assert_array_equal(rows_far_off_axes(twice, weight, 2)[::2], far)
    np.testing.assert_array_equal(rows_far_off_axes(X, np.full(len(X), -3.0), 2), far)
    mostly_corner = np.where(np.arange(len(X)) < len(ROWS), 1e-3, 1.0)
    assert rows_far_off_axes(X, mostly_corner, 2)[-n:].mean() < 0.1


def test_weights_that_fall_steeply_do_not_trim_what_is_rare():
    X = make_jets(5000, random_state=0)
    features = KinematicsTransformer(scale=True).fit_transform(X)
    far = rows_far_off_axes(features, X[:, 1] ** -4.0, 3)
    assert far.mean() <= 0.1
    assert far[X[:, 1] > 300.0].mean() < 0.5
    weight = np.where(np.arange(5000) == 0, 1e6, 1.0)
    assert rows_far_off_axes(features, weight, 3).mean() <= 0.1


@given(
    st.integers(1, 200),
    st.integers(1, 6),
    st.integers(1, 8),
    st.sampled_from([0.0, 1.0, 1e-150, 1e150]),
    st.integers(0, 2**32 - 1),
)
def test_at_most_a_tenth_is_left_out(n, d, n_components, scale, seed):
    X = np.random.default_rng(seed).standard_cauchy((n, d)) * scale
    far = rows_far_off_axes(X, None, n_components)
    assert far.shape == (n,)
    assert far.mean() <= 0.1
    if n_components >= d or scale == 0.0:
        assert not far.any()


# -- in an estimator -------------------------------------------------------------------------------


def w_jets(n, seed):
    """Jets of a W, of 80 GeV to a tenth, at 100 to 200 GeV of pT: m/pT beyond most others."""
    rng = np.random.default_rng(seed)
    pt, eta = rng.uniform(100.0, 200.0, n), rng.uniform(-2.0, 2.0, n)
    mass = rng.normal(80.4, 8.0, n)
    energy = np.hypot(pt * np.cosh(eta), mass)
    return np.column_stack([energy, pt, eta, rng.uniform(-np.pi, np.pi, n)])


def screened(loss, share, seed=0, **options):
    """Fit jets with a share of W jets; return the fit, its AUC for others, and its error of jets."""
    n = int(4000 * share)
    X = np.vstack([make_jets(4000, random_state=seed), w_jets(n, seed)])
    model = JetAutoencoder(
        3,
        angles=[2],
        loss=loss,
        hidden_layer_sizes=(64, 32),
        max_epochs=30,
        random_state=0,
        **options,
    )
    pipeline = make_pipeline(KinematicsTransformer(scale=True), model).fit(X)
    jets, others = make_jets(2000, random_state=seed + 1), w_jets(1000, seed + 1)
    scores = pipeline.score_samples(np.vstack([jets, others]))
    return pipeline, roc_auc_score(np.arange(3000) < 2000, scores), -scores[:2000].mean()


def test_anomalies_in_the_training_data_are_not_learnt():
    _, learnt, _ = screened("squared_error", 0.05)
    pipeline, found, _ = screened("trimmed", 0.05)
    assert learnt < 0.9
    assert found > 0.99
    trimmed = pipeline[-1].trimmed_
    assert trimmed[4000:].mean() > 0.95
    assert trimmed[:4000].mean() < 0.03


def test_clean_data_lose_no_more_than_by_squares():
    _, _, squares = screened("squared_error", 0.0, linear_path=True)
    _, found, trimmed = screened("trimmed", 0.0)
    assert found > 0.99
    assert trimmed < 1.1 * squares


def small(**options):
    defaults = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    return JetAutoencoder(**{**defaults, "loss": "trimmed", **options})


def test_what_is_left_out_has_no_say():
    X, n = with_a_corner()
    model = small().fit(X)
    assert model.trimmed_[-n:].all()
    assert small(loss="huber").fit(X).trimmed_ is None
    weight = np.where(model.trimmed_, 0.0, 1.0)
    by_weight = small(loss="squared_error", linear_path=True).fit(X, sample_weight=weight)
    np.testing.assert_allclose(by_weight.transform(X), model.transform(X), rtol=1e-6, atol=1e-9)
    assert model.loss_curve_ == pytest.approx(by_weight.loss_curve_, rel=1e-6)


def test_a_transformer_inside_is_seen_through():
    X = np.vstack([make_jets(1000, random_state=0), w_jets(50, 0)])
    inside = small(n_components=3, transformer=KinematicsTransformer(), angles=[3]).fit(X)
    features = KinematicsTransformer().fit_transform(X)
    np.testing.assert_array_equal(inside.trimmed_, rows_far_off_axes(features, None, 3, alike=True))
    boxed = small(transformer=BoxCoxTransformer()).fit(np.abs(X))
    assert boxed.trimmed_.shape == (1050,)


def test_an_angle_has_no_far_end():
    X = np.column_stack([ROWS[:600, :3], np.full(600, 3.1)])
    X[:40, 3] = 0.04 - np.pi  # just across
    model = small(angles=[3]).fit(X)
    np.testing.assert_array_equal(model.trimmed_, rows_far_off_axes(X[:, :3], None, 1))
    assert model.trimmed_[:40].mean() < 0.1
    assert not small(angles=[0, 1], n_components=1).fit(np.pi * np.tanh(ROWS[:, :2])).trimmed_.any()


def test_later_chunks_are_trimmed_too(tmp_path):
    X, n = with_a_corner()
    model = small().partial_fit(X[::2]).partial_fit(X[1::2])
    assert model.trimmed_.shape == (len(X) // 2,)
    assert model.trimmed_[-n // 2 :].all()
    np.save(tmp_path / "X.npy", X)
    mapped = small().fit(np.load(tmp_path / "X.npy", mmap_mode="r"))
    np.testing.assert_array_equal(mapped.transform(X), small().fit(X).transform(X))
