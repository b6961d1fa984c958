"""A product whose service plans are proven and whose workload is not: wait, ask, or hand back to who mends it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from desired_state.model import Product, Request, Says
from reconciler.causes import Cause
from reconciler.line import Finding, Line, Proof, Rest, Unread
from reconciler.loop.proof import Reach
from reconciler.model import ObservedUser, Probed, Verdict


def unproven(
    line: Line, request: Request, product: Product, user: ObservedUser, proof: Proof, reached: Reach, at: datetime
) -> Finding:
    """What is found about a line whose licence is complete and whose tier is not reached.

    A probe that says no is believed; one that cannot tell is not. Nothing is bought: the licence is there.
    """
    fulfilled = request.says is Says.FULFILLED

    def found(rest: Rest, verdict: Verdict, sentence: str) -> Finding:
        return Finding(line, rest, verdict if fulfilled else None, Cause.WORKLOAD_UNPROVEN, sentence, user)

    match reached.probed:
        case Probed(works=True):
            sentence = f"{product.name} works; the person's own word ({product.tier}) is not there yet."
            return found(Rest.HOLD, Verdict.PENDING, sentence)
        case Probed(works=False, why=why) if _is_fresh(product, user, proof, at):
            return found(Rest.WAIT, Verdict.PENDING, why)
        case Probed(works=False, why=why):
            return found(Rest.HAND_BACK, Verdict.FALSE, why)
        case Probed(why=why) | Unread(why):
            return found(Rest.HOLD, Verdict.UNKNOWN, f"Whether {product.name} works could not be told: {why}")
    return found(
        Rest.HOLD, Verdict.UNKNOWN, f"{product.name} needs proof at {product.tier}, and no probe is set up for it."
    )


def _is_fresh(product: Product, user: ObservedUser, proof: Proof, at: datetime) -> bool:
    """Whether the licence arrived so lately that the workload may still follow."""
    arrived = [a.updated_at for a in user.assignments or () if a.sku == proof.sku and a.updated_at is not None]
    return bool(arrived) and at - max(arrived) < timedelta(seconds=product.window_s)
