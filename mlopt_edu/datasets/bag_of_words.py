"""Who said it? Speeches as bags of words: thousands of features, nearly all of them 0.

A few words stand in every speech and most words in almost none, so that a step size
which suits the common ones leaves the rare ones where they began.
"""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlopt_edu.datasets.text import PLAYS, Text

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


@dataclass(frozen=True)
class BagOfWords:
    """The known words of each speech, and which of two classes it is from.

    Speech i holds the words `indices[offsets[i]:offsets[i + 1]]`, in the order spoken,
    a repeated word as often as it is said. `torch.nn.EmbeddingBag(mode="sum",
    include_last_offset=True)` takes the two arrays as they are.

    Attributes:
        words: Name of each feature, the one in most speeches first.
        indices: int64 array of places in `words`, of all speeches after each other.
        offsets: int64 array of shape (n + 1,): where each speech begins, and the end.
        y: float64 array of shape (n,) with entries -1 and +1.
    """

    words: tuple[str, ...]
    indices: NDArray[np.int64]
    offsets: NDArray[np.int64]
    y: NDArray[np.float64]

    def dense(self) -> NDArray[np.float64]:
        """Return how often each speech holds each word, shape (n, len(words))."""
        n, width = len(self.y), len(self.words)
        rows = np.repeat(np.arange(n), np.diff(self.offsets))
        counts = np.bincount(rows * width + self.indices, minlength=n * width)
        return counts.reshape(n, width).astype(np.float64)

    def share_not_zero(self) -> float:
        """Return the share of the entries of `dense()` that are not 0, in [0, 1]."""
        return np.count_nonzero(self.dense()) / (len(self.y) * len(self.words))


def speeches(
    text: Text,
    negative: str,
    positive: str,
    *,
    min_words: int = 10,
    min_speeches: int = 2,
) -> BagOfWords:
    """Return a two-class problem: from the words of a speech tell where it is from.

    Words are lower-case and without the speaker's name. Speeches are in the order of
    the text: shuffle before you split them.

    Args:
        text: Plays, as `shakespeare()` returns them.
        negative: Kind ("comedy") or title ("Macbeth") that gets the target -1.
        positive: Kind or title that gets the target +1.
        min_words: Leave out speeches of fewer words, at least 1.
        min_speeches: Leave out words that stand in fewer of the speeches, at least 1.

    Raises:
        ValueError: If a class is neither a kind nor a title, both are the same, one
            lies in the other, or a number is below 1.

    Example:
        >>> from mlopt_edu.datasets import shakespeare
        >>> bag = speeches(shakespeare(), "comedy", "tragedy")
        >>> bag.words[:3], bag.dense().shape
        (('and', 'the', 'i'), (3666, 5670))
    """
    first, second = (_titles(name) for name in (negative, positive))
    if first & second:
        raise ValueError(
            f"the two classes must share no play, got {negative!r} and {positive!r}"
        )
    if min_words < 1 or min_speeches < 1:
        raise ValueError(
            "min_words and min_speeches must be at least 1, "
            f"got {min_words} and {min_speeches}"
        )
    spoken, targets = [], []
    for speech in text.speeches:
        words = _WORD.findall(speech.lines.lower())
        if speech.play in first | second and len(words) >= min_words:
            spoken.append(words)
            targets.append(-1.0 if speech.play in first else 1.0)
    common = Counter(word for words in spoken for word in set(words))
    ordered = sorted(common, key=lambda word: (-common[word], word))
    known = [word for word in ordered if common[word] >= min_speeches]
    place = {word: i for i, word in enumerate(known)}
    bags = [[place[word] for word in words if word in place] for words in spoken]
    return BagOfWords(
        words=tuple(known),
        indices=np.array([i for bag in bags for i in bag], dtype=np.int64),
        offsets=np.cumsum([0, *map(len, bags)]),
        y=np.array(targets),
    )


def _titles(name: str) -> set[str]:
    titles = {title for title, kind in PLAYS.items() if name in (title, kind)}
    if not titles:
        known = ", ".join([*dict.fromkeys(PLAYS.values()), *PLAYS])
        raise ValueError(f"class must be one of {known}; got {name!r}")
    return titles
