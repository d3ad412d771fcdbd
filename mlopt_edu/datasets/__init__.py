"""Small real data that lessons, checks and tests share; nothing is downloaded."""

from mlopt_edu.datasets.bag_of_words import BagOfWords, speeches
from mlopt_edu.datasets.images import (
    FASHION_CLASSES,
    Images,
    fashion_mnist,
    first_of_each_class,
    two_classes,
)
from mlopt_edu.datasets.text import PLAYS, Speech, Text, random_windows, shakespeare

__all__ = [
    "FASHION_CLASSES",
    "PLAYS",
    "BagOfWords",
    "Images",
    "Speech",
    "Text",
    "fashion_mnist",
    "first_of_each_class",
    "random_windows",
    "shakespeare",
    "speeches",
    "two_classes",
]
