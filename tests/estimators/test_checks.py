"""scikit-learn's own checks, those that parametrize_with_checks leaves out included."""

import os

import pytest
from remaining_checks import each_remaining_check
from sklearn.utils.estimator_checks import parametrize_with_checks

from skae import JetAutoencoder

ESTIMATORS = [JetAutoencoder(max_epochs=5)]

MINIBATCHES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "minibatches: a row of weight 2 stands once in one batch, a repeated row in two of them"
    )
}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda estimator: MINIBATCHES)
def test_scikit_learn_checks(estimator, check):
    assert os.environ["SCIPY_ARRAY_API"] == "1"
    check(estimator)


def test_no_check_is_skipped_by_a_tag():
    tags = JetAutoencoder().__sklearn_tags__()
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert not tags._skip_test


# the checks mix DataFrames and arrays on purpose
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore:X has feature names, but JetAutoencoder was fitted without")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
@each_remaining_check
def test_checks_that_parametrize_with_checks_leaves_out(estimator, check):
    check(type(estimator).__name__, estimator)
