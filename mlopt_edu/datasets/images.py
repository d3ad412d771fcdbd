"""Fashion-MNIST: a part that comes with the package, and the full set if it is here.

Paper: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for
Benchmarking Machine Learning Algorithms", 2017, arXiv:1708.07747, MIT licence.
"""

import gzip
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FASHION_CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

# Where Linux distributions put the full set; MLOPT_FASHION_MNIST names another folder.
_FULL = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class Images:
    """Grey images and their classes, split into training and test sets.

    Attributes:
        train_images: uint8 array of shape (n_train, height, width).
        train_labels: int64 array of shape (n_train,).
        test_images: uint8 array of shape (n_test, height, width).
        test_labels: int64 array of shape (n_test,).
        classes: Name of each label.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]


def fashion_mnist(*, full: bool = False) -> Images:
    """Return Fashion-MNIST: 4,000 + 2,000 images that come with the package.

    Args:
        full: Return all 60,000 + 10,000, read from the folder named by the
            environment variable MLOPT_FASHION_MNIST, or from the system's package
            `dataset-fashion-mnist`.

    Raises:
        FileNotFoundError: If `full` and the full set is not on this machine.

    Example:
        >>> data = fashion_mnist()
        >>> data.train_images.shape, data.classes[data.test_labels[0]]
        ((4000, 28, 28), 'T-shirt')
    """
    if full:
        return _full_fashion_mnist()
    file = resources.files("mlopt_edu") / "data" / "fashion_mnist.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return Images(
            arrays["train_images"],
            arrays["train_labels"].astype(np.int64),
            arrays["test_images"],
            arrays["test_labels"].astype(np.int64),
            FASHION_CLASSES,
        )


def first_of_each_class(labels: NDArray[np.int64], per_class: int) -> NDArray[np.intp]:
    """Return the places of the first `per_class` examples of each class, by class.

    The subset that comes with the package is the full set at these places, with 400
    a class for training and 200 for the test.

    Example:
        >>> first_of_each_class(np.array([1, 0, 1, 1, 0]), 2)
        array([1, 4, 0, 2])
    """
    if per_class < 1 or labels.size == 0:
        raise ValueError(
            f"per_class must be at least 1 and labels not empty, got {per_class} and "
            f"{labels.size} labels"
        )
    places = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    short = min(len(found) for found in places)
    if per_class > short:
        raise ValueError(f"per_class must be at most {short} here, got {per_class}")
    return np.concatenate([found[:per_class] for found in places])


def two_classes(
    data: Images, negative: str, positive: str, *, pool: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a two-class problem on flattened, averaged pixels of the training set.

    Args:
        data: Images with their classes.
        negative: Class that gets the target -1.
        positive: Class that gets the target +1.
        pool: Side of the squares of pixels that are averaged into one feature; must
            divide the height and the width.

    Returns:
        `X` of shape (n, height // pool * width // pool) in [0, 1], and `y` of
        shape (n,) with entries -1 and +1, in the order of the data.

    Raises:
        ValueError: If a class is not one of `data.classes`, or `pool` does not fit.

    Example:
        >>> X, y = two_classes(fashion_mnist(), "sneaker", "ankle boot", pool=7)
        >>> X.shape, y[:2], y[-2:]
        ((800, 16), array([-1., -1.]), array([1., 1.]))
    """
    for name in (negative, positive):
        if name not in data.classes:
            known = ", ".join(data.classes)
            raise ValueError(f"class must be one of {known}, got {name!r}")
    if negative == positive:
        raise ValueError(f"the two classes must differ, got {negative!r} twice")
    n, height, width = data.train_images.shape
    if pool < 1 or height % pool or width % pool:
        raise ValueError(f"pool must divide {height} and {width}, got {pool}")
    pairs = ((negative, -1.0), (positive, 1.0))
    y = np.zeros(n)
    for name, target in pairs:
        y[data.train_labels == data.classes.index(name)] = target
    squares = data.train_images.reshape(
        n, height // pool, pool, width // pool, pool
    ).mean(axis=(2, 4))
    return (squares.reshape(n, -1) / 255)[y != 0], y[y != 0]


def _full_fashion_mnist() -> Images:
    folder = Path(os.environ.get("MLOPT_FASHION_MNIST", _FULL))
    names = [
        f"{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"the full Fashion-MNIST is not in {folder} ({missing[0]} is missing); "
            "install the system package dataset-fashion-mnist, or set "
            "MLOPT_FASHION_MNIST to the folder that holds its four .gz files"
        )
    arrays = [_read_idx(folder / name) for name in names]
    return Images(
        arrays[0],
        arrays[1].astype(np.int64),
        arrays[2],
        arrays[3].astype(np.int64),
        FASHION_CLASSES,
    )


def _read_idx(file: Path) -> NDArray[np.uint8]:
    """Read the IDX format: 2 zero bytes, type 8, rank, big-endian sizes, the bytes."""
    try:
        content = gzip.decompress(file.read_bytes())
        if content[:3] != b"\x00\x00\x08":
            raise ValueError("it does not begin like one")
        rank = content[3]
        shape = np.frombuffer(content, ">u4", count=rank, offset=4).astype(int)
        pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
        return pixels.reshape(shape).copy()  # a buffer cannot be written to
    except (ValueError, EOFError, gzip.BadGzipFile, IndexError) as error:
        raise ValueError(
            f"{file} must be a gzipped IDX file of unsigned bytes: {error}"
        ) from None
