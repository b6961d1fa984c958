"""What the form of a catalogue item asks, by the Service Catalog API (servicenow.md section 7, catalog definition)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from reconciler.clients.servicenow.dialect import SYSTEM
from reconciler.clients.servicenow.queries import sys_id
from reconciler.clients.servicenow.tables import Tables
from reconciler.clients.wire.words import cut
from reconciler.errors import Forbidden, Malformed, NotFound, Rejected


class _Question(msgspec.Struct):
    name: str | None = ""
    mandatory: bool | str | None = False
    multi_row: bool | str | None = False
    children: list[_Question] | None = None


class _Form(msgspec.Struct):
    result: list[_Question]


_FORM = msgspec.json.Decoder(_Form)


def questions(tables: Tables, item: str) -> dict[str, bool] | None:
    """The named questions of an item's form, and whether each has to be answered; None: it is not shown to us.

    Columns of a multi-row set are no questions of the form.

    Raises:
        Malformed: the answer is no form.
        ValueError: the item is no sys_id.
    """
    url = f"/api/sn_sc/servicecatalog/items/{sys_id(item)}/variables"
    try:
        answer = tables.wire.get(url, operation="questions")
    except (Forbidden, NotFound, Rejected):
        return None
    try:
        found = _FORM.decode(answer.body).result
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, cut(error), request_id=answer.request_id) from None
    return {q.name: q.mandatory in (True, "true") for q in _all(found) if q.name}


def _all(found: Iterable[_Question]) -> Iterator[_Question]:
    for question in found:
        yield question
        if question.multi_row not in (True, "true"):
            yield from _all(question.children or ())
