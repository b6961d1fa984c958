"""Authorization codes: good once, for a short time, for the client, address and verifier that they were made for."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from reconciler.sandbox.directory import User
from reconciler.sandbox.identity.apps import SignInRefused
from reconciler.sandbox.identity.records import Grant
from reconciler.sandbox.world import World

KEPT = timedelta(days=1)
"""So long a used or old code is still known for what it is."""


class Codes:
    """The codes of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def issue(self, grant: Grant) -> str:
        """A new code that stands for this grant."""
        signins = self._world.signins
        signins.forget_before(grant.issued_at - KEPT)
        code = f"1.{self.new_id('code').replace('-', '')}{self.new_id('code').replace('-', '')}"
        signins.grants[code] = grant
        signins.changes += 1
        return code

    def redeem(self, form: Mapping[str, str], client_id: str) -> tuple[Grant, User]:
        """What a code stands for, once; the client has proven itself already.

        Raises:
            SignInRefused: unknown, used, old, another client's or another address's code, or a wrong verifier.
        """
        grant = self._world.signins.grants.get(form.get("code", ""))
        if grant is None or grant.client_id != client_id:
            raise _no_grant(70000, "The provided value for the 'code' parameter is not valid.")
        if grant.is_redeemed:
            raise _no_grant(54005, "OAuth2 Authorization code was already redeemed.")
        lifetime = timedelta(seconds=self._world.switches.code_lifetime_s)
        if self._world.clock.now() - grant.issued_at > lifetime:
            raise _no_grant(70008, "The provided authorization code is expired.")
        if form.get("redirect_uri") != grant.redirect_uri:
            raise _no_grant(
                500112, f"The reply address '{form.get('redirect_uri')}' does not match the one of the request."
            )
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if not hmac.compare_digest(challenge, grant.challenge):
            raise _no_grant(
                501481,
                "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
            )
        user = self._world.directory.store.users[grant.user_id]
        if user.deleted_at is not None or not user.enabled:
            raise _no_grant(50057, "The user account is disabled.")
        grant.is_redeemed = True
        self._world.signins.changes += 1
        return grant, user

    def new_id(self, what: str) -> str:
        """The next GUID of this world's sign-ins: repeatable, like everything here."""
        signins = self._world.signins
        signins.issued += 1
        digest = hashlib.sha256(f"{what}/{self._world.seed}/{signins.issued}".encode()).digest()
        return str(UUID(bytes=digest[:16], version=4))


def _no_grant(number: int, message: str) -> SignInRefused:
    return SignInRefused(400, "invalid_grant", number, message)
