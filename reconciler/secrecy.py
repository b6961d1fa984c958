"""What must never be shown, and how it is taken out of text (I15): by what it looks like, and by what it is.

Whoever reads a secret (`config.secrets`) or is handed one (a token) tells it to `keep`. From then on no text that
passes `scrub` carries it, in whatever spelling a JSON text, an address or a traceback gives it.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from functools import lru_cache
from urllib.parse import quote, quote_plus

REMOVED = "***"
KEPT_MAX = 512  # the newest; tokens come and go
LENGTH_MIN = 4  # shorter ones give nothing away, and would blot out plain words
NAMES = re.compile(
    r"password|passwd|passphrase|secret|token|authorization|apikey|cookie|privatekey|webhook|credential|bearer|assertion"
)
_LOOKS = re.compile(
    r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}"  # an Authorization header
    r"|eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,4}"  # a signed or encrypted token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?i:(?<=[?&;])(?:sig|signature|code|access_token|refresh_token|id_token|client_secret|password)=)[^&\s\"'\\]+"
    r"|(?i:\b(?:client_secret|client_assertion|access_token|refresh_token|id_token|password|passwd|x-sn-apikey|api[_-]?key|"
    r"sig)\b[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}\\]+"
    r"|(?i:(?<=://)[^/\s:@\"']{1,200}:)[^/\s@\"']+(?=@)"  # in an address of a database
    r"|(?i:/workflows/)[^\s\"'\\]+"  # an address that posts into a chat
)


class Vault:
    """The secrets that are known. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, frozenset[str]] = OrderedDict()  # each with its spellings
        self._known: tuple[str, ...] | None = ()  # every spelling, the longest first; None: one was added since

    def keep(self, secret: str) -> None:
        """Never show this text again."""
        if len(secret.strip()) < LENGTH_MIN:
            return
        with self._lock:
            if secret in self._kept:
                self._kept.move_to_end(secret)
                return
            self._kept[secret] = _forms(secret)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
            self._known = None  # put in order by who writes next: tokens are read more often than lines are written

    def scrub(self, text: str) -> str:
        """The text without any secret that is known or looks like one."""
        for form in self._spelled():
            if form in text:
                text = text.replace(form, REMOVED)
        return _LOOKS.sub(REMOVED, text)

    def _spelled(self) -> tuple[str, ...]:
        known = self._known
        if known is None:
            with self._lock:
                known = self._known = tuple(
                    sorted(frozenset().union(*self._kept.values()), key=lambda text: (-len(text), text))
                )
        return known


def _forms(secret: str) -> frozenset[str]:
    """The secret as texts may spell it."""
    found = set()
    for one in (secret, secret.strip(), *secret.strip().splitlines()):
        found |= {one, json.dumps(one)[1:-1], repr(one)[1:-1], ascii(one)[1:-1], quote(one, safe=""), quote_plus(one)}
        found.add(repr(one.encode("utf-8", "replace"))[2:-1])
    return frozenset(form for form in found if len(form) >= LENGTH_MIN)


PROCESS = Vault()  # one process has one set of secrets, whoever reads them and whoever writes its log


def keep(secret: str) -> None:
    """Never show this text again in anything that this process writes."""
    PROCESS.keep(secret)


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is a secret by its name alone."""
    return NAMES.search(re.sub(r"[^a-z]", "", name.lower())) is not None
