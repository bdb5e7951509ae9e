"""scikit-learn's private names: here and nowhere else, so that its next release breaks one file.

All but the smallest of these modules are loaded by scikit-learn's own base, so they cost no time.
"""

from sklearn.base import _fit_context
from sklearn.utils._metadata_requests import SIMPLE_METHODS
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_params,
)
from sklearn.utils.validation import _check_feature_names_in, _check_sample_weight

__all__ = [
    "SIMPLE_METHODS",
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "_check_feature_names_in",
    "_check_sample_weight",
    "_fit_context",
    "validate_params",
]
