"""Which counters exist at 0 from the start: every combination that the causes allow for what is configured. Pure.

The first event of a series that was not there before is invisible to `increase()`. A combination that is not listed
here can still happen, and then appears with its first event: a test plays whole days and finds none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product as combinations

from desired_state.model import Path
from reconciler.causes import Cause
from reconciler.metrics import labels as lab
from reconciler.metrics import series as s
from reconciler.model import ActionKind, Result, Verdict

_C = Cause
GROUP_ONLY = frozenset({_C.NOT_IN_GROUP, _C.GROUP_PENDING, _C.GROUP_ERROR, _C.GROUP_NOT_WRITABLE})
PROBED_ONLY = frozenset({_C.WORKLOAD_UNPROVEN})
LATER = frozenset({_C.REMOVED_LATER, _C.EXPIRED_NOT_REMOVED, _C.SUBJECT_LEFT})  # what came after the closing
UNTOLD = frozenset(
    {
        _C.TICKET_INCONSISTENT, _C.IDENTITY_MISMATCH, _C.PERMISSION_MISSING, _C.REMOTE_FAILING, _C.UNKNOWN,
        _C.PRODUCT_AMBIGUOUS, _C.PRODUCT_UNMAPPED, _C.USER_OUT_OF_SCOPE, _C.HELD_BY_PERSON, _C.USER_MISSING,
        _C.GROUP_ERROR, _C.SUBJECT_LEFT,
    }
)  # fmt: skip
# of lines whose ticket says fulfilled and whose access is not there
FALSE = frozenset(Cause) - {
    _C.TICKET_INCONSISTENT, _C.IDENTITY_MISMATCH, _C.PERMISSION_MISSING, _C.HELD_BY_PERSON, _C.PRODUCT_AMBIGUOUS,
    _C.PRODUCT_UNMAPPED,
}  # fmt: skip
NAMELESS = (_C.PRODUCT_AMBIGUOUS, _C.PRODUCT_UNMAPPED)  # of lines that have no product
TURNED_BACK = (
    _C.REMOVED_LATER, _C.PLAN_DISABLED, _C.NEVER_ASSIGNED, _C.NOT_IN_GROUP, _C.USAGE_LOCATION_REFUSED, _C.WRONG_PRODUCT,
)  # fmt: skip

Values = tuple[str, ...]  # of the labels, in their order


def fits(cause: Cause, offered: lab.Offered) -> bool:
    """Whether a cause can happen to a product at all."""
    if cause in GROUP_ONLY:
        return offered.path is Path.GROUP
    if cause in PROBED_ONLY:
        return offered.is_probed
    return True


def zeros(series: s.Series, known: lab.Vocabulary) -> Iterator[Values]:
    """The label values, in the order of `series.labels`, that exist before anything has happened."""
    if series.kind is s.Kind.GAUGE:
        return
    if lab.TENANT in series.labels:
        own = tuple(_own(series, known))
        at = series.labels.index(lab.TENANT)
        for tenant in known.tenants:
            yield from ((*values[:at], tenant, *values[at:]) for values in own)
    else:
        yield from _own(series, known)


def _own(series: s.Series, known: lab.Vocabulary) -> Iterable[Values]:
    """The values without the tenant's."""
    offers = sorted(known.configured.items())
    match series.name:
        case s.VERDICTS.name:
            return ((product, *rest) for product, offered in [*offers, (lab.NONE, None)] for rest in _verdicts(offered))
        case s.TIME_TO_ACCESS.name:
            return ((p, o.path.value, part) for p, o in offers for part in lab.PARTS)
        case s.VERIFICATION.name:
            return ((p, o.tier.value) for p, o in offers)
        case s.DRIFT_DETECTED.name:
            named = ((p, c.value) for p, o in offers for c in Cause if fits(c, o) and c not in NAMELESS)
            return (*named, *((lab.NONE, c.value) for c in sorted(UNTOLD | {_C.POLICY_REFUSED})))
        case s.REOPENED.name:
            return ((p, c.value) for p, o in offers for c in sorted(FALSE) if fits(c, o))
        case s.FLAPS.name:
            return ((c.value,) for c in TURNED_BACK)
        case s.ACTIONS.name:
            return combinations((k.value for k in ActionKind), (r.value for r in Result), lab.MODES)
        case s.GUARD_TRIPS.name:
            return ((lab.guard(name),) for name in lab.GUARDS)
        case s.APPROVAL_SECONDS.name | s.SEAT_WAIT.name:
            return ((p,) for p, _ in offers)
        case s.PROMOTION.name:
            judged = sorted(lab.COMPARED.values or ())
            return ((p, axis, o) for p, _ in offers for axis in sorted(lab.AXIS.values or ()) for o in judged)
        case s.PROPOSALS.name:
            return combinations(lab.SOURCES, lab.OUTCOMES)
        case s.ANSWERS.name:
            return combinations(lab.ANSWER_KINDS, lab.ANSWER_RESULTS)
        case s.CYCLES_TOTAL.name | s.CYCLE_SECONDS.name:
            return ((result,) for result in lab.CYCLE_RESULTS)
        case s.API_REQUESTS.name:
            return ((api, op, code) for api, ops in lab.BY_API.items() for op in ops for code in lab.CODES)
        case s.API_SECONDS.name:
            return ((api, op) for api, ops in lab.BY_API.items() for op in ops)
        case s.API_THROTTLED.name | s.API_RETRIES.name:
            return ((api,) for api in lab.APIS)
        case _:
            return ((),)


def _verdicts(offered: lab.Offered | None) -> Iterator[Values]:
    """Verdict, cause, closed_by, when; `offered` None: of lines without a product."""
    pairs = [(Verdict.UNKNOWN, c) for c in UNTOLD if offered is None or (fits(c, offered) and c not in NAMELESS)]
    if offered is not None:
        pairs += [(Verdict.FALSE, c) for c in FALSE if fits(c, offered)]
        for closer in lab.CLOSERS:
            yield (Verdict.TRUE.value, lab.NONE, closer, "at_close")
            for late in sorted(LATER):
                yield (Verdict.TRUE.value, late.value, closer, "later")
    for verdict, cause in sorted(pairs):
        when = "later" if cause in LATER else "at_close"
        for closer in lab.CLOSERS:
            yield (verdict.value, cause.value, closer, when)
