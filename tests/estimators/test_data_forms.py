"""Rows in every form are the same rows, and those that cannot be learnt are refused by name."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from fits import small

# -- what is the same --------------------------------------------------------------------------


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_frames_go_in_and_come_out(library, standard_jets):
    X = library.DataFrame(dict(zip("abcd", standard_jets.T, strict=True)))
    model = small(n_components=2).set_output(transform=library.__name__).fit(X)
    Z = model.transform(X)
    assert isinstance(Z, library.DataFrame)
    assert list(Z.columns) == ["jetautoencoder0", "jetautoencoder1"]
    assert list(model.feature_names_in_) == list("abcd")
    np.testing.assert_array_equal(model.inverse_transform(Z), model.inverse_transform(Z.to_numpy()))


@pytest.mark.filterwarnings("ignore::skae.exceptions.OvercompleteWarning")
@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (65, 4), (50, 1), (1, 1)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_any_number_of_rows_and_columns(shape, batch_norm, rng):
    X = rng.normal(size=shape)
    if batch_norm and shape[0] == 1:  # no variance to divide by
        with pytest.raises(ValueError, match="batch_norm=True needs at least 2 rows"):
            small(batch_norm=True).fit(X)
        return
    model = small(n_components=1, batch_norm=batch_norm).fit(X)
    assert model.transform(X).shape == (shape[0], 1)
    assert np.isfinite(model.inverse_transform(model.transform(X))).all()


def test_constant_columns_come_back(rng):
    X = np.column_stack([rng.normal(size=100), np.full(100, 7.0), np.zeros(100)])
    model = small(max_epochs=300, lr=0.01, n_components=1).fit(X)
    decoded = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(decoded[:, 1:], X[:, 1:], atol=0.05)


@pytest.mark.parametrize("block", ["dense", "conv"])
def test_a_row_does_not_depend_on_the_rows_beside_it(block, rng):
    X = rng.normal(size=(5000, 4))
    model = small(hidden_layer_sizes=(200, 100, 50), block=block).fit(X[:100])
    together = model.transform(X)
    for rows in (slice(0, 1), slice(17, 30), slice(4990, 5000)):
        np.testing.assert_allclose(model.transform(X[rows]), together[rows], atol=1e-7)


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1.0, np.nan], [2.0, 3.0]], "Input X contains NaN"),
        ([[1.0, np.inf], [2.0, 3.0]], "Input X contains infinity"),
        ([["a", "b"], ["c", "d"]], "could not convert string to float"),
        (np.empty((0, 4)), r"0 sample\(s\)"),
        ([1.0, 2.0], "Expected 2D array, got 1D array"),
        ([[1e200, 1.0], [2.0, 3.0]], "beyond the range of float64"),
    ],
    ids=["nan", "inf", "strings", "empty", "1-D", "overflow"],
)
def test_bad_data_is_an_error_before_training(X, message):
    model = small(n_components=1)
    with pytest.raises(ValueError, match=message):
        model.fit(X)
    assert not hasattr(model, "net_")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("max_epochs", 0), ("batch_size", 0), ("lr", 0.0), ("lr", "fast"), ("optimizer", "adamax"),
        ("optimizer", dict), ("weight_decay", -1.0), ("lr_schedule", "linear"),
        ("early_stopping", "yes"), ("validation_fraction", 1.0), ("n_iter_no_change", 0),
        ("tol", -1e-3), ("noise", 0.1), ("device", "quantum"), ("device", 3), ("callbacks", "bar"),
        ("verbose", "loud"), ("warm_start", 2), ("random_state", "lucky"),
    ],
)  # fmt: skip
def test_unknown_parameter_values_are_named_before_training(parameter, value, standard_jets):
    model = small(**{parameter: value})
    with pytest.raises(ValueError, match=parameter) as error:
        model.fit(standard_jets)
    assert str(value) in str(error.value) or repr(value) in str(error.value)
    assert not hasattr(model, "net_")


def test_values_beyond_float32_are_an_error_in_use_too(standard_jets):
    model = small().fit(standard_jets)
    for use in (model.transform, model.score_samples):
        with pytest.raises(ValueError, match=r"values up to 1e\+39, beyond the range of float32"):
            use([[1e39, 0.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="beyond the range of float32"):
        model.inverse_transform([[1e39, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("parameters", "rows"), [({"batch_size": 1}, 10), ({"early_stopping": True}, 2)], ids=str
)
def test_batch_norm_needs_two_rows_in_a_batch(parameters, rows, standard_jets):
    with pytest.raises(ValueError, match="batch_norm=True needs at least 2 rows"):
        small(batch_norm=True, **parameters).fit(standard_jets[:rows])


def test_a_wrong_number_of_latents_is_an_error(standard_jets):
    model = small().fit(standard_jets)
    with pytest.raises(ValueError, match=r"X has 2 columns, but .* n_components=3"):
        model.inverse_transform(np.zeros((5, 2)))


def test_weight_decay_for_an_optimizer_without_it_is_an_error(standard_jets):
    with pytest.raises(ValueError, match="LBFGS has no weight decay"):
        small(optimizer=torch.optim.LBFGS, weight_decay=0.1).fit(standard_jets)


def test_an_optimizer_with_a_closure_works(standard_jets):
    options = {"optimizer": torch.optim.LBFGS, "weight_decay": 0.0, "lr": 0.5}
    model = small(**options, batch_size=400, max_epochs=10).fit(standard_jets)
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]
