"""The types that a file may hold, beside those that skops trusts by itself."""

_ESTIMATORS = (
    "calo_shower_vae.CaloShowerVAE",
    "jet_autoencoder.JetAutoencoder",
    "matched_filter.MatchedFilterLocator",
    "multires_rnn_regressor.MultiResRNNRegressor",
    "pulse_locator.PulseLocator",
    "spectra_vae.SpectraVAE",
)

_TRANSFORMERS = (
    "_box_cox_map.BoxCoxMap",
    "box_cox.BoxCoxTransformer",
    "correlations.model.CorrelationModel",
    "kinematics.KinematicsTransformer",
    "log_ratio.LogRatioTransformer",
    "noise.NoiseInjector",
    "photon_correlation_fit.PhotonCorrelationFit",
    "spectrum_scaler.SpectrumScaler",
)

# Values of parameters. Classes of optimisers are named only: `optimizer=torch.optim.Adam`.
_OPTIMIZERS = (
    "Adafactor", "Muon", "adadelta.Adadelta", "adagrad.Adagrad", "adam.Adam", "adamax.Adamax",
    "adamw.AdamW", "asgd.ASGD", "lbfgs.LBFGS", "nadam.NAdam", "radam.RAdam", "rmsprop.RMSprop",
    "rprop.Rprop", "sgd.SGD", "sparse_adam.SparseAdam",
)  # fmt: skip
_OF_PARAMETERS = (
    "numpy.dtype",
    "pathlib.PosixPath",  # a path opens nothing
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",  # where Python 3.13 has it
    "pathlib._local.WindowsPath",
    "torch.device",
)

# What compares columns with y in a fit, and is not called before.
_SCORES = ("chi2", "f_classif", "f_regression", "r_regression")

# Of scikit-learn and SciPy: what fitted transformers hold. skops checks the types alone; compiled code
# reads the content of these, so `skae.load` looks at it (skae/_skops.py).
_CHECKED = (
    "scipy.interpolate._bsplines.BSpline",
    "scipy.sparse._csr.csr_matrix",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
)
_HELD = (
    "numpy.mean",  # FeatureAgglomeration's
    "scipy._lib.array_api_compat.numpy._aliases.asarray",  # a spline's
    "sklearn.metrics._dist_metrics.EuclideanDistance64",  # a neighbour tree's; it has no state
    "sklearn.utils._bunch.Bunch",  # a dictionary
)

#: Names of the types and functions that a file of skae.save may hold, beside those that skops trusts by
#: default: hand them to skops.io.load, MLflow or Hugging Face's tools as the trusted types.
TRUSTED_TYPES: list[str] = sorted(
    [
        *(f"skae.estimators.{name}" for name in _ESTIMATORS),
        *(f"skae.transformers.{name}" for name in _TRANSFORMERS),
        "skae.physics.calorimeter.CaloGeometry",
        "skae.physics.correlations.Bins",
        "skae.training.net.TrainingNet",  # reads bytes of skae/training/net_file.py, and nothing else
        *_OF_PARAMETERS,
        *(f"torch.optim.{name}" for name in _OPTIMIZERS),
        *(f"sklearn.feature_selection._univariate_selection.{name}" for name in _SCORES),
        *_CHECKED,
        *_HELD,
    ]
)
