"""Geometry of a calorimeter: its layers and voxels, for generating, reading, measuring and plotting."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

__all__ = ["CaloGeometry", "resolve_geometry"]


@dataclass(frozen=True)
class CaloGeometry:
    r"""The voxels of a calorimeter: layers along the shower, rings in a layer, equal angles in a ring.

    Voxels are counted layer by layer, in a layer angle by angle, the radius fastest, as the CaloChallenge
    does (Krause et al., 2024, arXiv:2410.21611). Lengths are mm, energies MeV.

    Parameters
    ----------
    radial_edges : sequence of sequence of float
        For each layer the edges of its rings, increasing.
    n_angles : sequence of int
        For each layer in how many equal parts its rings are divided, from −π on.
    threshold : float, default=0
        Voxels below are not read out.
    layer_edges : sequence of float, default=None
        Where layers begin, and the last one ends, along the shower. Only the generator needs it. What is
        in front of the first one is not read out.
    layer_names : sequence of str, default=()
        Names of the layers. Without any they are counted from 0.

    Attributes
    ----------
    n_layers, n_voxels : int
        How many there are.
    voxel_shape : (n_layers, n_angles, n_radii) or None
        Shape of a shower's voxels; None where layers differ.
    layers : list of slice
        Each layer's voxels.
    blocks : list of (n_layers, n_angles, n_radii)
        Neighbouring layers that are divided alike.
    r, x, y : ndarray of shape (n_voxels,)
        Where voxels are: the middle between the edges of a ring, and that at the middle of its angle.

    Examples
    --------
    >>> from skae.datasets import CaloGeometry
    >>> geometry = CaloGeometry.named("dataset_2")
    >>> geometry.n_voxels, geometry.voxel_shape, geometry.threshold
    (6480, (45, 16, 9), 0.01515)
    >>> CaloGeometry(radial_edges=[(0, 5, 10), (0, 20)], n_angles=[8, 1]).n_voxels
    17
    """

    radial_edges: tuple[tuple[float, ...], ...]
    n_angles: tuple[int, ...]
    threshold: float = 0.0
    layer_edges: tuple[float, ...] | None = None
    layer_names: tuple[str, ...] = ()

    def __post_init__(self):
        """Turn sequences into tuples, so that geometries compare and hash, and check them."""
        radial_edges = tuple(tuple(map(float, edges)) for edges in self.radial_edges)
        n_angles = tuple(map(int, self.n_angles))
        if n_angles != tuple(self.n_angles):
            raise ValueError(f"n_angles={tuple(self.n_angles)} must be whole numbers.")
        object.__setattr__(self, "radial_edges", radial_edges)
        object.__setattr__(self, "n_angles", n_angles)
        if not radial_edges or len(radial_edges) != len(n_angles):
            raise ValueError(
                f"radial_edges has {len(radial_edges)} layers and n_angles {len(n_angles)}; each "
                "layer needs both."
            )
        for layer, (edges, parts) in enumerate(self._rings):
            _check_edges(f"radial_edges[{layer}]", edges)
            if parts < 1:
                raise ValueError(f"n_angles[{layer}]={parts} must be 1 or more.")
        if not 0.0 <= self.threshold < np.inf:
            raise ValueError(f"threshold={self.threshold!r} must be 0 or more, in MeV.")
        if self.layer_edges is not None:
            edges = tuple(map(float, self.layer_edges))
            object.__setattr__(self, "layer_edges", edges)
            if len(edges) != self.n_layers + 1:
                raise ValueError(
                    f"layer_edges has {len(edges)} entries; {self.n_layers} layers have "
                    f"{self.n_layers + 1} edges."
                )
            _check_edges("layer_edges", edges)
        names = tuple(map(str, self.layer_names or range(self.n_layers)))
        object.__setattr__(self, "layer_names", names)
        if len(names) != self.n_layers:
            raise ValueError(f"layer_names has {len(names)} names for {self.n_layers} layers.")

    @classmethod
    def named(cls, name):
        """Return a calorimeter of the CaloChallenge by its name.

        Parameters
        ----------
        name : {"dataset_1_photons", "dataset_1_pions", "dataset_2", "dataset_3"}
            Which of them.

        Returns
        -------
        geometry : CaloGeometry
            With the challenge's threshold. The challenge tells the depths of layers in data sets 2 and 3.
            Those of data set 1 are approximate, of ATLAS's barrel at η ≈ 0, as mm of lead and liquid
            argon of as many radiation lengths: 1.9 in front (trackers, solenoid, cryostat), 0.4 for the
            presampler and what lies behind it, then 4.3, 16 and 2. The tile calorimeter's 1.5, 4.1 and
            1.8 interaction lengths follow at once, without the walls between.

        References
        ----------
        ATLAS Collaboration, "The ATLAS experiment at the CERN Large Hadron Collider", JINST 3 (2008)
        S08003; "Liquid argon calorimeter technical design report", CERN-LHCC-96-41 (1996).
        """
        if name not in CALOCHALLENGE:
            raise ValueError(f"geometry={name!r} is none of {', '.join(map(repr, CALOCHALLENGE))}.")
        return cls(**CALOCHALLENGE[name])

    @classmethod
    def from_xml(cls, path, *, threshold=0.0, layer_edges=None):
        """Read the binning file of a data set of the CaloChallenge.

        Parameters
        ----------
        path : str or Path
            The file, with one particle's layers. Layers without rings are left out.
        threshold : float, default=0
            The file says nothing of it: 1 MeV for data set 1, 0.01515 MeV for 2 and 3.
        layer_edges : sequence of float, default=None
            See :class:`CaloGeometry`; the file has none.

        Returns
        -------
        geometry : CaloGeometry
            As the file has it.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no binning.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"path={str(path)!r} is not a file.")
        try:
            layers = _read_layers(path)
            names, radial_edges, n_angles = zip(*layers, strict=True)
        except (ElementTree.ParseError, KeyError, ValueError) as error:
            raise ValueError(
                f"path={str(path)!r} cannot be read as a binning of the CaloChallenge, layers with "
                f"'id', 'r_edges' and 'n_bin_alpha': {error}"
            ) from error
        return cls(radial_edges, n_angles, threshold, layer_edges, names)

    @property
    def n_layers(self):
        """Number of layers."""
        return len(self.n_angles)

    @property
    def n_voxels(self):
        """Number of voxels."""
        return self.layers[-1].stop

    @property
    def _rings(self):
        """Edges of each layer's rings, and in how many parts these are divided."""
        return zip(self.radial_edges, self.n_angles, strict=True)

    @cached_property
    def layers(self):
        """Slice of each layer's voxels."""
        ends = np.cumsum([parts * (len(edges) - 1) for edges, parts in self._rings]).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    @property
    def voxel_shape(self):
        """Shape of the voxels, or None where layers differ."""
        n_radii = {len(edges) - 1 for edges in self.radial_edges}
        if len(n_radii) > 1 or len(set(self.n_angles)) > 1:
            return None
        return (self.n_layers, self.n_angles[0], n_radii.pop())

    @property
    def blocks(self):
        """Layers, angles and radii of neighbouring layers that are divided alike, in their order."""
        blocks: list[tuple[int, int, int]] = []
        before = None
        for edges, parts in self._rings:
            if (edges, parts) == before:
                blocks[-1] = (blocks[-1][0] + 1, parts, len(edges) - 1)
            else:
                blocks.append((1, parts, len(edges) - 1))
            before = (edges, parts)
        return blocks

    @cached_property
    def r(self):
        """Radius of each voxel."""
        return np.concatenate([np.tile(_middles(edges), parts) for edges, parts in self._rings])

    @cached_property
    def angle(self):
        """Angle of each voxel, from −π to π."""
        return np.concatenate(
            [
                np.repeat(_middles(np.linspace(-np.pi, np.pi, parts + 1)), len(edges) - 1)
                for edges, parts in self._rings
            ]
        )

    @property
    def x(self):
        """Horizontal position of each voxel; η in the challenge's words."""
        return self.r * np.cos(self.angle)

    @property
    def y(self):
        """Vertical position of each voxel; φ in the challenge's words."""
        return self.r * np.sin(self.angle)


def resolve_geometry(geometry):
    """Return a :class:`CaloGeometry`, given one or its name."""
    if isinstance(geometry, CaloGeometry):
        return geometry
    if isinstance(geometry, str):
        return CaloGeometry.named(geometry)
    raise TypeError(
        f"geometry={geometry!r} must be a CaloGeometry or the name of one, 'dataset_2' say."
    )


def _read_layers(path):
    """Return (id, edges, number of angles) of each layer that has rings."""
    root = ElementTree.parse(path).getroot()
    particles = list(root)
    if len(particles) != 1:
        raise ValueError(f"it has {len(particles)} particles, not one")
    layers = []
    for layer in particles[0]:
        edges = tuple(map(float, layer.attrib["r_edges"].split(",")))
        if len(edges) > 1:
            layers.append((layer.attrib["id"], edges, int(layer.attrib["n_bin_alpha"])))
    if not layers:
        raise ValueError("none of its layers has rings")
    return layers


def _check_edges(name, edges):
    if len(edges) < 2 or not np.isfinite(edges).all() or not (np.diff(edges) > 0.0).all():
        raise ValueError(f"{name} must be two or more numbers that increase, in mm.")
    if edges[0] < 0.0:
        raise ValueError(
            f"{name} begin at {edges[0]:g}, below 0, where the axis and the shower begin."
        )


def _middles(edges):
    edges = np.asarray(edges)
    return 0.5 * (edges[:-1] + edges[1:])


def _equal_steps(n, width):
    """Return the edges of n rings or layers of one width."""
    return tuple(round(width * i, 6) for i in range(n + 1))


_FRONT = (0, 5, 10, 30, 50, 100, 200, 400, 600)
_COARSE = (0, 50, 100, 200, 400, 600)
_TILES = (0, 10, 20, 30, 50, 80, 100, 130, 160, 200, 250, 300, 350, 400)

#: radiation length of 1.53 mm of lead and 4.2 mm of liquid argon in turn, in mm
LEAD_ARGON_RADIATION_LENGTH = 18.9
# Radiation lengths: behind 1.9 of dead material the presampler, strips, middle and back layer, then iron
# and scintillator of the tile calorimeter, of which 9.2 (206 mm / 22.4 mm) make an interaction length.
_ATLAS_DEPTHS = (1.9, 0.4, 4.3, 16.0, 2.0, 1.5 * 9.2, 4.1 * 9.2, 1.8 * 9.2)
_ATLAS_EDGES = tuple(
    round(LEAD_ARGON_RADIATION_LENGTH * sum(_ATLAS_DEPTHS[: i + 1]), 2)
    for i in range(len(_ATLAS_DEPTHS))
)
_DEPTH = 3.4  # mm, two of 1.4 mm tungsten and 0.3 mm silicon each
#: the calorimeters of the CaloChallenge: 1 is like ATLAS's, 2 and 3 are of tungsten and silicon
CALOCHALLENGE = {
    "dataset_1_photons": {
        "radial_edges": (
            _FRONT,
            (0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 50, 70, 90, 120, 150, 200),
            (0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300, 350, 400),
            _COARSE,
            (0, 100, 200, 400, 1000, 2000),
        ),
        "n_angles": (1, 10, 10, 1, 1),
        "layer_edges": _ATLAS_EDGES[:6],
        "layer_names": ("0", "1", "2", "3", "12"),
        "threshold": 1.0,
    },
    "dataset_1_pions": {
        "radial_edges": (
            _FRONT,
            (0, 1, 4, 7, 10, 15, 30, 50, 90, 150, 200),
            (0, 5, 10, 20, 30, 50, 80, 130, 200, 300, 400),
            _COARSE,
            (*_TILES, 1000, 2000),
            (*_TILES, 600, 1000, 2000),
            (0, 50, 100, 150, 200, 250, 300, 400, 600, 1000, 2000),
        ),
        "n_angles": (1, 10, 10, 1, 10, 10, 1),
        "layer_edges": _ATLAS_EDGES,
        "layer_names": ("0", "1", "2", "3", "12", "13", "14"),
        "threshold": 1.0,
    },
    "dataset_2": {
        "radial_edges": (_equal_steps(9, 4.65),) * 45,
        "n_angles": (16,) * 45,
        "layer_edges": _equal_steps(45, _DEPTH),
        "threshold": 0.01515,
    },
    "dataset_3": {
        "radial_edges": (_equal_steps(18, 2.325),) * 45,
        "n_angles": (50,) * 45,
        "layer_edges": _equal_steps(45, _DEPTH),
        "threshold": 0.01515,
    },
}
