"""The errors and warnings that are skae's own, so that they can be caught by name."""

from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "AmbiguousDelayWarning",
    "CheckpointError",
    "CheckpointWarning",
    "ClippingWarning",
    "CompileWarning",
    "DivergenceError",
    "DriftWarning",
    "ExtrapolationWarning",
    "IgnoredParameterWarning",
    "LongFitWarning",
    "OptimizerStateWarning",
    "OutlierWarning",
    "OvercompleteWarning",
    "PoorFitWarning",
    "PrecisionWarning",
    "SamplerWarning",
    "UndeterminedWarning",
    "UnitsWarning",
    "UnusedDataWarning",
    "VersionWarning",
    "WeightWarning",
]


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, is damaged, or belongs to another fit.

    What was saved before is still there. An estimator whose training had begun holds the weights of that
    moment and is usable as it is.

    Examples
    --------
    >>> from tempfile import NamedTemporaryFile
    >>> from skae import JetAutoencoder
    >>> from skae.datasets import make_jets
    >>> from skae.exceptions import CheckpointError
    >>> X = make_jets(50, random_state=0)
    >>> with NamedTemporaryFile() as file:
    ...     try:
    ...         JetAutoencoder(checkpoint=file.name).fit(X)
    ...     except CheckpointError as error:
    ...         print(error)
    The checkpoint ... cannot be opened: ... Choose a folder, not a file and fit again: ...
    """


class DivergenceError(FloatingPointError):
    """The training loss became NaN or infinite.

    The estimator that raised it holds the last finite weights and is usable as it is.

    Examples
    --------
    >>> from skae import JetAutoencoder
    >>> from skae.datasets import make_jets
    >>> from skae.exceptions import DivergenceError
    >>> X = make_jets(50, random_state=0)
    >>> try:
    ...     JetAutoencoder(optimizer="sgd", lr=1e30, lr_schedule="constant").fit(X)
    ... except DivergenceError as error:
    ...     print(error)
    The training loss became ... in epoch ... Lower lr, standardise the columns of X, ...
    """


class AmbiguousDelayWarning(UserWarning):
    """Zero delay was looked for, and more than one place of it is nearly as likely.

    Intervals allow for that, and are wide.

    Examples
    --------
    Light without any correlation, of which every peak could be the one at zero delay:

    >>> import warnings
    >>> from skae import PhotonCorrelationFit
    >>> from skae.datasets import make_photon_correlations
    >>> from skae.exceptions import AmbiguousDelayWarning
    >>> g2 = make_photon_correlations(
    ...     1, n_times=301, g2_zero=1.0, lifetimes=(0.05,), counts=100, gaussian_fraction=0,
    ...     random_state=0,
    ... )
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     found = PhotonCorrelationFit(times=g2.tau).fit_transform((100 * g2.noisy).round())
    >>> AmbiguousDelayWarning in [warning.category for warning in caught]
    True
    """


class CheckpointWarning(UserWarning):
    """A fit waits for another one that has the same checkpoint open, or cannot tell whether one has.

    Examples
    --------
    To be told by an error rather than to wait:

    >>> import warnings
    >>> from skae.exceptions import CheckpointWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", CheckpointWarning)
    ...     ...  # fit
    Ellipsis
    """


class ClippingWarning(UserWarning):
    """Values lie so far beyond the data of a fit that they are clipped, or follow a straight line.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skae import BoxCoxTransformer
    >>> X = np.random.default_rng(0).lognormal(size=(100, 1))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     moved = BoxCoxTransformer().fit(X).transform([[-5.0]])
    >>> caught[0].category.__name__
    'ClippingWarning'
    """


class CompileWarning(UserWarning):
    """The training step could not be compiled and runs uncompiled.

    Examples
    --------
    To be told by an error, before hours are spent on a machine without a compiler:

    >>> import warnings
    >>> from skae.exceptions import CompileWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", CompileWarning)
    ...     ...  # fit
    Ellipsis
    """


class DriftWarning(UserWarning):
    """A batch of rows is unlike those that a model was trained on: what it says of them may be wrong.

    Examples
    --------
    >>> import warnings
    >>> from skae import PulseLocator
    >>> from skae.datasets import make_pulses
    >>> X, y = make_pulses(400, random_state=0)
    >>> locator = PulseLocator(max_epochs=15, random_state=0).fit(X[:300], y[:300])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     position = locator.predict(3 * X[300:])
    >>> caught[0].category.__name__
    'DriftWarning'
    """


class ExtrapolationWarning(UserWarning):
    """A model is asked about conditions that it has not seen in training.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skae import CaloShowerVAE
    >>> X = np.random.default_rng(0).uniform(1.0, 2.0, size=(50, 4))  # energy, three voxels
    >>> model = CaloShowerVAE(1, max_epochs=1).fit(X)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     drawn = model.sample([1000.0])
    >>> caught[0].category.__name__
    'ExtrapolationWarning'
    """


class IgnoredParameterWarning(UserWarning):
    """A parameter is set that has no effect in the call that was made.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skae import JetAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(50, 5))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     model = JetAutoencoder(early_stopping=True).partial_fit(X)
    >>> caught[0].category.__name__
    'IgnoredParameterWarning'
    """


class LongFitWarning(UserWarning):
    """A fit is about to begin that will take half an hour or more on this machine.

    Examples
    --------
    To be told by an error, before the time is spent:

    >>> import warnings
    >>> from skae.exceptions import LongFitWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", LongFitWarning)
    ...     ...  # fit
    Ellipsis
    """


class OptimizerStateWarning(UserWarning):
    """Training goes on without the optimiser's moments, which were not saved.

    They begin at zero again, so the next epochs differ from those of a fit that was never saved.
    ``skae.save(..., optimizer_state=True)`` keeps them.

    Examples
    --------
    >>> import tempfile, warnings
    >>> import skae
    >>> from skae.datasets import make_jets
    >>> X = make_jets(50, random_state=0)
    >>> model = skae.JetAutoencoder(max_epochs=1).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skae.save(model, f"{folder}/jets.skops")
    ...     model = skae.load(f"{folder}/jets.skops")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     model = model.partial_fit(X)
    >>> caught[0].category.__name__
    'OptimizerStateWarning'
    """


class OutlierWarning(UserWarning):
    """Some rows hold so much more than the others that a sum over rows says little else.

    Examples
    --------
    A laboratory knows of them, and leaves them out by itself:

    >>> import warnings
    >>> from skae.exceptions import OutlierWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", OutlierWarning)
    ...     ...  # load_photon_correlations
    Ellipsis
    """


class OvercompleteWarning(UserWarning):
    """An autoencoder has as many latent coordinates as its rows have columns, or more.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skae import SpectraVAE
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     model = SpectraVAE(n_components=2, max_epochs=1).fit(X)
    >>> caught[0].category.__name__
    'OvercompleteWarning'
    """


class PoorFitWarning(ConvergenceWarning):
    """A fit came to its end, but what it learnt is no good.

    It is judged by up to 1024 of its own rows: the share of each column's variance that comes back from
    an autoencoder, squared residuals against the noise, energies and hits of showers drawn, R², or
    whether predicted errors are as large as the true ones. Fits of fewer than 250 rows, and
    ``partial_fit``, are not judged. A good fit may still be a poor model of other data: hold rows out.

    Examples
    --------
    Energies beside angles, which a loss in their units does not see:

    >>> import warnings
    >>> from skae import JetAutoencoder
    >>> from skae.datasets import make_jets
    >>> from skae.exceptions import PoorFitWarning
    >>> X = make_jets(1000, random_state=0)  # E, pT (GeV), η, φ
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", PoorFitWarning)
    ...     model = JetAutoencoder(max_epochs=30, random_state=0).fit(X)
    >>> print(caught[0].message)
    Poor fit of JetAutoencoder: Column 2 is lost: ... its spread, 1.61, vanishes beside 478 in column 0...
    """


class PrecisionWarning(UserWarning):
    """Rounding leaves few digits for what matters of some numbers.

    That is so where a column lies far from zero and is float32, in data or in a graph that is exported.

    Examples
    --------
    To be told by an error, before a graph goes to a trigger:

    >>> import warnings
    >>> from skae.exceptions import PrecisionWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", PrecisionWarning)
    ...     ...  # skae.export.to_onnx
    Ellipsis
    """


class SamplerWarning(UserWarning):
    """A sampler draws from something else than the Boltzmann machine: too cold, too warm, too little.

    Examples
    --------
    To be told by an error rather than to get such showers:

    >>> import warnings
    >>> from skae.exceptions import SamplerWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", SamplerWarning)
    ...     ...  # skae.sample
    Ellipsis
    """


class UndeterminedWarning(UserWarning):
    """Too few counts for what is asked of them: an interval is all of the values there are.

    Examples
    --------
    >>> import warnings
    >>> from skae import PhotonCorrelationFit
    >>> from skae.datasets import make_photon_correlations
    >>> g2 = make_photon_correlations(
    ...     1, n_times=301, lifetimes=(0.05,), counts=0.1, gaussian_fraction=0, random_state=0
    ... )
    >>> fit = PhotonCorrelationFit(period=1.0, zero_delay=0.0, times=g2.tau)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     interval = fit.fit(g2.noisy).interval((0.1 * g2.noisy).round())
    >>> caught[-1].category.__name__, interval
    ('UndeterminedWarning', array([[ 0., inf]]))
    """


class UnitsWarning(UserWarning):
    """Numbers look as if they were in another unit than is expected: degrees, or MeV for GeV.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skae import KinematicsTransformer
    >>> X = np.array([[120.0, 100.0, 0.5, 170.0], [45.0, 44.0, -0.2, -60.0]])  # E, pT (GeV), η, φ
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     features = KinematicsTransformer().fit_transform(X)
    >>> print(caught[0].message)
    phi reaches 170, beyond 2π: in degrees? numpy.deg2rad gives radians.
    """


class UnusedDataWarning(UserWarning):
    """Parts of a file are not used: columns, units, and spectra of which no pixel was seen.

    Examples
    --------
    A file is known, and what is left of it is not wanted:

    >>> import warnings
    >>> from skae.exceptions import UnusedDataWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", UnusedDataWarning)
    ...     ...  # load_spectra
    Ellipsis
    """


class VersionWarning(UserWarning):
    """An object that another version of skae pickled or saved is loaded by this one.

    Examples
    --------
    To be told by an error rather than to compute with it:

    >>> import warnings
    >>> from skae.exceptions import VersionWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", VersionWarning)
    ...     ...  # load
    Ellipsis
    """


class WeightWarning(UserWarning):
    """Negative weights leave a sum that is within three standard errors of nothing.

    Examples
    --------
    >>> import warnings
    >>> from skae.exceptions import WeightWarning
    >>> from skae.metrics import position_accuracy
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     accuracy = position_accuracy([1, 2, 3], [1, 2, 4], sample_weight=[1.0, 1.0, -0.9])
    >>> caught[0].category.__name__
    'WeightWarning'
    """
