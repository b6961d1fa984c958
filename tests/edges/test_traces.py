"""Spans: a cycle, its writes and its requests, one below the other; and none where nobody collects them."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from reconciler import secrecy
from reconciler.traces import UNTRACED, Tracer, collecting
from tests.simulation.make_day import a_day


def a_tracer() -> tuple[Tracer, InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracer(provider.get_tracer("test")), exporter


def test_a_request_is_below_its_write_and_the_write_below_its_cycle(tmp_path: Path):
    tracer, exporter = a_tracer()
    with a_day(tmp_path) as day:
        day.app.tracer = tracer
        day.cycle()

    spans = {span.context.span_id: span for span in exporter.get_finished_spans()}
    asked = [s for s in spans.values() if (s.attributes or {}).get("reconciler.operation") == "assign_license"]
    assert asked
    for request in asked:
        write = spans[request.parent.span_id]
        assert write.name == "write"
        assert str(write.attributes["reconciler.ticket"]).startswith("RITM")
        assert spans[write.parent.span_id].name == "cycle"
    assert {s.context.trace_id for s in spans.values() if s.name == "write"} == {
        s.context.trace_id for s in spans.values() if s.name == "cycle"
    }


def test_an_error_is_told_by_its_kind_and_a_secret_not_at_all():
    tracer, exporter = a_tracer()
    secrecy.keep("a-very-own-secret")

    with pytest.raises(ValueError, match="words"), tracer.span("cycle", why="it is a-very-own-secret"):
        raise ValueError("words of others")

    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes or {}) == {"reconciler.why": "it is ***", "error.type": "ValueError"}
    assert "words" not in span.to_json()


def test_without_a_collector_there_is_no_span_and_no_error():
    with collecting(None, service="x", version="1") as tracer, tracer.span("cycle", tenant="contoso"):
        tracer.happened("request", 0.1, api="graph")

    assert tracer is UNTRACED


def test_spans_reach_a_collector_and_one_that_is_down_holds_nobody_up():
    came: list[tuple[str, str, int]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            came.append((self.path, self.headers["Content-Type"], len(self.rfile.read(length))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        with collecting(address, service="license-reconciler", version="1") as tracer, tracer.span("cycle"):
            tracer.happened("request", 0.1, api="graph")
        server.shutdown()
        thread.join()

    began = time.monotonic()
    with collecting(address, service="license-reconciler", version="1") as tracer, tracer.span("cycle"):
        pass  # nobody listens there any more
    assert time.monotonic() - began < 10
    assert [(path, kind) for path, kind, size in came if size] == [("/v1/traces", "application/x-protobuf")]
