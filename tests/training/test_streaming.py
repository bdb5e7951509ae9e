"""Rows that are read as they are needed: each once an epoch, in random order, and never all at once."""

from functools import partial

import fits
import numpy as np
import pytest
import torch
from fits import mapped, read_in_pieces, weights_of
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor

import skae
from skae import NoiseInjector
from skae.training import batches, hardware, streaming
from skae.training.batches import Minibatches, TensorRows, Units
from skae.training.seeding import RandomStreams
from skae.training.streaming import StreamedRows


@pytest.fixture
def small_pieces(monkeypatch):
    """Runs of 10 rows of 4 numbers, buffers of 70; half as many where there are targets."""
    read_in_pieces(monkeypatch.setattr, run=10 * 4, buffer=70 * 4)


def numbered(n, dtype=np.float64):
    """Rows that say their number, with targets and weights that follow from it."""
    x = np.arange(n, dtype=dtype)[:, None] + np.arange(4, dtype=dtype) * 1000
    return StreamedRows.from_arrays(x, 2.0 * x, 3.0 * np.arange(n), 1.0)


def in_memory(rows):
    (batch,) = Minibatches(rows, len(rows))
    return TensorRows(*batch)


def numbers_of(batches):
    numbers = []
    for inputs, target, weight in batches:
        assert inputs.dtype == target.dtype == weight.dtype == torch.float32
        assert torch.equal(target, 2 * inputs)
        assert torch.equal(weight, 3 * inputs[:, 0])
        numbers.append(inputs[:, 0].long().tolist())
    return numbers


def flattened(lists):
    return [number for numbers in lists for number in numbers]


# -- rows and batches --------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(1, 150), st.booleans(), st.data())
def test_slices_are_those_of_the_array(n, run, reverse, data):
    x = np.arange(3 * n, dtype=np.float64).reshape(n, 3)
    edges = np.append(np.arange(0, n, run), n)
    runs = np.stack([edges[:-1], edges[1:]], axis=1)[:: -1 if reverse else 1]
    rows = streaming.ArrayRows(x, runs, "X", units=Units(0.0, 2.0))
    whole = np.vstack([x[a:b] for a, b in runs]) / 2.0
    start, stop = sorted([data.draw(st.integers(0, n)), data.draw(st.integers(0, n + 5))])
    assert rows.shape == (n, 3)
    np.testing.assert_array_equal(rows[start:stop].numpy(), whole[start:stop].astype(np.float32))


@pytest.mark.parametrize("n", [1, 5, 69, 70, 71, 333])
@pytest.mark.parametrize("batch_size", [1, 7, 32, 150])
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_are_as_many_and_as_large_as_those_of_tensors(
    n, batch_size, shuffled, small_pieces
):
    generator = torch.Generator().manual_seed(0) if shuffled else None
    minibatches = Minibatches(numbered(n), batch_size, generator)
    like = Minibatches(TensorRows(torch.zeros(n, 4)), batch_size)
    numbers = numbers_of(minibatches)
    assert [len(batch) for batch in numbers] == minibatches.sizes == like.sizes
    flat = flattened(numbers)
    assert sorted(flat) == list(range(n))
    assert (flat == list(range(n))) == (not shuffled or n == 1)


@pytest.mark.parametrize("of", [lambda rows: rows, in_memory], ids=["streamed", "in memory"])
def test_each_epoch_has_its_own_order_and_each_seed_its_own_epochs(of, small_pieces):
    rows = of(numbered(300))

    def order(seed, epoch):
        streams = RandomStreams(seed, torch.device("cpu"))
        streams.begin_epoch(epoch)
        return numbers_of(Minibatches(rows, 32, streams.shuffle))

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_a_batch_holds_rows_from_all_over_the_array(monkeypatch):
    """Rows that lie in order, as a sorted file does, must not be learnt in order."""
    read_in_pieces(monkeypatch.setattr, run=10 * 8, buffer=1000 * 8)
    n = 10_000
    rows = Minibatches(numbered(n), 100, torch.Generator().manual_seed(0))
    numbers = numbers_of(rows)
    means = [np.mean(batch) for batch in numbers]
    # the mean of 100 of n uniform rows spreads by n/√1200; a run of ten widens it by at most √10
    assert np.std(means) < 2 * n / np.sqrt(1200)
    spreads = [np.std(batch) for batch in numbers]
    assert min(spreads) > 0.7 * n / np.sqrt(12)


@pytest.mark.parametrize("n_held_out", [1, 10, 37, 140, 332])
def test_rows_held_out_are_not_trained_on(n_held_out, small_pieces):
    rows = numbered(333)
    training, validation = rows.hold_out(n_held_out, seed=3)
    parts = [flattened(numbers_of(Minibatches(part, 50))) for part in (training, validation)]
    assert [len(part) for part in parts] == [333 - n_held_out, n_held_out]
    assert sorted(parts[0] + parts[1]) == list(range(333))
    same, other = (rows.hold_out(n_held_out, seed=seed)[1] for seed in (3, 4))
    assert parts[1] == flattened(numbers_of(Minibatches(same, 9)))
    assert parts[1] != flattened(numbers_of(Minibatches(other, 9)))
    weights = [w for _, _, w in Minibatches(validation.weighed_by(6.0), 50)]
    assert (0.5 * torch.tensor(parts[1])).tolist() == torch.cat(weights).tolist()


def test_single_rows_are_there_for_callbacks(small_pieces):
    x, target = numbered(50)[17]
    assert x[0] == 17
    assert target[0] == 34


# -- fits --------------------------------------------------------------------------------------

small = partial(fits.small, max_epochs=10, batch_size=32, device="cpu")


@pytest.fixture
def fits_of(tmp_path, monkeypatch):
    """One fit three times: of an array at hand, of its file, and of that file read as it is needed."""

    def fits_of(make, X, *arguments):
        file = mapped(X, tmp_path)
        for rows, share in ((X, 1.0), (file, 1.0), (file, 0.0)):
            monkeypatch.setattr(hardware, "SHARE_OF_MEMORY", share)
            yield make().fit(rows, *arguments)

    return fits_of


@pytest.mark.parametrize("buffer_rows", [70, 10_000])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"linear_path": True},
        {"early_stopping": True, "validation_fraction": 0.25},
        {"noise": NoiseInjector("gaussian", sigma=0.01)},
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_streamed_fit_is_the_fit_in_memory(
    options, weighted, buffer_rows, standard_jets, small_pieces, fits_of, rng, monkeypatch
):
    monkeypatch.setattr(batches, "BUFFER_NUMBERS", 4 * buffer_rows)
    weight = [None, rng.uniform(0.5, 2.0, size=400)] if weighted else []
    whole, of_file, streamed = fits_of(lambda: small(**options), standard_jets, *weight)
    assert len(whole.loss_curve_) > 5
    for other in (of_file, streamed):
        assert other.loss_curve_ == whole.loss_curve_
        assert torch.equal(weights_of(other), weights_of(whole))


SEQUENCES = np.abs(np.random.default_rng(0).normal(size=(200, 24)))
SMALL = {"max_epochs": 2, "random_state": 0}
RECURRENT = {"downsampling": (2, 2), "hidden_size": 4, "early_stopping": True}

#: an estimator, its rows, and its targets if it has any
OTHERS = {
    "sequences": (
        skae.MultiResRNNRegressor(**RECURRENT, **SMALL), SEQUENCES, SEQUENCES[:, ::-1].copy(),
    ),
    "events": (
        skae.PulseLocator(n_channels=4, trace_channels=2, **SMALL), SEQUENCES, np.arange(200.0) % 24,
    ),
    "spectra": (skae.SpectraVAE(**SMALL), SEQUENCES),
    "counts": (skae.SpectraVAE(likelihood="poisson", **SMALL), np.round(10 * SEQUENCES)),
    "gaps": (
        skae.SpectraVAE(missing="mask", **SMALL), np.where(SEQUENCES > 2.0, np.nan, SEQUENCES),
    ),
    "showers": (skae.CaloShowerVAE(2, hidden_size=8, early_stopping=True, **SMALL), SEQUENCES),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_every_estimator_streams_to_the_bit(name, small_pieces, fits_of):
    model, X, *y = OTHERS[name]
    whole, of_file, streamed = fits_of(lambda: clone(model), X, *y)
    assert torch.equal(weights_of(of_file), weights_of(whole))
    assert torch.equal(weights_of(streamed), weights_of(whole))


def test_workers_that_are_handed_files_learn_what_one_process_does():
    """joblib maps arrays of more than a megabyte into the memory of its workers."""
    X = np.random.default_rng(0).normal(size=(4000, 64))  # 2 MB
    regressor = skae.MultiResRNNRegressor(
        downsampling=(8,), hidden_size=4, max_epochs=1, batch_size=256, random_state=0
    )
    alone, shared = (
        BaggingRegressor(regressor, n_estimators=2, n_jobs=n_jobs, random_state=0).fit(X, X[:, 0])
        for n_jobs in (1, 2)
    )
    np.testing.assert_array_equal(alone.predict(X[:50]), shared.predict(X[:50]))


def test_event_weights_are_streamed_too(standard_jets, small_pieces):
    X = np.vstack([standard_jets, np.full((50, 4), 1e3)])
    weight = np.concatenate([np.full(400, 5.0), np.zeros(50)])
    model = small().fit(X, sample_weight=weight)
    expected = small().fit(standard_jets)
    assert model.score(standard_jets) == pytest.approx(expected.score(standard_jets), rel=0.15)
    assert model.net_.weight_mean_ == pytest.approx(weight.mean())


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int16, np.uint8])
def test_numbers_of_any_kind_are_read_where_they_are(dtype, tmp_path, rng, small_pieces):
    X = rng.integers(0, 200, size=(300, 4)).astype(dtype)
    file = mapped(X, tmp_path)
    expected = small().fit(X.astype(np.float32))
    for view in (file, np.asarray(file), file[:]):
        model = small().fit(view)
        assert torch.equal(weights_of(model), weights_of(expected))
        Z = model.transform(view)
        assert Z.dtype == (dtype if dtype in (np.float32, np.float64) else np.float64)
        np.testing.assert_allclose(Z, model.transform(X.astype(np.float32)), rtol=1e-6)
        np.testing.assert_allclose(model.score(view), model.score(X), rtol=1e-5)


def test_bad_numbers_in_a_file_are_errors_before_training(tmp_path, small_pieces):
    X = np.zeros((300, 4), dtype=np.float16)
    X[250, 1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        small().fit(mapped(X, tmp_path))
    X = np.zeros((300, 4))
    X[250, 1] = 1e200
    model = small()
    with pytest.raises(ValueError, match="X has numbers whose squares are beyond the range"):
        model.fit(mapped(X, tmp_path))
    assert not hasattr(model, "net_")


def test_chunks_of_a_file_are_fitted_one_by_one(standard_jets, tmp_path):
    file = mapped(standard_jets, tmp_path)
    model, expected = small(lr=0.01), small(lr=0.01)
    for start in range(0, 400, 100):
        model.partial_fit(file[start : start + 100])
        expected.partial_fit(standard_jets[start : start + 100])
    assert torch.equal(weights_of(model), weights_of(expected))
