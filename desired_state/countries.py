"""Countries as people type them, to ISO 3166-1 alpha-2. Pure.

`countries.csv` has every assigned code with its English and German name, from the Unicode CLDR as Babel 2.19 carries it
(Unicode License v3, see NOTICE). ALIASES are what forms and directories say besides. What is in neither, and
what could mean two countries ("Korea", "Congo"), is unknown: it is quoted to people and never guessed.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib import resources

ALIASES: Mapping[str, str] = {
    "UK": "GB",  # reserved for it by ISO 3166-1, and no code that Microsoft takes
    "Great Britain": "GB",
    "Britain": "GB",
    "England": "GB",
    "Scotland": "GB",
    "Wales": "GB",
    "Northern Ireland": "GB",
    "United Kingdom of Great Britain and Northern Ireland": "GB",
    "Grossbritannien": "GB",
    "USA": "US",
    "U.S.A.": "US",
    "United States of America": "US",
    "Vereinigte Staaten von Amerika": "US",
    "Federal Republic of Germany": "DE",
    "Bundesrepublik Deutschland": "DE",
    "Holland": "NL",
    "The Netherlands": "NL",
    "Czech Republic": "CZ",
    "Tschechische Republik": "CZ",
    "Turkey": "TR",
    "Russian Federation": "RU",
    "South Korea": "KR",
    "Republic of Korea": "KR",
    "North Korea": "KP",
    "Viet Nam": "VN",
    "Ivory Coast": "CI",
    "UAE": "AE",
    "Republic of Ireland": "IE",
    "Slovak Republic": "SK",
    "Hong Kong": "HK",
    "Macau": "MO",
    "Macao": "MO",
    "Macedonia": "MK",
    "Swaziland": "SZ",
    "Cape Verde": "CV",
    "Burma": "MM",
    "Moldova, Republic of": "MD",
    "Iran, Islamic Republic of": "IR",
    "Taiwan, Province of China": "TW",
    "Weissrussland": "BY",
    "Oesterreich": "AT",
}
_SPACES = re.compile(r"[^a-z0-9]+")
_WORDS = {"und": "and", "saint": "st", "sankt": "st"}


def country_code(text: str | None) -> str:
    """The alpha-2 code in upper case that a text means, "" for none, and for what is not certain."""
    typed = (text or "").strip()
    names, codes = _table()
    if typed.upper() in codes:
        return typed.upper()
    return names.get(_plain(typed), "")


@cache
def _table() -> tuple[Mapping[str, str], frozenset[str]]:
    """Plain name -> code, and all codes. A name that two countries share is left out."""
    text = resources.files("desired_state").joinpath("countries.csv").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    codes: set[str] = set()
    for row in csv.DictReader(text.splitlines()):
        codes.add(row["code"])
        for name in (row["english"], row["german"]):
            found.setdefault(_plain(name), set()).add(row["code"])
    for name, code in ALIASES.items():
        found.setdefault(_plain(name), set()).add(code)
    return {name: next(iter(of)) for name, of in found.items() if len(of) == 1}, frozenset(codes)


def _plain(name: str) -> str:
    """Small letters without accents, marks and the article, so that "The Netherlands" and "st. Lucia" are found."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    words = [_WORDS.get(word, word) for word in _SPACES.sub(" ", bare.replace("&", " and ")).split()]
    return " ".join(words[1:] if words[:1] == ["the"] else words)
