"""Spans for whoever collects traces, through OpenTelemetry where its extra `[otel]` is installed and asked for.

Without it a span costs one call and does nothing. A span has the same names as the log: cycle, tenant, ticket, system,
operation; its values are scrubbed like the log's, and errors are told by their kind alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reconciler.clock import Clock, SystemClock
from reconciler.errors import UserError
from reconciler.secrecy import PROCESS


@dataclass(frozen=True, slots=True)
class Tracer:
    """Makes spans with a tracer of OpenTelemetry; without one it makes none. `wall` is the machine's clock."""

    own: Any = None
    wall: Clock = SystemClock()  # noqa: RUF009 - it has no state

    @contextmanager
    def span(self, name: str, /, **fields: object) -> Iterator[None]:
        """A span for as long as the block lasts, below the one that is open."""
        if self.own is None:
            yield
            return
        begun = self.own.start_as_current_span(
            name, attributes=_told(fields), record_exception=False, set_status_on_exception=False
        )
        with begun as current:
            try:
                yield
            except BaseException as error:
                current.set_attribute("error.type", type(error).__name__)  # its words may be other people's
                raise

    def happened(self, name: str, seconds: float, /, **fields: object) -> None:
        """A span that has just ended, below the one that is open."""
        if self.own is not None:
            end = int(self.wall.now().timestamp() * 1e9)
            span = self.own.start_span(name, attributes=_told(fields), start_time=end - int(seconds * 1e9))
            span.end(end_time=end)


UNTRACED = Tracer()


@contextmanager
def collecting(endpoint: str | None, *, service: str, version: str) -> Iterator[Tracer]:
    """Send spans to an OTLP endpoint for a block, what is left of them at its end included; None: no spans.

    Raises:
        UserError: an endpoint is configured and the extra is not installed.
    """
    if endpoint is None:
        yield UNTRACED
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise UserError(
            "log.traces needs the packages of OpenTelemetry: install license-reconciler with the extra [otel]"
        ) from None
    resource = Resource.create({"service.name": service, "service.version": version})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5)))
    try:
        yield Tracer(provider.get_tracer("reconciler"))
    finally:
        provider.shutdown()


def _told(fields: dict[str, object]) -> dict[str, bool | int | float | str]:
    return {f"reconciler.{key}": _value(value) for key, value in fields.items() if value is not None}


def _value(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float) else PROCESS.scrub(str(value))[:500]
