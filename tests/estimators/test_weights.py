"""``sample_weight``: what rows of weight zero, one, less and more do to a fit and its score."""

import numpy as np
import pytest
import torch
from fits import read_in_pieces, small, weights_of

from skae.exceptions import WeightWarning
from skae.training.batches import TensorRows, rows_of
from skae.training.state import Run
from skae.training.streaming import StreamedRows


def test_weights_of_one_change_nothing(standard_jets):
    plain = small().fit(standard_jets)
    weighted = small().fit(standard_jets, sample_weight=np.full(len(standard_jets), 3.0))
    torch.testing.assert_close(weights_of(weighted), weights_of(plain), rtol=1e-4, atol=1e-6)


def test_rows_of_weight_zero_are_not_learnt(standard_jets, rng):
    outliers = standard_jets.copy()
    weight = (rng.uniform(size=len(outliers)) < 0.8).astype(float)
    outliers[weight == 0] += 5.0
    options = {"max_epochs": 60, "n_components": 2}
    weighted = small(**options).fit(outliers, sample_weight=weight)
    naive = small(**options).fit(outliers)
    score, other = (m.score(standard_jets, sample_weight=weight) for m in (weighted, naive))
    assert score > other


def test_negative_weights_cancel_positive_ones(standard_jets):
    """Rows that stand twice, once with +1 and once with −1, pull nowhere."""
    ghosts = standard_jets[:100] + 4.0
    X = np.vstack([standard_jets, ghosts, ghosts])
    weight = np.concatenate([np.ones(400), np.ones(100), -np.ones(100)])
    # one batch holds all rows, so the ghosts' gradients cancel in every step
    options = {"batch_size": 1000, "max_epochs": 20, "block": "dense", "random_state": 1}
    model = small(**options).fit(X, sample_weight=weight)
    assert np.isfinite(model.loss_curve_).all()
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    kept = -model.score(standard_jets)
    assert model.loss_curve_[-1] == pytest.approx(kept, rel=0.2)


@pytest.mark.filterwarnings("ignore::skae.exceptions.WeightWarning")  # of eight rows
def test_a_batch_is_divided_by_its_size_and_not_by_its_own_weights(standard_jets):
    """The gradient of an epoch's batches adds up to that of all rows, also with a negative batch."""
    X = standard_jets[:8]
    weight = np.array([3.0, 3.0, 3.0, 3.0, -1.0, -0.5, 0.0, 0.5])  # the second half sums to −1

    def step(rows, weights):
        options = {"optimizer": "sgd", "lr": 1e-3, "lr_schedule": "constant", "batch_size": 4}
        model = small(max_epochs=1, weight_decay=0.0, **options).fit(X, sample_weight=weight)
        start = weights_of(model)
        net = model.net_
        x = torch.from_numpy(rows.astype(np.float32))
        rows = TensorRows(x, None, torch.from_numpy(weights.astype(np.float32)))
        run = Run(epochs=1, batch_size=len(rows), lr=1.0)
        with net.listening(run):
            net.train(rows, None, run)
        return weights_of(model) - start

    over_mean = weight / weight.mean()
    halves = step(X[:4], over_mean[:4]) + step(X[4:], over_mean[4:])
    torch.testing.assert_close(halves / 2, step(X, over_mean), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("value", [1e3, 1e6, 1e18])
def test_rows_without_weight_do_not_set_the_scale(value, standard_jets):
    X = np.vstack([standard_jets, np.full((2, 4), value)])
    expected = small(max_epochs=30).fit(standard_jets).score(standard_jets)
    weight = np.concatenate([np.ones(len(standard_jets)), [0.0, 0.0]])
    model = small(max_epochs=30).fit(X, sample_weight=weight)
    assert model.score(standard_jets) == pytest.approx(expected, rel=0.2)


def test_weights_of_chunks_are_relative_to_the_first(standard_jets):
    def fit(factor):
        model = small(optimizer="sgd", lr=0.01)
        model.partial_fit(standard_jets, sample_weight=np.full(400, 2.0))
        start = weights_of(model)
        model.partial_fit(standard_jets, sample_weight=np.full(400, 2.0 * factor))
        return (weights_of(model) - start).norm().item()

    assert fit(1e-3) == pytest.approx(1e-3 * fit(1.0), rel=0.1)
    assert fit(-1e-3) == pytest.approx(fit(1e-3), rel=0.1), "a later chunk may be negative"


def test_held_out_weights_must_have_a_positive_sum(standard_jets):
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0)).numpy()
    model = small(early_stopping=True, max_epochs=2)
    message = (
        r"sum of sample_weight of the \d+ rows (held out|trained on) with early_stopping=True is"
    )
    for held_out, training in ((0.0, 1.0), (-0.5, 1.0), (20.0, -0.1)):
        weight = np.full(400, training)
        weight[order[:40]] = held_out
        with pytest.raises(ValueError, match=message):
            model.fit(standard_jets, sample_weight=weight)
    weight = np.ones(400)
    weight[order[:40]] = 0.01
    model.fit(standard_jets, sample_weight=weight)
    plain = -model.score(standard_jets[order[:40]])
    assert min(model.history_[:, "valid_loss"]) == pytest.approx(plain, rel=1e-4)


def signed(n, total):
    """Weights of ±1 that sum to ``total``; the last one is off by what ±1 cannot give."""
    weight = np.where(np.arange(n) % 2, -1.0, 1.0)
    weight[1 : 2 * round(total // 2) + 1 : 2] = 1.0
    weight[-1] += total - weight.sum()
    return weight


@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e150])
@pytest.mark.parametrize("total", [0.0, 4e-10, 3.9e-4])
def test_weights_that_cancel_are_refused(total, unit, standard_jets):
    """Of 400 weights of ±1 less than 4e-4 is left, a millionth of their absolute sum."""
    weight = signed(400, total) * unit
    with pytest.raises(ValueError, match=r"more than 1e-06 of the sum of absolute weights"):
        small(max_epochs=1).fit(standard_jets, sample_weight=weight)
    model = small(max_epochs=1).fit(standard_jets)
    with pytest.raises(ValueError, match=r"more than 1e-06 of the sum of absolute weights"):
        model.score(standard_jets, sample_weight=weight)


def test_weights_that_leave_no_more_than_their_error_are_warned_of(standard_jets):
    """The sum of 400 weights of ±1 has an error of 20."""
    model = small(max_epochs=1)
    for total in (4.2e-4, 58.0):
        with pytest.warns(WeightWarning, match="times its standard error"):
            model.fit(standard_jets, sample_weight=signed(400, total))
        with pytest.warns(WeightWarning, match=f"a sum of sample_weight of {total:.6g}"):
            model.score(standard_jets, sample_weight=signed(400, total))
    # warnings are errors here
    model.fit(standard_jets, sample_weight=signed(400, 62.0))
    rare = np.zeros(400)
    rare[:5] = 1.0  # their sum is 2.2 errors, of one sign
    model.fit(standard_jets, sample_weight=rare)


def test_later_chunks_may_have_weights_of_any_sum(standard_jets):
    with pytest.raises(ValueError, match="must be positive"):
        small().partial_fit(standard_jets, sample_weight=signed(400, 0.0))
    model = small().partial_fit(standard_jets, sample_weight=np.ones(400))
    for total in (0.0, 1e-9, 20.0):
        model.partial_fit(standard_jets, sample_weight=signed(400, total))
    assert model.n_iter_ == 4


@pytest.mark.parametrize("streamed", [False, True])
def test_rows_held_out_and_the_others_are_judged_alike(standard_jets, monkeypatch, streamed):
    held_out = torch.randperm(400, generator=torch.Generator().manual_seed(0)).numpy()[:200]
    if streamed:
        read_in_pieces(monkeypatch.setattr, run=4 * 4, buffer=40 * 4)
        rows = StreamedRows.from_arrays(standard_jets, None, None, 1.0)
        held_out = rows_of(rows.hold_out(200, seed=0)[1].x.runs)
    model = small(early_stopping=True, validation_fraction=0.5, max_epochs=1)
    weight = np.ones(400)
    weight[held_out] = signed(200, 1e-9)
    with pytest.raises(
        ValueError, match=r"of the 200 rows held out .* random_state, or early_stopp"
    ):
        model.fit(standard_jets, sample_weight=weight)
    weight[held_out] = signed(200, 20.0)
    with pytest.warns(WeightWarning, match="of the 200 rows held out"):
        model.fit(standard_jets, sample_weight=weight)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(400), "sum of sample_weight is 0; it must be positive"),
        (-np.ones(400), "sum of sample_weight is -400; it must be positive"),
        (np.full(400, np.nan), "sample_weight contains NaN"),
        (np.ones(399), "sample_weight.shape == "),
    ],
)
def test_unusable_weights_are_errors(weight, message, standard_jets):
    with pytest.raises(ValueError, match=message):
        small().fit(standard_jets, sample_weight=weight)


def test_score_is_the_mean_of_score_samples(standard_jets, rng):
    model = small().fit(standard_jets)
    samples = model.score_samples(standard_jets)
    assert model.score(standard_jets) == pytest.approx(samples.mean(), rel=1e-12)
    weight = rng.uniform(size=len(samples))
    expected = np.average(samples, weights=weight)
    assert model.score(standard_jets, sample_weight=weight) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="must be positive"):
        model.score(standard_jets, sample_weight=np.zeros(len(samples)))
