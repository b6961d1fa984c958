"""The judge of a simulated customer: it keeps its own account of what we did, and says what was not allowed.

It sits at the wire. Before and after each write of ours it looks at the truth, so what we gave is what appeared by our
request, and what we took is what went by it; everything else was done by others. `wrong` fills up with sentences.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx

from reconciler.sandbox import hosts
from tests.simulation.make_products import SOLD
from tests.simulation.make_tenant import NEVER_SERVED, Made, Wish
from tests.simulation.make_truth import Truth
from tests.simulation.make_writes import parts

REPLICA = timedelta(seconds=310)  # how long a reader may believe what was true before
_USER = re.compile(r"/v1\.0/users/([0-9a-f-]{36})(?:/(\w+))?$")
_MEMBERS = re.compile(r"/v1\.0/groups/([0-9a-f-]{36})(?:/members/(?:([0-9a-f-]{36})/)?\$ref)?$")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Before:
    """What a write of ours met."""

    direct: Mapping[str, frozenset[str]] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    location: str | None = None
    members: frozenset[str] = frozenset()


class Oracle:
    """Watches one world. `checked` counts judgements by rule, `ours` is what we gave and did not lose since."""

    def __init__(self, tenant: Made) -> None:
        self.tenant = tenant
        self.truth = Truth(tenant)
        self.world = tenant.world
        self.wrong: list[str] = []
        self.checked: Counter[str] = Counter()
        self.ours: set[tuple[str, str]] = set()  # (user, SKU), direct
        self.unseen: set[tuple[str, str]] = set()  # of ours, what others took away since we last looked
        self.our_members: set[tuple[str, str]] = set()  # (group, user)
        self.our_plans: dict[tuple[str, str], set[str]] = {}  # plans that we switched on
        self.came_later: dict[str, set[str]] = {}  # SKU -> plans that Microsoft added while we looked
        self.writes = 0
        self.seats: dict[str, int] = {}  # SKU -> free when we last looked
        self.spent: dict[str, set[str]] = {}  # SKU -> whom we gave one since
        self.moved_at: dict[str, datetime] = {}  # account -> when others last changed it
        self._unlocated: set[str] = set()  # accounts that had no country when we last looked
        self.refused_at: dict[str, datetime] = {}  # ticket -> since when nothing may be given for it
        self._before = Before()
        self._met: dict[str, Before] = {}  # by address, of the request that is being served

    # --- what others do

    def others(self, user_id: str | None = None) -> None:
        """Somebody else did something: what is gone is no longer ours."""
        now = self.world.clock.now()
        if user_id is not None:
            self.moved_at[user_id] = now
        kept = {(u, s) for u, s in self.ours if s in self.truth.direct(u)}
        self.unseen |= self.ours - kept
        self.ours = kept
        groups = self.truth.store.groups
        self.our_members = {(g, u) for g, u in self.our_members if u in groups[g].members}
        for (user, sku), plans in list(self.our_plans.items()):
            off = self.truth.direct(user).get(sku)
            if off is None:
                del self.our_plans[(user, sku)]
            else:
                plans -= off

    def looks_again(self) -> None:
        """What others took away and gave again since our last look was never seen to be gone: it counts as ours."""
        self.ours |= {(u, s) for u, s in self.unseen if s in self.truth.direct(u)}

    def looked(self) -> None:
        """We saw what there is."""
        self.unseen.clear()

    def tickets_moved(self) -> None:
        """Tickets may say something else now; from when on nothing may be given for one is remembered."""
        now = self.world.clock.now()
        for number, wish in {w.number: w for w in self.tenant.wishes}.items():
            if self.truth.says(wish) in ("ours", "closed"):
                self.refused_at.pop(number, None)
            else:
                self.refused_at.setdefault(number, now)

    def may_be_stale(self, user_id: str) -> bool:
        moved = self.moved_at.get(user_id)
        return moved is not None and self.world.clock.now() - moved < REPLICA

    # --- what we do, at the wire

    def before(self, request: httpx.Request) -> None:
        """A request of ours is about to be served."""
        if request.url.host != hosts.GRAPH_HOST or request.method == "GET":
            return
        self._met = {part.path: self._meets(part.path) for part in parts(request)}

    def _meets(self, path: str) -> Before:
        if found := _USER.match(path):
            user = self.truth.store.users.get(found[1])
            location = user.usage_location if user is not None else None
            return Before(self.truth.direct(found[1]), self.truth.holds(found[1]), location)
        if found := _MEMBERS.match(path):
            return Before(members=frozenset(self.truth.store.groups[found[1]].members))
        return Before()

    def after(self, request: httpx.Request) -> None:
        """It was served, whatever the answer was."""
        if request.url.host != hosts.GRAPH_HOST:
            return
        path = request.url.path
        if request.method == "GET":
            if path.endswith("/subscribedSkus"):
                self._seats_seen()
            self._located_by_itself()
            return
        if path.endswith("/$batch") and b"/subscribedSkus" in request.content:
            self._seats_seen()
        for part in parts(request):
            self._before = self._met.get(part.path, Before())
            self.writes += 1
            if user := _USER.match(part.path):
                self._user_write(user[1], user[2] or "", part.body)
            elif member := _MEMBERS.match(part.path):
                self._member_write(part.method, member[1], member[2], part.body)
            else:
                self.fail("a write that nobody knows", f"{part.method} {part.path}")
        self._located_by_itself()

    def _located_by_itself(self) -> None:
        """A group gives its members the tenant's country where they have none: that takes its time to be seen, too."""
        if not self.world.switches.group_sets_usage_location:
            return
        for user_id, user in self.truth.store.users.items():
            if user.usage_location is None:
                self._unlocated.add(user_id)
            elif user_id in self._unlocated:
                self._unlocated.discard(user_id)
                self.moved_at[user_id] = self.world.clock.now()

    def fail(self, rule: str, sentence: str) -> None:
        self.wrong.append(f"{rule}: {sentence} at {self.world.clock.now():%m-%d %H:%M:%S}")

    def _seats_seen(self) -> None:
        """What a group that nobody named to us is about to give is seen by nobody before it is given, nor by a reader
        of replicas that somebody was put into a group a moment ago."""
        store, pending = self.truth.store, self.truth.pending_seats
        unless = self.may_be_stale
        self.seats = {
            s: max(0, store.seats_free(s) - pending(s, is_configured=True, unless=unless)) for s in store.skus
        }
        self.spent = {}

    def _user_write(self, user_id: str, action: str, body: dict[str, object]) -> None:
        now = self.truth.direct(user_id)
        match action:
            case "":
                self._located(user_id, self._before.location)
            case "assignLicense":
                assert isinstance(body["addLicenses"], list)
                assert isinstance(body["removeLicenses"], list)
                for entry in body["addLicenses"]:
                    self._assigned(user_id, entry["skuId"].lower(), frozenset(entry["disabledPlans"]), now)
                for sku in body["removeLicenses"]:
                    self._removed(user_id, sku.lower(), now)
            case "reprocessLicenseAssignment":
                self._in_scope(user_id, "reprocessed")
            case _:
                self.fail("a write that nobody knows", action)

    # --- judgements

    def _in_scope(self, user_id: str, what: str) -> None:
        """Nothing is written for people out of scope, disabled, or who may be somebody else."""
        self.checked["scope"] += 1
        human = next((h for h in self.tenant.humans if h.user_id == user_id), None)
        if human is None:
            self.fail("scope", f"{user_id} is nobody's account and was {what}")
        elif human.trait in NEVER_SERVED:
            self.fail("scope", f"{human.name} ({human.trait}) was {what}")
        user = self.truth.store.users.get(user_id)
        if user is not None and not user.enabled and not self.may_be_stale(user_id):
            self.fail("scope", f"{user.upn} is disabled and was {what}")

    def _is_asked_for(self, user_id: str, wanted: frozenset[str], plans: frozenset[str]) -> Wish | None:
        """A ticket that lets us give one of these SKUs, or switch one of these plans on, for this person."""
        now = self.world.clock.now()
        for wish in self.truth.wishes_of(user_id):
            sold = self.truth.sold(wish)
            proofs = {self.truth.plan(p) for p in sold.proofs}
            if not (wanted & self._brought_by(wish) or plans & proofs):
                continue
            if self._stands(wish, now) and self.truth.may_run(wish, now) and self.truth.may_begin(wish, now):
                return wish
        return None

    def _brought_by(self, wish: Wish) -> frozenset[str]:
        sold = self.truth.sold(wish)
        return self.truth.skus_of(sold) | frozenset(self.truth.sku(s) for s in sold.also)

    def _stands(self, wish: Wish, now: datetime) -> bool:
        """Whether the ticket allows it now, or did until moments ago, when it may have been read."""
        if self.truth.says(wish) in ("ours", "closed"):
            return True
        refused = self.refused_at.get(wish.number)
        return refused is not None and now - refused < REPLICA

    def _spend(self, user_id: str, sku: str, what: str) -> None:
        """Only seats that were observed free are spent, and those that are promised to a group's members are not."""
        self.checked["seats"] += 1
        taken = self.spent.setdefault(sku, set())
        taken.add(user_id)
        free = self.seats.get(sku)
        if free is None:
            self.fail("seats", f"{self.truth.name_of(sku)} was {what} before the seats were looked at")
        elif len(taken) > free:
            self.fail("seats", f"{len(taken)} of {self.truth.name_of(sku)} were {what} and {free} were free")

    def _located(self, user_id: str, before: str | None) -> None:
        self._in_scope(user_id, "given a usage location")
        user = self.truth.store.users.get(user_id)
        human = next((h for h in self.tenant.humans if h.user_id == user_id), None)
        self.checked["location"] += 1
        self._unlocated.discard(user_id)
        if user is None or human is None or user.usage_location == before:
            return
        if user.usage_location != human.country or human.trait in ("disagreeing", "one source"):
            self.fail("location", f"{human.name} ({human.trait}) was put into {user.usage_location}")
        if before and not self.may_be_stale(user_id):
            self.fail("location", f"{human.name} was in {before} and was put into {user.usage_location}")

    def _assigned(self, user_id: str, sku: str, off: frozenset[str], now: Mapping[str, frozenset[str]]) -> None:
        self._in_scope(user_id, f"given {self.truth.name_of(sku)}")
        who = f"{user_id[:8]} {self.truth.name_of(sku)}"
        before = self._before.direct.get(sku)
        plans = self.truth.store.skus[sku].plan_ids if sku in self.truth.store.skus else ()
        turned_on = frozenset(plans) - off if before is None else before - off
        if before is None or turned_on:
            self.checked["asked for"] += 1
            wish = self._is_asked_for(user_id, frozenset({sku}), turned_on)
            if wish is None and (user_id, sku) not in self.ours:
                self.fail("asked for", f"{who} was given and no ticket asks for it")
        if before is not None:
            self.checked["plans"] += 1
            lost = off - before - self.our_plans.get((user_id, sku), set())
            if self.tenant.site.new_plans == "off" and (user_id, sku) in self.ours:
                self.checked["new plans"] += len(lost & self.came_later.get(sku, set()))
                lost -= self.came_later.get(sku, set())
            if lost and not self.may_be_stale(user_id):
                self.fail("plans", f"{who}: {len(lost)} plans were switched off")
            allowed = {self.truth.plan(p) for w in self.truth.wishes_of(user_id)
                       for p in (*self.truth.sold(w).proofs, *self.truth.sold(w).needs)}  # fmt: skip
            if turned_on - allowed and not self.may_be_stale(user_id):
                self.fail("plans", f"{who}: {len(turned_on - allowed)} plans were switched on that nobody needs")
        elif sku not in self._before.held:
            self._spend(user_id, sku, "assigned")
        if sku in now and before is None:
            self.ours.add((user_id, sku))
        if sku in now and before is not None and turned_on:
            self.our_plans.setdefault((user_id, sku), set()).update(turned_on)

    def _removed(self, user_id: str, sku: str, now: Mapping[str, frozenset[str]]) -> None:
        """What we did not give is never taken, unless an approved request's product declares that it replaces it."""
        self.checked["removals"] += 1
        direct = self._before.direct
        if sku not in direct or sku in now:
            if sku in direct and (user_id, sku) not in self.ours and not self._is_replaced(user_id, sku):
                self.fail("removals", f"{user_id[:8]} {self.truth.name_of(sku)} was to be taken and is not ours")
            return
        if (user_id, sku) not in self.ours and not self._is_replaced(user_id, sku):
            self.fail("removals", f"{user_id[:8]} lost {self.truth.name_of(sku)}, which we did not give")
        self.ours.discard((user_id, sku))
        self.our_plans.pop((user_id, sku), None)

    def _is_replaced(self, user_id: str, sku: str) -> bool:
        now = self.world.clock.now()
        for wish in self.truth.wishes_of(user_id):
            replaced = [SOLD[r] for r in self.truth.sold(wish).replaces if r in self.tenant.site.products]
            if any(sku in self.truth.skus_of(r) for r in replaced) and self._stands(wish, now):
                return True
        return False

    def _member_write(self, method: str, group_id: str, user_id: str | None, body: dict[str, object]) -> None:
        group = self.truth.store.groups[group_id]
        if method == "DELETE":
            self.checked["removals"] += 1
            if user_id in self._before.members and (group_id, user_id) not in self.our_members:
                self.fail("removals", f"{user_id} was to leave {group.name} and we did not put them there")
            if user_id not in group.members:
                self.our_members.discard((group_id, user_id or ""))
            return
        for member in sorted({m for m in _ID.findall(json.dumps(body)) if m in self.truth.store.users}):
            self._in_scope(member, f"put into {group.name}")
            self.checked["asked for"] += 1
            wanted = self._is_asked_for(member, frozenset(group.licenses), frozenset())
            if wanted is None and not self.may_be_stale(group_id):  # what the group carried a moment ago may be seen
                self.fail("asked for", f"{member[:8]} was put into {group.name} and no ticket asks for it")
            for sku in group.licenses:
                if sku not in self.truth.holds(member):
                    self._spend(member, sku, "promised by a group")
            if member in group.members and member not in self._before.members:
                self.our_members.add((group_id, member))
