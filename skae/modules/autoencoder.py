"""The autoencoder: standardisation, encoder, bottleneck and decoder, each usable by itself."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skae.modules.losses import in_double, wrap_angle
from skae.modules.moments import column_covariance, scale_of, usable_moments

#: the interval of a standardised coordinate that ``winding`` turns are laid out over
_SPAN = 6.0


class LinearPath(nn.Module):
    """A network beside a linear map: ``reach * network(x) + x Wᵀ``, so that it learns what PCA misses.

    Parameters
    ----------
    network : nn.Module
        Maps ``(n, n_in)`` to ``(n, n_out)``.
    n_in, n_out : int
        Widths of the linear map.
    """

    def __init__(self, network: nn.Module, n_in: int, n_out: int):
        super().__init__()
        self.network = network
        self.linear = nn.Linear(n_in, n_out, bias=False)
        self.reach = nn.Buffer(torch.ones(n_out))

    def start_from(self, axes: Tensor, reach: Tensor | float = 1.0) -> None:
        """Make the linear map ``axes`` (n_out, n_in), the network's last layer nearly silent.

        ``reach`` (n_out,) is the size of what the network has to learn.
        """
        with torch.no_grad():
            self.linear.weight.copy_(axes)
            self.reach.copy_(torch.as_tensor(reach))
            last = [m for m in self.network.modules() if isinstance(m, nn.Linear | nn.Conv1d)][-1]
            last.weight.mul_(0.05)
            if last.bias is not None:
                last.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, n_in)`` to ``(n, n_out)``."""
        return self.reach * self.network(x) + self.linear(x)


class Autoencoder(nn.Module):
    """``decode(encode(x))`` (Hinton & Salakhutdinov, 2006, doi:10.1126/science.1127647).

    The networks see columns with zero mean and unit variance, whatever the units of ``x``; latent
    coordinates and reconstructions are brought back, so the loss is in the units of ``x``.

    With ``winding`` > 0 each angular column φ owns one of the last latent coordinates, t = φ + 2πk.
    The angle comes back as t modulo 2π, to the rounding of t. The winding number k, which the angle
    leaves free, carries a further coordinate of the data in steps of 1/winding of its ±3σ: the code is a
    helix through a space of one more dimension. The encoder learns k through a straight-through
    gradient (Bengio et al., 2013, arXiv:1308.3432); the decoder is smooth in t.

    Parameters
    ----------
    encoder : nn.Module
        Maps standardised rows ``(n, d)`` to ``(n, n_components)``.
    decoder : nn.Module
        Maps ``(n, n_components)`` to the standardised columns it has to rebuild: all d, or with
        ``winding`` those that are not angles.
    n_features : int
        Number of columns, d.
    angles : sequence of int
        Columns that are angles.
    radian : float
        A radian in the unit of these columns; in latent coordinates angles are in radians.
    winding : float
        Turns over which the coordinate that shares a latent with an angle is laid out; 0 for none.
    unit : float
        What rows are in units of, where they go another way; see :attr:`way`.

    Attributes
    ----------
    way : object or None
        Has ``forward`` from rows, in float64 and in their own unit, to features that the networks see in
        their place, and ``backward``. It is no part of what is saved.
    """

    MADE_ANEW = frozenset({"way"})
    way: Any = None

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        n_features: int,
        *,
        angles: Sequence[int] = (),
        radian: float = 1.0,
        winding: float = 0.0,
        unit: float = 1.0,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.angles, self.radian = list(angles), radian
        self.winding, self.unit = winding, unit
        self.rebuilt = list(range(n_features))
        if self.winding > 0.0:
            self.rebuilt = [j for j in self.rebuilt if j not in self.angles]
        self.centre = nn.Buffer(torch.zeros(n_features))
        self.scale = nn.Buffer(torch.ones(n_features))

    def fit_statistics(
        self, x: Any, weight: Tensor | None = None, factors: Tensor | None = None
    ) -> None:
        """Take mean, standard deviation and principal axes from training rows and their weights.

        The axes are those of columns times ``factors``, if there are any, as the loss may weigh them.
        """
        if self.way is not None:
            x = _Mapped(x, self.features)
        mean, variance, absolute = usable_moments(x, weight)
        self.centre.copy_(mean)
        self.scale.copy_(scale_of(mean, variance, self.scale.dtype))
        if isinstance(self.encoder, LinearPath) and isinstance(self.decoder, LinearPath):
            covariance = column_covariance(x, self.centre, weight, absolute, columns=self.rebuilt)
            unit = torch.ones(len(self.scale)) if factors is None else factors
            self._start_at_principal_axes(
                covariance, unit[self.rebuilt].double(), self.encoder, self.decoder
            )

    def _start_at_principal_axes(
        self, covariance: Tensor, unit: Tensor, encoder: LinearPath, decoder: LinearPath
    ) -> None:
        """Start the linear paths at the principal axes of the columns, each multiplied by ``unit``.

        In these the loss is taken. Latent coordinates get unit variance, and what is wound up is the
        last, cheapest, one. Axes without variance stay at zero. What the networks have to learn is as
        large as what the axes leave out.
        """
        n_components = encoder.linear.out_features
        variance, axes = torch.linalg.eigh(covariance * unit * unit[:, None])  # rising
        left_out = variance[: max(0, len(variance) - n_components)].mean()
        variance, axes = variance.flip(0)[:n_components], axes.flip(1).T[:n_components]  # (k, d')
        rounding = (10.0 * torch.finfo(self.scale.dtype).eps) ** 2
        kept = variance > rounding * variance.max().clamp_min(0.0)
        spread = torch.where(kept, variance, 1.0).sqrt()[:, None]
        axes = axes * kept[:, None]
        scale = self.scale[self.rebuilt].double() * unit
        encode = axes.new_zeros(n_components, len(self.scale))
        decode = axes.new_zeros(len(self.rebuilt), n_components)
        encode[: len(axes), self.rebuilt] = axes * scale / spread
        decode[:, : len(axes)] = (axes * spread / scale).T
        if not left_out > rounding * variance.max():
            encoder.start_from(encode)
            decoder.start_from(decode)
            return
        rest = left_out.sqrt()
        of_latents = torch.ones(n_components, dtype=rest.dtype)
        of_latents[: len(axes)] = (rest / spread[:, 0]).clamp_max(1.0)
        encoder.start_from(encode, of_latents)
        decoder.start_from(decode, (rest / scale).clamp_max(1.0))

    def features(self, x: Tensor) -> Tensor:
        """Return what the networks see in place of rows ``(n, d)``, in float64."""
        return self.way.forward(in_double(x) * self.unit)

    def encode(self, x: Tensor) -> Tensor:
        """Map rows ``(n, d)`` to their latent coordinates ``(n, n_components)``."""
        seen = x if self.way is None else self.features(x)
        latent = self.encoder(((seen - self.centre) / self.scale).to(x.dtype))
        if self.winding <= 0.0:
            return latent
        free, shared = self._split(latent)
        turns = shared * (self.winding / _SPAN)
        phase = x[:, self.angles] / (2.0 * math.pi * self.radian)
        turns = turns + (torch.round(turns - phase) + phase - turns).detach()
        return torch.cat([free, turns * (2.0 * math.pi)], dim=1)

    def decode(self, latent: Tensor, back: bool = True) -> Tensor:
        """Map latent coordinates ``(n, n_components)`` back to rows ``(n, d)``.

        Without ``back`` to features, where rows go another way.
        """
        if self.winding <= 0.0:
            rows = torch.addcmul(self.centre, self.decoder(latent), self.scale)
            if self.way is None or not back:
                return rows
            return (self.way.backward(in_double(rows)) / self.unit).to(rows.dtype)
        free, wound = self._split(latent)
        shared = wound * (_SPAN / (2.0 * math.pi * self.winding))
        smooth = self.decoder(torch.cat([free, shared], dim=1))
        rows = latent.new_empty(latent.shape[0], len(self.scale))
        rows[:, self.rebuilt] = smooth * self.scale[self.rebuilt] + self.centre[self.rebuilt]
        # exact by construction: nothing to learn here
        rows[:, self.angles] = wrap_angle(wound.detach()) * self.radian
        return rows

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct rows."""
        return self.decode(self.encode(x))

    def _split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latent coordinates of their own, and those that belong to an angle."""
        own = latent.shape[1] - len(self.angles)
        return latent[:, :own], latent[:, own:]


class _Mapped:
    """Rows of which features are made as they are needed."""

    def __init__(self, rows: Any, function: Callable[[Tensor], Tensor]):
        self.rows, self.function = rows, function
        self.shape = torch.Size([len(rows), function(rows[:1]).shape[1]])
        self.dtype = rows.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Tensor:
        return self.function(self.rows[part])
