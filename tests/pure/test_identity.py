"""An ID token lets somebody in only when everything about it is right; each forgery has its own refusal."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.web.identity import Role, TokenRefused, Why, identify, key_id
from tests.make import HOUR, MONDAY
from tests.web.make_tokens import (
    CLIENT,
    ELSEWHERE,
    EXPECTED,
    ISSUER,
    PERSON,
    TENANT,
    a_key,
    a_token,
    claims,
    published,
)

MINUTE = timedelta(minutes=1)
NOW = int(MONDAY.timestamp())


def refusal(raw: str, key: Any = "published", expected=EXPECTED, at=MONDAY) -> Why:
    with pytest.raises(TokenRefused) as refused:
        identify(raw, published() if key == "published" else key, expected, at)
    assert raw not in str(refused.value)
    return refused.value.why


def unsigned(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(body).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_a_right_token_proves_a_person_by_tenant_and_object_id():
    raw = a_token(auth_time=NOW - 60, amr=["pwd", "mfa"], sid="s1")

    person = identify(raw, published(), EXPECTED, MONDAY)

    assert (person.tid, person.oid, person.name) == (TENANT, PERSON, "Laura McBride")
    assert person.roles == {Role.APPROVER}
    assert person.digest == hashlib.sha256(raw.encode()).hexdigest()
    assert person.credentials_at == MONDAY - MINUTE
    kept = {"iss", "tid", "oid", "sub", "aud", "iat", "auth_time", "amr", "sid", "roles", "kid", "sha256"}
    assert set(person.evidence) == kept
    assert raw not in json.dumps(person.evidence)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": ISSUER.replace(TENANT, ELSEWHERE)}, Why.ISSUER),
        ({"iss": ISSUER + "/"}, Why.ISSUER),
        ({"iss": ISSUER.replace("https", "http")}, Why.ISSUER),
        ({"iss": f"https://sts.windows.net/{TENANT}/"}, Why.ISSUER),
        ({"aud": ELSEWHERE}, Why.AUDIENCE),
        ({"aud": [CLIENT]}, Why.AUDIENCE),
        ({"aud": CLIENT.upper()}, Why.AUDIENCE),
        ({"tid": ELSEWHERE}, Why.TENANT),
        ({"exp": NOW - 61}, Why.EXPIRED),
        ({"exp": NOW - 60}, Why.EXPIRED),
        ({"nbf": NOW + 61}, Why.TOO_EARLY),
        ({"iat": NOW + 61}, Why.TOO_EARLY),
        ({"nonce": "another"}, Why.NONCE),
        ({"nonce": EXPECTED.nonce}, Why.NONCE),  # the bare nonce is not what msal sends
        ({"oid": "laura@contoso.example"}, Why.INCOMPLETE),
        ({"oid": 7}, Why.INCOMPLETE),
        ({"exp": str(NOW + 3600)}, Why.INCOMPLETE),
        ({"exp": True}, Why.INCOMPLETE),
        ({"exp": 10**30}, Why.INCOMPLETE),
        ({"exp": float(NOW + 3600)}, Why.INCOMPLETE),
        ({"ver": "1.0"}, Why.MALFORMED),
        ({"acct": 1}, Why.GUEST),
        ({"idp": f"https://sts.windows.net/{ELSEWHERE}/"}, Why.GUEST),
        ({"idp": "live.com"}, Why.GUEST),
    ],
)
def test_a_token_with_one_wrong_claim_is_refused(changes, why):
    assert refusal(a_token(**changes)) is why


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "aud", "iss", "sub", "oid", "tid", "nonce"])
def test_a_token_without_a_needed_claim_is_refused(name):
    assert refusal(a_token(**{name: None})) is Why.INCOMPLETE


@pytest.mark.parametrize("changes", [{"exp": NOW - 59}, {"nbf": NOW + 60}, {"iat": NOW + 60}])
def test_a_minute_between_two_clocks_is_forgiven(changes):
    assert identify(a_token(**changes), published(), EXPECTED, MONDAY).oid == PERSON


def test_time_is_the_one_that_is_given_and_not_the_machine_s():
    assert refusal(a_token(), at=MONDAY + HOUR + MINUTE) is Why.EXPIRED
    assert refusal(a_token(), at=MONDAY - 2 * MINUTE) is Why.TOO_EARLY


def test_a_token_of_another_key_under_the_same_name_is_refused():
    assert refusal(a_token(key="two", headers={"kid": "one"})) is Why.SIGNATURE


def test_a_token_whose_claims_were_changed_after_signing_is_refused():
    head, _, signature = a_token().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(oid=ELSEWHERE)).encode()).decode().rstrip("=")

    assert refusal(f"{head}.{body}.{signature}") is Why.SIGNATURE


def test_a_token_without_a_signature_is_refused():
    assert refusal(unsigned({"alg": "none", "kid": "one"}, claims())) is Why.ALGORITHM
    assert refusal(unsigned({"alg": "None", "kid": "one"}, claims())) is Why.ALGORITHM
    assert refusal(unsigned({"alg": "RS256", "kid": "one"}, claims())) is Why.SIGNATURE


def test_the_public_key_is_never_taken_for_a_shared_secret():
    shape = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public = a_key().public_key().public_bytes(*shape)
    header = {"alg": "HS256", "kid": "one", "typ": "JWT"}
    signed = unsigned(header, claims()).rpartition(".")[0]
    import hmac

    mac = base64.urlsafe_b64encode(hmac.new(public, signed.encode(), "sha256").digest()).decode().rstrip("=")

    assert refusal(f"{signed}.{mac}") is Why.ALGORITHM


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_another_rsa_algorithm_is_refused_even_with_a_good_signature(algorithm):
    raw = jwt.encode(claims(), a_key(), algorithm=algorithm, headers={"kid": "one"})

    assert refusal(raw) is Why.ALGORITHM


@pytest.mark.parametrize(
    "key",
    [
        None,
        {},
        published(kty="oct", k="c2VjcmV0"),
        published(use="enc"),
        published(alg="RS512"),
        published(n="AQAB"),
        published(n=None),
        published(issuer=ISSUER.replace(TENANT, ELSEWHERE)),
    ],
)
def test_a_key_that_is_not_this_tenant_s_signing_key_proves_nothing(key):
    assert refusal(a_token(), key) is Why.UNKNOWN_KEY


def test_a_key_that_is_too_short_proves_nothing():
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        raw = a_token(key="short", bits=1024)

    assert refusal(raw, published("short", 1024)) is Why.UNKNOWN_KEY


def test_a_key_that_microsoft_publishes_for_every_tenant_is_taken():
    key = published(issuer="https://login.microsoftonline.com/{tenantid}/v2.0")

    assert identify(a_token(), key, EXPECTED, MONDAY).oid == PERSON


@pytest.mark.parametrize("headers", [{"crit": ["exp"]}, {"kid": ""}, {"kid": "k" * 201}])
def test_a_header_that_asks_for_more_is_refused(headers):
    assert refusal(a_token(headers=headers)) is Why.MALFORMED


def test_a_header_that_brings_its_own_key_is_not_believed():
    headers = {"jwk": published("two"), "jku": "https://evil.example/keys", "x5u": "https://evil.example/x"}

    assert refusal(a_token(key="two", headers={"kid": "one", **headers})) is Why.SIGNATURE


@pytest.mark.parametrize("raw", ["", "a", "a.b", "a.b.c", "..", "a.b.c.d", "{}", "e30.e30.", "x" * 20_000])
def test_what_is_no_token_is_refused(raw):
    with pytest.raises(TokenRefused) as refused:
        key_id(raw)
    assert refused.value.why in (Why.MALFORMED, Why.ALGORITHM)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_whatever_stands_in_a_token_it_is_refused_and_never_an_accident(text):
    head, body, signature = a_token().split(".")
    for raw in (f"{text}.{body}.{signature}", f"{head}.{text}.{signature}", f"{head}.{body}.{text}", text):
        with pytest.raises(TokenRefused):
            identify(raw, published(), EXPECTED, MONDAY)


def test_a_payload_that_is_no_object_is_refused_under_a_good_signature():
    for payload in (b"[]", b"7", b"null", b"\xff"):
        raw = jwt.PyJWS().encode(payload, a_key(), algorithm="RS256", headers={"kid": "one"})
        assert refusal(raw) is Why.MALFORMED


def test_a_guest_comes_in_only_where_guests_are_admitted():
    person = identify(a_token(acct=1), published(), replace(EXPECTED, admits_guests=True), MONDAY)

    assert person.oid == PERSON
    assert identify(a_token(acct=0), published(), EXPECTED, MONDAY).oid == PERSON


def test_fresh_credentials_are_proved_by_their_time():
    fresh = replace(EXPECTED, max_age=10 * MINUTE)

    assert identify(a_token(auth_time=NOW - 600), published(), fresh, MONDAY).oid == PERSON
    assert refusal(a_token(auth_time=NOW - 661), expected=fresh) is Why.NOT_FRESH
    assert refusal(a_token(), expected=fresh) is Why.NOT_FRESH


@pytest.mark.parametrize("given_roles", [None, "Licence.Admin", ["licence.admin"], [7, None], [["Licence.Admin"]]])
def test_a_role_that_is_not_spelled_as_a_role_gives_none(given_roles):
    assert identify(a_token(roles=given_roles), published(), EXPECTED, MONDAY).roles == frozenset()


def test_names_in_a_token_are_cut_and_steer_nothing():
    person = identify(a_token(name="x" * 10_000, preferred_username=["a"]), published(), EXPECTED, MONDAY)

    assert (len(person.name), person.upn) == (256, "")
