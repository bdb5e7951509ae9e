"""Figures of merit of latent coordinates: how much each is used."""

import numpy as np
from sklearn.utils import check_array


def latent_divergence(mean, std):
    r"""Return what each latent coordinate tells of each row, in nats.

    This is the divergence of a Gaussian posterior from the standard normal prior,

    .. math:: \mathrm{KL} = \tfrac12(\mu^2 + \sigma^2 - \ln\sigma^2 - 1).

    Its mean over the rows is near zero for a coordinate that the model ignores (posterior collapse).

    Parameters
    ----------
    mean, std : array-like of shape (n_samples, n_components)
        Posterior means and standard deviations, as ``SpectraVAE.posterior`` returns them.

    Returns
    -------
    divergence : ndarray of shape (n_samples, n_components)
        Divergences; none is negative.

    Examples
    --------
    >>> from skae.metrics import latent_divergence
    >>> latent_divergence([[0.0, 1.0]], [[1.0, 0.1]]).round(3)
    array([[0.   , 2.308]])
    """
    mean = check_array(mean, dtype=np.float64, input_name="mean")
    std = check_array(std, dtype=np.float64, input_name="std")
    if std.shape != mean.shape or not (std > 0).all():
        raise ValueError(
            f"std has shape {std.shape} and minimum {std.min():.3g}; it must be positive and of mean's "
            f"shape {mean.shape}."
        )
    return 0.5 * (mean**2 + std**2 - 1.0) - np.log(std)


def active_units(mean, threshold=0.01):
    """Tell which latent coordinates vary with the rows (Burda et al., 2016, arXiv:1509.00519).

    Parameters
    ----------
    mean : array-like of shape (n_samples, n_components)
        Posterior means.
    threshold : float, default=0.01
        Variance over the rows from which on a coordinate counts as active.

    Returns
    -------
    active : ndarray of shape (n_components,) of bool
        True where a coordinate is active.

    Examples
    --------
    >>> from skae.metrics import active_units
    >>> active_units([[0.0, 1.0], [0.001, -1.0]])
    array([False,  True])
    """
    mean = check_array(mean, dtype=np.float64, input_name="mean")
    return mean.var(axis=0) > threshold
