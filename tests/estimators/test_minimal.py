"""What the contributing guide shows is an estimator."""

import numpy as np
import pytest
from minimal import LinearAutoencoder
from remaining_checks import MINIBATCHES
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from skae.datasets import make_jets


@parametrize_with_checks(
    [LinearAutoencoder(max_epochs=5)], expected_failed_checks=lambda _: MINIBATCHES
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_it_finds_principal_components():
    X = make_jets(1000, random_state=0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = LinearAutoencoder(2, batch_size=32, random_state=0).fit(X)
    pca = PCA(2).fit(X)
    least = np.mean((X - pca.inverse_transform(pca.transform(X))) ** 2)
    assert -model.score(X) == pytest.approx(least, rel=1e-3)
