"""Eight plays by Shakespeare as a string of characters and as speeches.

The plays are in the public domain; mlopt_edu/data/NOTICE says where the text was taken
from and what was done to it.
"""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

# In the order of the text.
PLAYS = {
    "A Midsummer Night's Dream": "comedy",
    "The Comedy of Errors": "comedy",
    "Hamlet": "tragedy",
    "Julius Caesar": "tragedy",
    "Macbeth": "tragedy",
    "Much Ado About Nothing": "comedy",
    "Romeo and Juliet": "tragedy",
    "Twelfth Night": "comedy",
}


@dataclass(frozen=True)
class Speech:
    """What one person says until another speaks or the scene ends.

    Attributes:
        play: Title, a key of `PLAYS`.
        act: As "ACT I".
        scene: As "SCENE I. A desert place.", or "PROLOGUE".
        speaker: As "LADY MACBETH".
        lines: The lines of verse or prose, joined by newlines; no stage directions.
    """

    play: str
    act: str
    scene: str
    speaker: str
    lines: str


@dataclass(frozen=True)
class Text:
    """Characters as numbers, split by position, and the speeches that they spell.

    Attributes:
        train: int64 array: the first nine tenths of the text.
        validation: int64 array: the rest, the end of the last play.
        vocabulary: The character of each id, in the order of the ids.
        speeches: Every speech, in the order of the text.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    vocabulary: str
    speeches: tuple[Speech, ...]

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the id of each character, shape (len(text),).

        Raises:
            ValueError: If a character is not in the vocabulary.

        Example:
            >>> shakespeare().encode("To be")
            array([30, 51,  1, 38, 41])
        """
        unknown = sorted(set(text) - set(self.vocabulary))
        if unknown:
            raise ValueError(
                f"text must use the characters of {self.vocabulary!r} alone, "
                f"got {''.join(unknown)!r}"
            )
        return np.array([self.vocabulary.index(c) for c in text], dtype=np.int64)

    def decode(self, ids: ArrayLike) -> str:
        """Return the characters of an array of ids, a list or a tensor of one axis.

        Raises:
            ValueError: If an id is negative or not below the size of the vocabulary.

        Example:
            >>> shakespeare().decode([30, 51, 1, 38, 41])
            'To be'
        """
        places = np.asarray(ids)
        size = len(self.vocabulary)
        if places.ndim != 1 or (places.size and places.dtype.kind not in "iu"):
            raise ValueError(
                "ids must be integers along one axis, "
                f"got {places.dtype} of shape {places.shape}"
            )
        outside = places[(places < 0) | (places >= size)]
        if outside.size:
            raise ValueError(f"ids must lie in [0, {size}), got {outside[0]}")
        return "".join(self.vocabulary[place] for place in places.tolist())


def shakespeare() -> Text:
    """Return eight plays, 920 thousand characters over a vocabulary of 63.

    A play is its title, then blocks with an empty line between them: "ACT I",
    "SCENE I. A desert place.", and speeches, the speaker and a colon on the first line.

    Example:
        >>> data = shakespeare()
        >>> print(data.decode(data.train[75:153]))
        THESEUS:
        Now, fair Hippolyta, our nuptial hour
        Draws on apace; four happy days
    """
    file = resources.files("mlopt_edu") / "data" / "shakespeare.txt.gz"
    content = gzip.decompress(file.read_bytes())
    characters, ids = np.unique(np.frombuffer(content, np.uint8), return_inverse=True)
    ids = ids.astype(np.int64)
    cut = len(ids) * 9 // 10
    return Text(
        train=ids[:cut],
        validation=ids[cut:],
        vocabulary=characters.tobytes().decode("ascii"),
        speeches=tuple(_speeches(content.decode("ascii"))),
    )


def random_windows(
    ids: NDArray[np.int64], *, count: int, context: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pieces of a text at random places, and each character's next one.

    Args:
        ids: Ids of the text, shape (n,).
        count: Number of pieces, at least 1; two may overlap.
        context: Characters in a piece, in [1, n - 1].
        rng: Draws the places.

    Returns:
        Inputs and targets, int64 arrays of shape (count, context); the targets are the
        inputs moved by one character.

    Raises:
        ValueError: If `count` or `context` is out of its range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> random_windows(np.arange(9), count=2, context=3, rng=rng)
        (array([[5, 6, 7], [3, 4, 5]]), array([[6, 7, 8], [4, 5, 6]]))
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if not 1 <= context < len(ids):
        raise ValueError(
            f"context must lie in [1, {len(ids) - 1}] for a text of {len(ids)} "
            f"characters, got {context}"
        )
    starts = rng.integers(0, len(ids) - context, size=(count, 1))
    places = starts + np.arange(context)
    return ids[places], ids[places + 1]


def _speeches(text: str) -> Iterator[Speech]:
    play = act = scene = ""
    for block in text.rstrip("\n").split("\n\n"):
        head, _, lines = block.partition("\n")
        if lines:
            yield Speech(play, act, scene, head.removesuffix(":"), lines)
        elif head in PLAYS:
            play = head
        elif head.startswith("ACT "):
            act = head
        else:
            scene = head
