"""Countries as people type them: one table, and what it does not know stays unknown."""

from __future__ import annotations

import pytest

from desired_state.countries import ALIASES, _table, country_code


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("DE", "DE"),
        (" de ", "DE"),
        ("Germany", "DE"),
        ("GERMANY", "DE"),
        ("Deutschland", "DE"),
        ("UK", "GB"),
        ("United Kingdom", "GB"),
        ("united  kingdom", "GB"),
        ("USA", "US"),
        ("U.S.A.", "US"),
        ("United States", "US"),
        ("Österreich", "AT"),
        ("Osterreich", "AT"),
        ("The Netherlands", "NL"),
        ("Côte d'Ivoire", "CI"),
        ("Czech Republic", "CZ"),
        ("Türkiye", "TR"),
        ("Trinidad and Tobago", "TT"),
        ("Saint Lucia", "LC"),
    ],
)
def test_a_country_is_known_by_code_and_by_name(typed, code):
    assert country_code(typed) == code


@pytest.mark.parametrize(
    "typed",
    ["", None, " ", "Korea", "Congo", "America", "EU", "Europe", "Germania", "DEU", "Berlin", "Germany?x", "XX"],
)
def test_what_is_not_certain_is_unknown(typed):
    assert country_code(typed) == ""


def test_every_alias_counts_and_contradicts_no_name():
    assert {country_code(alias) for alias in ALIASES} == set(ALIASES.values())


def test_the_table_has_every_assigned_code_once():
    assert len(_table()[1]) == 249
