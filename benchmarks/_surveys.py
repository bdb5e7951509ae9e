"""Spectra with errors of each pixel, made from spectra without noise, and models that EM and PCA give."""

import time
from dataclasses import dataclass, field

import numpy as np
from sklearn.decomposition import NMF, PCA

# What the recipe fixes: rows to train with; sky lines (Å, Å, times the error of the rest); longest gaps
# at the beginning and inside, pixels; share of pixels that are hidden, to be predicted; anomalies among
# judged rows, their Δχ², and their width in pixels.
TRAIN_SHARE = 0.71
SKY = ((5577.0, 20.0, 3.0), (7600.0, 80.0, 2.0))
LONGEST_GAPS = 40, 30
HIDDEN = 0.02
ANOMALIES, STRENGTH, LINE_WIDTH = 0.2, 64.0, 1.5


@dataclass(eq=False)
class Survey:
    """Rows in units of their own brightness, ``(n, d)``; the first ``n_train`` are trained on."""

    flux: np.ndarray
    errors: np.ndarray  # NaN in gaps and where hidden
    whole_errors: np.ndarray
    truth: np.ndarray
    gap: np.ndarray
    hidden: np.ndarray
    is_anomaly: np.ndarray
    order: np.ndarray  # which of the shapes each row is
    n_train: int

    @property
    def train(self):
        """Fluxes and errors of rows to train with."""
        return self.flux[: self.n_train], self.errors[: self.n_train]

    @property
    def judged(self):
        """Fluxes and errors of the others."""
        return self.flux[self.n_train :], self.errors[self.n_train :]


def observe(shapes, wavelengths, seed):
    """Observe spectra ``(n, d)`` whose medians are 1, in random order.

    Brightness is log-uniform over 10³, errors those of a sky with lines, times a factor of each row
    (0.2 decades), and 2 % of the flux. Pixels at the beginning and a part inside are not seen.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(shapes))
    shapes = shapes[order]
    n, d = shapes.shape
    n_train = round(TRAIN_SHARE * n)
    truth = shapes * 10.0 ** rng.uniform(0.0, 3.0, (n, 1))
    sky = 1.0 + sum(t * np.exp(-0.5 * ((wavelengths - c) / w) ** 2) for c, w, t in SKY)
    errors = np.hypot(2.0 * sky * 10.0 ** (0.2 * rng.normal(size=(n, 1))), 0.02 * truth)
    flux = truth + errors * rng.normal(size=truth.shape)
    pixels, (longest, inside) = np.arange(d), LONGEST_GAPS
    start, length = rng.integers(0, d - inside, (n, 1)), rng.integers(5, inside, (n, 1))
    gap = (pixels < rng.integers(0, longest, (n, 1))) | (
        (pixels >= start) & (pixels < start + length)
    )
    is_anomaly = (rng.uniform(size=n) < ANOMALIES) & (np.arange(n) >= n_train)
    places = rng.uniform(longest, d - 1, (n, 1))
    line = np.exp(-0.5 * ((pixels - places) / LINE_WIDTH) ** 2)
    height = np.sqrt(STRENGTH / np.square(line / errors).sum(axis=1, keepdims=True))
    flux = flux + is_anomaly[:, None] * height * line
    hidden = (rng.uniform(size=truth.shape) < HIDDEN) & ~gap & ~is_anomaly[:, None]
    seen_errors = np.where(gap | hidden, np.nan, errors)
    scale = np.nanmedian(np.where(np.isnan(seen_errors), np.nan, flux), axis=1, keepdims=True)
    return Survey(
        flux / scale,
        seen_errors / scale,
        errors / scale,
        truth / scale,
        gap,
        hidden,
        is_anomaly,
        order,
        n_train,
    )


@dataclass
class Figures:
    """What a method is judged by; times in seconds."""

    method: str
    n_components: int
    seconds: float
    chi2_mean: float
    chi2_median: float
    error: float
    auc: float
    faint: float
    bright: float
    width: float
    others: dict = field(default_factory=dict)


def judge(method, n_components, seconds, survey, mean, std, misfit=0.0):
    """Return the figures of mean rows and their standard deviations, of the judged ones.

    Where a model says what it does not follow, pulls by which anomalies are found are in units of errors
    and of this misfit.
    """
    from sklearn.metrics import roc_auc_score

    rows = slice(survey.n_train, None)
    errors, truth, gap = survey.whole_errors[rows], survey.truth[rows], survey.gap[rows]
    often = (~np.isnan(survey.errors[: survey.n_train])).mean(axis=0) > 0.2
    squares = np.square((survey.flux[rows] - mean) / errors)[survey.hidden[rows] & often]
    plain = ~survey.is_anomaly[rows]
    fair = ~gap & plain[:, None]
    off = (mean - truth) / errors
    seen = ~np.isnan(survey.errors[rows])
    pulls = np.where(seen, np.abs(survey.flux[rows] - mean) / np.hypot(errors, misfit), 0.0)
    auc = roc_auc_score(survey.is_anomaly[rows], pulls.max(axis=1))
    order = np.argsort(np.median(truth / errors, axis=1))
    order = order[plain[order]]
    within = np.abs(mean - truth) < std
    covered = [within[part][fair[part]].mean() for part in np.array_split(order, 4)]
    return Figures(
        method,
        n_components,
        seconds,
        squares.mean(),
        np.median(squares) / 0.4549,  # the median of χ² with one degree of freedom
        np.sqrt(np.square(off[fair]).mean()),
        auc,
        covered[0],
        covered[-1],
        np.median((std / errors)[fair]),
    )


class ExpectationMaximisation:
    """Probabilistic PCA with errors of each row, vectorised: the best of three starts.

    Parameters
    ----------
    n_components : int
        Factors.
    tol : float
        Change of the log-likelihood, relative to itself, at which it ends.
    """

    def __init__(self, n_components, tol=1e-6, max_iter=500):
        self.k, self.tol, self.max_iter = n_components, tol, max_iter

    def fit(self, flux, errors, n_starts=3):
        """Fit; keep what is likeliest, and the seconds of one start."""
        weight = np.where(np.isnan(errors), 0.0, 1.0 / np.square(np.nan_to_num(errors, nan=1.0)))
        filled = np.where(weight > 0.0, flux, 0.0)
        mean = filled.sum(axis=0) / (weight > 0.0).sum(axis=0)
        rng = np.random.default_rng(0)
        centred = np.where(weight > 0.0, flux - mean, 0.0)
        axes = np.linalg.svd(centred, full_matrices=False)[2][: self.k]
        first = axes * (centred @ axes.T).std(axis=0)[:, None]
        spread = centred.std()
        runs, seconds = [], []
        for start in range(n_starts):
            loadings = first if start == 0 else spread * rng.normal(size=first.shape)
            begin = time.perf_counter()
            runs.append(self._climb(filled, weight, mean, loadings))
            seconds.append(time.perf_counter() - begin)
        self.log_likelihood, self.mean, self.loadings, self.n_iter = max(
            runs, key=lambda run: run[0]
        )
        self.seconds = float(np.median(seconds))
        return self

    def _climb(self, flux, weight, mean, loadings):
        before = -np.inf
        n_iter, value = 0, before
        while n_iter < self.max_iter:
            n_iter += 1
            z, covariance, value = self._expect(flux, weight, mean, loadings)
            if value - before < self.tol * abs(value):
                break
            before = value
            with_one = np.c_[z, np.ones(len(z))]
            moments = with_one[:, :, None] * with_one[:, None]
            moments[:, : self.k, : self.k] += covariance
            squares = (weight.T @ moments.reshape(len(z), -1)).reshape(-1, self.k + 1, self.k + 1)
            products = (weight * flux).T @ with_one
            solved = np.linalg.solve(squares, products[:, :, None])[:, :, 0]
            loadings, mean = solved[:, : self.k].T, solved[:, self.k]
        return value, mean, loadings, n_iter

    def _expect(self, flux, weight, mean, loadings):
        k, n = self.k, len(flux)
        residual = flux - mean
        products = (loadings[:, None] * loadings).reshape(k * k, -1)
        precision = (weight @ products.T).reshape(n, k, k) + np.eye(k)
        covariance = np.linalg.inv(precision)
        known = (weight * residual) @ loadings.T
        z = (covariance @ known[:, :, None])[:, :, 0]
        log_weight = np.log(np.where(weight > 0.0, weight / (2.0 * np.pi), 1.0)).sum(axis=1)
        misfit = (weight * np.square(residual)).sum(axis=1) - (known * z).sum(axis=1)
        value = 0.5 * (log_weight - np.linalg.slogdet(precision)[1] - misfit)
        return z, covariance, value.mean()

    def expect(self, flux, errors):
        """Return mean rows, their standard deviations, and the mean log-likelihood."""
        weight = np.where(np.isnan(errors), 0.0, 1.0 / np.square(np.nan_to_num(errors, nan=1.0)))
        filled = np.where(weight > 0.0, flux, 0.0)
        z, covariance, value = self._expect(filled, weight, self.mean, self.loadings)
        pairs = (self.loadings[:, None] * self.loadings).reshape(self.k**2, -1)
        variance = covariance.reshape(len(z), -1) @ pairs
        return self.mean + z @ self.loadings, np.sqrt(variance), value


def weighted_pca(flux, errors, judged, of_judged, k, n_iter=25):
    """As Bailey (2012, doi:10.1086/668105): loadings and coefficients in turn, no prior of the latter."""
    weight = np.where(np.isnan(errors), 0.0, 1.0 / np.square(np.nan_to_num(errors, nan=1.0)))
    filled = np.where(weight > 0.0, flux, 0.0)
    mean = (weight * filled).sum(axis=0) / weight.sum(axis=0)
    residual = np.where(weight > 0.0, flux - mean, 0.0)
    loadings = np.linalg.svd(residual, full_matrices=False)[2][:k]
    for _ in range(n_iter):
        z = _coefficients(residual, weight, loadings)
        loadings = _coefficients(residual.T, weight.T, z.T).T
        loadings = np.linalg.qr(loadings.T)[0].T
    weight = np.where(np.isnan(of_judged), 0.0, 1.0 / np.square(np.nan_to_num(of_judged, nan=1.0)))
    residual = np.where(weight > 0.0, judged - mean, 0.0)
    pairs = (loadings[:, None] * loadings).reshape(k * k, -1)
    covariance = np.linalg.pinv((weight @ pairs.T).reshape(-1, k, k))
    z = _coefficients(residual, weight, loadings)
    return mean + z @ loadings, np.sqrt(np.maximum(covariance.reshape(len(z), -1) @ pairs, 0.0))


def _coefficients(residual, weight, loadings):
    """Return weighted least-squares coefficients of rows."""
    k = len(loadings)
    pairs = (loadings[:, None] * loadings).reshape(k * k, -1)
    squares = (weight @ pairs.T).reshape(-1, k, k)
    ridge = 1e-9 * np.trace(squares, axis1=1, axis2=2)[:, None, None] * np.eye(k) + 1e-12 * np.eye(
        k
    )
    products = (weight * residual) @ loadings.T
    return np.linalg.solve(squares + ridge, products[:, :, None])[:, :, 0]


def spender(survey, redshifts, wavelengths, k, seconds):
    """Return mean rows of spender's autoencoder (Melchior et al., 2023), which is told the redshifts.

    It is trained for some seconds, as its authors do: Adam, one cycle up to 1e-3. Rows are in units of
    their median, and gaps are 0 with weight 0.
    """
    import torch
    from spender import Instrument, SpectrumAutoencoder

    torch.manual_seed(0)
    seen = torch.from_numpy(wavelengths).float()
    ends = np.log([wavelengths[0] / (1.0 + redshifts.max()), wavelengths[-1]])
    rest = torch.exp(torch.arange(ends[0] - 0.0015, ends[1] + 0.0015, 0.0015))
    module = SpectrumAutoencoder(Instrument(seen), rest, n_latent=k)
    weight = np.nan_to_num(1.0 / np.square(survey.errors))
    flux = np.where(weight > 0.0, survey.flux, 0.0)
    x, w, z = (torch.from_numpy(each).float() for each in (flux, weight, redshifts))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    generator, begin, n = torch.Generator().manual_seed(0), time.perf_counter(), survey.n_train
    module.train()
    while (share := (time.perf_counter() - begin) / seconds) < 1.0:
        for group in optimizer.param_groups:  # up, and down to nothing
            group["lr"] = 1e-3 * min(share / 0.3, (1.0 - share) / 0.7)
        part = torch.randint(n, (64,), generator=generator)
        loss = module.loss(x[part], w[part], z=z[part]) / len(part)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    module.eval()
    with torch.no_grad():
        rows = [
            module(x[start : start + 64], z=z[start : start + 64]) for start in range(n, len(x), 64)
        ]
    mean = torch.cat(rows).double().numpy()
    return mean, np.full_like(mean, np.nan)


def filled_by_means(flux, errors, judged, of_judged, k, *, positive=False):
    """PCA, or NMF, of rows whose gaps hold the mean of their column; they know no errors."""
    rows = np.where(np.isnan(errors), np.nan, flux)
    mean = np.nanmean(rows, axis=0)
    rows, others = (
        np.where(np.isnan(part), mean, part)
        for part in (rows, np.where(np.isnan(of_judged), np.nan, judged))
    )
    if positive:
        model = NMF(k, max_iter=400, random_state=0).fit(np.maximum(rows, 0.0))
        drawn = model.inverse_transform(model.transform(np.maximum(others, 0.0)))
    else:
        model = PCA(k, random_state=0).fit(rows)
        drawn = model.inverse_transform(model.transform(others))
    return drawn, np.full_like(drawn, np.nan)
