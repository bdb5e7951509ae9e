"""scikit-learn's own checks, those that parametrize_with_checks leaves out included."""

import os

import pytest
from remaining_checks import (
    MINIBATCHES,
    each_remaining_check,
    each_remaining_check_without_transform,
)
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from skae import (
    CaloShowerVAE,
    JetAutoencoder,
    MatchedFilterLocator,
    MultiResRNNRegressor,
    PulseLocator,
    SpectraVAE,
)

LOCATOR = {"max_epochs": 3, "n_channels": 6, "trace_channels": 4, "out_of_range": "clip"}
TRANSFORMERS = [
    JetAutoencoder(max_epochs=5),
    SpectraVAE(max_epochs=5),
    SpectraVAE(max_epochs=5, hidden_layer_sizes=(8,), likelihood="poisson", prior="mixture"),
    SpectraVAE(max_epochs=5, decoder="lstm", hidden_size=4, init="random", noise_sigma=0.5),
    SpectraVAE(max_epochs=5, decoder="multires", hidden_size=4, downsampling=(2,), init="random"),
    SpectraVAE(max_epochs=5, missing="mask"),
    CaloShowerVAE(max_epochs=2, n_components=3, hidden_size=16),
    CaloShowerVAE(
        max_epochs=4, n_components=9, hidden_size=16, prior="rbm", rbm_topology="zephyr", lr=1e-2
    ),
]
# scikit-learn's tables have one or two columns
OVERCOMPLETE = pytest.mark.filterwarnings("ignore::skae.exceptions.OvercompleteWarning")
REGRESSORS = [
    PulseLocator(**LOCATOR),
    PulseLocator(architecture="reference", estimate="median", max_epochs=3, out_of_range="clip"),
    MatchedFilterLocator(),
    MultiResRNNRegressor(hidden_size=16, max_epochs=12),
]
ESTIMATORS = TRANSFORMERS + REGRESSORS


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """What voxels have in common is of no account here, and is sought at each fit."""
    monkeypatch.setattr("skae.modules.showers.neighbours._ROUNDS", 5)


#: what check_estimator's labels are to PulseLocator(), and the checks that have such labels
OUTSIDE = "lie outside of the samples"
FAILED_BY_DEFAULT = {
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_partial_fit_n_features",
    "check_fit2d_1feature",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_readonly_memmap_input",
    "check_regressor_data_not_an_array",
    "check_regressors_no_decision_function",
    "check_regressors_train",
    "check_sample_weights_not_an_array",
    "check_sample_weights_not_overwritten",
    "check_sample_weights_pandas_series",
    "check_sample_weights_shape",
}


def expected_failures(estimator):
    return {} if isinstance(estimator, MatchedFilterLocator) else MINIBATCHES


@OVERCOMPLETE
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check):
    assert os.environ["SCIPY_ARRAY_API"] == "1"
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        MultiResRNNRegressor(
            hidden_size=16, max_epochs=12, cell="lstm", downsampling=(2, 2), positive=False
        )
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks_of_the_other_cell(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_no_check_is_skipped_by_a_tag(estimator):
    tags = estimator.__sklearn_tags__()
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert not tags._skip_test


@OVERCOMPLETE
# the checks mix DataFrames and arrays on purpose
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore:X has feature names, but")
@pytest.mark.parametrize("estimator", TRANSFORMERS, ids=lambda e: type(e).__name__)
@each_remaining_check
def test_checks_that_parametrize_with_checks_leaves_out(estimator, check):
    check(type(estimator).__name__, estimator)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore:X has feature names, but")
@pytest.mark.parametrize("estimator", REGRESSORS, ids=lambda e: type(e).__name__)
@each_remaining_check_without_transform
def test_checks_that_are_left_out_of_regressors(estimator, check):
    check(type(estimator).__name__, estimator)


@OVERCOMPLETE
def test_what_the_default_locator_fails_it_fails_for_labels_outside_of_the_samples():
    """Which checks these are: scikit-learn's labels are what they are for any regressor."""
    locator = PulseLocator(max_epochs=3, n_channels=6, trace_channels=4)
    results = check_estimator(
        locator, on_fail=None, on_skip=None, expected_failed_checks=MINIBATCHES
    )
    failed = [each for each in results if each["status"] == "failed"]
    assert {each["check_name"] for each in failed} == FAILED_BY_DEFAULT
    for each in failed:
        error = each["exception"]
        while OUTSIDE not in str(error) and (error.__cause__ or error.__context__) is not None:
            error = error.__cause__ or error.__context__
        assert OUTSIDE in str(error), each["check_name"]
    assert sum(each["status"] == "passed" for each in results) > 20
