"""The plays as characters and as bags of words, against slow loops and the book."""

import gzip
import string
from importlib import resources

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from mlopt_edu.datasets import (
    PLAYS,
    Speech,
    Text,
    random_windows,
    shakespeare,
    speeches,
)

DATA = shakespeare()
CONTENT = (resources.files("mlopt_edu") / "data" / "shakespeare.txt.gz").read_bytes()
WHOLE = gzip.decompress(CONTENT).decode("ascii")


def test_train_then_validation_spell_the_whole_text():
    ids = np.concatenate([DATA.train, DATA.validation])
    assert DATA.decode(ids) == WHOLE
    assert len(DATA.train) == int(0.9 * len(WHOLE))
    assert (DATA.train.dtype, DATA.validation.dtype) == (np.int64, np.int64)


def test_the_size_is_what_the_docstring_says():
    assert (round(len(WHOLE), -4), len(DATA.vocabulary)) == (920_000, 63)


def test_the_characters_are_letters_and_punctuation_and_all_are_in_training():
    assert set("\n !&',-.:;?") | set(string.ascii_letters) == set(WHOLE)
    assert sorted(set(WHOLE)) == list(DATA.vocabulary)
    assert set(DATA.train.tolist()) == set(range(63))


def test_the_file_names_no_time_and_no_file():
    flags, time = CONTENT[3], CONTENT[4:8]
    assert (flags, time) == (0, bytes(4))


def test_no_mark_and_no_stage_direction_is_left():
    assert [mark for mark in '*_#[]\\"0123456789' if mark in WHOLE] == []
    lines = WHOLE.split("\n")
    assert [line for line in lines if line != line.strip()] == []
    assert [line for line in lines if line.startswith(("Exeunt", "Re-enter"))] == []
    assert "\n\n\n" not in WHOLE


def test_the_speeches_and_headings_are_the_text():
    """Writing them out again gives every character back."""
    blocks, place = [], ("", "", "")
    for speech in DATA.speeches:
        here = (speech.play, speech.act, speech.scene)
        if here != place:
            first = next(i for i in range(3) if here[i] != place[i])
            blocks += here[first:]
            place = here
        blocks.append(f"{speech.speaker}:\n{speech.lines}")
    assert "\n\n".join(blocks) + "\n" == WHOLE


def test_the_plays_are_whole():
    acts = {(s.play, s.act) for s in DATA.speeches}
    assert acts == {
        (play, f"ACT {n}") for play in PLAYS for n in ("I", "II", "III", "IV", "V")
    }
    assert list(dict.fromkeys(s.play for s in DATA.speeches)) == list(PLAYS)
    kinds = list(PLAYS.values())
    assert [kinds.count(kind) for kind in ("comedy", "tragedy")] == [4, 4]


@pytest.mark.parametrize(
    ("play", "act", "scene", "speaker", "line"),
    [
        ("Hamlet", "ACT III", "SCENE I", "HAMLET", "To be, or not to be"),
        ("Macbeth", "ACT V", "SCENE V", "MACBETH", "To-morrow, and to-morrow"),
        ("Romeo and Juliet", "ACT II", "SCENE II", "JULIET", "wherefore art thou"),
        ("Romeo and Juliet", "ACT I", "PROLOGUE", "Prologue", "Two households"),
        ("Julius Caesar", "ACT III", "SCENE II", "ANTONY", "lend me your ears"),
        ("Julius Caesar", "ACT I", "SCENE I", "FLAVIUS", "This way will I disrobe"),
        ("Twelfth Night", "ACT I", "SCENE I", "DUKE ORSINO", "If music be the food"),
    ],
)
def test_a_famous_line_is_said_by_whom_and_where(play, act, scene, speaker, line):
    found = [s for s in DATA.speeches if line in s.lines and s.play == play]
    assert [(s.act, s.scene.split(".")[0], s.speaker) for s in found] == [
        (act, scene, speaker)
    ]


def test_a_speech_goes_on_after_a_stage_direction():
    (duncan,) = [s for s in DATA.speeches if "They smack of honour both" in s.lines]
    assert duncan.lines.endswith("Go get him surgeons.\nWho comes here?")


@given(st.text(DATA.vocabulary))
def test_decode_undoes_encode(text):
    ids = DATA.encode(text)
    assert ids.dtype == np.int64
    assert DATA.decode(ids) == text
    assert DATA.decode(ids.tolist()) == text
    assert DATA.decode(torch.from_numpy(ids)) == text


def test_changing_the_arrays_changes_no_later_call():
    changed = shakespeare()
    changed.train[:] = 0
    changed.validation[:] = 0
    assert shakespeare().train.any()
    assert shakespeare().validation.any()


def test_windows_are_pieces_of_the_text_and_their_next_characters():
    ids = np.arange(100, 150)
    rng = np.random.default_rng(0)
    inputs, targets = random_windows(ids, count=2000, context=7, rng=rng)
    assert inputs.shape == targets.shape == (2000, 7)
    np.testing.assert_array_equal(targets, inputs + 1)
    np.testing.assert_array_equal(np.diff(inputs, axis=1), 1)
    # The first and the last place are drawn too, each in 1 of 43 windows.
    assert (inputs.min(), targets.max()) == (100, 149)
    assert len(set(inputs[:, 0])) == 43


def test_windows_follow_the_generator():
    drawn = [
        random_windows(DATA.train, count=4, context=9, rng=np.random.default_rng(seed))[
            0
        ]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


@pytest.mark.parametrize(("min_words", "min_speeches"), [(10, 2), (1, 1), (30, 5)])
def test_bags_agree_with_scikit_learn(min_words, min_speeches):
    bag = speeches(
        DATA,
        "Macbeth",
        "Twelfth Night",
        min_words=min_words,
        min_speeches=min_speeches,
    )
    pattern = r"[a-z]+(?:'[a-z]+)*"
    count = CountVectorizer(token_pattern=pattern, min_df=min_speeches)
    split = count.build_analyzer()
    kept = [
        s
        for s in DATA.speeches
        if s.play in ("Macbeth", "Twelfth Night") and len(split(s.lines)) >= min_words
    ]
    expected = count.fit_transform([s.lines for s in kept]).toarray()
    order = [count.vocabulary_[word] for word in bag.words]
    assert sorted(order) == list(range(expected.shape[1]))
    np.testing.assert_array_equal(bag.dense(), expected[:, order])
    assert bag.y.tolist() == [-1 if s.play == "Macbeth" else 1 for s in kept]
    holding = (expected[:, order] > 0).sum(axis=0)
    assert (np.diff(holding) <= 0).all()
    assert bag.share_not_zero() == (expected > 0).mean()


def test_an_embedding_bag_takes_the_arrays_as_they_are():
    bag = speeches(DATA, "Macbeth", "Twelfth Night")
    weights = torch.randn(len(bag.words), 3, generator=torch.Generator().manual_seed(0))
    layer = torch.nn.EmbeddingBag.from_pretrained(
        weights, mode="sum", include_last_offset=True
    )
    actual = layer(torch.from_numpy(bag.indices), torch.from_numpy(bag.offsets))
    expected = torch.from_numpy(bag.dense()).float() @ weights
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_bag_keeps_the_order_of_the_words():
    lines = "Tis time, 'tis time!\nDon't double-cross the time"
    speech = Speech("Macbeth", "ACT I", "SCENE I.", "A", lines)
    other = Speech("Hamlet", "ACT I", "SCENE I.", "B", "Out! Time is out")
    text = Text(DATA.train, DATA.validation, DATA.vocabulary, (speech, other))
    bag = speeches(text, "Hamlet", "Macbeth", min_words=1, min_speeches=1)
    words = [bag.words[i] for i in bag.indices]
    assert [words[a:b] for a, b in zip(bag.offsets, bag.offsets[1:], strict=False)] == [
        ["tis", "time", "tis", "time", "don't", "double", "cross", "the", "time"],
        ["out", "time", "is", "out"],
    ]
    assert bag.y.tolist() == [1, -1]
    assert bag.words[:3] == ("time", "cross", "don't")


def test_no_name_of_a_speaker_comes_from_the_head_of_a_speech():
    bag = speeches(DATA, "Macbeth", "Hamlet", min_words=1, min_speeches=1)
    assert [w for w in ("witch", "player") if bag.words.count(w) != 1] == []
    lady = bag.words.index("macbeth")
    said = sum(s.lines.lower().count("macbeth") for s in DATA.speeches)
    assert 0 < bag.dense()[:, lady].sum() <= said


@pytest.mark.parametrize(
    ("negative", "positive", "least"),
    [("comedy", "tragedy", 0.7), ("Macbeth", "Twelfth Night", 0.72)],
)
def test_the_problem_can_be_learnt(negative, positive, least):
    """Always guessing the larger class gives 0.51 and 0.60."""
    bag = speeches(DATA, negative, positive)
    X, order = bag.dense(), np.random.default_rng(0).permutation(len(bag.y))
    half = len(order) // 2
    model = LogisticRegression(C=0.1, max_iter=500)
    model.fit(X[order[:half]], bag.y[order[:half]])
    assert model.score(X[order[half:]], bag.y[order[half:]]) > least


def loss_after(X, y, lr, *, adagrad, steps=150):
    """Logistic loss on all the data after steps on batches of 64."""
    rng = np.random.default_rng(0)
    w, squares = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for _ in range(steps):
        at = rng.choice(len(y), 64)
        margin = np.clip(y[at] * (X[at] @ w), -50, 50)
        grad = -(X[at].T @ (y[at] / (1 + np.exp(margin)))) / 64
        squares += grad**2
        w -= lr * (grad / (np.sqrt(squares) + 1e-10) if adagrad else grad)
    return np.logaddexp(0, -y * (X @ w)).mean()


def test_a_rate_for_each_word_wins_over_the_best_single_rate():
    """The lesson on adaptive rates stands on this."""
    bag = speeches(DATA, "comedy", "tragedy")
    order = np.random.default_rng(0).permutation(len(bag.y))[: len(bag.y) // 2]
    X, y = bag.dense()[order], bag.y[order]
    best = min(loss_after(X, y, lr, adagrad=False) for lr in (0.1, 0.3, 1.0, 3.0))
    assert loss_after(X, y, 0.3, adagrad=True) < 0.6 * best


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: DATA.encode("naïve é"), ["text", "'éï'"]),
        (lambda: DATA.decode([0, 63]), ["ids", "[0, 63)", "63"]),
        (lambda: DATA.decode([-1]), ["ids", "-1"]),
        (lambda: DATA.decode([[1]]), ["ids", "(1, 1)"]),
        (lambda: DATA.decode([1.5]), ["ids", "float64"]),
        (
            lambda: random_windows(DATA.train[:5], count=1, context=5, rng=None),
            ["context", "[1, 4]", "5"],
        ),
        (
            lambda: random_windows(DATA.train, count=1, context=0, rng=None),
            ["context", "0"],
        ),
        (
            lambda: random_windows(DATA.train, count=0, context=1, rng=None),
            ["count", "at least 1", "0"],
        ),
        (lambda: speeches(DATA, "farce", "tragedy"), ["class", "'farce'", "comedy"]),
        (lambda: speeches(DATA, "comedy", "Othello"), ["'Othello'", "Hamlet"]),
        (lambda: speeches(DATA, "comedy", "comedy"), ["'comedy' and 'comedy'"]),
        (lambda: speeches(DATA, "Hamlet", "tragedy"), ["share no play", "'Hamlet'"]),
        (lambda: speeches(DATA, "comedy", "tragedy", min_words=0), ["min_words"]),
        (lambda: speeches(DATA, "comedy", "tragedy", min_speeches=0), ["min_speeches"]),
    ],
)
def test_bad_input_is_one_sentence(call, names):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the words are in the table
        call()
    assert [name for name in names if name not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
