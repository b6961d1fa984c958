"""People signing in to the sandbox: Microsoft's own msal asks, a browser without scripts picks, PyJWT judges."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import msal
import pytest

from reconciler.sandbox import hosts
from reconciler.sandbox.server import serve
from reconciler.sandbox.tls import client_context
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from reconciler.sandbox.world_file import keep_world, read_world
from tests.make_sign_in import answer_of, forms_of, pick, validated
from tests.make_world import contoso

CALLBACK = "https://localhost:8443/auth/callback"
VERIFIER = "a-verifier-of-enough-characters-for-the-published-rules"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


class Site:
    """The sandbox's sign-in under one address, with one browser before it and an application behind it."""

    def __init__(self, world: World, http: httpx.Client, base: str = hosts.LOGIN_URL) -> None:
        self.world = world
        self.http = http
        self.authority = f"{base}/{hosts.TENANT_ID}"
        self.issuer = f"{self.authority}/v2.0"

    def application(self) -> msal.ConfidentialClientApplication:
        return msal.ConfidentialClientApplication(
            hosts.CLIENT_ID,
            client_credential=hosts.CLIENT_SECRET,
            authority=self.authority,
            instance_discovery=False,
            http_client=_ForMsal(self.http),
        )

    def sign_in(self, person: str, **asked: Any) -> dict[str, Any]:
        """The whole flow through msal."""
        app = self.application()
        asked.setdefault("response_mode", "form_post")
        flow = app.initiate_auth_code_flow(scopes=[], redirect_uri=CALLBACK, **asked)
        return dict(app.acquire_token_by_auth_code_flow(flow, answer_of(pick(self.http, flow["auth_uri"], person))))

    def keys(self) -> dict[str, Any]:
        return dict(self.http.get(f"{self.authority}/discovery/v2.0/keys").json())

    def claims(self, token: str) -> dict[str, Any]:
        return validated(token, self.keys(), issuer=self.issuer, audience=hosts.CLIENT_ID)

    def authorize(self, **changed: str | None) -> str:
        """An address of the sign-in page as a program without msal would write it."""
        known = {
            "client_id": hosts.CLIENT_ID,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid profile",
            "state": "some state",
            "nonce": "some nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        wanted = {k: v for k, v in {**known, **changed}.items() if v is not None}
        return str(httpx.URL(f"{self.authority}/oauth2/v2.0/authorize", params=wanted))

    def code(self, person: str = "Thomas Brandt") -> str:
        return answer_of(pick(self.http, self.authorize(), person))["code"]

    def redeem(self, code: str, **changed: str) -> httpx.Response:
        known = {
            "grant_type": "authorization_code",
            "client_id": hosts.CLIENT_ID,
            "client_secret": hosts.CLIENT_SECRET,
            "code": code,
            "code_verifier": VERIFIER,
            "redirect_uri": CALLBACK,
        }
        return self.http.post(f"{self.authority}/oauth2/v2.0/token", data={**known, **changed})


class _ForMsal:
    """What msal wants of an HTTP client."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, url: str, params: Any = None, headers: Any = None, **_: Any) -> httpx.Response:
        return self._http.get(url, params=params, headers=headers)

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: Any) -> httpx.Response:
        return self._http.post(url, params=params, data=data, headers=headers)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def site() -> Iterator[Site]:
    world = contoso()
    with httpx.Client(transport=SandboxTransport(world), trust_env=False) as http:
        yield Site(world, http)


# --- the flow


def test_a_person_who_is_picked_is_proven_by_a_signed_token(site: Site):
    answer = site.sign_in("Thomas Brandt")

    claims = site.claims(answer["id_token"])
    thomas = site.world.directory.user("thomas.brandt@contoso.example")
    now = int(site.world.clock.now().timestamp())
    assert (claims["oid"], claims["tid"], claims["ver"]) == (thomas.user_id, hosts.TENANT_ID, "2.0")
    assert (claims["name"], claims["preferred_username"]) == ("Thomas Brandt", thomas.upn)
    assert claims["roles"] == ["Licence.Approver"]
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (now, now, now + 3600)
    assert claims["acct"] == 0
    assert "auth_time" not in claims


def test_the_answer_may_come_by_the_query_too(site: Site):
    app = site.application()
    with pytest.warns(UserWarning, match="response_mode"):
        flow = app.initiate_auth_code_flow(scopes=[], redirect_uri=CALLBACK, response_mode="query")

    response = pick(site.http, flow["auth_uri"], "Robert Novak")

    assert response.headers["location"].startswith(f"{CALLBACK}?")
    answer = app.acquire_token_by_auth_code_flow(flow, answer_of(response))
    assert site.claims(answer["id_token"])["roles"] == ["Licence.Approver", "Licence.Admin"]


def test_the_subject_is_another_one_for_another_application(site: Site):
    mine = site.claims(site.sign_in("Thomas Brandt")["id_token"])["sub"]
    again = site.claims(site.sign_in("Thomas Brandt")["id_token"])["sub"]
    other = answer_of(pick(site.http, site.authorize(client_id=hosts.READER_CLIENT_ID), "Thomas Brandt"))["code"]
    theirs = site.redeem(other, client_id=hosts.READER_CLIENT_ID, client_secret=hosts.READER_CLIENT_SECRET).json()

    assert mine == again
    assert jwt.decode(theirs["id_token"], options={"verify_signature": False})["sub"] != mine


def test_who_signs_in_has_no_right_on_graph(site: Site):
    answer = site.sign_in("Robert Novak")

    response = site.http.get(
        f"{hosts.GRAPH_URL}/v1.0/users", headers={"authorization": f"Bearer {answer['access_token']}"}
    )

    assert response.status_code == 403


@pytest.mark.tls
def test_over_tls_the_issuer_is_the_port_that_was_asked():
    world = contoso()
    with (
        serve(world) as sandbox,
        httpx.Client(verify=client_context(sandbox.ca_file), trust_env=False, timeout=30) as http,
    ):
        site = Site(world, http, sandbox.login)

        claims = site.claims(site.sign_in("Claire Dubois")["id_token"])

        discovery = http.get(f"{site.issuer}/.well-known/openid-configuration").json()
        assert claims["iss"] == discovery["issuer"] == site.issuer
        assert claims["name"] == "Claire Dubois"


# --- the page


def test_the_page_lists_the_tenant_and_can_be_searched(site: Site):
    opened = site.http.get(site.authorize())
    search, people = forms_of(opened)

    found = site.http.get(f"{site.authority}/oauth2/v2.0/authorize", params={**search.fields, "q": "legal approver"})

    assert len(people.buttons) > 50
    assert [b[2].split("@")[0] for b in forms_of(found)[1].buttons[:-1]] == ["Laura McBridelaura.mcbride"]
    assert "script" not in opened.text


def test_a_name_on_the_page_stays_text(site: Site):
    site.world.directory.add_user("mallory@contoso.example", display_name="<script>alert(1)</script>")

    text = site.http.get(site.authorize()).text

    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_a_hint_puts_one_person_forward(site: Site):
    people = forms_of(site.http.get(site.authorize(login_hint="petra.nowak@contoso.example")))[1]

    assert ["Petra Nowak" in b[2] for b in people.buttons] == [True, False]


def test_who_cancels_is_access_denied(site: Site):
    answer = answer_of(pick(site.http, site.authorize(response_mode="form_post"), ""))

    assert (answer["error"], answer["state"]) == ("access_denied", "some state")


def test_a_disabled_account_gets_no_code(site: Site):
    response = pick(site.http, site.authorize(), "Stefan Wolf")

    assert response.status_code == 403
    assert "AADSTS50057" in response.text


# --- what an application may ask


@pytest.mark.parametrize(
    "changed",
    [{"client_id": "11111111-0000-0000-0000-000000000000"}, {"redirect_uri": "https://evil.example/cb"}],
)
def test_an_unknown_application_or_address_is_never_answered(site: Site, changed: dict[str, str]):
    response = site.http.get(site.authorize(**changed))

    assert response.status_code == 400
    assert "location" not in response.headers
    assert forms_of(response) == []


@pytest.mark.parametrize(
    "address",
    [
        "https://localhost:9999/auth/callback",
        "http://127.0.0.1:5000/cb",
        "http://localhost/cb",
        "https://licences.contoso.example/auth/callback",
    ],
)
def test_loopback_on_any_port_and_registered_addresses_are_answered(site: Site, address: str):
    site.world.switches.redirect_uris = ("https://licences.contoso.example/auth/callback",)

    assert pick(site.http, site.authorize(redirect_uri=address), "Anna").headers["location"].startswith(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://localhost.evil.example/cb",
        "https://localhost@evil.example/cb",
        "https://localhost:1@evil.example/cb",
        "https://localhost\\@evil.example/cb",
        "https://localhost/cb#fragment",
        "https://localhost:port/cb",
        "https://[::1/cb",
        "https://localhost/c\nb",
        "javascript:alert(1)//localhost/",
    ],
)
def test_what_only_looks_like_loopback_is_not_answered(site: Site, address: str):
    assert site.http.get(site.authorize(redirect_uri=address)).status_code == 400


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "id_token"}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"nonce": None}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"prompt": "none"}, "interaction_required"),
        ({"prompt": "magic"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"claims": "{"}, "invalid_request"),
        ({"claims": "[" * 3000}, "invalid_request"),
    ],
)
def test_a_request_that_lacks_something_is_told_so(site: Site, changed: dict[str, str | None], error: str):
    assert answer_of(site.http.get(site.authorize(**changed)))["error"] == error


# --- sessions


def test_a_signed_in_browser_is_answered_silently_until_it_signs_out(site: Site):
    pick(site.http, site.authorize(), "Thomas Brandt")

    silent = answer_of(site.http.get(site.authorize(prompt="none")))
    site.http.get(f"{site.authority}/oauth2/v2.0/logout")
    signed_out = answer_of(site.http.get(site.authorize(prompt="none")))

    assert "code" in silent
    assert signed_out["error"] == "interaction_required"


def test_with_single_sign_on_a_browser_goes_on_unless_its_sign_in_is_too_old(site: Site):
    site.world.switches.single_sign_on = True
    pick(site.http, site.authorize(), "Thomas Brandt")
    site.world.clock.advance(timedelta(minutes=10))

    assert "code" in answer_of(site.http.get(site.authorize()))
    assert len(forms_of(site.http.get(site.authorize(max_age="300")))) == 2
    assert len(forms_of(site.http.get(site.authorize(prompt="login")))) == 2


def test_asked_for_by_age_the_token_tells_when_the_person_signed_in(site: Site):
    code = answer_of(pick(site.http, site.authorize(max_age="300"), "Thomas Brandt"))["code"]

    claims = site.claims(site.redeem(code).json()["id_token"])

    assert claims["auth_time"] == int(site.world.clock.now().timestamp())


def test_an_authentication_context_that_is_asked_for_is_in_the_token(site: Site):
    wanted = '{"id_token": {"acrs": {"essential": true, "value": "c1"}}}'

    code = answer_of(pick(site.http, site.authorize(claims=wanted), "Thomas Brandt"))["code"]

    assert site.claims(site.redeem(code).json()["id_token"])["acrs"] == ["c1"]


def test_signing_out_leads_back_to_the_application_only(site: Site):
    out = f"{site.authority}/oauth2/v2.0/logout"

    home = site.http.get(out, params={"post_logout_redirect_uri": "https://localhost:8443/"})
    away = site.http.get(out, params={"post_logout_redirect_uri": "https://evil.example/"})

    assert (home.status_code, home.headers["location"]) == (302, "https://localhost:8443/")
    assert (away.status_code, "location" in away.headers) == (200, False)


# --- codes


def test_a_code_is_good_once(site: Site):
    code = site.code()

    assert site.redeem(code).status_code == 200
    assert site.redeem(code).json()["error_codes"] == [54005]


def test_a_code_ends_after_ten_minutes(site: Site):
    code = site.code()
    site.world.clock.advance(timedelta(minutes=10, seconds=1))

    assert site.redeem(code).json()["error_codes"] == [70008]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_verifier": "another"}, "invalid_grant"),
        ({"redirect_uri": "https://localhost:8443/other"}, "invalid_grant"),
        ({"code": "1.unknown"}, "invalid_grant"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": hosts.READER_CLIENT_ID, "client_secret": hosts.READER_CLIENT_SECRET}, "invalid_grant"),
    ],
)
def test_a_code_opens_nothing_for_anybody_else(site: Site, changed: dict[str, str], error: str):
    code = site.code()

    response = site.redeem(**{"code": code, **changed})

    assert (response.status_code // 100, response.json()["error"]) == (4, error)
    assert site.redeem(code).status_code == 200


# --- keys


def test_two_keys_are_published_and_the_next_one_takes_over(site: Site):
    old = site.sign_in("Thomas Brandt")["id_token"]
    before = [key["kid"] for key in site.keys()["keys"]]

    site.world.signins.rotate()

    new = site.sign_in("Thomas Brandt")["id_token"]
    after = [key["kid"] for key in site.keys()["keys"]]
    assert len(before) == len(after) == 2
    assert before[1] == after[0] == jwt.get_unverified_header(new)["kid"]
    assert site.claims(new)["name"] == "Thomas Brandt"
    with pytest.raises(jwt.InvalidKeyError):
        site.claims(old)


def test_a_world_that_was_kept_knows_its_keys_sessions_and_codes(site: Site, tmp_path: Path):
    code, before = site.code(), site.keys()
    keep_world(tmp_path / "world.json", site.world, "contoso")

    world, _ = read_world(tmp_path / "world.json")

    with httpx.Client(transport=SandboxTransport(world), trust_env=False) as http:
        again = Site(world, http)
        assert again.keys() == before
        assert again.redeem(code).status_code == 200


# --- everything that a validator must refuse

REFUSED = {
    "bad_signature": jwt.InvalidSignatureError,
    "wrong_iss": jwt.InvalidIssuerError,
    "wrong_aud": jwt.InvalidAudienceError,
    "missing_oid": jwt.MissingRequiredClaimError,
    "alg_none": jwt.InvalidAlgorithmError,
    "alg_hs256": jwt.InvalidAlgorithmError,
    "unknown_kid": jwt.InvalidKeyError,
}


@pytest.mark.parametrize("fault", sorted(REFUSED))
def test_a_token_with_a_fault_is_refused_for_that_fault(site: Site, fault: Any):
    code = site.code()
    site.world.switches.sign_in_fault = fault

    token = site.redeem(code).json()["id_token"]

    with pytest.raises(REFUSED[fault]):
        site.claims(token)


def test_the_other_faults_are_in_the_claims(site: Site):
    now = site.world.clock.now().timestamp()

    def claims(fault: Any) -> dict[str, Any]:
        code = site.code()
        site.world.switches.sign_in_fault = fault
        return site.claims(site.redeem(code).json()["id_token"])

    assert claims("wrong_tid")["tid"] != hosts.TENANT_ID
    assert claims("expired")["exp"] < now
    assert claims("not_yet_valid")["nbf"] > now
    assert claims("nonce_mismatch")["nonce"] != "some nonce"
    assert (claims("guest")["acct"], "idp" in claims("guest")) == (1, True)
    assert "roles" not in claims("role_missing")
    site.world.switches.sign_in_clock_skew_s = -600
    assert claims("none")["iat"] == int(now) - 600


def test_endpoints_can_be_away(site: Site):
    site.world.switches.sign_in_unavailable = ("keys", "token")

    assert site.http.get(f"{site.authority}/discovery/v2.0/keys").status_code == 503
    assert site.redeem("any").status_code == 503
    assert site.http.get(site.authorize()).status_code == 200
