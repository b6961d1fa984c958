"""Who may sign what, as an allowed_signers file says it. Pure.

Source: ssh-keygen(1), ALLOWED SIGNERS. A line is principals, options, key. `namespaces`, `valid-after` and
`valid-before` are honoured; principals are sign-in names, without patterns. `cert-authority` is refused: a certificate
names whoever its authority likes, and that is more than a list of people.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from reconciler.signatures import accepts, fingerprint

FILE_MAX = 262_144  # characters
_OPTION = re.compile(r'\s*(?:(?P<name>[A-Za-z-]+)(?:=(?:"(?P<value>[^"]*)"|(?P<bare>[^\s,"]+)))?)(?P<end>,|\s+|$)')
_STAMP = re.compile(r"(\d{8})(?:(\d{4})(\d{2})?)?(Z?)")
_KINDS = ("ssh-", "ecdsa-", "sk-")


@dataclass(frozen=True, slots=True)
class Signer:
    """One key of one or more sign-in names (lower case). `namespaces` empty: any."""

    names: tuple[str, ...]
    key: str  # "ssh-ed25519 AAAA…", without its comment
    namespaces: tuple[str, ...] = ()
    valid_after: datetime | None = None
    valid_before: datetime | None = None

    def may_sign(self, namespace: str, at: datetime) -> bool:
        """Whether a signature for this namespace counts at this instant."""
        return (
            (not self.namespaces or any(fnmatch.fnmatchcase(namespace, pattern) for pattern in self.namespaces))
            and (self.valid_after is None or self.valid_after <= at)
            and (self.valid_before is None or at < self.valid_before)
        )

    def line(self) -> str:
        """The line that says the same, in one form only."""
        options = [f'namespaces="{",".join(self.namespaces)}"'] if self.namespaces else []
        for name, instant in (("valid-after", self.valid_after), ("valid-before", self.valid_before)):
            options += [f'{name}="{instant.astimezone(UTC):%Y%m%d%H%M%S}Z"'] if instant is not None else []
        return " ".join([",".join(self.names), *([",".join(options)] if options else []), self.key])


def parse_signers(text: str, zone: tzinfo = UTC) -> tuple[Signer, ...]:
    """The signers of a file. Instants without Z are in `zone`.

    Raises:
        ValueError: a sentence with the number of the line, and what to do.
    """
    if len(text) > FILE_MAX:
        raise ValueError(f"a list of signers of more than {FILE_MAX} characters is refused")
    found: list[Signer] = []
    owners: dict[str, set[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        try:
            signer = _signer(bare, zone)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        owners.setdefault(fingerprint(signer.key), set()).update(signer.names)
        if len(owners[fingerprint(signer.key)]) > 1:
            raise ValueError(f"line {number}: one key belongs to one person; this one is given to several names")
        found.append(signer)
    return tuple(found)


def allowed(
    signers: Iterable[Signer], namespace: str, at: datetime, names: Iterable[str] | None = None
) -> Mapping[str, tuple[str, ...]]:
    """Name -> keys whose signature for this namespace counts now; `names` narrows it (None: everybody listed)."""
    wanted = None if names is None else {name.lower() for name in names}
    keys: dict[str, tuple[str, ...]] = {}
    for signer in signers:
        if signer.may_sign(namespace, at):
            for name in signer.names:
                if wanted is None or name in wanted:
                    keys[name] = (*keys.get(name, ()), signer.key)
    return keys


def _signer(line: str, zone: tzinfo) -> Signer:
    principals, _, rest = line.partition(" ")
    names = tuple(name.strip().lower() for name in principals.strip('"').split(",") if name.strip())
    if not names or any(char in name for name in names for char in "*?!"):
        raise ValueError("a sign-in name without *, ? and ! is expected first")
    options, key = _options(rest.strip())
    if "cert-authority" in options:
        raise ValueError("cert-authority is not accepted; list the key of each person")
    unknown = sorted(set(options) - {"namespaces", "valid-after", "valid-before"})
    if unknown:
        raise ValueError(f"the option '{unknown[0]}' is not known; namespaces, valid-after, valid-before are")
    why = accepts(key)
    if why:
        raise ValueError(f"the key cannot be used: {why}")
    return Signer(
        names,
        " ".join(key.split()[:2]),
        tuple(word for word in options.get("namespaces", "").split(",") if word),
        _instant(options["valid-after"], zone) if "valid-after" in options else None,
        _instant(options["valid-before"], zone) if "valid-before" in options else None,
    )


def _options(text: str) -> tuple[dict[str, str], str]:
    """The options before the key, and the key with its comment."""
    options: dict[str, str] = {}
    at = 0
    while not text[at:].lstrip().startswith(_KINDS):
        match = _OPTION.match(text, at)
        if match is None or match.end() == at:
            raise ValueError('options as namespaces="…" and then a key are expected after the name')
        options[match["name"].lower()] = match["value"] if match["value"] is not None else match["bare"] or ""
        at = match.end()
    return options, text[at:].strip()


def _instant(text: str, zone: tzinfo) -> datetime:
    match = _STAMP.fullmatch(text)
    day, minute, second, is_utc = match.groups() if match is not None else ("", None, None, "")
    try:
        stamp = datetime.strptime(f"{day}{minute or '0000'}{second or '00'}+0000", "%Y%m%d%H%M%S%z")
    except ValueError:
        raise ValueError(f"'{text[:40]}' is no instant; YYYYMMDD or YYYYMMDDHHMM is expected, with Z for UTC") from None
    return stamp.replace(tzinfo=UTC if is_utc else zone)
