"""How often the product that was granted is not the one that was asked for."""

from __future__ import annotations

from desired_state.model import LineKey, ProductKey
from reconciler.guesses import Guess, guesses

A, B, C = (LineKey(f"RITM000000{n}", 1) for n in (1, 2, 3))
PROJECT, VISIO = ProductKey("project-plan-3"), ProductKey("visio-plan-1")
ASKED = {A: PROJECT, B: PROJECT, C: VISIO}


def moved(key: LineKey, verdict: str | None = "false", found: str | None = "never_assigned") -> dict:
    return {"key": key, "verdict": verdict, "found": found}


def test_a_line_that_was_found_with_another_product_was_guessed():
    counted = guesses([moved(A, found="wrong_product"), moved(B), moved(C, "true", None)], ASKED)

    assert counted == (Guess(PROJECT, 1, 2), Guess(VISIO, 0, 1))


def test_what_was_repaired_later_was_guessed_all_the_same():
    assert guesses([moved(A, found="wrong_product"), moved(A, "true", None)], ASKED) == (Guess(PROJECT, 1, 1),)


def test_what_somebody_changed_after_a_right_grant_was_no_guess():
    assert guesses([moved(A, "true", None), moved(A, found="wrong_product")], ASKED) == (Guess(PROJECT, 0, 1),)


def test_lines_without_a_definite_word_are_not_counted():
    assert guesses([moved(A, None, None), moved(B, "pending", "group_pending")], ASKED) == ()


def test_a_line_whose_request_is_not_known_is_not_counted():
    assert guesses([moved(A, found="wrong_product")], {}) == ()
