"""Checks of scikit-learn that ``parametrize_with_checks`` leaves out, and one that is not passed."""

import pytest
from sklearn.utils import estimator_checks as checks

OF_ALL = [checks.check_param_validation, checks.check_dataframe_column_names_consistency]

OF_TRANSFORMERS = [
    checks.check_set_output_transform,
    checks.check_set_output_transform_pandas,
    checks.check_set_output_transform_polars,
    checks.check_global_output_transform_pandas,
    checks.check_global_set_output_transform_polars,
    checks.check_transformer_get_feature_names_out,
    checks.check_transformer_get_feature_names_out_pandas,
]

#: of what is trained in minibatches
MINIBATCHES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "minibatches: a row of weight 2 stands once in one batch, a repeated row in two of them"
    )
}


def _each(checks):
    return pytest.mark.parametrize("check", checks, ids=lambda check: check.__name__)


#: of a transformer
each_remaining_check = _each(OF_ALL + OF_TRANSFORMERS)

#: of an estimator without ``transform``
each_remaining_check_without_transform = _each(OF_ALL)
