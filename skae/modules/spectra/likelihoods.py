"""Distributions of a row around its mean: log-likelihoods in nats, no constant missing, and draws."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from skae.modules.blocks import inverse_softplus
from skae.modules.moments import Rows, chunks_of

# From here on Stirling's series is exact to 1e-9.
_STIRLING_FROM = 8.0

# Up to here a series in (λ − x)/(λ + x) is exact to float32, which what it replaces no longer is.
_NEAR = 0.1

# Of no noise beside errors: the exponential is 0 in single precision, as long as it is finite itself.
_LOG_OF_NOTHING = -110.0

# Stands for no counts in a logarithm that is then multiplied by zero.
_TINY = 1e-30

# The noise of fewer counts than this on average is taken for that of so many.
_FEWEST_COUNTS = 0.01

# Rates are no smaller, so that a count where none was expected is unlikely, not impossible.
_SMALLEST_RATE = 1e-6


class Likelihood(nn.Module, ABC):
    """Distribution of a row's numbers around the mean that a decoder gives.

    It is the criterion of a fit as well: minus the evidence lower bound of each row, from what
    :class:`~skae.modules.spectra.vae.VariationalAutoencoder` returns.

    Parameters
    ----------
    noise : Tensor of shape (d,) or (1,), or None
        Standard deviation of the noise where it is given; None where it is to be learnt, or follows from
        the mean.
    unit : float
        What rows, means and noise are in units of: densities are those of the numbers themselves.
    has_gaps : bool
        Rows may have NaN, which were not observed and do not count.
    n_parts : int
        2 where rows are ``(n, 2 d)``: behind the numbers stand their errors, which the noise adds to in
        squares. 3 where they are ``(n, 3 d)``: behind counts stand exposures, and expected counts of a
        background. NaN or 0 in the second part says that nothing was observed.
    """

    #: whether rows are counts: not negative, neither shifted nor scaled
    takes_counts: bool = False

    #: whether the noise is a parameter, given or learnt
    has_noise: bool = False

    #: whether its mean over Gaussian posteriors of a linear decoder is known in closed form
    is_quadratic: bool = False

    def __init__(
        self,
        noise: Tensor | None = None,
        *,
        unit: float = 1.0,
        has_gaps: bool = False,
        n_parts: int = 1,
    ):
        super().__init__()
        self.unit, self.has_gaps, self.n_parts = unit, has_gaps or n_parts > 1, n_parts

    def forward(self, output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        """Return the loss of each row, ``(n,)``, from (mean, noise, penalty) and rows ``(n, d)``."""
        mean, noise, penalty = output
        return penalty - self.log_prob(self.values(target), mean, noise)

    def values(self, x: Tensor) -> Tensor:
        """Return the numbers of rows ``(n, d)``, NaN where nothing was observed."""
        if self.n_parts == 1:
            return x
        numbers, beside = x.chunk(self.n_parts, dim=1)[:2]
        return torch.where(beside > 0.0, numbers, math.nan)

    def values_and_variances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return numbers and squared errors of rows ``(n, 2 d)``, infinite where nothing was observed."""
        values = self.values(x)
        squares = x.chunk(2, dim=1)[1].square()
        return values, torch.where(torch.isnan(values), math.inf, squares)

    def noise_of(self, x: Tensor) -> Tensor:
        """Return the standard deviation of the noise in rows: ``(1,)``, ``(d,)`` or ``(n, d)``.

        Of counts that have exposures it is these and the background, ``(2, n, d)``.
        """
        if self.n_parts == 1:
            return self.noise
        errors = x.chunk(2, dim=1)[1]
        return torch.hypot(torch.where(errors > 0.0, errors, 1.0), self.noise)

    #: parameter of the noise, ``(d,)`` or ``(1,)``, that the methods below take
    noise: Tensor

    def noise_around(self, mean: Tensor) -> Tensor | None:
        """Return the noise around a mean row ``(d,)``; None as long as it has to be learnt."""
        return self.std(mean)

    def learn_noise(self, start: Tensor, floor: float) -> None:
        """Let training begin at this noise, and end at ``floor`` or above; ignored where it is known."""

    @abstractmethod
    def std(self, mean: Tensor) -> Tensor:
        """Return the standard deviation of what is observed around mean rows, in their shape."""

    @abstractmethod
    def sample(self, mean: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Draw what is observed around mean rows, where noise is as wide as :meth:`noise_of` says."""

    def log_prob(self, x: Tensor, mean: Tensor, noise: Tensor) -> Tensor:
        """Return the log-likelihood of each row, ``(n,)``.

        Parameters
        ----------
        x, mean : Tensor of shape (n, d)
            What was observed, and what was expected.
        noise : Tensor of shape (n, d), (d,) or (1,)
            Standard deviation of the noise, where the distribution has it as a parameter.
        """
        return self.log_peak(x, noise) - self.misfit(x, mean, noise)

    def misfit(self, x: Tensor, mean: Tensor, noise: Tensor) -> Tensor:
        """Return half the deviance of each row, ``(n,)``: what it falls short of its peak."""
        if not self.has_gaps:
            return self.half_deviances(x, mean, noise).sum(dim=1)
        gaps = torch.isnan(x)
        # NaN must not reach a gradient, not even times zero
        filled = torch.where(gaps, mean.detach(), x)
        return torch.where(gaps, 0.0, self.half_deviances(filled, mean, noise)).sum(dim=1)

    def log_peak(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the log-likelihood of each row where the mean is the row itself, ``(n,)``."""
        if not self.has_gaps:
            return self.log_peaks(x, noise).sum(dim=1)
        gaps = torch.isnan(x)
        return torch.where(gaps, 0.0, self.log_peaks(torch.where(gaps, 0.0, x), noise)).sum(dim=1)

    def link(self, rows: Tensor) -> Tensor:
        """Map rows of any numbers to such as can be a mean: all can, where nothing else is said."""
        return rows

    def unlink(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the link maps to ``mean``, and how much that moves when the mean does."""
        return mean, torch.ones_like(mean)

    @abstractmethod
    def half_deviances(self, x: Tensor, mean: Tensor, noise: Tensor) -> Tensor:
        """Return what the log-likelihood of each number falls short of its peak, ``(n, d)``."""

    @abstractmethod
    def log_peaks(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the log-likelihood of each number where it is the mean, ``(n, d)`` or ``(1, d)``."""

    def _peaks_of(self, noise: Tensor, width: float, x: Tensor) -> Tensor:
        """Return minus the logarithm of ``width`` times the noise, in the units of the numbers."""
        n = len(noise) if noise.ndim > 1 else 1
        return -(noise.log() + math.log(width * self.unit)).expand(n, x.shape[1])


class NoiseLikelihood(Likelihood):
    """Noise of one shape around the mean, whose standard deviation is given or learnt."""

    has_noise = True
    log_noise: Tensor

    def __init__(self, noise: Tensor | None = None, **options: Any):
        super().__init__(**options)
        self.noise_floor = 0.0
        self.is_known = noise is not None
        if noise is not None:
            self.log_noise = nn.Buffer(noise.log().clamp_min(_LOG_OF_NOTHING).float())

    def learn_noise(self, start: Tensor, floor: float) -> None:
        """Let training begin at this noise, and end at ``floor`` or above; ignored where it is known."""
        if not self.is_known:
            self.noise_floor = floor
            if floor > 0.0:
                start = floor * ((start / floor).square() - 1.0).clamp_min(1.0).sqrt()
            self.log_noise = nn.Parameter(start.log().float())

    @property
    def noise(self) -> Tensor:  # type: ignore[override]
        """Standard deviation of the noise, ``(d,)`` or ``(1,)``."""
        if self.noise_floor == 0.0:
            return torch.exp(self.log_noise)
        # added in squares: below the floor a gradient is small, but leads out again
        ratio = torch.exp(2.0 * (self.log_noise - math.log(self.noise_floor)))
        return self.noise_floor * torch.sqrt(1.0 + ratio)

    def noise_around(self, mean: Tensor) -> Tensor | None:
        """Return the noise around a mean row ``(d,)``; None as long as it has to be learnt."""
        return self.noise.to(mean.dtype).expand_as(mean) if self.is_known else None

    def std(self, mean: Tensor) -> Tensor:
        """Return the standard deviation of the noise, in the shape of mean rows."""
        return self.noise.expand_as(mean)


class GaussianLikelihood(NoiseLikelihood):
    r"""Gaussian noise: :math:`-(x - \hat x)^2 / 2\sigma^2 - \ln\sigma - \frac12\ln 2\pi`."""

    is_quadratic = True

    def sample(self, mean: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Draw what is observed around mean rows."""
        return mean + noise * torch.empty_like(mean).normal_(generator=generator)

    def half_deviances(self, x: Tensor, mean: Tensor, noise: Tensor) -> Tensor:
        """Return half the squared pulls, ``(n, d)``."""
        return 0.5 * ((x - mean) / noise).square()

    def misfit(self, x: Tensor, mean: Tensor, noise: Tensor) -> Tensor:
        """Return half the sum of squared pulls of each row, ``(n,)``."""
        if self.has_gaps:
            return super().misfit(x, mean, noise)
        return 0.5 * ((x - mean) / noise).square().sum(dim=1)

    def log_peaks(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return minus the logarithm of the normalisation, ``(n, d)`` or ``(1, d)``."""
        return self._peaks_of(noise, math.sqrt(2.0 * math.pi), x)


class LaplaceLikelihood(NoiseLikelihood):
    r"""Laplace noise: :math:`-\sqrt2\,|x - \hat x| / \sigma - \ln\sqrt2\sigma`, σ its standard deviation.

    Its tails are heavy: numbers far off, cosmic rays in a spectrum say, pull at the mean no more than
    others do.
    """

    def half_deviances(self, x: Tensor, mean: Tensor, noise: Tensor) -> Tensor:
        """Return absolute pulls times √2, ``(n, d)``."""
        return (math.sqrt(2.0) / noise) * (x - mean).abs()

    def log_peaks(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return minus the logarithm of the normalisation, ``(n, d)`` or ``(1, d)``."""
        return self._peaks_of(noise, math.sqrt(2.0), x)

    def sample(self, mean: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Draw what is observed around mean rows."""
        # the logarithm of a chance is exponential, and of either sign
        size = torch.empty_like(mean).exponential_(generator=generator)
        side = torch.empty_like(mean).uniform_(-1.0, 1.0, generator=generator).sign()
        return mean + noise * (size * side / math.sqrt(2.0))


class PoissonLikelihood(Likelihood):
    r"""Counts: :math:`x\ln\lambda - \lambda - \ln\Gamma(x + 1)`, written so that float32 suffices.

    Half the deviance, :math:`\lambda - x + x\ln(x/\lambda)`, and what it leaves of the factorial are of
    order one, where the terms above are as large as the counts. Near x the deviance is a series, as its
    terms cancel as well (C. Loader, 2000, "Fast and accurate computation of binomial probabilities").
    Numbers that are not whole are taken as they are.
    """

    takes_counts = True

    def __init__(self, noise: Tensor | None = None, **options: Any):
        super().__init__(**options)
        self.noise = nn.Buffer(torch.ones(1))  # not used: the mean says it all

    def noise_around(self, mean: Tensor) -> Tensor:
        """Return the noise around a mean row ``(d,)``, not that of less than a hundredth of a count."""
        return self.std(mean.clamp_min(_FEWEST_COUNTS))

    def std(self, mean: Tensor) -> Tensor:
        """Return the standard deviation of counts around mean rows."""
        return mean.sqrt()

    def noise_of(self, x: Tensor) -> Tensor:
        """Return exposures and backgrounds of rows, ``(2, n, d)``: 1 and 0 where nothing was observed."""
        if self.n_parts == 1:
            return self.noise
        _, exposure, background = x.chunk(3, dim=1)
        seen = exposure > 0.0
        return torch.stack([torch.where(seen, exposure, 1.0), torch.where(seen, background, 0.0)])

    def expected(self, mean: Tensor, noise: Tensor) -> Tensor:
        """Return the counts that are expected where ``mean`` is the rate of the source."""
        return mean if self.n_parts == 1 else torch.addcmul(noise[1], mean, noise[0])

    def sample(self, mean: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Draw counts."""
        return torch.poisson(self.expected(mean, noise), generator=generator)

    def link(self, rows: Tensor) -> Tensor:
        """Softplus: the rate itself where several counts are expected, exponential far below one."""
        return nn.functional.softplus(rows) + _SMALLEST_RATE

    def unlink(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Invert softplus; of a rate of zero, one of 1e-5."""
        rate = mean.clamp_min(1e-5)
        return inverse_softplus(rate), -1.0 / torch.expm1(-rate)

    def half_deviances(self, x: Tensor, mean: Tensor, noise: Tensor) -> Tensor:
        """Return half the deviance of each number, ``(n, d)``."""
        return _HalfPoissonDeviance.apply(x, self.expected(mean, noise))

    def log_peaks(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return what the deviance leaves of the factorial, ``(n, d)``."""
        return -_rest_of_factorial(x)


class Rates(GaussianLikelihood):
    """Rates of counts that have exposures, with the errors that the mean rate of their column gives them.

    So an encoder sees such rows; their likelihood is that of counts.

    Parameters
    ----------
    counts : rows of shape (n, 3 d)
        Counts, exposures and backgrounds; slices are asked of them, no more.
    weight : weights of shape (n,), or None
        Their weights.
    """

    def __init__(self, counts: Rows, weight: Rows | None):
        super().__init__(None, n_parts=3)
        first = second = torch.zeros(())
        for x, share in chunks_of(counts, weight, absolute=True):
            seen, exposure, background = x.chunk(3, dim=1)
            seen = torch.where(exposure > 0.0, seen, math.nan)
            first = first + share @ (seen - background).nan_to_num()
            second = second + share @ torch.where(seen.isnan(), 0.0, exposure)
        least = _FEWEST_COUNTS * len(counts) / second.clamp_min(_TINY)
        self.rate = nn.Buffer(torch.maximum(first / second.clamp_min(_TINY), least).float())

    def values(self, x: Tensor) -> Tensor:
        """Return rates, NaN where nothing was observed."""
        _, exposure, background = x.chunk(3, dim=1)
        return (super().values(x) - background) / exposure

    def values_and_variances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return rates and their squared errors, infinite where nothing was observed."""
        values = self.values(x)
        _, exposure, background = x.chunk(3, dim=1)
        variance = (self.rate * exposure + background) / exposure.square()
        return values, torch.where(torch.isnan(values), math.inf, variance)

    def noise_of(self, x: Tensor) -> Tensor:
        """Return the standard deviation of rates, ``(n, d)``."""
        _, variance = self.values_and_variances(x)
        return torch.hypot(torch.where(variance < math.inf, variance, 1.0).sqrt(), self.noise)


#: distributions of noise by their names
LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": GaussianLikelihood,
    "laplace": LaplaceLikelihood,
    "poisson": PoissonLikelihood,
}


class _HalfPoissonDeviance(torch.autograd.Function):
    """``λ − x + x ln(x/λ)`` of counts x around means λ, and its exact derivative by λ."""

    @staticmethod
    def forward(x: Tensor, mean: Tensor) -> Tensor:
        difference = mean - x
        v = difference / (mean + x)
        square = v.square()
        series = square / 9.0  # artanh(v) = v (1 + series)
        for odd in (7.0, 5.0, 3.0):
            series = series.add_(1.0 / odd).mul_(square)
        near = torch.addcmul(difference, x, series, value=-2.0)
        far = difference.addcmul_(x, torch.log(mean / x.clamp_min(_TINY)), value=-1.0)
        return torch.where(v.abs() < _NEAR, v * near, far)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        x, mean = ctx.saved_tensors
        return None, (mean - x).div_(mean).mul_(gradient)


def _rest_of_factorial(x: Tensor) -> Tensor:
    """Return ``lnΓ(x + 1) + x − x ln x``, a number of order one."""
    large = x.clamp_min(_STIRLING_FROM)
    inverse = 1.0 / large
    series = 0.5 * torch.log((2.0 * math.pi) * large)
    square = inverse.square()
    series = series + inverse * (1.0 - square * (1.0 / 30.0 - square / 105.0)) / 12.0
    small = x.clamp_max(_STIRLING_FROM)
    exact = torch.lgamma(small + 1.0) + small - torch.special.xlogy(small, small)
    return torch.where(x < _STIRLING_FROM, exact, series)
