"""The API against its own description, by schemathesis: `make check-api`. Not collected by the suite.

Every generated request gets an answer that the description has, never a 5xx, and nothing is accepted without a token.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from reconciler.store.database import open_database
from tests.web.make_api import TOKEN, caller
from tests.web.make_web import pages_of
from tests.web.test_board_api import keep

_FOLDER = tempfile.TemporaryDirectory()
PAGES = pages_of(open_database(Path(_FOLDER.name) / "reconciler.db"))
CALLER = caller(PAGES, per_minute=1_000_000, open_max=1_000_000, reads="all")
schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", CALLER.app)


@schema.auth()
class Token:
    """What every generated request carries, but where a check leaves it out on purpose."""

    def get(self, case, context):
        return TOKEN

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
]


@pytest.fixture(scope="module", autouse=True)
def a_known_proposal_and_lines():
    assert CALLER.propose().status_code == 201
    keep(PAGES, 120)


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_to_its_description(case):
    case.call_and_validate(checks=CHECKS)
