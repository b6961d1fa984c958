"""Canonical JSON is what the reference writes, byte by byte, and a value has one plain form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.digest import canonical, plain


class Colour(StrEnum):
    RED = "red"


class Shade(str, Enum):  # noqa: UP042 (the older kind of name)
    DARK = "dark"


class Level(IntEnum):
    HIGH = 3


@dataclass(frozen=True)
class Point:
    x: int
    names: tuple[str, ...] = ()


# Text of every kind: control characters, halves of characters, and those whose UTF-16 order is not their own.
CHARACTERS = st.characters() | st.sampled_from('\x00\x1f\x7f"\\/\u2028\ud800\udfff\ue000\uffff\U0001f600')
TEXT = st.text(CHARACTERS, max_size=8)
WHOLE = st.integers(-(2**54), 2**54) | st.sampled_from([2**53, 2**53 - 1, -(2**53), 1 - 2**53])
ATOMS = st.none() | st.booleans() | WHOLE | st.floats() | TEXT | st.sampled_from([Colour.RED, Shade.DARK, Level.HIGH])
ODD = st.binary(max_size=2) | st.dates() | st.just(Point(1)) | st.frozensets(st.integers(0, 3)) | st.decimals()
KEYS = TEXT | st.text("abAB01_", max_size=3) | st.sampled_from([Colour.RED, Shade.DARK, 1, None])
VALUES = st.recursive(
    ATOMS | ODD,
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
COMMON = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)


def outcome(write, value) -> bytes | tuple[type[BaseException], str]:
    try:
        return write(value)
    except Exception as error:
        return type(error), str(error)


@given(VALUES)
@example({"\ue000": 1, "\U0001f600": 2})
@example({"a": 2**53})
@example([1.0, 1e21, -0.0])
@example("\ud800")
@example({"\ud800": 1})
@example({1: "a"})
@example({Colour.RED: Shade.DARK, "b": Level.HIGH})
def test_the_canonical_form_or_the_refusal_is_the_reference_s(value):
    assert outcome(canonical, value) == outcome(rfc8785.dumps, value)


@given(COMMON)
def test_json_without_fractions_is_written_as_the_reference_writes_it(value):
    assert canonical(value) == rfc8785.dumps(value)


def test_every_single_character_is_written_as_the_reference_writes_it():
    for start in range(0, 0x11_0000, 0x100):
        text = "".join(map(chr, range(start, start + 0x100)))

        assert outcome(canonical, [text]) == outcome(rfc8785.dumps, [text])


def test_a_value_s_plain_form_is_json_by_field_by_key_and_in_order():
    value = {
        Colour.RED: (Level.HIGH, Shade.DARK, True, None),
        "point": Point(1, ("b", "a")),
        7: frozenset({"b", "a"}),
        "at": [datetime(2026, 11, 30, 8, tzinfo=UTC), date(2026, 12, 1), Decimal("9.40")],
    }

    assert plain(value) == {
        "red": [3, "dark", True, None],
        "point": {"x": 1, "names": ["b", "a"]},
        "7": ["a", "b"],
        "at": ["2026-11-30T08:00:00+00:00", "2026-12-01", "9.40"],
    }


@pytest.mark.parametrize("value", [0.5, object(), {"a": [0.5]}, Point])
def test_what_has_no_one_plain_form_is_no_part_of_a_digest(value):
    with pytest.raises(TypeError, match="cannot be part of a digest"):
        plain(value)
