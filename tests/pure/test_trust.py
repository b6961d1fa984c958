"""How much of a request is believed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.web.trust import (
    client_address,
    form_token,
    is_form_token,
    issue_key,
    place,
    public_base,
    same_origin,
    security_headers,
    shown_at,
)
from tests.make import MONDAY

OURS = "https://licences.contoso.example"
ID = "LR-" + "A" * 26


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin", "origin": OURS},
        {"sec-fetch-site": "same-origin", "origin": "null"},  # what a browser sends under no-referrer
        {"sec-fetch-site": "same-origin"},
        {"origin": OURS},  # a browser without Sec-Fetch-Site
    ],
)
def test_a_form_of_ours_is_known_by_what_the_browser_says(headers):
    assert same_origin(headers, OURS)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "http://licences.contoso.example"},
        {"origin": OURS + ".evil.example"},
        {"sec-fetch-site": "cross-site", "origin": OURS},
        {"sec-fetch-site": "same-site", "origin": OURS},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    ],
)
def test_a_form_from_elsewhere_is_not_ours(headers):
    assert not same_origin(headers, OURS)


def test_a_form_carries_the_token_of_its_own_session():
    assert is_form_token(form_token("secret"), "secret")
    assert not is_form_token(form_token("secret"), "another")
    assert not is_form_token("", "secret")
    assert not is_form_token("é" * 64, "secret")
    assert "secret" not in form_token("secret")


def test_a_key_says_when_its_form_was_shown_and_to_whom():
    key = issue_key("secret", ID, MONDAY, "n1")

    assert shown_at(key, "secret", ID) == MONDAY
    assert shown_at(key, "another", ID) is None
    assert shown_at(key, "secret", ID.replace("A", "B")) is None
    later = str(int((MONDAY + timedelta(days=1)).timestamp()))
    assert shown_at(f"{later}.{key.partition('.')[2]}", "secret", ID) is None


@given(st.text(max_size=80))
def test_a_key_that_somebody_made_up_is_not_ours(key):
    assert shown_at(key, "secret", ID) is None


@pytest.mark.parametrize("path", ["/inbox", f"/approvals/{ID}", "/tickets/RITM0010012", "/", "/guards"])
def test_after_sign_in_a_page_of_ours_follows(path):
    assert place(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/board",
        "/tickets?q=ada",
        "//evil.example",
        "https://evil.example",
        f"/approvals/{ID}/decision",
        f"/approvals/{ID}\n",
        "/inbox?x=1",
        f"/approvals/{ID.lower()}",
        "/\\evil.example",
        "/approvals/LR-..%2f",
        "javascript:alert(1)",
    ],
)
def test_any_other_place_becomes_the_inbox(path):
    assert place(path) == "/inbox"


PROXIES = ["10.0.0.7/32", "192.0.2.0/24"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # not a proxy of ours
        ("10.0.0.7", None, "10.0.0.7"),
        ("10.0.0.7", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.7", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # what came before could be invented
        ("10.0.0.7", "198.51.100.1, 192.0.2.5", "198.51.100.1"),
        ("10.0.0.7", "198.51.100.1, <script>", "10.0.0.7"),
        ("10.0.0.7", "192.0.2.5", "10.0.0.7"),
        ("10.0.0.7", "2001:db8::1", "2001:db8::1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_a_forwarded_address_counts_only_from_a_proxy_that_is_listed(peer, forwarded, address):
    assert client_address(peer, forwarded, PROXIES) == address


def test_the_public_address_is_the_configured_one_or_localhost():
    assert public_base(OURS + "/", "0.0.0.0", 8080, is_tls=False) == OURS
    assert public_base(None, "127.0.0.1", 8080, is_tls=False) == "http://localhost:8080"
    assert public_base(None, "127.0.0.1", 443, is_tls=True) == "https://localhost"
    assert public_base(None, "licences.contoso.example", 8443, is_tls=True) == "https://licences.contoso.example:8443"


def test_every_answer_has_the_headers_of_the_contract():
    headers = security_headers(OURS, "https://login.microsoftonline.com")

    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; form-action 'self' https://login.microsoftonline.com; "
        "frame-ancestors 'none'"
    )
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert "Strict-Transport-Security" not in security_headers("http://localhost:8080", "https://login.example")
