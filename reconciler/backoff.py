"""How long to wait before looking again. Pure: chance is an argument."""

from __future__ import annotations

BASE_S = 2.0
CAP_S = 300.0


def delay(
    attempt: int,
    *,
    retry_after_s: float | None = None,
    base_s: float = BASE_S,
    cap_s: float = CAP_S,
    chance: float = 0.5,
) -> float:
    """Seconds before attempt `attempt + 1`; `attempt` counts from 1, `chance` is in [0, 1).

    What the server asked for is a floor, never shortened by our cap: waiting less than Retry-After only
    buys another refusal. Without it, half of the exponential step is fixed and half is chance.
    """
    step = min(cap_s, base_s * 2.0 ** min(attempt - 1, 30))
    jittered = step / 2 + step / 2 * chance
    return jittered if retry_after_s is None else max(retry_after_s, 0.0) + base_s * chance
