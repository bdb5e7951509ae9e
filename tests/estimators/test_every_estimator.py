"""What holds for every estimator that trains a network, of a small one of each kind."""

import copy
import pickle
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import torch
from fits import assert_goes_on, global_states, mapped, read_in_pieces, weights_of
from fitted import LEARNERS, answers, learner
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skae.exceptions import IgnoredParameterWarning, OvercompleteWarning

# What networks of two epochs decode is out of range. Some of them stop early, chunks do not.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::skae.exceptions.{name}")
    for name in ("ClippingWarning", "IgnoredParameterWarning")
]

each_learner = pytest.mark.parametrize("name", LEARNERS)
one_of_each_class = pytest.mark.parametrize(
    "name", ["jets", "spectra", "showers", "pulses", "pulses-time", "sequences"]
)
DRAWN = ("sample", "reconstruct 0")  # other numbers for other rows


def assert_answers(model, X, expected):
    found = answers(model, X)
    assert found.keys() == expected.keys()
    for method, answer in found.items():
        np.testing.assert_array_equal(answer, expected[method], method)


@each_learner
def test_one_seed_gives_one_fit_and_global_random_states_are_left_as_found(name):
    model, X, y = learner(name)
    before = global_states()
    first, second = (clone(model).fit(X, y) for _ in range(2))
    other = clone(model).set_params(random_state=1).fit(X, y)
    answers(first, X)
    first.partial_fit(X, y)
    assert global_states() == before
    again = second.partial_fit(X, y)
    assert torch.equal(weights_of(first), weights_of(again))
    assert not torch.equal(weights_of(first), weights_of(other.partial_fit(X, y)))


@pytest.mark.parametrize(
    ("name", "streamed"),
    [(name, False) for name in LEARNERS]
    + [(name, True) for name in ("jets-noise", "jets-residual", "sequences-channels")],
)
def test_a_crashed_fit_goes_on_to_the_same_weights(
    name, streamed, tmp_path, save_always, monkeypatch
):
    model, X, y = learner(name)
    if streamed:
        read_in_pieces(monkeypatch.setattr, run=100, buffer=500)
    model.set_params(batch_size=8, max_epochs=4)
    assert_goes_on(model, tmp_path, X, 1, 3, 8, y=y)


@each_learner
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_come_back(name, dtype):
    model, X, y = learner(name)
    X = X.astype(dtype)
    for method, answer in answers(model.fit(X, y), X).items():
        assert answer.dtype == dtype or method == "sample", method


@each_learner
def test_a_row_does_not_depend_on_the_rows_beside_it(name):
    model, X, y = learner(name)
    model.fit(X, y)
    together = answers(model, X)
    apart = 1 if name.startswith("sequences") else 13  # showers and decoders take long
    alone = [slice(i, i + 1) for i in range(0, len(X), apart)]
    for rows in (slice(None, None, -1), slice(20, None), *alone):
        for method, answer in answers(model, X[rows]).items():
            if method not in DRAWN:
                rounding = 1e-6 * np.nanmax(np.abs(together[method]))
                np.testing.assert_allclose(answer, together[method][rows], rtol=0, atol=rounding)


@each_learner
def test_parameters_that_shape_the_network_act_on_the_next_fit_alone(name):
    model, X, y = learner(name)
    expected = answers(model.fit(X, y), X)
    shaping = [known.name for known in fields(model) if known.metadata["shapes"]]
    model.set_params(**dict.fromkeys(shaping, object()))
    assert_answers(model, X, expected)


@each_learner
def test_chunks_and_warm_starts_go_on_and_copies_do_alike(name):
    model, X, y = learner(name)
    model.partial_fit(X[:30], None if y is None else y[:30])
    twins = [model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    for twin in twins:
        twin.partial_fit(X, y)
        assert twin.n_iter_ == len(twin.history_) == 2
        twin.set_params(warm_start=True, early_stopping=False).fit(X, y)
        assert (twin.n_iter_, len(twin.history_)) == (2, 4), "n_iter_ is of the last fit"
        assert pickle.loads(pickle.dumps(twin)).partial_fit(X, y).n_iter_ == 3
        assert torch.equal(weights_of(twin), weights_of(model))


def read_only(X, folder):
    X = X.copy()
    X.flags.writeable = False
    return X


FORMS = {
    "list": lambda X, _: X.tolist(),
    "fortran": lambda X, _: np.asfortranarray(X),
    "tensor": lambda X, _: torch.from_numpy(X.copy()),
    "tensor with gradient": lambda X, _: torch.tensor(X, requires_grad=X.dtype.kind == "f"),
    "pandas values": lambda X, _: pd.DataFrame(X.reshape(len(X), -1)).to_numpy().reshape(X.shape),
    "read-only": read_only,
    "memmap": mapped,
}


@one_of_each_class
@pytest.mark.parametrize("convert", FORMS.values(), ids=FORMS)
def test_every_form_of_the_data_gives_the_same_fit(name, convert, tmp_path_factory):
    model, X, y = learner(name)
    X = X.astype(np.float64)
    expected = answers(clone(model).fit(X, y), X)
    X = convert(X, tmp_path_factory.mktemp("X"))
    y = None if y is None else convert(y, tmp_path_factory.mktemp("y"))
    assert_answers(model.fit(X, y), X, expected)


@pytest.mark.parametrize("name", ["spectra", "spectra-poisson", "showers", "sequences"])
def test_frames_are_rows_too(name):
    model, X, y = learner(name)
    expected = answers(clone(model).fit(X, y), X)
    frame = pd.DataFrame(X, columns=[f"t{j}" for j in range(X.shape[1])])
    model.fit(frame, None if y is None else pd.DataFrame(y))
    assert list(model.feature_names_in_) == list(frame.columns)
    assert_answers(model, frame, expected)


@pytest.mark.parametrize(
    ("name", "parameter", "values"),
    [
        ("jets", "n_components", [1, 3]),
        ("spectra", "n_components", [1, 3]),
        ("showers", "n_components", [1, 3]),
        ("pulses", "estimate", ["mode", "mean"]),
        ("sequences", "cell", ["gru", "lstm"]),
    ],
)
def test_it_is_searched_in_a_pipeline(name, parameter, values):
    model, X, y = learner(name)
    pipeline = make_pipeline(FunctionTransformer(lambda X: X / 2.0, lambda X: 2.0 * X), model)
    grid = {f"{pipeline.steps[-1][0]}__{parameter}": values}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    method = "transform" if hasattr(model, "transform") else "predict"
    found, expected = (getattr(one, method)(X) for one in (search, search.best_estimator_))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["jets", "spectra", "showers"])
def test_as_many_components_as_columns_are_warned_of(name):
    model, X, _ = learner(name)
    n_columns = X.shape[1] - (name == "showers")  # beside the incident energy
    with pytest.warns(OvercompleteWarning, match=f"{n_columns} columns compress nothing"):
        model.set_params(n_components=n_columns).fit(X)
    assert np.isfinite(model.transform(X)).all()
    model.set_params(n_components=n_columns - 1).fit(X)  # without a word


@pytest.mark.parametrize("ignored", [{"early_stopping": True}, {"checkpoint": "folder"}])
def test_partial_fit_says_what_it_ignores(ignored):
    model, X, y = learner("jets")
    (name,) = ignored
    with pytest.warns(IgnoredParameterWarning, match=f"partial_fit ignores {name}="):
        model.set_params(**ignored).partial_fit(X, y)
