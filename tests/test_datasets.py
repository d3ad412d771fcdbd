"""Fashion-MNIST as it comes with the package, against the full set and slow loops."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlopt_edu.datasets import (
    FASHION_CLASSES,
    Images,
    fashion_mnist,
    first_of_each_class,
    two_classes,
)

FULL = Path(os.environ.get("MLOPT_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
needs_full = pytest.mark.skipif(
    not all((FULL / name).is_file() for name in FILES),
    reason="install dataset-fashion-mnist or set MLOPT_FASHION_MNIST",
)


def idx(array):
    """Write the IDX format by hand: magic, sizes, bytes."""
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return gzip.compress(head + array.astype(np.uint8).tobytes())


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A full set of five training and two test images of 3 × 2 pixels, on disk."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, size=(5, 3, 2)),
        np.array([3, 1, 4, 1, 5]),
        rng.integers(0, 256, size=(2, 3, 2)),
        np.array([9, 2]),
    ]
    for name, array in zip(FILES, arrays, strict=True):
        (tmp_path / name).write_bytes(idx(array))
    monkeypatch.setenv("MLOPT_FASHION_MNIST", str(tmp_path))
    return tmp_path, arrays


def parts(data):
    return [
        (data.train_images, data.train_labels),
        (data.test_images, data.test_labels),
    ]


def test_the_shipped_set_is_balanced_and_whole():
    data = fashion_mnist()
    assert data.classes == FASHION_CLASSES
    assert len(set(data.classes)) == 10
    for (images, labels), count in zip(parts(data), (400, 200), strict=True):
        assert images.shape == (10 * count, 28, 28)
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        assert (images.min(), images.max()) == (0, 255)
        assert np.bincount(labels).tolist() == [count] * 10


def test_no_test_image_is_in_the_training_set():
    data = fashion_mnist()
    seen = {image.tobytes() for image in data.train_images}
    assert not any(image.tobytes() in seen for image in data.test_images)


def test_changing_the_arrays_changes_no_later_call():
    fashion_mnist().train_images[:] = 0
    assert fashion_mnist().train_images.any()


@needs_full
def test_the_shipped_set_is_the_first_of_each_class_of_the_full_set():
    shipped, full = fashion_mnist(), fashion_mnist(full=True)
    assert [len(labels) for _, labels in parts(full)] == [60_000, 10_000]
    for ours, whole, count in zip(parts(shipped), parts(full), (400, 200), strict=True):
        places = first_of_each_class(whole[1], count)
        np.testing.assert_array_equal(ours[0], whole[0][places])
        np.testing.assert_array_equal(ours[1], whole[1][places])


def test_first_of_each_class_by_a_slow_loop():
    labels = np.random.default_rng(0).integers(0, 4, size=100)
    expected = []
    for label in range(4):
        expected += [i for i in range(100) if labels[i] == label][:7]
    assert first_of_each_class(labels, 7).tolist() == expected


def test_the_full_set_is_read_as_it_was_written(tiny):
    _, arrays = tiny
    data = fashion_mnist(full=True)
    read = [array for part in parts(data) for array in part]
    for expected, actual in zip(arrays, read, strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert [array.dtype for array in read] == 2 * [np.uint8, np.int64]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_what_to_do(tiny, name):
    folder, _ = tiny
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name) as caught:
        fashion_mnist(full=True)
    for word in (str(folder), "dataset-fashion-mnist", "MLOPT_FASHION_MNIST"):
        assert word in str(caught.value)


def test_a_file_of_another_type_is_named(tiny):
    folder, _ = tiny
    floats = struct.pack(">HBBI", 0, 13, 1, 1) + struct.pack(">f", 1.0)
    (folder / FILES[1]).write_bytes(gzip.compress(floats))
    with pytest.raises(ValueError, match=f"{FILES[1]} must be a gzipped IDX file"):
        fashion_mnist(full=True)


@pytest.mark.parametrize("pool", [1, 2, 7, 28])
def test_two_classes_by_a_slow_loop(pool):
    rng = np.random.default_rng(pool)
    labels = np.array([5, 7, 9, 7, 5, 0, 9])
    pictures = rng.integers(0, 256, size=(7, 28, 28), dtype=np.uint8)
    data = Images(pictures, labels, pictures[:0], labels[:0], FASHION_CLASSES)
    X, y = two_classes(data, "sneaker", "ankle boot", pool=pool)
    rows, targets = [], []
    for picture, label in zip(pictures, labels, strict=True):
        if label not in (7, 9):
            continue
        targets.append(-1 if label == 7 else 1)
        row = []
        for top in range(0, 28, pool):
            for left in range(0, 28, pool):
                square = picture[top : top + pool, left : left + pool]
                row.append(sum(map(int, square.ravel())) / pool**2 / 255)
        rows.append(row)
    np.testing.assert_allclose(X, rows, rtol=1e-12)
    assert y.tolist() == targets
    assert X.dtype == y.dtype == np.float64


def test_swapping_the_classes_swaps_the_signs():
    data = fashion_mnist()
    X, y = two_classes(data, "bag", "coat", pool=14)
    other, signs = two_classes(data, "coat", "bag", pool=14)
    np.testing.assert_array_equal(X, other)
    np.testing.assert_array_equal(y, -signs)


@pytest.mark.parametrize(
    ("negative", "positive", "least"),
    [("trouser", "bag", 0.97), ("sneaker", "ankle boot", 0.9), ("shirt", "coat", 0.75)],
)
def test_the_problem_can_be_learnt(negative, positive, least):
    """Chance is 0.5."""
    X, y = two_classes(fashion_mnist(), negative, positive, pool=4)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:600], order[600:]
    model = LogisticRegression(max_iter=1000).fit(X[train], y[train])
    assert model.score(X[test], y[test]) > least


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda d: two_classes(d, "boot", "bag"), ["class", "'boot'", "ankle boot"]),
        (lambda d: two_classes(d, "bag", ""), ["class", "''"]),
        (lambda d: two_classes(d, "bag", "coat", pool=3), ["pool", "28", "3"]),
        (lambda d: two_classes(d, "bag", "coat", pool=0), ["pool", "0"]),
        (lambda d: two_classes(d, "bag", "coat", pool=-7), ["pool", "-7"]),
        (
            lambda d: first_of_each_class(d.train_labels, 401),
            ["per_class", "400", "401"],
        ),
    ],
)
def test_bad_input_is_one_sentence(call, names):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the words are in the table
        call(fashion_mnist())
    assert [name for name in names if name not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
