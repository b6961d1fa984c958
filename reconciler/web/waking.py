"""Who may say that tickets moved: whoever has the one token for it, which opens nothing else."""

from __future__ import annotations

import hmac

from reconciler.errors import UserError
from reconciler.web.problems import Problem
from reconciler.web.site import Site


def may_wake(site: Site, authorization: str) -> bool:
    """Whether this header carries the wake token.

    Raises:
        Problem: 404, no service runs here or no token is configured.
    """
    try:
        token = site.wake_token()
    except UserError as error:
        site.log("the wake token cannot be read", why=str(error))
        token = None
    if token is None or site.wake is None:
        raise Problem(404, "There is nothing at this address.")
    scheme, _, given = authorization.partition(" ")
    wanted = token.get_secret_value().encode()
    return hmac.compare_digest(given.strip().encode("utf-8", "replace"), wanted) and scheme.lower() == "bearer"
