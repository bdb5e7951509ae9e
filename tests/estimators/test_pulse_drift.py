"""Events unlike those of the training: score_samples, and warnings of batches of them."""

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

import skae
from skae import NoiseInjector, PulseLocator
from skae.datasets import make_pulses
from skae.estimators import _locator_drift
from skae.exceptions import DriftWarning
from skae.modules.pulses.typical import TypicalOutputs, roughness, summarise

ORDINARY = {
    "n_times": 40,
    "width": 2.0,
    "baseline": False,
    "background_rate": 0.0,
    "noise_sigma": 1.0,
}
small = partial(PulseLocator, trace_channels=6, n_channels=8, max_epochs=10, random_state=0)
X, y = make_pulses(1000, random_state=0, **ORDINARY)
NEW, _ = make_pulses(10_000, random_state=1, **ORDINARY)
NOISIER, _ = make_pulses(4000, random_state=2, **{**ORDINARY, "noise_sigma": 1.3})
OTHERS = {
    "noise times 1.3": NOISIER,
    "gain times 3": 3.0 * NEW[:4000],
    "inverted": -NEW[:4000],
    "not coincident": np.stack([np.roll(NEW[:4000, k], k, axis=0) for k in range(3)], axis=1),
    "no pulse": np.random.default_rng(0).normal(size=NOISIER.shape),
}


@pytest.fixture(scope="module")
def fitted():
    return small().fit(X, y)


def share_of_warnings(locator, X, size=200):
    warned = 0
    for start in range(0, len(X), size):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            locator.predict(X[start : start + size])
        warned += any(each.category is DriftWarning for each in caught)
    return warned / (len(X) // size)


# -- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [50, 200, 2000])
def test_ordinary_batches_give_no_warning(fitted, size):
    assert share_of_warnings(fitted, NEW, size) <= 0.01


@pytest.mark.parametrize("kind", OTHERS)
def test_batches_unlike_the_training_give_a_warning(fitted, kind):
    assert share_of_warnings(fitted, OTHERS[kind]) >= 0.95


def test_the_warning_says_what_is_typical(fitted):
    with pytest.warns(DriftWarning, match="200 events .* score_samples is -.* where -2 is typical"):
        fitted.predict_distribution(-NEW[:200])


def test_what_is_predicted_is_the_same_with_and_without_a_warning(fitted):
    with pytest.warns(DriftWarning):
        position, std = fitted.predict(OTHERS["inverted"][:60], return_std=True)
    alone = [fitted.predict(row[np.newaxis], return_std=True) for row in -NEW[:60]]
    np.testing.assert_allclose(position, [p[0] for p, _ in alone], rtol=1e-5)
    np.testing.assert_allclose(std, [s[0] for _, s in alone], rtol=1e-4, atol=1e-4)


def test_fewer_than_50_events_are_not_judged(fitted):
    assert share_of_warnings(fitted, -NEW[:490], 49) == 0.0


@pytest.mark.parametrize(
    ("options", "n"),
    [({"noise": NoiseInjector("gaussian", sigma=0.5)}, 300), ({}, 249), ({"absent": "learn"}, 300)],
    ids=["corrupted in training", "too few", "with empty events"],
)
def test_what_the_reference_is_not_for_is_not_judged(options, n):
    labels = y[:n].astype(float)
    if "absent" in options:
        labels[::3] = np.nan
    locator = small(max_epochs=2, **options).fit(X[:n], labels)
    locator.set_params(noise=None, absent="raise")  # what was fitted counts
    assert share_of_warnings(locator, -NEW[:400]) == 0.0
    assert locator.score_samples(NEW[:10]).max() <= 0.0


@pytest.mark.parametrize("seed", [0, 1])
def test_few_training_events_give_no_false_warnings(seed):
    few = slice(300 * seed, 300 * (seed + 1))
    locator = small(max_epochs=30, random_state=seed).fit(X[few], y[few])
    assert share_of_warnings(locator, NEW) <= 0.02
    assert share_of_warnings(locator, NOISIER) >= 0.95


def test_the_published_events_and_fractional_positions_are_judged_too():
    for options in ({}, {**ORDINARY, "sub_bin": True}):
        options = {**options, "n_times": 40}
        X, y = make_pulses(1000, random_state=3, **options)
        new, _ = make_pulses(4000, random_state=4, **options)
        locator = small(max_epochs=5).fit(X, y)
        assert share_of_warnings(locator, new) <= 0.01
        assert share_of_warnings(locator, 3.0 * new) >= 0.95
        assert share_of_warnings(locator, -new) >= 0.95


def test_further_fits_judge_by_their_own_events(fitted):
    locator = pickle.loads(pickle.dumps(fitted))
    louder = 3.0 * X
    for _ in range(3):
        locator.partial_fit(louder, y)
    assert share_of_warnings(locator, 3.0 * NEW[:2000]) == 0.0
    assert share_of_warnings(locator, NEW[:2000]) >= 0.95
    scores = locator.score_samples(3.0 * NEW[:1000])
    assert scores.mean() == pytest.approx(-2.0, abs=0.2)
    for n in (3, 1):  # a last chunk of a few events tells nothing of what is typical
        locator.partial_fit(louder[:n], y[:n])
    assert locator.score_samples(3.0 * NEW[:1000]).mean() == pytest.approx(-2.0, abs=0.4)
    assert locator.net_.criterion_.typical.n_events == 1000


@pytest.mark.parametrize(("size", "n_chunks"), [(1, 1), (60, 1), (200, 1), (200, 10)])
def test_networks_that_small_chunks_have_moved_judge_no_batch(fitted, size, n_chunks):
    locator = pickle.loads(pickle.dumps(fitted))
    for i in range(n_chunks):
        chunk = slice(i * size % 800, i * size % 800 + size)
        locator.partial_fit(X[chunk], y[chunk])
    assert share_of_warnings(locator, NEW[:4000]) == 0.0
    if size >= 50:  # scores are those of the network as it is
        assert locator.score_samples(X[chunk]).mean() == pytest.approx(-2.0, abs=0.05)
    locator.partial_fit(X, y)
    assert share_of_warnings(locator, NEW[:4000]) <= 0.05
    assert share_of_warnings(locator, -NEW[:4000]) >= 0.95


def test_where_nothing_was_learnt_it_is_said():
    locator = small(max_epochs=1).fit(X[:300], y[:300])
    locator.net_.criterion_.typical.n_events.zero_()
    with pytest.raises(ValueError, match="not known what training events are like"):
        locator.score_samples(X)
    assert share_of_warnings(locator, -NEW[:400]) == 0.0


def test_events_beyond_all_measure_are_warned_of_too(fitted):
    with pytest.warns(DriftWarning, match="differs by"):
        fitted.predict(-1e6 * NEW[:60])
    assert (fitted.score_samples(-1e6 * NEW[:60]) < -1e3).all()


# -- single events -------------------------------------------------------------------------------


def test_scores_are_minus_half_a_squared_distance(fitted):
    output = fitted._apply(fitted.module_, X)[:, 0].astype(np.float64)
    rough = np.abs(np.diff(X / X.std(axis=(0, 2), keepdims=True), axis=2)).mean(axis=(1, 2))
    numbers = np.stack(
        [logsumexp(output, axis=1), np.sort(output)[:, 19], output.std(axis=1), rough], axis=1
    )
    distance = numbers - numbers.mean(axis=0)
    precision = np.linalg.inv(np.cov(numbers.T, bias=True))
    expected = -0.5 * np.einsum("ni,ij,nj->n", distance, precision, distance)
    found = fitted.score_samples(X)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)
    assert found.max() <= 0.0
    assert found.mean() == pytest.approx(-2.0, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "least"),
    {
        "noise times 1.3": 0.93,
        "gain times 3": 0.99,
        "inverted": 0.95,
        "not coincident": 0.9,
        "no pulse": 0.9,
    }.items(),
)
def test_single_events_stand_out(fitted, kind, least):
    ordinary, others = fitted.score_samples(NEW[:4000]), fitted.score_samples(OTHERS[kind])
    is_ordinary = np.repeat([1, 0], 4000)
    assert roc_auc_score(is_ordinary, np.concatenate([ordinary, others])) > least


def test_events_are_scored_one_by_one_and_after_being_saved(fitted, tmp_path):
    scores = fitted.score_samples(NEW[:100])
    alone = np.concatenate([fitted.score_samples(row[np.newaxis]) for row in NEW[:5]])
    np.testing.assert_allclose(alone, scores[:5], rtol=1e-3, atol=1e-4)
    skae.save(fitted, tmp_path / "locator.skae")
    loaded = skae.load(tmp_path / "locator.skae")
    np.testing.assert_array_equal(loaded.score_samples(NEW[:100]), scores)
    assert share_of_warnings(loaded, -NEW[:400]) == 1.0


def test_weights_say_which_events_are_ordinary():
    both, labels = np.concatenate([X[:500], -X[:500]]), np.concatenate([y[:500], y[:500]])
    weight = np.repeat([1.0, 0.0], 500)
    locator = small(polarity="positive").fit(both, labels, sample_weight=weight)
    assert locator.score_samples(X[:500]).mean() == pytest.approx(-2.0, abs=0.01)
    assert share_of_warnings(locator, -NEW[:2000]) >= 0.95


def test_samples_that_are_missing_do_not_count():
    is_short = (np.arange(1000) % 2 == 0) & (y < 28)
    gaps = X.copy()
    gaps[is_short, :, 30:] = np.nan
    locator = small(missing="mask").fit(gaps, y)
    for part in (gaps[is_short], gaps[~is_short]):
        assert -5.0 < locator.score_samples(part).mean() < -0.5
    padded = np.concatenate([NEW[:200, :, :30], np.full((200, 3, 10), np.nan)], axis=2)
    assert np.median(locator.score_samples(padded)) > -10.0


def test_outputs_are_summed_up_over_opinions_and_known_samples():
    a = torch.tensor([[[0.0, 1.0, 3.0, 7.0]], [[2.0, -1e4, 4.0, -1e4]]])
    found = summarise(a, gaps=True)
    np.testing.assert_allclose(
        found[0], [np.log(np.exp([0, 1, 3, 7]).sum()), 1.0, np.std([0, 1, 3, 7])], 1e-6
    )
    np.testing.assert_allclose(found[1], [np.log(np.exp([2, 4]).sum()), 2.0, 1.0], 1e-6)
    np.testing.assert_allclose(
        summarise(torch.stack([a - 1.0, a + 1.0], dim=1)[:, :, 0], gaps=True), found, 1e-5
    )


def test_roughness_counts_traces_alike_and_missing_samples_not_at_all():
    x = torch.tensor([[[0.0, 1.0, 3.0, torch.nan, 9.0], [0.0, 30.0, 0.0, 30.0, torch.nan]]])
    assert roughness(x).item() == pytest.approx((1 + 2 + 30 + 30 + 30) / 5)
    scale = torch.tensor([[1.0], [-10.0]])  # negative for pulses that go down
    assert roughness(x, scale).item() == pytest.approx((1 + 2 + 3 + 3 + 3) / 5)
    assert roughness(torch.full((1, 2, 5), torch.nan)).item() == 0.0


def test_first_numbers_are_whitened_by_themselves():
    rng = np.random.default_rng(0)
    numbers = torch.from_numpy(
        rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) * [1, 1e3, 1, 1e-3]
    )
    typical = TypicalOutputs().double()
    typical.learn(numbers + 5.0, None)
    found = typical.deviate(numbers + 5.0).numpy()
    np.testing.assert_allclose(np.cov(found[:, :3].T, bias=True), np.eye(3), atol=1e-4)
    np.testing.assert_allclose(
        found[:, 3], -0.5 * (found[:, :3] ** 2).sum(axis=1), rtol=1e-4, atol=1e-6
    )
    other = numbers + torch.tensor([0.0, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(typical.deviate(other + 5.0)[:, :4], found[:, :4])
    assert found[:, 5].mean() == pytest.approx(-2.0, abs=1e-4)


def test_a_little_more_noise_gives_no_warning_and_much_more_names_it(fitted):
    for factor, share in ((1.02, 0.05), (1.3, 1.0)):
        options = {**ORDINARY, "noise_sigma": factor}
        events, _ = make_pulses(10_000, random_state=5, **options)
        found = share_of_warnings(fitted, events, 500)
        assert found <= share if factor < 1.1 else found >= share
    with pytest.warns(DriftWarning, match="a sample differs from the next one 1.2.* times as much"):
        fitted.predict(NOISIER[:400])
    dead = NEW[:400].copy()
    dead[:, 1] = 0.0
    with pytest.warns(DriftWarning, match="a sample differs from the next one 0.6.* times as much"):
        fitted.predict(dead)


def test_outputs_that_do_not_vary_or_are_not_finite_break_nothing():
    typical = TypicalOutputs()
    for constant in (torch.ones(60, 4), torch.zeros(60, 4)):
        typical.learn(constant, None)
        assert torch.isfinite(typical.deviate(torch.ones(2, 4))).all()
    typical.learn(torch.full((60, 4), torch.nan), None)
    assert typical.n_events == 0


def test_of_long_events_few_are_looked_at(monkeypatch):
    monkeypatch.setattr(_locator_drift, "_MOST_NUMBERS", 100)
    monkeypatch.setattr(_locator_drift, "_NUMBERS_AT_ONCE", 100)
    locator = small(max_epochs=5).fit(X, y)
    assert locator.net_.criterion_.typical.n_events == 64
    assert share_of_warnings(locator, NEW[:4000]) <= 0.05
    assert share_of_warnings(locator, -NEW[:4000]) >= 0.95
