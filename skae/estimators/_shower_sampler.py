"""Latent bits of showers, drawn by a sampler of dimod in the place of Gibbs sampling."""

from typing import Any

import numpy as np
import torch
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from skae.estimators._samplers import Problems, check_sampler
from skae.modules.showers.bits import BinaryLatents
from skae.training.batches import to_float32
from skae.training.hardware import own_settings
from skae.training.seeding import draw_seed

# States of each energy that a report is of.
_N_STATES = 200


class SamplerMixin:
    """What CaloShowerVAE has an annealer, or another sampler, do."""

    @own_settings()
    def _draw_bits(self, energy: np.ndarray, seed: int) -> np.ndarray:
        problems, codes = self._problems(energy, seed)
        scale = self._scale_of(problems, codes)
        states = problems.draw(codes, scale)
        problems.warn_of_others(codes, states, scale)
        return states.astype(energy.dtype)

    @own_settings()
    def sampler_report(self, incident_energy, *, random_state=None):
        """Compare what ``sampler`` draws with what Gibbs sampling does.

        Parameters
        ----------
        incident_energy : float or array-like of shape (n_energies,)
            In the unit of column 0 in training; a problem each.
        random_state : int, RandomState instance or None, default=None
            For both.

        Returns
        -------
        report : Bunch
            ``scale`` : by what energies are multiplied for the sampler, 1 / ``sampler_beta`` or as
            estimated, but within its range;
            ``largest_scale`` : the range, infinite where the sampler has none;
            ``inverse_temperature``, ``inverse_temperature_error`` : at which it then draws, 1 being the
            machine's;
            ``n_states``, ``n_distinct``, ``n_distinct_gibbs`` : states drawn, and different ones, of the
            sampler and of Gibbs sampling;
            ``mean_energy``, ``mean_energy_gibbs``, and ``mean_energy_error`` of their difference.
        """
        check_is_fitted(self, "net_")
        energies = np.repeat(np.unique(self._as_energies(incident_energy)), _N_STATES)
        self._check_energies(energies)
        seed = draw_seed(random_state)
        if self.sampler is None:
            raise ValueError("There is no sampler to report of; set_params(sampler=…).")
        problems, codes = self._problems(energies, seed)
        scale = self._scale_of(problems, codes)
        states = problems.draw(codes, scale)
        beta, error = problems.temperature(codes, states)
        latents = self.module_.latents
        gibbs = latents.sample(
            self._energy_tensor(energies), self.n_components_,
            torch.Generator(self.device_).manual_seed(seed), n_steps=self.gibbs_steps,
        ).cpu().numpy()  # fmt: skip
        ours, theirs = (problems.energy(codes, each) for each in (states, gibbs))
        return Bunch(
            scale=scale,
            largest_scale=problems.largest_scale(codes),
            inverse_temperature=beta,
            inverse_temperature_error=error,
            n_states=len(states),
            n_distinct=len(np.unique(np.column_stack([codes, states]), axis=0)),
            n_distinct_gibbs=len(np.unique(np.column_stack([codes, gibbs]), axis=0)),
            mean_energy=ours.mean(),
            mean_energy_gibbs=theirs.mean(),
            mean_energy_error=np.sqrt((ours.var() + theirs.var()) / len(ours)),
        )

    def _problems(self, energy: np.ndarray, seed: int) -> tuple[Problems, np.ndarray]:
        """Return problems, and codes of the energies."""
        check_sampler(self.sampler, self.sampler_beta)
        latents = self.module_.latents
        if not isinstance(latents, BinaryLatents):
            raise ValueError("sampler draws bits: it belongs to a fit with prior='rbm'.")
        codes = latents.code(self._energy_tensor(energy)).cpu().numpy()
        arguments = dict(self.sampler_arguments or {})
        return Problems(self.sampler, latents.machine, self.qubits_, seed, arguments), codes

    def _scale_of(self, problems: Problems, codes: np.ndarray) -> float:
        if self.sampler_beta == "auto":
            return problems.settle(codes)
        return min(1.0 / self.sampler_beta, problems.largest_scale(codes))

    def _energy_tensor(self, energy: np.ndarray) -> Any:
        return torch.from_numpy(to_float32(energy, "incident_energy")).to(self.device_)
