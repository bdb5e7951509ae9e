"""Checks of scikit-learn that ``parametrize_with_checks`` leaves out: called directly."""

import pytest
from sklearn.utils import estimator_checks as checks

each_remaining_check = pytest.mark.parametrize(
    "check",
    [
        checks.check_param_validation,
        checks.check_set_output_transform,
        checks.check_set_output_transform_pandas,
        checks.check_set_output_transform_polars,
        checks.check_global_output_transform_pandas,
        checks.check_global_set_output_transform_polars,
        checks.check_transformer_get_feature_names_out,
        checks.check_transformer_get_feature_names_out_pandas,
        checks.check_dataframe_column_names_consistency,
    ],
    ids=lambda check: check.__name__,
)
