"""A generated tenant: what the directory shows, what is desired, and the drift that was planted between the two.

One seed gives one tenant; the server renders its pages, the client its desired state, each on its own. Every user is
drawn alone, and every assignment has an instant of its own, so no two users are alike but those without licences.
The shape is an assumption, written down in docs/performance.md.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import accumulate, islice
from typing import Any

from desired_state.model import LineKey, Path, PlanId, ProductKey, SkuId, UserId, Want
from reconciler.loop.sweep import Hint

PAGE = 999
DRIFT_SHARE = 0.001
CHANGED_SHARE = 0.001
MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
SKUS = [SkuId(f"{0x6FD2C87F + n * 7919:08x}-6f7c-4f1a-9f10-{0xDBB0BC3B + n * 104729:012x}") for n in range(24)]
PLANS = [PlanId(f"{0x2B9C8E7C + n * 6151:08x}-40b3-4d2c-8e5a-{0x7E017E48 + n * 65537:012x}") for n in range(240)]
GROUPS = [f"{0x11D0A2B0 + n * 4241:08x}-9f3e-4b55-b4a1-{0x5B7E6A + n * 31337:012x}" for n in range(40)]
COUNTRIES = ("NL", "DE", "US", "GB", "FR", "PL", "SE", "IN")
FIRST = ("anna", "bram", "chen", "dana", "emre", "fatima", "gijs", "hanna", "ivan", "julia")
LAST = ("jansen", "devries", "bakker", "visser", "smit", "meijer", "mulder", "bos", "peters", "dekker")
KINDS = list(Hint)  # every kind of drift is planted in turn
SKU_PLANS: Mapping[SkuId, tuple[PlanId, ...]] = {sku: tuple(PLANS[n * 10 : n * 10 + 10]) for n, sku in enumerate(SKUS)}
_POPULARITY = list(accumulate(1 / (n + 1) for n in range(len(SKUS))))
JSON = dict[str, Any]


def proof_plan(sku: SkuId) -> PlanId:
    return SKU_PLANS[sku][0]


@dataclass(frozen=True)
class Tenant:
    """`users` people. `planted` says who differs from what is desired, and how.

    `is_later`: a day has gone by, and those in `changed` have moved to another country; nobody differs by that.
    """

    users: int
    seed: int = 1
    is_later: bool = False

    @cached_property
    def planted(self) -> dict[int, Hint]:
        rng = random.Random(self.seed)
        order = (
            n for n in rng.sample(range(self.users), self.users) if self._skus(self._rng(n)) and self._is_member(n)
        )
        count = max(len(KINDS), round(self.users * DRIFT_SHARE))
        return {n: KINDS[k % len(KINDS)] for k, n in zip(range(count), order, strict=False)}

    @cached_property
    def changed(self) -> frozenset[int]:
        rng = random.Random(self.seed + 1)
        drawn = (n for n in rng.sample(range(self.users), self.users) if self._is_member(n) and n not in self.planted)
        return frozenset(islice(drawn, max(1, round(self.users * CHANGED_SHARE))))

    @property
    def expected(self) -> dict[UserId, Hint]:
        """What a sweep must find: exactly this."""
        return {user_id(n): hint for n, hint in self.planted.items()}

    def wants(self) -> Iterator[Want]:
        """One desired assignment for each licence of those who work here: what 1.9 tickets a person would leave."""
        products = {sku: (ProductKey(f"product-{n}"), (sku,), (proof_plan(sku),)) for n, sku in enumerate(SKUS)}
        for n in range(self.users):
            if not self._is_member(n):
                continue
            user, ticket = user_id(n), f"RITM{n:07d}"
            for line, sku in enumerate(self._skus(self._rng(n)), start=1):
                product, skus, plans = products[sku]
                yield Want(user, product, (LineKey(ticket, line),), Path.DIRECT, skus, plans, "any", MONDAY, MONDAY)

    def pages(self, base_url: str) -> Iterator[bytes]:
        """The listing of users, as compressed replies. Next links are below `base_url`."""
        shown = [n for n in range(self.users) if self.planted.get(n) is not Hint.NOT_SEEN]
        count = -(-len(shown) // PAGE)
        for page in range(count):
            body: JSON = {"@odata.context": f"{base_url}/$metadata#users(id,userPrincipalName,accountEnabled)"}
            if page + 1 < count:
                body["@odata.nextLink"] = f"{base_url}/users?$top={PAGE}&$skiptoken=p{page + 1}"
            body["value"] = [self.row(n) for n in shown[page * PAGE : (page + 1) * PAGE]]
            yield gzip.compress(json.dumps(body, separators=(",", ":")).encode(), 5)

    def row(self, n: int) -> JSON:
        """One user as Graph shows them with the fields that a scan selects."""
        rng = self._rng(n)
        states = [_state(rng, sku) for sku in self._skus(rng)]
        is_member = self._is_member(n)
        row = {
            "id": user_id(n),
            "userPrincipalName": f"{rng.choice(FIRST)}.{rng.choice(LAST)}.{n:06d}@contoso.example",
            "accountEnabled": is_member,
            "usageLocation": rng.choice(COUNTRIES) if is_member or rng.random() < 0.5 else None,
            "licenseAssignmentStates": states,
        }
        if self.is_later and n in self.changed:
            row["usageLocation"] = "CH"  # where nobody was
        return _drifted(row, self.planted[n]) if n in self.planted else row

    def _rng(self, n: int) -> random.Random:
        return random.Random(self.seed << 32 | n)

    def _skus(self, rng: random.Random) -> list[SkuId]:
        """The licences of the user whose dice these are, freshly seeded: mean 1.8, a few SKUs much more often."""
        wanted = rng.choices((0, 1, 2, 3, 4), (8, 34, 34, 16, 8))[0]
        found: list[SkuId] = []
        while len(found) < wanted:
            sku = rng.choices(SKUS, cum_weights=_POPULARITY)[0]
            if sku not in found:
                found.append(sku)
        return found

    def _is_member(self, n: int) -> bool:
        return (n * 2654435761 + self.seed) % 20 != 0  # one account in twenty is disabled


def user_id(n: int) -> UserId:
    """An object id; scrambled, so that neighbours have nothing in common."""
    mixed = (n * 0x9E3779B97F4A7C15 + 0x1234567) & ((1 << 64) - 1)
    return UserId(
        f"{mixed >> 32:08x}-{mixed >> 16 & 0xFFFF:04x}-4{mixed & 0xFFF:03x}-a{mixed >> 8 & 0xFFF:03x}-{n:012x}"
    )


def _state(rng: random.Random, sku: SkuId) -> JSON:
    others = SKU_PLANS[sku][1:]
    month, day, hour, second = rng.randint(1, 9), rng.randint(1, 28), rng.randint(0, 23), rng.randint(0, 59)
    return {
        "skuId": sku,
        "assignedByGroup": rng.choice(GROUPS) if rng.random() < 0.4 else None,
        "disabledPlans": rng.sample(others, rng.choices((0, 1, 2, 4), (60, 20, 12, 8))[0]),
        "state": "Active",
        "error": "None",
        "lastUpdatedDateTime": f"2026-{month:02d}-{day:02d}T{hour:02d}:15:{second:02d}Z",
    }


def _drifted(row: JSON, hint: Hint) -> JSON:
    states: list[JSON] = row["licenseAssignmentStates"]
    match hint:
        case Hint.MISSING:
            states.pop()
        case Hint.PLAN_OFF:
            states[0]["disabledPlans"] = [proof_plan(states[0]["skuId"])]
        case Hint.ERROR:
            states[0] |= {"state": "ActiveWithError", "error": "DependencyViolation"}
        case Hint.NO_LOCATION:
            row["usageLocation"] = None
        case Hint.ACCOUNT_OFF:
            row["accountEnabled"] = False
        case Hint.UNKNOWN:
            del row["accountEnabled"]
    return row
