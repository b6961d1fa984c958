"""Signing in: tokens that are fresh, asked for once, and failures that say what to check."""

from __future__ import annotations

import base64
import json
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from reconciler.clients.auth import (
    ApiKey,
    Basic,
    Certificate,
    ClientSecret,
    Credential,
    EntraTokens,
    Federation,
    ManagedIdentity,
    OAuthClientCredentials,
    roles,
)
from reconciler.clients.wire import make_http
from reconciler.clock import ManualClock
from reconciler.errors import SignInFailed, Unavailable
from tests.wire.make_replies import INSTANCE, MONDAY, Remote, reply

AUTHORITY, TENANT, CLIENT = "https://login.sandbox.example", "11111111-2222-4333-8444-555555555555", "client"
SECRET = "s3cr3t~value"
SCOPE = "https://graph.microsoft.com/.default"


class Login:
    """A sign-in service: discovery, and tokens numbered in the order in which they were asked for."""

    def __init__(self, refusal: dict[str, str] | None = None, *, status: int = 400, host: str = AUTHORITY) -> None:
        self.forms: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._refusal, self._status, self._host = refusal, status, host
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.paths.append(str(request.url))
            if request.method == "GET":
                base = f"{self._host}/{TENANT}"
                endpoints = {"authorization_endpoint": f"{base}/authorize", "token_endpoint": f"{base}/token"}
                return reply(200, {"issuer": f"{base}/v2.0", **endpoints})
            self.forms.append({k: v[0] for k, v in parse_qs(request.content.decode()).items()})
            if self._refusal:
                return reply(self._status, self._refusal)
            token = f"token-{len(self.forms)}"
            return reply(200, {"token_type": "Bearer", "expires_in": 3600, "access_token": token})


def tokens(login: object, credential: Credential | None = None, *, authority: str = AUTHORITY) -> EntraTokens:
    http = make_http(Remote(login))  # type: ignore[arg-type]
    return EntraTokens(authority, TENANT, CLIENT, credential or ClientSecret(SECRET), http, scope=SCOPE)


def refusal(text: str) -> dict[str, str]:
    return {"error": "invalid_client", "error_description": text, "correlation_id": "c-1"}


def test_nobody_is_contacted_before_a_token_is_needed():
    login = Login()

    tokens(login)

    assert login.paths == []


def test_a_token_is_kept_until_it_is_refused():
    source = tokens(Login())

    first, again = source.headers(), source.headers()
    source.fresh(first)

    assert first == again == {"Authorization": "Bearer token-1"}
    assert source.headers() == {"Authorization": "Bearer token-2"}


def test_threads_whose_token_was_refused_together_ask_for_one_new_token():
    login = Login()
    source = tokens(login)
    refused = source.headers()

    def renewed(_: int) -> dict[str, str]:
        source.fresh(refused)
        return source.headers()

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(renewed, range(20)))

    assert len(login.forms) == 2
    assert found == [{"Authorization": "Bearer token-2"}] * 20


def test_twenty_threads_at_once_ask_for_one_token():
    login = Login()
    source = tokens(login)

    with ThreadPoolExecutor(20) as pool:
        found = set(pool.map(lambda _: source.token(), range(20)))

    assert (found, len(login.forms)) == ({"token-1"}, 1)


def test_a_host_that_is_not_microsofts_is_not_looked_up_at_microsoft():
    login = Login()

    tokens(login).token()

    assert all(path.startswith(AUTHORITY) for path in login.paths)
    assert login.forms[0]["scope"] == SCOPE


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("AADSTS7000215: Invalid client secret provided.", "secret's id"),
        ("AADSTS7000222: The provided client secret keys are expired.", "expired"),
        ("AADSTS700016: Application was not found in the directory.", "does not know the application"),
        ("AADSTS90002: Tenant not found.", "no such tenant"),
        ("AADSTS700027: Client assertion contains an invalid signature.", "not registered"),
    ],
)
def test_a_refusal_says_what_to_check(text, hint):
    with pytest.raises(SignInFailed) as caught:
        tokens(Login(refusal(text))).token()

    assert hint in str(caught.value)
    assert caught.value.request_id == "c-1"


def test_a_refusal_that_nobody_has_seen_yet_is_told_in_the_services_own_words():
    with pytest.raises(SignInFailed) as caught:
        tokens(Login(refusal("AADSTS99999: Something new."))).token()

    assert "AADSTS99999: Something new." in str(caught.value)
    assert caught.value.hint == ""


@pytest.mark.parametrize("trouble", [httpx.ConnectError("no route"), httpx.ReadTimeout("slow")])
def test_a_sign_in_service_out_of_reach_is_unavailable_not_a_wrong_secret(trouble):
    with pytest.raises(Unavailable):
        tokens(lambda _: trouble).token()


def test_a_sign_in_service_in_trouble_is_unavailable():
    with pytest.raises(Unavailable):
        tokens(Login({"error": "x"}, status=503)).token()


def test_an_unknown_tenant_is_a_matter_of_configuration():
    with pytest.raises(SignInFailed, match="tenant id"):
        tokens(lambda _: reply(400, refusal("AADSTS90002: no such tenant"))).token()


def test_a_failure_to_sign_in_passes_and_the_next_try_works():
    turns = [httpx.ConnectError("no route")]
    login = Login()
    source = tokens(lambda request: turns.pop() if turns else login(request))

    with pytest.raises(Unavailable):
        source.token()

    assert source.token() == "token-1"


def test_an_authority_over_plain_http_is_refused():
    with pytest.raises(ValueError, match="https"):
        tokens(Login(), authority="http://login.example")


def test_secrets_are_in_no_repr_and_no_error():
    shown = [repr(c) for c in (ClientSecret(SECRET), Certificate(SECRET, SECRET), Basic("u", SECRET), ApiKey(SECRET))]
    with pytest.raises(SignInFailed) as caught:
        tokens(Login(refusal(f"AADSTS7000215: client_secret={SECRET}"))).token()

    told = "".join(shown) + "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert SECRET not in told


def a_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "reconciler")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(MONDAY).not_valid_after(MONDAY + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + certificate.public_bytes(serialization.Encoding.PEM)).decode()


def part(token: str, n: int) -> dict[str, object]:
    text = token.split(".")[n]
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def test_a_certificate_signs_without_sha1():
    login = Login()

    tokens(login, Certificate(a_pem())).token()

    header = part(login.forms[0]["client_assertion"], 0)
    assert header["alg"] == "PS256"
    assert "x5t" not in header


def test_a_certificate_that_is_none_is_said_so():
    with pytest.raises(SignInFailed, match="form of the credential"):
        tokens(Login(), Certificate("not a pem")).token()


def test_a_federated_token_is_read_anew_each_time(tmp_path: Path):
    file, login = tmp_path / "token", Login()
    source = tokens(login, Federation(file))

    file.write_text("first\n")
    refused = source.headers()
    file.write_text("second\n")
    source.fresh(refused)
    source.headers()

    assert [form["client_assertion"] for form in login.forms] == ["first", "second"]


def test_a_federated_token_that_is_not_there_is_said_so(tmp_path: Path):
    with pytest.raises(SignInFailed, match="credential file"):
        tokens(Login(), Federation(tmp_path / "absent")).token()


def test_the_identity_of_the_machine_gives_tokens_that_can_be_renewed(monkeypatch: pytest.MonkeyPatch):
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    asked: list[httpx.Request] = []

    def machine(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return reply(200, {"access_token": f"machine-{len(asked)}", "expires_in": "3600", "resource": "x"})

    source = tokens(machine, ManagedIdentity())
    refused = source.headers()
    source.fresh(refused)

    assert source.token() == "machine-2"
    assert asked[0].headers["Metadata"] == "true"
    assert asked[0].url.params["resource"] == "https://graph.microsoft.com"


def test_the_roles_of_a_token_are_read_for_the_doctor():
    payload = base64.urlsafe_b64encode(json.dumps({"roles": ["User.Read.All"], "tid": "x"}).encode()).decode()

    assert roles(f"h.{payload.rstrip('=')}.s") == {"User.Read.All"}


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "a.!!.c"])
def test_a_token_that_is_no_jwt_shows_no_roles(token):
    assert roles(token) == frozenset()


# --- ServiceNow --------------------------------------------------------------------------------------------


def a_token(name: str, expires_in: int = 1799) -> httpx.Response:
    return reply(200, {"access_token": name, "scope": "useraccount", "token_type": "Bearer", "expires_in": expires_in})


def test_an_instance_token_is_used_until_shortly_before_its_end():
    clock, remote = ManualClock(MONDAY), Remote(a_token("one"), a_token("two"))
    source = OAuthClientCredentials(INSTANCE, CLIENT, SECRET, make_http(remote), clock)

    first = source.headers()
    clock.advance(seconds=1700)
    still = source.headers()
    clock.advance(seconds=60)

    assert first == still == {"Authorization": "Bearer one"}
    assert source.headers() == {"Authorization": "Bearer two"}
    assert remote.seen[0].headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_an_instance_token_that_was_refused_is_asked_for_again_once():
    remote = Remote(a_token("one"), a_token("two"))
    source = OAuthClientCredentials(INSTANCE, CLIENT, SECRET, make_http(remote), ManualClock(MONDAY))
    refused = source.headers()

    for _ in range(3):
        source.fresh(refused)
        source.headers()

    assert len(remote.seen) == 2


@pytest.mark.parametrize(
    "answer",
    [
        reply(401, {"error": "server_error", "error_description": "access_denied"}),
        reply(200, {"error": "server_error", "error_description": "access_denied"}),
    ],
)
def test_an_instance_that_gives_no_token_gets_the_checklist(answer):
    source = OAuthClientCredentials(INSTANCE, CLIENT, SECRET, make_http(Remote(answer)), ManualClock(MONDAY))

    with pytest.raises(SignInFailed) as caught:
        source.headers()

    assert "glide.oauth.inbound.client.credential.grant_type.enabled" in caught.value.hint
    assert SECRET not in str(caught.value) + repr(source)


@pytest.mark.parametrize(
    "answer", [reply(503), reply(200, "<html><title>Instance Hibernating page</title></html>"), reply(429), reply(302)]
)
def test_an_instance_that_sleeps_is_unavailable_not_a_wrong_secret(answer):
    source = OAuthClientCredentials(INSTANCE, CLIENT, SECRET, make_http(Remote(answer)), ManualClock(MONDAY))

    with pytest.raises(Unavailable):
        source.headers()


def test_passwords_and_keys_go_with_the_first_request_and_cannot_be_renewed():
    basic, key = Basic("svc", "p:w"), ApiKey("k")

    assert basic.headers() == {"Authorization": "Basic " + base64.b64encode(b"svc:p:w").decode()}
    assert key.headers() == {"x-sn-apikey": "k"}
    assert not basic.fresh()
    assert not key.fresh()
