"""Who the sandbox's ServiceNow lets in: passwords, tokens, keys, and one text for every refusal."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.make_instance import MONDAY, PASSWORD, TABLE, USER, Desk, error

ITEMS = f"{TABLE}/sc_req_item"
CLIENT, SECRET = "client-1", "pretend too"
NOT_AUTHENTICATED = error("User Not Authenticated", "Required to provide Auth information")
REFUSED = {"error": "server_error", "error_description": "access_denied"}


def a_desk() -> Desk:
    desk = Desk()
    desk.instance.add_oauth_client(CLIENT, SECRET, USER)
    return desk


def ask(desk: Desk, **form: str) -> httpx.Response:
    known = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    return desk.call("POST", "/oauth_token.do", user=None, data=known | form)


def status_with(desk: Desk, token: str) -> int:
    return desk.get(ITEMS, user=None, headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"svc.desk:guessed").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"nobody:pretend").decode()},
        {"Authorization": "Bearer made-up"},
        {"x-sn-apikey": "made-up"},
    ],
)
def test_without_good_credentials_every_table_answers_the_same_401(headers: dict[str, str]) -> None:
    desk = Desk()

    for table in ("sc_req_item", "sc_bunk"):
        answer = desk.get(f"{TABLE}/{table}", user=None, headers=headers)
        assert (answer.status_code, answer.json()) == (401, NOT_AUTHENTICATED)


def test_the_attachment_api_answers_403_to_a_first_try_without_credentials() -> None:
    desk = Desk()

    first = desk.get("/api/now/attachment", user=None)
    desk.instance.switches.attachment_needs_auth_403 = False
    older = desk.get("/api/now/attachment", user=None)

    assert (first.status_code, first.json()) == (403, error("User Not Authorized", "Failed API level ACL Validation"))
    assert older.status_code == 401


@pytest.mark.parametrize(("column", "value"), [("active", "false"), ("locked_out", "true")])
def test_an_account_that_is_shut_is_let_in_by_no_way(column: str, value: str) -> None:
    desk = a_desk()
    desk.instance.add_api_key("key-1", USER)
    token = ask(desk).json()["access_token"]

    desk.instance.truth.update("sys_user", desk.svc, {column: value}, by="admin")

    assert desk.get(ITEMS).status_code == 401
    assert desk.get(ITEMS, user=None, headers={"x-sn-apikey": "key-1"}).status_code == 401
    assert status_with(desk, token) == 401
    assert (ask(desk).status_code, ask(desk).json()) == (401, REFUSED)


def test_ways_in_can_be_closed_one_by_one() -> None:
    desk = Desk()
    desk.instance.add_api_key("key-1", USER)
    key = {"x-sn-apikey": "key-1"}
    assert desk.get(ITEMS, user=None, headers=key).status_code == 200

    desk.instance.switches.api_key_auth = False
    desk.instance.switches.mfa_required = True
    second_factor = desk.get(ITEMS)

    assert desk.get(ITEMS, user=None, headers=key).status_code == 401
    assert (second_factor.status_code, second_factor.headers["x-mfa_token"]) == (401, "invalid")

    desk.instance.switches.mfa_required = False
    desk.instance.switches.basic_auth = False

    assert "x-mfa_token" not in desk.get(ITEMS).headers
    assert desk.get(ITEMS).status_code == 401


# --- tokens


def test_while_a_token_lives_a_new_request_returns_it_with_the_seconds_that_remain() -> None:
    desk = a_desk()

    first = ask(desk).json()
    desk.world.clock.advance(timedelta(seconds=100))
    again = ask(desk).json()
    desk.world.clock.advance(timedelta(seconds=1700))
    next_one = ask(desk).json()

    assert first == {
        "access_token": first["access_token"],
        "scope": "useraccount",
        "token_type": "Bearer",
        "expires_in": 1800,
    }
    assert again == first | {"expires_in": 1700}
    assert next_one["access_token"] != first["access_token"]
    assert (status_with(desk, first["access_token"]), status_with(desk, next_one["access_token"])) == (401, 200)


def test_a_token_acts_as_the_application_user() -> None:
    desk = a_desk()
    ticket = desk.open_ticket()
    token = ask(desk).json()["access_token"]

    headers = {"Authorization": f"Bearer {token}"}
    desk.call("PATCH", f"{ITEMS}/{ticket}", user=None, headers=headers, json={"correlation_id": "key"})

    assert desk.truth(ticket)["sys_updated_by"] == USER


@pytest.mark.parametrize(
    "form",
    [
        {"client_secret": "guessed"},
        {"client_id": "nobody"},
        {"grant_type": "guessed"},
        {"grant_type": "refresh_token", "refresh_token": "made-up"},
        {"grant_type": "password", "username": "root", "password": "guessed"},
    ],
)
def test_every_refusal_of_a_grant_has_one_text(form: dict[str, str]) -> None:
    answer = ask(a_desk(), **form)

    assert (answer.status_code, answer.json()) == (401, REFUSED)


def test_client_credentials_need_their_property() -> None:
    desk = a_desk()
    desk.instance.switches.client_credentials_enabled = False

    assert (ask(desk).status_code, ask(desk).json()) == (401, REFUSED)


def test_a_web_service_account_gets_no_token_by_password() -> None:
    desk = a_desk()

    answer = ask(desk, grant_type="password", username=USER, password=PASSWORD)

    assert (answer.status_code, answer.json()) == (401, REFUSED)


def test_a_person_gets_a_token_by_password_and_more_of_them_by_refresh() -> None:
    desk = a_desk()
    made = ask(desk, grant_type="password", username="root", password=PASSWORD).json()
    desk.world.clock.advance(timedelta(hours=1))

    refreshed = ask(desk, grant_type="refresh_token", refresh_token=made["refresh_token"]).json()

    assert "refresh_token" not in refreshed
    assert (status_with(desk, made["access_token"]), status_with(desk, refreshed["access_token"])) == (401, 200)

    desk.world.clock.advance(timedelta(days=100))

    assert ask(desk, grant_type="refresh_token", refresh_token=made["refresh_token"]).status_code == 401


def test_a_token_request_must_be_a_posted_form() -> None:
    desk = a_desk()

    as_json = desk.call("POST", "/oauth_token.do", user=None, json={"grant_type": "client_credentials"})
    read = desk.call("GET", "/oauth_token.do", user=None)

    assert (as_json.status_code, read.status_code) == (400, 405)


def test_a_token_may_end_early() -> None:
    desk = a_desk()
    token = ask(desk).json()["access_token"]

    with desk.failing("token_expires_early", route="GET /api/now"):
        answer = desk.get(ITEMS, user=None, headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, answer.json()) == (401, NOT_AUTHENTICATED)
    assert ask(desk).json()["access_token"] != token


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def assertion(key: rsa.RSAPrivateKey, **claims: Any) -> str:
    known = {"iss": CLIENT, "aud": CLIENT, "sub": "root", "exp": int(MONDAY.timestamp()) + 300}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256"}, known | claims))
    return f"{signed}.{encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def test_a_signed_assertion_opens_for_the_person_it_names_in_either_place() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    desk = Desk()
    desk.instance.add_oauth_client(CLIENT, SECRET, USER, public_keys=[pem.decode()])
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    form = {"grant_type": grant, "client_id": CLIENT, "client_secret": SECRET}

    in_form = ask(desk, grant_type=grant, assertion=assertion(key))
    in_header = desk.call(
        "POST", "/oauth_token.do", user=None, data=form, headers={"Authentication": f"Bearer {assertion(key)}"}
    )

    assert (in_form.status_code, in_header.status_code) == (200, 200)
    assert status_with(desk, in_form.json()["access_token"]) == 200
    for bad in (
        assertion(stranger),
        assertion(key, aud="other"),
        assertion(key, exp=int(MONDAY.timestamp())),
        assertion(key, sub="nobody"),
        "no.jwt",
        "",
    ):
        answer = ask(desk, grant_type=grant, assertion=bad)
        assert (answer.status_code, answer.json()) == (401, REFUSED)
