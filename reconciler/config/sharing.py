"""What tenants of one configuration have in common that should be each one's own. Pure.

Nothing here is refused: one directory may have two sets of rules, and one person may answer for two customers. It
is said, so that nobody finds out by a write in the other one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from reconciler.config.model import Settings
from reconciler.config.tenants import Tenant


def shared(settings: Settings) -> Iterator[tuple[frozenset[str], str]]:
    """Tenants, and what they share, one sentence each."""
    real = {name: tenant for name, tenant in settings.tenants.items() if not tenant.sandbox}
    yield from _same(
        real, lambda t: t.graph.tenant_id, "the directory {}: budgets, switches and freezes are one for all"
    )
    yield from _same(real, lambda t: t.graph.client_secret_file, "the secret in {}: whoever has it may act in each")
    yield from _same(real, lambda t: t.graph.certificate_file, "the certificate in {}: whoever has it may act in each")
    yield from _same(
        real,
        lambda t: f"{t.servicenow.instance} as {t.servicenow.username or t.servicenow.client_id}",
        "the account at {}: its allowance and its rights are one for all",
    )
    several = settings.tenants if len(settings.tenants) > 1 else {}
    keyless = frozenset(name for name, tenant in several.items() if tenant.keys.audit_file is None)
    if len(keyless) > 1:
        yield keyless, "the key that signs the audit log; set tenants.NAME.keys.audit_file"
    if settings.audit.persons == "pseudonym":
        veiled = frozenset(name for name, tenant in several.items() if tenant.keys.persons_file is None)
        if len(veiled) > 1:
            yield veiled, "the key behind which persons are; set tenants.NAME.keys.persons_file"


def _same(
    tenants: dict[str, Tenant], of: Callable[[Tenant], object], sentence: str
) -> Iterator[tuple[frozenset[str], str]]:
    by_value: dict[object, set[str]] = defaultdict(set)
    for name, tenant in tenants.items():
        if (value := of(tenant)) is not None:
            by_value[value].add(name)
    for value, names in by_value.items():
        if len(names) > 1:
            yield frozenset(names), sentence.format(value)
