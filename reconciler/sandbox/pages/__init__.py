"""Pages for people: sign-in, and what arrived in Teams and in the mailbox. Rendered here, without a script.

Every value is escaped by the template engine. The one script of the sandbox (the answer of sign-in that posts itself)
is named by its hash in the page's policy; without scripts the same page has a button.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

import httpx

SUBMIT = "document.forms[0].submit()"
_SUBMIT_HASH = base64.b64encode(hashlib.sha256(SUBMIT.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_SUBMIT_HASH}'; frame-ancestors 'none'"


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only those who show a page pay for it

    return Environment(
        loader=PackageLoader("reconciler.sandbox.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(name: str, *, status: int = 200, policy: str = POLICY, **values: Any) -> httpx.Response:
    """The template `name`.html with these values, as an answer that nobody stores."""
    text = _environment().get_template(f"{name}.html").render(submit=SUBMIT, **values)
    headers = {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return httpx.Response(status, headers=headers, content=text.encode())
