"""scikit-learn's own checks, those that parametrize_with_checks leaves out included."""

import pytest
from remaining_checks import each_remaining_check
from sklearn.utils import estimator_checks as checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skae import (
    BoxCoxTransformer,
    KinematicsTransformer,
    LogRatioTransformer,
    NoiseInjector,
    PhotonCorrelationFit,
    SpectrumScaler,
)

LOG_RATIOS = [LogRatioTransformer(kind) for kind in ("logit", "log1p", "alr", "clr", "ilr")]
TRANSFORMERS = [
    BoxCoxTransformer(),
    BoxCoxTransformer(skew_threshold=0.5),
    BoxCoxTransformer(standardize=False),
    BoxCoxTransformer(lmbda=0.5),
    *LOG_RATIOS,
    NoiseInjector(),
    NoiseInjector("gaussian"),
    NoiseInjector({"poisson": 0.7, "gaussian": 0.3}),
    NoiseInjector(apply="always"),
    PhotonCorrelationFit(),
    SpectrumScaler(),
    SpectrumScaler("column"),
]
# the checks transform rows that they did not fit, and histograms of a few columns that are no counts
BEYOND = pytest.mark.filterwarnings(
    "ignore:.*far beyond the data of the fit:skae.exceptions.ClippingWarning",
    "ignore:X has numbers that are not whole:skae.exceptions.UnitsWarning",
    "ignore::skae.exceptions.UndeterminedWarning",
    "ignore::skae.exceptions.AmbiguousDelayWarning",
)


@BEYOND
@parametrize_with_checks(TRANSFORMERS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@BEYOND
@parametrize_with_checks([PhotonCorrelationFit(likelihood="gaussian")])
def test_scikit_learn_checks_of_the_other_likelihood(estimator, check):
    check(estimator)


@BEYOND
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore:X has feature names, but .* was fitted without")
@pytest.mark.parametrize(
    "transformer",
    [
        BoxCoxTransformer(),
        *LOG_RATIOS,
        SpectrumScaler(),
        SpectrumScaler("column"),
        NoiseInjector("gaussian", random_state=0),  # of one seed: checks compare two calls
        pytest.param(PhotonCorrelationFit(), marks=pytest.mark.slow),
    ],
    ids=str,
)
@each_remaining_check
def test_checks_that_parametrize_with_checks_leaves_out(transformer, check):
    check(type(transformer).__name__, transformer)


def test_without_a_shift_negative_data_are_refused_as_scikit_learn_asks():
    """Its other checks bring zeros for a positive-only estimator, which have no power without a shift."""
    box_cox = BoxCoxTransformer(shift=None)
    assert box_cox.__sklearn_tags__().input_tags.positive_only
    checks.check_fit_non_negative("BoxCoxTransformer", box_cox)


@pytest.mark.parametrize(
    "check",
    [
        checks.check_no_attributes_set_in_init,
        checks.check_parameters_default_constructible,
        checks.check_estimator_cloneable,
        checks.check_estimator_repr,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_estimator_tags_renamed,
        checks.check_valid_tag_types,
    ],
    ids=lambda check: check.__name__,
)
def test_checks_that_bring_no_data_of_their_own(check):
    """The others fit on rows that are no four-momenta, which KinematicsTransformer must refuse."""
    check("KinematicsTransformer", KinematicsTransformer())
