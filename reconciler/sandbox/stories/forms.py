"""The catalogue items of Contoso: three request forms, one of them with a multi-row variable set.

Types of variables are ServiceNow's codes (servicenow.md section 7): 2 multi-line, 5 select box, 6 single line,
7 checkbox, 8 reference, 9 date.
"""

from __future__ import annotations

from typing import Any

LICENCE = "Microsoft 365 licence"
PROJECT = "Microsoft Project"
TEAM = "Software for a team"


def _variable(name: str, question: str, type_: int, order: int, reference: str = "") -> dict[str, Any]:
    made = {"name": name, "question_text": question, "type": str(type_), "order": str(order)}
    return {**made, "reference": reference} if reference else made


_USER = _variable("user", "Who is it for?", 8, 100, "sys_user")
_PRODUCT = _variable("product", "Which product?", 5, 200)
_DESKTOP = _variable("desktop_client", "Do you need the desktop client?", 7, 200)
_REST = [
    _variable("justification", "Why is it needed?", 2, 300),
    _variable("cost_center", "Cost centre", 8, 400, "cmn_cost_center"),
    _variable("manager", "Manager", 8, 500, "sys_user"),
    _variable("start_date", "Needed from", 9, 600),
    _variable("end_date", "Needed until", 9, 700),
    _variable("duration", "Or for how long?", 6, 800),
]

FORMS: dict[str, dict[str, Any]] = {
    LICENCE: {"variables": [_USER, _PRODUCT, *_REST]},
    PROJECT: {"variables": [_USER, _DESKTOP, *_REST]},
    TEAM: {
        "variables": _REST,
        "rows": [_variable("user", "Who is it for?", 8, 100, "sys_user"), _variable("product", "Product", 5, 200)],
    },
}
