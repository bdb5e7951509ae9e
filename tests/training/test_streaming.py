"""Rows that are read as they are needed: each once an epoch, in random order, and never all at once."""

import numpy as np
import pytest
import torch
from fits import weights_of
from hypothesis import given
from hypothesis import strategies as st

from skae import JetAutoencoder, NoiseInjector
from skae.training import RandomStreams, StreamedRows, TensorRows, memory, should_stream, streaming

CPU = torch.device("cpu")


@pytest.fixture
def small_pieces(monkeypatch):
    """Runs of 10 rows of 4 float64, buffers of 70."""
    monkeypatch.setattr(streaming, "_RUN_BYTES", 10 * 4 * 8)
    monkeypatch.setattr(streaming, "_BUFFER_BYTES", 70 * 4 * 4)


@pytest.fixture
def always_streaming(monkeypatch, small_pieces):
    monkeypatch.setattr(memory, "SHARE_OF_MEMORY", 0.0)


def numbered(n, dtype=np.float64):
    """Rows that say their number, with targets and weights that follow from it."""
    x = np.arange(n, dtype=dtype)[:, None] + np.arange(4, dtype=dtype) * 1000
    return StreamedRows.from_arrays(x, 2.0 * x, 3.0 * np.arange(n), 1.0)


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
    rows = streaming.ArrayRows(x, runs, "X", divisor=2.0)
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
    batches = numbered(n).minibatches(batch_size, generator)
    like = TensorRows(torch.zeros(n, 4)).minibatches(batch_size)
    numbers = numbers_of(batches)
    assert [len(batch) for batch in numbers] == batches.sizes == like.sizes
    assert len(batches) == len(like)
    flat = flattened(numbers)
    assert sorted(flat) == list(range(n))
    assert (flat == list(range(n))) == (not shuffled or n == 1)


def test_each_epoch_has_its_own_order_and_each_seed_its_own_epochs(small_pieces):
    rows = numbered(300)

    def order(seed, epoch):
        streams = RandomStreams(seed, CPU)
        streams.begin_epoch(epoch)
        return numbers_of(rows.minibatches(32, streams.shuffle))

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_a_batch_holds_rows_from_all_over_the_array(monkeypatch):
    """Rows that lie in order, as a sorted file does, must not be learnt in order."""
    monkeypatch.setattr(streaming, "_RUN_BYTES", 10 * 4 * 8)
    monkeypatch.setattr(streaming, "_BUFFER_BYTES", 1000 * 9 * 4)
    n = 10_000
    batches = numbers_of(numbered(n).minibatches(100, torch.Generator().manual_seed(0)))
    means = [np.mean(batch) for batch in batches]
    # the mean of 100 of n uniform rows spreads by n/√1200; a run of ten widens it by at most √10
    assert np.std(means) < 2 * n / np.sqrt(1200)
    spreads = [np.std(batch) for batch in batches]
    assert min(spreads) > 0.7 * n / np.sqrt(12)


@pytest.mark.parametrize("n_held_out", [1, 10, 37, 140, 332])
def test_rows_held_out_are_not_trained_on(n_held_out, small_pieces):
    rows = numbered(333)
    training, validation = rows.hold_out(n_held_out, seed=3)
    parts = [flattened(numbers_of(part.minibatches(50))) for part in (training, validation)]
    assert [len(part) for part in parts] == [333 - n_held_out, n_held_out]
    assert sorted(parts[0] + parts[1]) == list(range(333))
    assert parts[1] == flattened(numbers_of(rows.hold_out(n_held_out, seed=3)[1].minibatches(9)))
    assert parts[1] != flattened(numbers_of(rows.hold_out(n_held_out, seed=4)[1].minibatches(9)))
    assert training.total_weight() == 3 * sum(parts[0])
    if sum(parts[1]):
        weights = [w for _, _, w in validation.with_mean_weight_of_one().minibatches(50)]
        assert torch.cat(weights).mean() == pytest.approx(1.0)


def test_single_rows_are_there_for_callbacks(small_pieces):
    x, target = numbered(50)[17]
    assert x[0] == 17
    assert target[0] == 34


# -- when ---------------------------------------------------------------------------------------


def test_a_stated_share_of_the_memory_decides(monkeypatch):
    monkeypatch.setattr(memory, "main_memory", lambda: 4000)
    assert not should_stream(100, CPU)
    assert should_stream(101, CPU)
    monkeypatch.setattr(memory, "main_memory", lambda: 10**9)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1600))
    assert not should_stream(100, torch.device("cuda"))
    assert should_stream(101, torch.device("cuda"))


def test_memory_is_that_of_the_machine_or_its_container(monkeypatch, tmp_path):
    machine = memory.main_memory()
    assert 2**28 < machine < 2**50
    own, root = tmp_path / "cgroup", tmp_path / "root"
    own.write_text("12:cpu,cpuacct:/x\n7:memory:/jobs/1\n0::/slurm/job/step\n")
    files = memory._limit_files(str(own), str(root))
    monkeypatch.setattr(memory, "_limit_files", lambda: files)
    assert memory.main_memory() >= machine
    for folder, name, limit in (
        (".", "memory.max", "max"),
        ("memory/jobs/1", "memory.limit_in_bytes", "3000000"),
        ("slurm/job", "memory.max", "2000000"),
        ("slurm/job/step", "memory.max", "max"),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text(limit + "\n")
    assert memory.main_memory() == 2_000_000
    (root / "slurm/job/memory.max").unlink()
    assert memory.main_memory() == 3_000_000
    (root / "memory.max").write_text("1000\n")
    assert memory.main_memory() == 1000


# -- fits ---------------------------------------------------------------------------------------


def small(**parameters):
    defaults = {"hidden_layer_sizes": (16,), "max_epochs": 10, "batch_size": 32, "random_state": 0}
    return JetAutoencoder(**{**defaults, **parameters}, device="cpu")


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
def test_a_streamed_fit_learns_what_a_fit_in_memory_does(options, standard_jets, always_streaming):
    streamed = small(**options).fit(standard_jets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "SHARE_OF_MEMORY", 1.0)
        whole = small(**options).fit(standard_jets)
    assert not torch.equal(weights_of(streamed), weights_of(whole)), "the order differs"
    torch.testing.assert_close(streamed.module_.scale, whole.module_.scale, rtol=0.1, atol=0.0)
    assert streamed.score(standard_jets) == pytest.approx(whole.score(standard_jets), rel=0.15)
    again = small(**options).fit(standard_jets)
    assert torch.equal(weights_of(again), weights_of(streamed))


def test_event_weights_are_streamed_too(standard_jets, always_streaming):
    X = np.vstack([standard_jets, np.full((50, 4), 1e3)])
    weight = np.concatenate([np.full(400, 5.0), np.zeros(50)])
    model = small().fit(X, sample_weight=weight)
    expected = small().fit(standard_jets)
    assert model.score(standard_jets) == pytest.approx(expected.score(standard_jets), rel=0.15)
    assert model.net_.weight_mean_ == pytest.approx(weight.mean())


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int16, np.uint8])
def test_numbers_of_any_kind_are_read_where_they_are(dtype, tmp_path, rng, always_streaming):
    X = rng.integers(0, 200, size=(300, 4)).astype(dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = small().fit(X.astype(np.float32))
    for view in (mapped, np.asarray(mapped), mapped[:]):
        model = small().fit(view)
        # runs are as long in bytes, so float32 alone gives the same batches
        if dtype == np.float32:
            assert torch.equal(weights_of(model), weights_of(expected))
        Z = model.transform(view)
        assert Z.dtype == (dtype if dtype in (np.float32, np.float64) else np.float64)
        np.testing.assert_allclose(Z, model.transform(X.astype(np.float32)), rtol=1e-6)
        np.testing.assert_allclose(model.score(view), model.score(X), rtol=1e-5)


def test_bad_numbers_in_a_file_are_errors_before_training(tmp_path, always_streaming):
    X = np.zeros((300, 4), dtype=np.float16)
    X[250, 1] = np.nan
    np.save(tmp_path / "half.npy", X)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        small().fit(np.load(tmp_path / "half.npy", mmap_mode="r"))
    X = np.zeros((300, 4))
    X[250, 1] = 1e39
    np.save(tmp_path / "double.npy", X)
    model = small()
    with pytest.raises(ValueError, match="X has values up to 1e\\+39, beyond the range of float32"):
        model.fit(np.load(tmp_path / "double.npy", mmap_mode="r"))
    assert not hasattr(model, "net_")


def test_chunks_of_a_file_are_fitted_one_by_one(standard_jets, tmp_path):
    np.save(tmp_path / "X.npy", standard_jets)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model, expected = small(lr=0.01), small(lr=0.01)
    for start in range(0, 400, 100):
        model.partial_fit(mapped[start : start + 100])
        expected.partial_fit(standard_jets[start : start + 100])
    assert torch.equal(weights_of(model), weights_of(expected))
