"""Where a card may lead: the configured addresses with an id that was checked, and nowhere else. Pure.

A link carries no authority: whoever opens it signs in first, and it changes nothing by being opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

APPROVAL_ID = re.compile(r"LR-[A-Z2-7]{26}")
TICKET_NUMBER = re.compile(r"[A-Z]{2,8}[0-9]{4,20}")
SYS_ID = re.compile(r"[0-9a-f]{32}")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Links:
    """`public_url` is where browsers reach the pages, `instance` is ServiceNow; "" where there is none.

    Raises:
        ValueError: one is no https address of a host alone. Plain http is fine on the machine itself.
    """

    public_url: str
    instance: str = ""

    def __post_init__(self) -> None:
        for name, base in (("public_url", self.public_url), ("instance", self.instance)):
            if base and not is_base(base):
                raise ValueError(f"{name} has to be https and a host, without a path")

    @property
    def bases(self) -> tuple[str, ...]:
        return tuple(base for base in (self.public_url, self.instance) if base)

    def request(self, id: str) -> str:
        """The page of a request. Raises ValueError for what is no id of one."""
        if not APPROVAL_ID.fullmatch(id):
            raise ValueError("that is no id of a request")
        return f"{self.public_url}/approvals/{id}"

    def page(self, name: str) -> str:
        """A page of ours by its name: inbox, guards or audit."""
        if name not in ("inbox", "guards", "audit"):
            raise ValueError(f"there is no page {name}")
        return f"{self.public_url}/{name}"

    def chain(self, number: str) -> str:
        """Our own page of a ticket; the inbox where its number is not one that the page takes."""
        return f"{self.public_url}/tickets/{number}" if TICKET_NUMBER.fullmatch(number) else self.page("inbox")

    def ticket(self, sys_id: object) -> str:
        """The ticket's form in ServiceNow, "" for what is no sys_id, or where ServiceNow has no address."""
        if not self.instance or not isinstance(sys_id, str) or not SYS_ID.fullmatch(sys_id):
            return ""
        return f"{self.instance}/sc_req_item.do?sys_id={sys_id}"

    def leads_home(self, url: object) -> bool:
        """Whether an address is one that this class could have made."""
        if not isinstance(url, str):
            return False
        pages = rf"approvals/{APPROVAL_ID.pattern}|tickets/{TICKET_NUMBER.pattern}|inbox|guards|audit"
        ours = rf"{re.escape(self.public_url)}/(?:{pages})"
        theirs = rf"{re.escape(self.instance)}/sc_req_item\.do\?sys_id={SYS_ID.pattern}"
        return bool(re.fullmatch(ours, url) or (self.instance and re.fullmatch(theirs, url)))


def is_base(url: str) -> bool:
    """Whether this is https and a host with or without a port, nothing else; http for this machine's own pages."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    return is_safe and bool(host) and url == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc
