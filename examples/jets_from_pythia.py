"""
Jets from Pythia
================

Simulates proton-proton collisions at 13 TeV with Pythia 8 and clusters the particles into anti-kt jets
with FastJet; :func:`skae.datasets.load_jets` reads the files it writes. Four columns of QCD jets of
R = 0.4, over a wide spectrum::

    pip install -e ".[hep]"
    python examples/jets_from_pythia.py qcd_jets.npy --events 20000
    python examples/plot_jet_compression.py qcd_jets.npy

Or 25 named columns of the two leading large-radius jets of hard di-jets, and of a boosted resonance::

    python examples/jets_from_pythia.py background.npy --process qcd --events 20000
    python examples/jets_from_pythia.py signal.npy --process resonance --events 5000
    python benchmarks/bench_jet_columns.py background.npy
"""

# sphinx_gallery_thumbnail_path = '_static/jets_from_pythia.svg'

import argparse
import time

import numpy as np

BATCH = 500  # events that are simulated and clustered at once
NEUTRINOS, MUON, ELECTROMAGNETIC = (12, 14, 16), 13, (11, 22)

SETTINGS = """
Beams:eCM = 13000.
Print:quiet = on
Random:setSeed = on
"""

# %%
# "spectrum": hard scatterings are drawn with weight pT̂⁴, so that hard jets are as common as soft ones:
# the sample covers the spectrum, and does not follow it.
#
# "qcd" and "resonance" are like the R&D set of the LHC Olympics (arXiv:2101.08320): anti-kt jets of
# R = 1.0 made of visible particles up to a pseudorapidity of 2.5, in events whose leading jet has more
# than 1.2 TeV. Each of the two leading jets is a row, the harder first; the last column numbers the
# events. QCD events have no weights: pT̂ is above 1 TeV, so that those are missing whose leading jet
# gained more than 200 GeV from radiation. The resonance is a W′ of 3.5 TeV that decays to two new scalars
# alone: a charged X of 500 GeV and a neutral Y of 100 GeV, each to a pair of light quarks. No detector is
# simulated.

PROCESSES = {
    "spectrum": """
HardQCD:all = on
PhaseSpace:bias2Selection = on
PhaseSpace:bias2SelectionPow = 4.
""",
    "qcd": "HardQCD:all = on",
    "resonance": """
NewGaugeBoson:ffbar2Wprime = on
9000001:all = X Xbar 1 3 0 500. 5. 400. 600. 0.
9000001:oneChannel = 1 1. 103 2 -1
9000002:all = Y void 1 0 0 100. 1. 80. 120. 0.
9000002:oneChannel = 1 0.5 103 1 -1
9000002:addChannel = 1 0.5 103 2 -2
34:m0 = 3500.
34:oneChannel = 1 1. 103 9000001 9000002
""",
}
COLUMNS = [
    "E", "pt", "eta", "phi", "mass", "girth", "lha", "width", "n_constituents", "n_charged", "n_subjets",
    "charged_fraction", "em_fraction", "muon_fraction", "pt_dispersion", "leading_fraction", "charge",
    "tau1", "tau21", "tau32", "C2", "D2", "soft_drop_mass", "zg", "rg",
]  # fmt: skip
DEFAULTS = {  # of the options that depend on the process
    "spectrum": {"radius": 0.4, "min_pt": 20.0, "min_pt_hat": 20.0, "max_eta": 4.9},
    "qcd": {"radius": 1.0, "min_pt": 1200.0, "min_pt_hat": 1000.0, "max_eta": 2.5},
    "resonance": {"radius": 1.0, "min_pt": 1200.0, "min_pt_hat": 0.0, "max_eta": 2.5},
}

parser = argparse.ArgumentParser(description="jets: columns E, pt (GeV), eta, phi, and 21 more")
parser.add_argument("file", help="where to write, .npy")
parser.add_argument("--process", default="spectrum", choices=list(PROCESSES))
parser.add_argument("--events", type=int, default=20_000, help="collisions to simulate")
parser.add_argument("--min-pt", type=float, help="GeV, of a jet (spectrum) or of the leading jet")
parser.add_argument("--min-pt-hat", type=float, help="GeV, of the hard scattering")
parser.add_argument("--max-eta", type=float, help="of particles")
parser.add_argument("--seed", type=int, default=1, help="1 to 900,000,000")


def simulate(options):
    """Yield the visible particles of BATCH events, an array of records for each event."""
    import awkward as ak
    import pythia8mc

    pythia = pythia8mc.Pythia("", False)
    for line in (SETTINGS + PROCESSES[options.process]).strip().splitlines():
        if not pythia.readString(line):
            raise RuntimeError(f"Pythia does not know the setting {line!r}.")
    pythia.readString(f"PhaseSpace:pTHatMin = {options.min_pt_hat}")
    pythia.readString(f"Random:seed = {options.seed}")
    if not pythia.init():
        raise RuntimeError("Pythia could not be initialised with these settings.")
    start = time.perf_counter()
    for done in range(0, options.events, BATCH):
        particles = pythia.nextBatch(min(BATCH, options.events - done)).prt
        momentum, kind = particles.p, abs(particles.id)
        is_seen = particles.status > 0
        for neutrino in NEUTRINOS:
            is_seen = is_seen & (kind != neutrino)
        pt = np.hypot(momentum.px, momentum.py)
        is_seen = is_seen & (abs(momentum.pz) < pt * np.sinh(options.max_eta))
        # a charge is looked up once for each kind
        flat = ak.to_numpy(ak.flatten(particles.id[is_seen]))
        kinds, places = np.unique(flat, return_inverse=True)
        charges = np.array([pythia.particleData.charge(int(kind)) for kind in kinds])[places]
        fields = {name: momentum[name.lower()][is_seen] for name in ("px", "py", "pz", "E")}
        fields["id"] = particles.id[is_seen]
        fields["charge"] = ak.unflatten(charges, ak.num(fields["id"]))
        yield ak.zip(fields, with_name="Momentum4D")
        rate = (done + BATCH) / (time.perf_counter() - start)
        if (done // BATCH + 1) % max(options.events // (10 * BATCH), 1) == 0:
            print(f"{done + BATCH} of {options.events} events, {rate:.0f} a second", flush=True)


# %%
# Columns of constituents
# -----------------------
# z are shares of the sum of the constituents' pT, Δ distances in rapidity and azimuth from the jet.


def add_up(jets):
    """Return the momenta px, py, pz, E of jets, given their constituents."""
    import awkward as ak

    return np.array([ak.to_numpy(ak.sum(jets[name], axis=1)) for name in ("px", "py", "pz", "E")])


def four_momenta(px, py, pz, energy):
    """Return E, pT, η and φ by name."""
    pt = np.hypot(px, py)
    return {"E": energy, "pt": pt, "eta": np.arcsinh(pz / pt), "phi": np.arctan2(py, px)}


def shapes(jets):
    """Return sums over constituents by name: mass, angularities, counts, fractions and charge.

    girth, lha (the Les Houches angularity) and width are Σ z Δ, Σ z √Δ and Σ z Δ²; the charge is Σ q √z.
    """
    import awkward as ak

    px, py, pz, energy = add_up(jets)
    pt = np.hypot(jets.px, jets.py)
    share = pt / ak.sum(pt, axis=1)
    rapidity = np.arctanh(jets.pz / jets.E) - np.arctanh(pz / energy)
    # by the rotation from the jet to the constituent
    azimuth = np.arctan2(jets.py * px - jets.px * py, jets.px * px + jets.py * py)
    distance = np.hypot(rapidity, azimuth)
    kind = abs(jets.id)
    is_charged = jets.charge != 0.0
    is_electromagnetic = (kind == ELECTROMAGNETIC[0]) | (kind == ELECTROMAGNETIC[1])
    columns = {
        "mass": np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0)),
        "girth": ak.sum(share * distance, axis=1),
        "lha": ak.sum(share * np.sqrt(distance), axis=1),
        "width": ak.sum(share * distance**2, axis=1),
        "n_constituents": ak.num(jets.px, axis=1),
        "n_charged": ak.sum(is_charged, axis=1),
        "charged_fraction": ak.sum(share * is_charged, axis=1),
        "em_fraction": ak.sum(share * is_electromagnetic, axis=1),
        "muon_fraction": ak.sum(share * (kind == MUON), axis=1),
        "pt_dispersion": np.sqrt(ak.sum(share**2, axis=1)),
        "leading_fraction": ak.max(share, axis=1),
        "charge": ak.sum(jets.charge * np.sqrt(share), axis=1),
    }
    return {name: ak.to_numpy(values) for name, values in columns.items()}


def substructure(jets):
    """Return by name what FastJet and its contributed packages find in jets: prongs and grooming.

    N-subjettiness with β = 1 and winner-take-all axes, energy correlators with β = 1, soft drop with
    β = 0 and z > 0.1, anti-kt subjets of R = 0.2 and 20 GeV. Where soft drop leaves one particle, its z
    and R are zero.
    """
    import awkward as ak
    import fastjet

    everything = fastjet.ClusterSequence(
        jets, fastjet.JetDefinition(fastjet.cambridge_algorithm, 10.0)
    )
    tau = everything.njettiness(
        measure_definition="NormalizedMeasure",
        axes_definition="OnePass_WTA_KT_Axes",
        njets=[1, 2, 3],
        beta=1.0,
        R0=1.0,
    )
    tau1, tau2, tau3 = ak.to_numpy(tau).T
    e2, e3 = (
        ak.to_numpy(everything.exclusive_jets_energy_correlator(1, beta=1, npoint=points))
        for points in (2, 3)
    )
    groomed = everything.exclusive_jets_softdrop_grooming(1, beta=0.0, symmetry_cut=0.1, R0=1.0)
    subjets = fastjet.ClusterSequence(jets, fastjet.JetDefinition(fastjet.antikt_algorithm, 0.2))
    return {
        "n_subjets": ak.to_numpy(ak.num(subjets.inclusive_jets(min_pt=20.0), axis=1)),
        "tau1": tau1,
        "tau21": ratio(tau2, tau1),
        "tau32": ratio(tau3, tau2),
        "C2": ratio(e3, e2**2),
        "D2": ratio(e3, e2**3),
        "soft_drop_mass": np.maximum(ak.to_numpy(groomed.msoftdrop), 0.0),
        "zg": np.maximum(ak.to_numpy(groomed.symmetrysoftdrop), 0.0),
        "rg": np.maximum(ak.to_numpy(groomed.deltaRsoftdrop), 0.0),
    }


def ratio(above, below):
    """Divide; 0 / 0 is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)


def leading_two(particles, options):
    """Return the constituents of the two leading jets of events in the trigger, and those events."""
    import awkward as ak
    import fastjet

    sequence = fastjet.ClusterSequence(
        particles, fastjet.JetDefinition(fastjet.antikt_algorithm, options.radius)
    )
    found = sequence.inclusive_jets(min_pt=20.0)
    pt = np.hypot(found.px, found.py)
    first_two = ak.argsort(pt, axis=1, ascending=False)[:, :2]
    is_kept = ak.to_numpy(ak.fill_none(ak.max(pt, axis=1), 0.0)) > options.min_pt
    is_kept &= ak.to_numpy(ak.num(pt)) > 1
    index = sequence.constituent_index(min_pt=20.0)[first_two][is_kept]
    constituents = ak.flatten(particles[is_kept][ak.flatten(index, axis=2)])
    events = np.repeat(np.flatnonzero(is_kept), 2)
    return ak.unflatten(constituents, ak.to_numpy(ak.flatten(ak.num(index, axis=2)))), events


def columns_of(jets):
    """Return all columns of jets by name, given their constituents."""
    found = {**four_momenta(*add_up(jets)), **shapes(jets), **substructure(jets)}
    return {name: found[name] for name in COLUMNS}


def large_jets(options):
    """Return the two leading jets of events as a table with named columns."""
    tables = []
    for batch, particles in enumerate(simulate(options)):
        jets, events = leading_two(particles, options)
        if len(jets):
            tables.append(columns_of(jets) | {"event": batch * BATCH + events})
    if not tables:
        raise RuntimeError(f"No jet has {options.min_pt} GeV: more --events, or a lower --min-pt.")
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    rows = np.empty(len(joined["E"]), [(name, values.dtype) for name, values in joined.items()])
    for name, values in joined.items():
        rows[name] = values
    return rows


def all_jets(options):
    """Return E, pT, η and φ of all jets of events."""
    import awkward as ak
    import fastjet

    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, options.radius)
    momenta = []
    for particles in simulate(options):
        found = fastjet.ClusterSequence(particles, definition).inclusive_jets(min_pt=options.min_pt)
        found = ak.flatten(found)
        momenta.append([ak.to_numpy(found[name]) for name in ("px", "py", "pz", "E")])
    return np.column_stack(list(four_momenta(*np.concatenate(momenta, axis=1)).values()))


if __name__ == "__main__":
    options = parser.parse_args()
    for name, value in DEFAULTS[options.process].items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    start = time.perf_counter()
    X = all_jets(options) if options.process == "spectrum" else large_jets(options)
    np.save(options.file, X)
    names = X.dtype.names or ("E", "pt", "eta", "phi")
    seconds = time.perf_counter() - start
    print(f"wrote {len(X)} jets to {options.file} in {seconds:.0f} s: {', '.join(names)}")
