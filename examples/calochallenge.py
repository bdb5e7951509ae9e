"""
Showers of the CaloChallenge
============================

Train :class:`~skae.CaloShowerVAE` on the CaloChallenge's files, judge it, and write new showers::

    python examples/calochallenge.py dataset_2_1.hdf5 --test dataset_2_2.hdf5

Files are at https://calochallenge.github.io/homepage/. Sparse ones, .npz in the layout that
:func:`~skae.datasets.load_calochallenge` describes, are read as well. What is learnt is saved every half
minute in the folder ``--out``; the same command goes on from there. At the end the folder holds the
model, showers drawn at the test file's energies (HDF5, as the challenge wants them) and a picture.
Figures of merit are printed, beside distances and separation also their floor, of one half of the test
file against the other. All showers are held in memory: those of data set 3 take 16 GB, twice.
"""

# sphinx_gallery_thumbnail_path = '_static/calochallenge.svg'

import argparse
import pickle
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

import skae
from skae.datasets import CaloGeometry, load_calochallenge, save_calochallenge
from skae.metrics import (
    classifier_two_sample_test,
    frechet_physics_distance,
    kernel_physics_distance,
    separation_power,
    shower_feature_names,
    shower_features,
    shower_response,
)
from skae.plotting import ShowerDisplay


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="showers to learn from")
    parser.add_argument("--test", nargs="+", type=Path, help="others; default: a fifth of them")
    parser.add_argument("--geometry", default="dataset_2", help="a data set's name (%(default)s)")
    parser.add_argument("--binning", type=Path, help="or the XML file of its binning")
    parser.add_argument(
        "--threshold", type=float, help="of its voxels, in MeV; goes with --binning"
    )
    parser.add_argument("--prior", default="gaussian", choices=("gaussian", "rbm"))
    parser.add_argument("--components", type=int, default=24, help="latents (%(default)s)")
    parser.add_argument("--epochs", type=int, help="default: as many as make 6000 steps")
    parser.add_argument("--batch", type=int, default=64, help="batch size (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("calochallenge"), help="folder (%(default)s)"
    )
    options = parser.parse_args(arguments)

    geometry = CaloGeometry.named(options.geometry)
    if (options.binning is None) != (options.threshold is None):
        parser.error("--binning and --threshold go together: the file has no threshold")
    if options.binning is not None:
        geometry = CaloGeometry.from_xml(options.binning, threshold=options.threshold)
    train = load_calochallenge(options.files, geometry=geometry)
    if options.test is None:  # files may be sorted by energy
        train, test = train_test_split(train, test_size=0.2, random_state=options.seed)
    else:
        test = load_calochallenge(options.test, geometry=geometry)
    print(
        f"{len(train)} showers to learn from, {len(test)} to judge by, {geometry.n_voxels} voxels"
    )

    options.out.mkdir(parents=True, exist_ok=True)
    model = make_pipeline(
        skae.LogRatioTransformer("log1p", reference=0, threshold=geometry.threshold),
        skae.CaloShowerVAE(
            options.components,
            geometry=geometry,
            prior=options.prior,
            max_epochs=options.epochs,
            batch_size=options.batch,
            checkpoint=options.out / "checkpoint",
            random_state=options.seed,
            verbose=1,
        ),
    ).fit(train)
    with (options.out / "model.pickle").open("wb") as file:
        pickle.dump(model, file)

    drawn = skae.sample(model, test[:, 0], random_state=options.seed)
    save_calochallenge(options.out / "showers.hdf5", drawn, source="CaloShowerVAE of skae")
    matplotlib.use("agg")
    display = ShowerDisplay.from_predictions(
        test, drawn, geometry=geometry, labels=("test file", "CaloShowerVAE")
    )
    display.figure_.savefig(options.out / "showers.png", dpi=150)
    report(test, drawn, geometry)
    print(f"model, showers and picture are in {options.out}/")


def report(test, drawn, geometry):
    """Print figures of merit with the CaloChallenge's parameters, and their floors."""
    features = [shower_features(part, geometry=geometry) for part in (test, drawn)]
    voxels = [relative_voxels(part, geometry) for part in (test, drawn)]
    response = [shower_response(part, geometry=geometry) for part in (test, drawn)]
    size = min(10_000, max(2, len(test) // 2))
    frechet = frechet_physics_distance(
        *features, min_samples=size, max_samples=5 * size, return_floor=True
    )
    print(f"FPD                    {frechet}")
    kernel = kernel_physics_distance(*features, batch_size=size, return_floor=True)
    print(f"KPD                    {kernel}")
    is_energy = np.array([n.startswith("log10_E_") for n in shower_feature_names(geometry)])
    energies = [part[:, is_energy] for part in features]  # the incident one, of layers, the total
    for name, pair in (
        ("layer energies", energies),
        ("the features", features),
        ("the voxels", voxels),
    ):
        auc = classifier_two_sample_test(*pair, random_state=0)
        print(f"AUC of {name:<16}{auc.auc:.3f} ± {auc.error:.3f}")
    halves = np.split(np.random.default_rng(0).permutation(response[0]), [len(test) // 2])
    power, floor = (separation_power(*pair, range=(0.5, 1.5)) for pair in (response, halves))
    print(f"separation, E_tot/E    {power:.4f}, of two halves {floor:.4f}")


def relative_voxels(showers, geometry):
    """Return what voxels over their threshold hold of the incident energy, of 10,000 showers at most."""
    voxels, energy = showers[:10_000, 1:], showers[:10_000, :1]
    return np.where(voxels < geometry.threshold, 0.0, voxels) / np.maximum(energy, 1e-6)


if __name__ == "__main__":
    main()
