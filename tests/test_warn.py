"""Warnings point at the user's line, whatever lies between it and skae."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import FeatureUnion, make_pipeline

from skae import BoxCoxTransformer
from skae.exceptions import ClippingWarning

X = np.random.default_rng(0).lognormal(size=(60, 2))
y, FAR = X[:, 0], -100.0 * X


def by_hand(fitted):
    fitted.transform(FAR)


def in_a_pipeline(_):
    make_pipeline(BoxCoxTransformer(), LinearRegression()).fit(X, y).predict(FAR)


def as_pandas(_):
    BoxCoxTransformer().set_output(transform="pandas").fit(X).transform(FAR)


def of_targets(_):
    regressor = TransformedTargetRegressor(LinearRegression(), transformer=BoxCoxTransformer())
    regressor.fit(X, y).predict(1e6 * FAR)


def of_columns(_):
    ColumnTransformer([("both", BoxCoxTransformer(), [0, 1])]).fit(X).transform(FAR)


def in_a_union(_):
    FeatureUnion([("one", BoxCoxTransformer())]).fit(X).transform(FAR)


def in_a_cross_validation(_):
    model = make_pipeline(BoxCoxTransformer(), LinearRegression())
    cross_val_predict(model, np.r_[X, FAR], np.r_[y, y], cv=KFold(2))


def in_a_table(fitted):
    pd.DataFrame(FAR).pipe(fitted.transform)


def of_each_row(fitted):
    np.apply_along_axis(lambda row: fitted.transform(row[np.newaxis])[0], 1, FAR[:1])


def in_joblibs_loop(fitted):
    Parallel(n_jobs=1)(delayed(fitted.transform)(FAR) for _ in range(2))


def in_joblibs_threads(fitted):
    Parallel(n_jobs=2, backend="threading")(delayed(fitted.transform)(FAR) for _ in range(2))


def in_a_pool(fitted):
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(fitted.transform, [FAR]))


def in_a_thread(fitted):
    thread = threading.Thread(target=fitted.transform, args=(FAR,))
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    "use",
    [
        by_hand,
        in_a_pipeline,
        as_pandas,
        of_targets,
        of_columns,
        in_a_union,
        in_a_cross_validation,
        in_a_table,
        of_each_row,
        in_joblibs_loop,
        in_joblibs_threads,
        in_a_pool,
        in_a_thread,
    ],
)
def test_a_warning_points_at_the_line_of_the_user(use):
    fitted = BoxCoxTransformer().fit(X)
    with pytest.warns(ClippingWarning) as said:
        use(fitted)
    first = use.__code__.co_firstlineno
    for warning in said:
        assert warning.filename == __file__
        assert first < warning.lineno <= first + 5
