"""Values survive the trip; nothing else gets through."""

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlopt_edu.grading import wire
from mlopt_edu.grading.wire import Unsupported, WireError, decode, encode


def trip(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value))))


def same(one: Any, other: Any) -> bool:
    """Whether two values agree in type, dtype, shape and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        view = torch.int16 if one.dtype is torch.bfloat16 else one.dtype
        return one.dtype == other.dtype and same(
            one.view(view).numpy(), other.view(view).numpy()
        )
    if isinstance(one, (np.ndarray, np.generic)):
        equal = (one.dtype, one.shape) == (other.dtype, other.shape)
        return equal and one.tobytes() == other.tobytes()
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (float, complex)):
        return repr(one) == repr(other)
    return bool(one == other)


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | hnp.arrays(
        st.sampled_from(sorted(wire.DTYPES)), hnp.array_shapes(min_dims=0, min_side=0)
    )
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(VALUES)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert same(trip(value), value)


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.1),
        np.int64(3),
        np.bool_(True),
        np.arange(6).reshape(2, 3).T,
        np.zeros((3, 0)),
        torch.arange(6.0).reshape(2, 3).T,
        torch.tensor(True),
        torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        torch.ones(2, dtype=torch.complex64),
        {"t": "array", "v": 1},
    ],
    ids=repr,
)
def test_special_values_come_back(value: Any) -> None:
    assert same(trip(value), value)


def test_a_tensor_loses_only_its_gradient() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    assert same(trip(weight), torch.ones(2))


class Sneaky(np.ndarray):
    """An array whose methods a learner wrote."""


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (object(), "object"),
        (print, "builtin_function_or_method"),
        (np.zeros(2).view(Sneaky), "Sneaky"),
        (np.array([print]), "ndarray"),
        (np.array(["a"]), "ndarray"),
        ({1: 2}, "dict"),
        ({1, 2}, "set"),
        (np.longdouble(1), "longdouble"),
        (torch.eye(2).to_sparse(), "torch.sparse_coo tensor"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_a_foreign_value_becomes_its_name(value: Any, kind: str) -> None:
    assert trip([value]) == [Unsupported(kind)]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.zeros(2**21), "more than 8 MB"),
        ([np.zeros(2**19)] * 3, "more than 8 MB"),
        (nested(50), "nested more than 20 levels"),
        ([0] * 100_000, "more than 100,000 values"),
        ("a" * 100_001, "more than 100,000 characters"),
        (1 << 5000, "more than 4096 bits"),
    ],
    ids=["array", "arrays", "deep", "long", "text", "integer"],
)
def test_what_is_too_large_is_not_encoded(value: Any, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        encode(value)


def array(**changes: Any) -> dict[str, Any]:
    whole = {"t": "array", "dtype": "<f8", "shape": [1], "data": "AAAAAAAA8D8="}
    return {**whole, **changes}


def test_the_untouched_array_is_decoded() -> None:
    assert same(decode(array()), np.array([1.0]))


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (array(dtype="|O"), "dtype '|O' is not allowed"),
        (array(dtype=">f8"), "dtype '>f8' is not allowed"),
        (array(dtype=["<f8"]), "is not allowed"),
        (array(dtype="f8,f8"), "is not allowed"),
        (array(dtype=None), "is not allowed"),
        (array(shape=[2]), "the size of its shape"),
        (array(shape=[-1]), "short list of sizes"),
        (array(shape=[True]), "short list of sizes"),
        (array(shape=[1.0]), "short list of sizes"),
        (array(shape=1), "short list of sizes"),
        (array(shape=[1] * 17), "short list of sizes"),
        (array(shape=[10**6, 10**6], data=""), "more than 8 MB"),
        (array(shape=[0] + [2**23] * 15, data=""), "must be possible"),
        (array(data="AAAA"), "the size of its shape"),
        (array(data="AAAAAAAA8D8!"), "must be base64"),
        (array(data="AAAAAAAA8D8\n"), "must be base64"),
        (array(data="AAAAAAAA8D8é"), "must be base64"),
        (array(data=7), "the size of its shape"),
        (array(dtype="|b1", shape=[3], data="AAIA"), "a boolean must be 0 or 1"),
        (array(t="scalar"), "short list of sizes"),
        (array(t="pickle"), "no tag 'pickle'"),
        ({}, "no tag 'None'"),
        ({"t": ["array"]}, "no tag"),
        ({"t": "tuple", "v": "ab"}, "no tag 'tuple'"),
        ({"t": "dict", "v": [["a"]]}, "a text and a value"),
        ({"t": "dict", "v": [[1, 2]]}, "a text and a value"),
        ({"t": "dict", "v": ["ab"]}, "a text and a value"),
        ({"t": "int", "v": "9" * 4000}, "more than 4096 bits"),
        ({"t": "int", "v": "x"}, "hexadecimal"),
        ({"t": "float", "v": "1.5"}, "no tag 'float'"),
        ({"t": "complex", "v": ["1", "x"]}, "two numbers"),
        ({"t": "unsupported", "kind": 1}, "no tag 'unsupported'"),
        (math.inf, "must be tagged"),
        (2**60, "must be tagged"),
        (nested(50), "nested more than 20 levels"),
        ([0] * 100_000, "more than 100,000 values"),
        ("a" * 100_001, "more than 100,000 characters"),
        (b"bytes", "cannot hold a bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_forged_message_is_refused(message: Any, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence.replace("|", r"\|")):
        decode(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["t", "v", "dtype", "shape", "data", "kind", "bfloat16"]),
            inner
            | st.sampled_from(["array", "tuple", "dict", "tensor", "scalar", "<f8"]),
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_json_is_decoded_or_refused(message: Any) -> None:
    try:
        value = decode(message)
    except WireError:
        return
    assert same(trip(value), value)


def test_names_from_outside_are_printable_and_short() -> None:
    name = decode({"t": "unsupported", "kind": "a\x1b[31m" + "b" * 999})
    assert name == Unsupported("a?[31m" + "b" * 74)
    assert decode("\ud800") == "?"


def test_an_array_owns_its_memory() -> None:
    value = decode(array())
    value[0] = 2.0
    assert base64.b64decode(array()["data"]) == np.array([1.0]).tobytes()
