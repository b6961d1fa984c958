"""Sign-in of the sandbox: discovery, tokens for programs and people, managed identity (graph.md section 12).

People sign in by `identity`: a page, a code, an ID token (approvals.md section 3.3). For programs
`POST /{tenant}/oauth2/v2.0/token` takes a secret, a certificate's assertion (RS256 with x5t, PS256 with x5t#S256) or
the assertion of a federated issuer; certificates and issuers are registered with `register_certificate` and
`trust_issuer`. Refusals are worded as AADSTS errors. Nothing outside the sandbox accepts what is issued here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import httpx

from reconciler.sandbox import hosts, tokens
from reconciler.sandbox.assertions import AssertionRefused, Assertions
from reconciler.sandbox.identity import id_tokens, keys
from reconciler.sandbox.identity.apps import App, SignInRefused, known_apps
from reconciler.sandbox.identity.authorize import Authorizer
from reconciler.sandbox.identity.codes import Codes
from reconciler.sandbox.pages import page
from reconciler.sandbox.world import World

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TROUBLE = "Sorry, but we're having trouble signing you in"
GRANT_TYPES = frozenset({"client_credentials", "authorization_code"})
ENDPOINTS = {
    "authorize": ("oauth2", "v2.0", "authorize"),
    "token": ("oauth2", "v2.0", "token"),
    "logout": ("oauth2", "v2.0", "logout"),
    "keys": ("discovery", "v2.0", "keys"),
}


class LoginService:
    """Answers requests to the sign-in host and to the managed identity endpoint."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = tokens.key_of(world.seed)
        self._issued = 0
        self.apps = known_apps()
        self.assertions = Assertions(world.clock)
        self._authorizer = Authorizer(world, self.apps)
        self._codes = Codes(world)

    def register_app(self, client_id: str, *, name: str, secret: str | None, roles: tuple[str, ...]) -> None:
        """Let one more application sign in, with these permissions."""
        self.apps[client_id] = App(name, secret, roles)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        with self._world.lock:
            try:
                return self._answer(request)
            except SignInRefused as e:
                return self._refusal(request, e)

    # --- routes

    def _answer(self, request: httpx.Request) -> httpx.Response:
        segments = [s for s in request.url.path.split("/") if s]
        lowered = [s.lower() for s in segments]
        if lowered == ["metadata", "identity", "oauth2", "token"] and request.method == "GET":
            return self._managed_identity(request)
        if lowered == ["common", "discovery", "instance"]:
            return self._instance_discovery()
        if (endpoint := _endpoint(lowered)) in self._world.switches.sign_in_unavailable:
            return _unavailable(endpoint)
        if lowered[1:] in ([".well-known", "openid-configuration"], ["v2.0", ".well-known", "openid-configuration"]):
            self._check_tenant(segments[0])
            return httpx.Response(200, json=self._discovery(request, segments[0], "v2.0" in lowered))
        if lowered[1:] == ["discovery", "v2.0", "keys"] and request.method == "GET":
            self._check_tenant(segments[0])
            return httpx.Response(200, json=keys.published(self._world.seed, self._world.signins.first_key))
        if lowered[1:] == ["oauth2", "v2.0", "authorize"] and request.method in {"GET", "POST"}:
            return self._authorize(request, segments[0])
        if lowered[1:] == ["oauth2", "v2.0", "logout"] and request.method == "GET":
            self._check_tenant(segments[0])
            return self._authorizer.sign_out(request)
        if lowered[1:] == ["oauth2", "v2.0", "token"] and request.method == "POST":
            self._check_tenant(segments[0])
            return self._token(request, segments[0])
        body = {"error": "not_implemented", "error_description": f"The sandbox does not imitate {request.url.path}."}
        return httpx.Response(501, json=body)

    def _instance_discovery(self) -> httpx.Response:
        """The sandbox is no public cloud: a client must be told not to ask (`instance_discovery=False`)."""
        message = "AADSTS50049: Unknown or invalid instance."
        return httpx.Response(400, json={"error": "invalid_instance", "error_description": message})

    def _check_tenant(self, tenant: str) -> None:
        directory = self._world.directory
        if tenant.lower() not in (directory.tenant_id, hosts.TENANT_DOMAIN):
            raise SignInRefused(
                400,
                "invalid_request",
                90002,
                f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into "
                "the correct cloud.",
            )

    def _discovery(self, request: httpx.Request, tenant: str, is_v2: bool) -> dict[str, Any]:
        base = f"{_base(request)}/{tenant}"
        return {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "issuer": f"{base}/v2.0" if is_v2 else base,
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "tenant_region_scope": "EU",
        }

    def _authorize(self, request: httpx.Request, tenant: str) -> httpx.Response:
        """The page for people; what is wrong with the request itself is told on a page, too."""
        try:
            self._check_tenant(tenant)
            return self._authorizer(request)
        except SignInRefused as e:
            return page(
                "trouble", status=e.status, heading="Sorry, but we're having trouble signing you in", text=str(e)
            )

    def _token(self, request: httpx.Request, tenant: str) -> httpx.Response:
        form = {k: v[0] for k, v in parse_qs(request.content.decode(), keep_blank_values=True).items()}
        if form.get("grant_type") not in GRANT_TYPES:
            raise SignInRefused(
                400,
                "unsupported_grant_type",
                70003,
                "The app requested an unsupported grant type. The sandbox imitates client_credentials and "
                "authorization_code.",
            )
        client_id = form.get("client_id", "").lower()
        app = self.apps.get(client_id)
        if app is None:
            raise SignInRefused(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{client_id}' was not found in the directory "
                f"'{self._world.directory.display_name}'. This can happen if the application has not been installed "
                "by the administrator of the tenant or consented to by any user in the tenant.",
            )
        endpoint = f"{_base(request)}/{tenant}/oauth2/v2.0/token"
        if form["grant_type"] == "authorization_code":
            self._check_credential(form, client_id, app, token_endpoint=endpoint)
            return self._identify(form, client_id, app, issuer=f"{_base(request)}/{tenant}/v2.0")
        scope = form.get("scope", "")
        if not scope.endswith("/.default") or " " in scope.strip():
            raise SignInRefused(
                400,
                "invalid_scope",
                1002012,
                f"The provided value for scope {scope} is not valid. Client credential flows must have a scope value "
                "with /.default suffixed to the resource identifier (application ID URI).",
            )
        self._check_credential(form, client_id, app, token_endpoint=endpoint)
        return self._issue(client_id, app, audience=scope.removesuffix("/.default"))

    def _check_credential(self, form: Mapping[str, str], client_id: str, app: App, *, token_endpoint: str) -> None:
        if "client_assertion" in form:
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                raise SignInRefused(400, "invalid_request", 90014, "client_assertion_type is missing or unsupported.")
            try:
                self.assertions.check(form["client_assertion"], client_id=client_id, token_endpoint=token_endpoint)
            except AssertionRefused as e:
                raise SignInRefused(401, "invalid_client", e.number, str(e)) from e
            return
        if "client_secret" not in form:
            message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
            raise SignInRefused(401, "invalid_client", 7000218, message)
        if form["client_secret"] != app.secret:
            raise SignInRefused(
                401,
                "invalid_client",
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{client_id}'.",
            )
        if self._world.switches.client_secret_expired:
            raise SignInRefused(
                401, "invalid_client", 7000222, f"The provided client secret keys for app '{client_id}' are expired."
            )

    def _managed_identity(self, request: httpx.Request) -> httpx.Response:
        """IMDS: the header is what keeps a forwarded request out."""
        if request.headers.get("metadata", "").lower() != "true":
            body = {"error": "invalid_request", "error_description": "Required metadata header not specified"}
            return httpx.Response(400, json=body)
        resource = request.url.params.get("resource")
        if not resource:
            body = {"error": "invalid_request", "error_description": "Required query variable 'resource' is missing"}
            return httpx.Response(400, json=body)
        client_id = request.url.params.get("client_id", hosts.MANAGED_IDENTITY_CLIENT_ID)
        if client_id != hosts.MANAGED_IDENTITY_CLIENT_ID:
            body = {"error": "invalid_request", "error_description": "Identity not found"}
            return httpx.Response(400, json=body)
        now = int(self._world.clock.now().timestamp())
        issued = self._grant(client_id, self.apps[client_id], audience=resource)
        lifetime = int(self._world.switches.token_lifetime_s)
        answer = {
            "access_token": issued,
            "client_id": client_id,
            "expires_in": str(lifetime),
            "expires_on": str(now + lifetime),
            "not_before": str(now),
            "resource": resource,
            "token_type": "Bearer",
        }
        return httpx.Response(200, json=answer)

    # --- answers

    def _grant(self, client_id: str, app: App, *, audience: str) -> str:
        self._issued += 1
        return tokens.issue(
            key=self._key,
            tenant_id=self._world.directory.tenant_id,
            issuer=f"https://sts.windows.net/{self._world.directory.tenant_id}/",
            audience=audience,
            app_id=client_id,
            app_name=app.name,
            roles=[r for r in app.roles if r not in self._world.switches.permissions_withdrawn],
            now=self._world.clock.now(),
            lifetime_s=self._world.switches.token_lifetime_s,
            token_id=str(self._issued),
        )

    def _issue(self, client_id: str, app: App, *, audience: str) -> httpx.Response:
        lifetime = int(self._world.switches.token_lifetime_s)
        answer = {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": self._grant(client_id, app, audience=audience),
        }
        return httpx.Response(200, json=answer, headers={"Cache-Control": "no-store, no-cache"})

    def _identify(self, form: Mapping[str, str], client_id: str, app: App, *, issuer: str) -> httpx.Response:
        """Who signed in. The access token opens nothing: delegated permissions are not imitated."""
        grant, user = self._codes.redeem(form, client_id)
        nobody = app._replace(roles=())
        lifetime = int(self._world.switches.token_lifetime_s)
        answer = {
            "token_type": "Bearer",
            "scope": " ".join(s for s in grant.scope.split() if s != "offline_access"),
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": self._grant(client_id, nobody, audience="00000003-0000-0000-c000-000000000000"),
            "id_token": id_tokens.id_token(self._world, user, grant, id_tokens.Issued(issuer, client_id)),
        }
        if form.get("client_info"):
            answer["client_info"] = id_tokens.client_info(self._world, user)
        return httpx.Response(200, json=answer, headers={"Cache-Control": "no-store, no-cache"})

    def _refusal(self, request: httpx.Request, problem: SignInRefused) -> httpx.Response:
        self._issued += 1
        at = self._world.clock.now().strftime("%Y-%m-%d %H:%M:%SZ")
        trace_id = str(UUID(int=self._issued))
        correlation_id = request.headers.get("client-request-id", trace_id)
        text = f"AADSTS{problem.number}: {problem.message} Trace ID: {trace_id} Correlation ID: {correlation_id} "
        body = {
            "error": problem.error,
            "error_description": f"{text}Timestamp: {at}",
            "error_codes": [problem.number],
            "timestamp": at,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"{_base(request)}/error?code={problem.number}",
        }
        return httpx.Response(problem.status, json=body)


def _base(request: httpx.Request) -> str:
    """Scheme and host as the caller wrote them."""
    return f"{request.url.scheme}://{request.headers.get('host') or request.url.netloc.decode()}"


def _endpoint(segments: list[str]) -> str:
    """The name of an endpoint as `sign_in_unavailable` has it, "" for none."""
    if segments[-1:] == ["openid-configuration"]:
        return "discovery"
    return next((name for name, path in ENDPOINTS.items() if tuple(segments[1:]) == path), "")


def _unavailable(endpoint: str) -> httpx.Response:
    body = {"error": "temporarily_unavailable", "error_description": f"AADSTS90033: {endpoint} is unavailable for now."}
    return httpx.Response(503, json=body, headers={"retry-after": "5"})
