"""
QCD jets from Pythia
====================

Simulates proton-proton collisions at 13 TeV with Pythia 8 and clusters the particles into anti-kt
R = 0.4 jets with FastJet; :func:`skae.datasets.load_jets` reads the file it writes::

    pip install -e ".[hep]"
    python examples/jets_from_pythia.py qcd_jets.npy --events 20000
    python examples/plot_jet_compression.py qcd_jets.npy
"""

# sphinx_gallery_thumbnail_path = '_static/jets_from_pythia.svg'

import argparse
import time

import numpy as np

parser = argparse.ArgumentParser(description="QCD jets, columns E, pt (GeV), eta, phi")
parser.add_argument("file", help="where to write, .npy")
parser.add_argument("--events", type=int, default=20_000)
parser.add_argument("--min-pt-hat", type=float, default=20.0, help="GeV, of the hard scattering")
parser.add_argument("--min-pt", type=float, default=20.0, help="GeV, of a jet")
parser.add_argument("--max-eta", type=float, default=4.9)
parser.add_argument("--seed", type=int, default=1, help="1 to 900,000,000")

# %%
# Hard scatterings are drawn with weight pT̂⁴, so that hard jets are as common as soft ones: the sample
# covers the spectrum, and does not follow it.
SETTINGS = """
Beams:eCM = 13000.
HardQCD:all = on
PhaseSpace:bias2Selection = on
PhaseSpace:bias2SelectionPow = 4.
Print:quiet = on
Random:setSeed = on
"""


def simulate(options):
    import awkward as ak
    import fastjet
    import pythia8mc

    pythia = pythia8mc.Pythia("", False)
    for line in SETTINGS.strip().splitlines():
        pythia.readString(line)
    pythia.readString(f"PhaseSpace:pTHatMin = {options.min_pt_hat}")
    pythia.readString(f"Random:seed = {options.seed}")
    if not pythia.init():
        raise RuntimeError("Pythia could not be initialised with these settings.")
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.4)
    jets, start = [], time.perf_counter()
    for event in range(options.events):
        if not pythia.next():
            continue
        particles = [
            (p.px(), p.py(), p.pz(), p.e())
            for p in pythia.event
            if p.isFinal() and p.isVisible() and abs(p.eta()) < options.max_eta
        ]
        momenta = ak.zip(dict(zip(("px", "py", "pz", "E"), np.array(particles).T, strict=True)))
        found = fastjet.ClusterSequence(
            ak.Array(momenta, with_name="Momentum4D"), definition
        ).inclusive_jets(min_pt=options.min_pt)
        jets.append(np.column_stack([ak.to_numpy(found[name]) for name in ("px", "py", "pz", "E")]))
        if (event + 1) % max(options.events // 10, 1) == 0:
            rate = (event + 1) / (time.perf_counter() - start)
            print(f"{event + 1} of {options.events} events, {rate:.0f} a second", flush=True)
    return np.concatenate(jets)


def to_columns(momenta):
    """(px, py, pz, E) to (E, pT, η, φ)."""
    px, py, pz, energy = momenta.T
    pt = np.hypot(px, py)
    return np.column_stack([energy, pt, np.arcsinh(pz / pt), np.arctan2(py, px)])


if __name__ == "__main__":
    options = parser.parse_args()
    X = to_columns(simulate(options))
    np.save(options.file, X)
    print(f"wrote {len(X)} jets to {options.file}: E, pt (GeV), eta, phi")
