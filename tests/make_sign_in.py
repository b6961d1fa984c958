"""A browser without scripts in front of the sandbox's sign-in, and a reader of its ID tokens that checks them."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any, NamedTuple

import httpx
import jwt


class Form(NamedTuple):
    """One form of a page: where it goes, what it brings along, and its buttons as (name, value, text)."""

    method: str
    action: str
    fields: dict[str, str]
    buttons: list[tuple[str, str, str]]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._button: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("method", "get"), given.get("action", ""), {}, []))
        elif tag == "input" and given.get("name"):
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "button":
            self._button = [given.get("name", ""), given.get("value", ""), ""]

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self._button[2] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "button" and self._button is not None:
            name, value, text = self._button
            self.forms[-1].buttons.append((name, value, text.strip()))
            self._button = None


def forms_of(page: httpx.Response) -> list[Form]:
    """The forms of a page, in order."""
    reader = _Forms()
    reader.feed(page.text)
    return reader.forms


def pick(http: httpx.Client, auth_uri: str, person: str) -> httpx.Response:
    """Open the sign-in page and press the button of a person (part of its text); "" cancels."""
    opened = http.get(auth_uri)
    picker = forms_of(opened)[-1]
    wanted = next(b for b in picker.buttons if (person and person in b[2]) or (not person and b[1] == ""))
    return http.post(str(opened.url.join(picker.action)), data={**picker.fields, wanted[0]: wanted[1]})


def answer_of(response: httpx.Response) -> dict[str, str]:
    """What the application is told, by form_post or in the query of a redirect."""
    if response.status_code == 302:
        return dict(httpx.URL(response.headers["location"]).params.items())
    return forms_of(response)[0].fields


def validated(token: str, jwks: Mapping[str, Any], *, issuer: str, audience: str) -> dict[str, Any]:
    """The claims of an ID token whose signature, issuer and audience are right; times are the caller's to judge.

    Raises jwt.PyJWTError.
    """
    header = jwt.get_unverified_header(token)
    found = [key for key in jwt.PyJWKSet.from_dict(dict(jwks)).keys if key.key_id == header["kid"]]
    if not found:
        raise jwt.InvalidKeyError("unknown kid")
    checks = {
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
        "require": ["exp", "iat", "nbf", "aud", "iss", "sub", "oid", "tid"],
    }
    return dict(
        jwt.decode(token, found[0].key, algorithms=["RS256"], audience=audience, issuer=issuer, options=checks)  # type: ignore[arg-type]
    )
