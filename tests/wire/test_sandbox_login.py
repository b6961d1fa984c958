"""Sign-in of the sandbox: as the published rules say, and as msal meets it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import jwt
import msal
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from reconciler.sandbox import hosts
from reconciler.sandbox.assertions import FEDERATED_AUDIENCE
from reconciler.sandbox.graph import GraphService
from reconciler.sandbox.login import ASSERTION_TYPE, LoginService
from reconciler.sandbox.world import World
from tests.make_graph import MINUTE, MONDAY

AUTHORITY = f"{hosts.LOGIN_URL}/{hosts.TENANT_ID}"
SCOPE = f"{hosts.GRAPH_URL}/.default"
TOKEN = f"{AUTHORITY}/oauth2/v2.0/token"


class SignIn:
    """A world's sign-in and Graph, in process."""

    def __init__(self) -> None:
        self.world = World(MONDAY)
        self.login = LoginService(self.world)
        graph = GraphService(self.world)

        def route(request: httpx.Request) -> httpx.Response:
            return graph(request) if request.url.host == hosts.GRAPH_HOST else self.login(request)

        self.http = httpx.Client(transport=httpx.MockTransport(route), trust_env=False)

    def ask(self, url: str = TOKEN, **form: str) -> httpx.Response:
        known = {
            "grant_type": "client_credentials",
            "client_id": hosts.CLIENT_ID,
            "client_secret": hosts.CLIENT_SECRET,
            "scope": SCOPE,
        }
        return self.http.post(url, data={k: v for k, v in {**known, **form}.items() if v})

    def graph(self, token: str, path: str = "/organization") -> int:
        url = f"{hosts.GRAPH_URL}/v1.0{path}"
        return self.http.get(url, headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.fixture
def signin() -> Iterator[SignIn]:
    yield SignIn()


class HttpForMsal:
    """What msal wants of an HTTP client."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, url: str, params: Any = None, headers: Any = None, **_: Any) -> httpx.Response:
        return self._http.get(url, params=params, headers=headers)

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: Any) -> httpx.Response:
        # msal hands an assertion over as bytes, which httpx would write as "b'...'".
        form = {k: v.decode() if isinstance(v, bytes) else v for k, v in (data or {}).items()}
        return self._http.post(url, params=params, data=form, headers=headers)

    def close(self) -> None:
        self._http.close()


def by_msal(signin: SignIn, credential: Any, **more: Any) -> dict[str, Any]:
    app = msal.ConfidentialClientApplication(
        more.pop("client_id", hosts.CLIENT_ID),
        client_credential=credential,
        authority=AUTHORITY,
        instance_discovery=False,
        http_client=HttpForMsal(signin.http),
        **more,
    )
    return dict(app.acquire_token_for_client([SCOPE]))


@cache
def a_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem() -> str:
    return (
        a_key()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def public_pem() -> bytes:
    return (
        a_key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@cache
def a_certificate() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reconciler")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(a_key().public_key())
    builder = (
        builder.serial_number(1).not_valid_before(dt.datetime(2026, 1, 1)).not_valid_after(dt.datetime(2036, 1, 1))
    )
    return builder.sign(a_key(), hashes.SHA256())


def certificate_pem() -> bytes:
    return a_certificate().public_bytes(serialization.Encoding.PEM)


# --- tokens


def test_a_secret_gives_a_token_that_opens_graph(signin: SignIn):
    answer = signin.ask().json()

    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3599)
    assert (claims["tid"], claims["appid"], claims["aud"]) == (hosts.TENANT_ID, hosts.CLIENT_ID, hosts.GRAPH_URL)
    assert claims["exp"] == int(MONDAY.timestamp()) + 3599
    assert set(claims["roles"]) == set(hosts.ENFORCE_ROLES)
    assert signin.graph(answer["access_token"]) == 200


def test_a_token_ends_with_its_hour(signin: SignIn):
    token = signin.ask().json()["access_token"]

    signin.world.clock.advance(60 * MINUTE)

    assert signin.graph(token) == 401


def test_the_observing_application_may_not_write(signin: SignIn):
    token = signin.ask(client_id=hosts.READER_CLIENT_ID, client_secret=hosts.READER_CLIENT_SECRET).json()[
        "access_token"
    ]

    roles = set(jwt.decode(token, options={"verify_signature": False})["roles"])

    assert roles == set(hosts.OBSERVE_ROLES)
    assert not any("Write" in role for role in roles)
    assert signin.graph(token, "/users") == 200


def test_a_token_of_another_world_is_no_token(signin: SignIn):
    foreign = LoginService(World(MONDAY, seed=2))
    request = httpx.Request(
        "POST",
        TOKEN,
        data={
            "grant_type": "client_credentials",
            "client_id": hosts.CLIENT_ID,
            "client_secret": hosts.CLIENT_SECRET,
            "scope": SCOPE,
        },
    )

    assert signin.graph(json.loads(foreign(request).content)["access_token"]) == 401


@pytest.mark.parametrize(
    ("change", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": ""}, 401, "invalid_client", 7000218),
        ({"client_id": "11111111-0000-0000-0000-000000000000"}, 400, "unauthorized_client", 700016),
        ({"scope": "User.Read"}, 400, "invalid_scope", 1002012),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"url": f"{hosts.LOGIN_URL}/fabrikam.example/oauth2/v2.0/token"}, 400, "invalid_request", 90002),
    ],
)
def test_a_refusal_is_worded_as_a_sign_in_error(
    signin: SignIn, change: dict[str, str], status: int, error: str, number: int
):
    response = signin.ask(**change)

    body = response.json()
    assert (response.status_code, body["error"], body["error_codes"]) == (status, error, [number])
    assert body["error_description"].startswith(f"AADSTS{number}: ")


def test_a_secret_can_expire(signin: SignIn):
    signin.world.switches.client_secret_expired = True

    assert signin.ask().json()["error_codes"] == [7000222]


# --- discovery


@pytest.mark.parametrize("path", ["/v2.0/.well-known/openid-configuration", "/.well-known/openid-configuration"])
def test_discovery_names_endpoints_on_the_host_that_was_asked(signin: SignIn, path: str):
    body = signin.http.get(f"https://127.0.0.1:8444/{hosts.TENANT_ID}{path}").json()

    assert body["token_endpoint"] == f"https://127.0.0.1:8444/{hosts.TENANT_ID}/oauth2/v2.0/token"
    assert body["issuer"].startswith(f"https://127.0.0.1:8444/{hosts.TENANT_ID}")
    assert "authorization_endpoint" in body


def test_the_sandbox_is_no_public_cloud_instance(signin: SignIn):
    response = signin.http.get(f"{hosts.LOGIN_URL}/common/discovery/instance")

    assert (response.status_code, response.json()["error"]) == (400, "invalid_instance")


def test_what_is_not_imitated_says_so(signin: SignIn):
    assert signin.http.get(f"{AUTHORITY}/oauth2/v2.0/devicecode").status_code == 501


# --- msal


def test_msal_signs_in_with_a_secret(signin: SignIn):
    answer = by_msal(signin, hosts.CLIENT_SECRET)

    assert signin.graph(answer["access_token"]) == 200


def test_msal_reports_a_wrong_secret(signin: SignIn):
    answer = by_msal(signin, "wrong")

    assert answer["error"] == "invalid_client"
    assert answer["error_codes"] == [7000215]


def test_msal_signs_in_by_its_other_discovery(signin: SignIn):
    app = msal.ConfidentialClientApplication(
        hosts.CLIENT_ID,
        client_credential=hosts.CLIENT_SECRET,
        oidc_authority=AUTHORITY,
        http_client=HttpForMsal(signin.http),
    )

    assert signin.graph(app.acquire_token_for_client([SCOPE])["access_token"]) == 200


@pytest.mark.parametrize("with_thumbprint", [False, True], ids=["PS256", "RS256"])
def test_msal_signs_in_with_a_registered_certificate(signin: SignIn, with_thumbprint: bool):
    signin.login.assertions.register_certificate(hosts.CLIENT_ID, certificate_pem())
    credential = {"private_key": private_pem()}
    if with_thumbprint:
        credential["thumbprint"] = a_certificate().fingerprint(hashes.SHA1()).hex()
    else:
        credential["public_certificate"] = certificate_pem().decode()

    answer = by_msal(signin, credential)

    assert signin.graph(answer["access_token"]) == 200


def test_a_certificate_that_is_not_registered_proves_nothing(signin: SignIn):
    credential = {"private_key": private_pem(), "public_certificate": certificate_pem().decode()}

    assert by_msal(signin, credential)["error_codes"] == [700027]


# --- federation


def an_assertion(**changed: Any) -> str:
    claims = {
        "iss": "https://issuer.example",
        "sub": "system:serviceaccount:reconciler",
        "aud": FEDERATED_AUDIENCE,
        "exp": int(MONDAY.timestamp()) + 600,
        **changed,
    }
    return jwt.encode(claims, private_pem(), algorithm="RS256")


def federated(signin: SignIn, assertion: str) -> httpx.Response:
    signin.login.assertions.trust_issuer(
        hosts.CLIENT_ID,
        issuer="https://issuer.example",
        subject="system:serviceaccount:reconciler",
        public_key_pem=public_pem(),
    )
    return signin.ask(client_secret="", client_assertion=assertion, client_assertion_type=ASSERTION_TYPE)


def test_a_workload_of_a_trusted_issuer_signs_in(signin: SignIn):
    assert signin.graph(federated(signin, an_assertion()).json()["access_token"]) == 200


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        ({"iss": "https://other.example"}, 700211),
        ({"sub": "system:serviceaccount:other"}, 700213),
        ({"aud": "api://Other"}, 700023),
    ],
)
def test_a_workload_that_is_not_the_one_agreed_is_refused(signin: SignIn, changed: dict[str, str], number: int):
    response = federated(signin, an_assertion(**changed))

    assert (response.status_code, response.json()["error_codes"]) == (401, [number])


def test_a_forged_assertion_is_refused(signin: SignIn):
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"iss": "https://issuer.example", "sub": "system:serviceaccount:reconciler", "aud": FEDERATED_AUDIENCE}

    response = federated(signin, jwt.encode(claims, stranger, algorithm="RS256"))

    assert response.json()["error_codes"] == [50013]


def test_an_unsigned_assertion_is_refused(signin: SignIn):
    unsigned = jwt.encode({"iss": "https://issuer.example"}, None, algorithm="none")

    assert federated(signin, unsigned).json()["error_codes"] == [5002738]


# --- managed identity


def test_the_machine_itself_signs_in(signin: SignIn):
    client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=HttpForMsal(signin.http))

    answer = client.acquire_token_for_client(resource=hosts.GRAPH_URL)

    assert signin.graph(answer["access_token"]) == 200


def test_the_metadata_header_is_required(signin: SignIn):
    url = f"http://{hosts.IMDS_HOST}/metadata/identity/oauth2/token"
    params = {"api-version": "2018-02-01", "resource": hosts.GRAPH_URL}

    assert signin.http.get(url, params=params).status_code == 400
    assert signin.http.get(url, params=params, headers={"Metadata": "true"}).status_code == 200
