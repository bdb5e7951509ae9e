"""Callbacks of a fit of showers: distances recorded each epoch, two stages, the shape of the noise."""

from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from skae.metrics._kernels import KernelDistance
from skae.metrics.distances import gaussian_frechet_distance, moments
from skae.metrics.shower_observables import shower_features
from skae.physics.calorimeter import CaloGeometry
from skae.training.batches import Rows
from skae.training.optimisation import Weights

# Showers that distances and the shape of the noise are taken from.
_MOST_ROWS = 4096

# Showers that are drawn anew to find what neighbours have in common, and numbers in them.
_FEWEST_OF_FIELD, _MOST_OF_FIELD, _NUMBERS_OF_FIELD = 128, 2000, 2**24

# Sharpness at which a relaxed bit is a bit.
_OF_BITS = 1e6

# Numbers that go through the module at once.
_NUMBERS_AT_ONCE = 2**20


class ShowerDistances(Callback):
    """Record how far reconstructed and generated showers are from those held out, each epoch.

    These are the Fréchet and the kernel distance of their features, each divided by its largest value,
    between as many showers as were held out. They are of voxels in whatever scale the network sees, and
    the Fréchet one is not extrapolated, so they tell epochs apart and nothing else.

    Parameters
    ----------
    showers : Rows
        Showers held out.
    geometry : CaloGeometry
        Where their voxels are.
    """

    def __init__(self, showers: Any, geometry: CaloGeometry):
        self.showers = showers
        self.geometry = geometry

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Compute what the showers held out are like."""
        self._rows, weight = _looked_at(self.showers, net.device)
        self._weight, self._largest = weight.cpu().double().numpy(), 1.0
        features = self._features(self._rows)
        self._largest = np.abs(features[self._weight > 0.0]).max(axis=0, initial=0.0)
        self._largest[self._largest == 0.0] = 1.0
        features /= self._largest
        self._moments = moments(features, self._weight)
        self._kernel = KernelDistance(features, self._weight)

    @torch.inference_mode()
    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Draw from the posteriors of these showers, and at their energies."""
        module = net.module_
        generator = torch.Generator(self._rows.device).manual_seed(0)

        def reconstruct(x: Tensor) -> Tensor:
            return module.reconstruct(x, generator)

        def sample(x: Tensor) -> Tensor:
            return module.sample(x[:, 0], generator)

        for name, draw in (("reconstruction", reconstruct), ("sample", sample)):
            drawn = self._features(torch.cat([
                torch.cat([x[:, :1], draw(x)], dim=1) for x in _in_parts(self._rows)
            ]))  # fmt: skip
            frechet = gaussian_frechet_distance(*self._moments, *moments(drawn, self._weight))
            net.history.record(f"{name}_fpd", frechet)
            net.history.record(f"{name}_kpd", self._kernel.to(drawn, self._weight))

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Let go of the showers."""
        self._rows = self._weight = self._moments = self._kernel = self._largest = None

    def _features(self, rows: Tensor) -> np.ndarray:
        features = shower_features(rows.cpu().numpy(), geometry=self.geometry, threshold=0.0)
        return features / self._largest


class SharpenBits(Callback):
    """Let relaxed bits become bits: their sharpness rises from epoch to epoch, by equal factors.

    Where there is one epoch only it is the last one's.

    Parameters
    ----------
    first, last : float
        Sharpness of the first and of the last epoch.
    epochs : int
        Epochs over which it rises. In those after them, in which no gradient goes through bits, bits are
        bits.
    whole : int
        Epochs of the fit.
    """

    def __init__(self, first: float, last: float, epochs: int, whole: int):
        self.first, self.last, self.epochs, self.whole = first, last, epochs, whole

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Set the sharpness of this epoch."""
        epoch = round(net.progress_ * self.whole)
        share = 1.0 if self.epochs == 1 else epoch / (self.epochs - 1)
        rising = self.first * (self.last / self.first) ** share
        net.module_.latents.sharpness.fill_(rising if epoch < self.epochs else _OF_BITS)


class TwoStages(Callback):
    """Train all of a model, then only the prior of its latents, around encoder and decoder at their best.

    The best are those of the epoch whose reconstructed showers were nearest to showers held out, or
    else the last ones of the first stage; of the second stage, too, the epoch is kept whose generated
    showers were nearest. What draws the layers stays as the first stage left it.

    Parameters
    ----------
    epochs : int
        Epochs of the fit.
    prior_epochs : int
        Those at its end that are the second stage.
    monitored : bool
        Whether the history has distances to showers held out.
    settled_from : float
        Share of the epochs that is passed over when the best one is looked for.
    """

    def __init__(self, epochs: int, prior_epochs: int, monitored: bool, settled_from: float = 0.0):
        self.epochs, self.first_stage, self.monitored = epochs, epochs - prior_epochs, monitored
        self.settled_from = settled_from

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Forget an earlier fit."""
        self.is_second_, self.best_ = False, float("inf")
        # reconstructed showers have their own layers, and say nothing of what draws these
        parts = [part for name, part in net.module_.named_children() if name != "layers"]
        self._best = Weights(nn.ModuleList(parts))
        self._module = net.module_

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Begin the second stage when it is time to."""
        if not self.is_second_ and round(net.progress_ * self.epochs) >= self.first_stage:
            self._put_back()
            self.is_second_, self.best_ = True, float("inf")
            self._freeze(True)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Keep the weights if none were better."""
        if not self.monitored or net.progress_ <= self.settled_from:
            return
        distance = net.history[-1, "sample_fpd" if self.is_second_ else "reconstruction_fpd"]
        if distance < self.best_:
            self.best_ = distance
            self._best.keep()

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Put the best weights back, and let a further fit train all of them."""
        self._put_back()
        self._freeze(False)
        del self._best, self._module

    def state_dict(self) -> dict[str, Any]:
        """Return what the decisions to come depend on."""
        return {"is_second": self.is_second_, "best": self.best_, "weights": self._best.copies}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self.is_second_, self.best_ = state["is_second"], state["best"]
        self._best.keep(state["weights"])
        self._freeze(self.is_second_)

    def _put_back(self) -> None:
        if self.best_ < float("inf"):
            self._best.restore()

    def _freeze(self, frozen: bool) -> None:
        for name, parameter in self._module.named_parameters():
            parameter.requires_grad_(not frozen or name.startswith("latents."))


class LearnFluctuations(Callback):
    """Take from training showers, however a fit ends, what voxels fluctuate by.

    That is the shape of the noise around lit voxels, and what neighbours have in common.

    Parameters
    ----------
    afresh : bool
        Whether what was found before is forgotten: a chunk of data refines it.
    """

    def __init__(self, afresh: bool = True):
        self.afresh = afresh

    def on_train_begin(self, net: NeuralNet, dataset_train: Any = None, **kwargs: Any) -> None:
        """Remember the training rows."""
        self._showers = dataset_train

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Compare voxels with what is said of them, once nothing else changes."""
        if len(net.history):
            rows, weight = _looked_at(self._showers, net.device)
            generator = torch.Generator(rows.device).manual_seed(0)
            # each as often as it counts
            if self._showers.weight is not None and weight.sum() > 0.0:
                rows = rows[torch.multinomial(weight, len(rows), True, generator=generator)]
            module = net.module_
            module.learn_noise(_in_parts(rows), generator)
            most = max(_FEWEST_OF_FIELD, min(_MOST_OF_FIELD, _NUMBERS_OF_FIELD // rows.shape[1]))
            some = rows
            if len(rows) > most:  # their order may mean something
                some = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
            afresh = self.afresh or not module.field.is_learnt
            module.learn_field(_in_parts(rows), _in_parts(some), generator, afresh=afresh)
        self._showers = None


def row_weights(rows: Rows) -> Tensor | None:
    """Return the weights of rows on the CPU, negative ones as 0; None where there are none."""
    return None if rows.weight is None else rows.weight[:].cpu().clamp_min(0.0)


def _looked_at(rows: Rows, device: str) -> tuple[Tensor, Tensor]:
    """Return rows that are looked at, and their weights, negative ones as 0."""
    some = rows.some(_MOST_ROWS, device)
    if some.weight is None:
        return some.x, torch.ones(len(some), dtype=torch.float32, device=some.x.device)
    return some.x, some.weight.clamp_min(0.0)


def _in_parts(rows: Tensor) -> list[Tensor]:
    """Split rows, so that what a network makes of them fits into the memory."""
    return list(rows.split(max(1, _NUMBERS_AT_ONCE // rows.shape[1])))
