"""The colours of the one stylesheet, pair by pair: text 4.5 to 1, drawings 3 to 1, in both schemes (WCAG 2.2 AA)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = (files("reconciler.web") / "static" / "style.css").read_text("utf-8")
GROUNDS = ("page", "card", "note", "bad", "good")
TEXTS = [(text, ground) for text in ("text", "soft", "link") for ground in ("page", "card")] + [
    *(("text", ground) for ground in GROUNDS),
    ("link", "note"),
    ("soft", "note"),
    ("no", "card"),
    ("no", "bad"),
    ("no", "page"),
    ("on", "link"),
    ("on", "yes"),
]
DRAWN = [
    *(("edge", ground) for ground in ("page", "card")),
    *(("focus", ground) for ground in GROUNDS),
    ("note-edge", "note"),
    ("no", "bad"),
    ("yes", "good"),
    ("link", "under"),
    ("no", "card"),
]


def schemes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light))
    return {"light": found, "dark": found | dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", dark))}


def ratio(one: str, other: str) -> float:
    """The contrast of two colours (WCAG 2.2, relative luminance)."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_formula_gives_what_the_standard_says():
    assert round(ratio("#000000", "#ffffff"), 1) == 21.0
    assert round(ratio("#777777", "#ffffff"), 2) == 4.48


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_can_be_read_on_what_is_behind_it(scheme):
    colours = schemes()[scheme]

    poor = {pair: round(ratio(colours[pair[0]], colours[pair[1]]), 2) for pair in TEXTS}
    assert {pair: found for pair, found in poor.items() if found < 4.5} == {}
    faint = {pair: round(ratio(colours[pair[0]], colours[pair[1]]), 2) for pair in DRAWN}
    assert {pair: found for pair, found in faint.items() if found < 3.0} == {}


def test_no_colour_stands_outside_of_the_two_lists_that_are_checked():
    rest = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    used = set(re.findall(r"var\(--([a-z-]+)\)", rest))

    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", rest) == []
    assert used <= schemes()["light"].keys()
    assert schemes()["light"].keys() - {"line"} <= {name for pair in (*TEXTS, *DRAWN) for name in pair}
