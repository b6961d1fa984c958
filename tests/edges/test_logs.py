"""The log's lines: what they carry, and that no secret can get into one, whatever is logged and by whom."""

from __future__ import annotations

import io
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler import logs, secrecy
from reconciler.clock import ManualClock
from reconciler.config.secrets import read_secret
from reconciler.sandbox import hosts
from reconciler.sandbox.faults import FaultRule
from reconciler.store import journal
from tests.make import MONDAY
from tests.simulation.make_day import a_day

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
LOOKS = (
    JWT,
    "Bearer abcdef0123456789",
    "Basic dXNlcjpwYXNzd29yZA==",
    "https://x.logic.azure.com/workflows/0a1b/triggers/manual/paths/invoke?api-version=1&sig=Zm9vYmFy",
    "client_secret=Qm8~hunter2",
    '{"password": "hunter2!"}',
    "postgresql://reconciler:hunter2@db/licences",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----",
)
TELLING = (JWT, "abcdef0123456789", "dXNlcjpwYXNzd29yZA", "Zm9vYmFy", "0a1b", "hunter2", "MIIEvQIBADANBg")


@contextmanager
def a_log(
    form: logs.Format = "json", level: str = "debug", vault: secrecy.Vault | None = None
) -> Iterator[io.StringIO]:
    """The whole process's log, on a text; as it was before, afterwards."""
    root, hook = logging.getLogger(), threading.excepthook
    handlers, was = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(stream, ManualClock(MONDAY), format=form, level=level, vault=vault or secrecy.Vault())
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(was)
        logging.captureWarnings(False)
        threading.excepthook = hook


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_fields_and_what_it_is_about():
    with a_log() as stream, logs.about(tenant="contoso", cycle="c-1"), logs.about(ticket="RITM0010004"):
        logs.service_log()("request", api="graph", status=200, seconds=0.25)

    assert lines(stream) == [
        {
            "at": "2026-11-02T09:00:00.000Z",
            "level": "info",
            "event": "request",
            "api": "graph",
            "cycle": "c-1",
            "logger": "reconciler.service",
            "seconds": 0.25,
            "status": 200,
            "tenant": "contoso",
            "ticket": "RITM0010004",
        }
    ]


def test_a_sentence_for_people_reads_like_one():
    with a_log("console") as stream:
        logs.service_log()("the configuration was read again")
        logs.service_log()("request", api="graph", note="two words")

    assert stream.getvalue().splitlines() == [
        "2026-11-02T09:00:00.000Z the configuration was read again",
        '2026-11-02T09:00:00.000Z request api=graph note="two words"',
    ]


def test_what_a_library_logs_goes_through_the_same_chain():
    with a_log() as stream, logs.about(cycle="c-1"):
        logging.getLogger("somelib").warning("sent %s", {"Authorization": f"Bearer {JWT}"})

    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["cycle"], line["level"]) == ("library", "somelib", "c-1", "warning")
    assert JWT not in stream.getvalue()


def test_addresses_of_requests_are_never_told_by_the_http_library():
    with a_log() as stream:
        logging.getLogger("httpx").info("HTTP Request: POST https://x/workflows/1?sig=abc")

    assert stream.getvalue() == ""


def test_text_from_outside_cannot_forge_a_line():
    with a_log("console") as stream:
        logs.service_log()("note", said="one\n2026-11-02T09:00:00Z two\u202e\x1b[31m")

    assert len(stream.getvalue().splitlines()) == 1
    assert not {"\x1b", "\u202e"} & set(stream.getvalue())


def test_a_thread_that_dies_and_a_warning_are_lines_too():
    with a_log() as stream:
        dying = threading.Thread(target=lambda: 1 / 0, name="lease")
        dying.start()
        dying.join()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("an old name", UserWarning, stacklevel=1)

    died, warned = lines(stream)
    assert (died["event"], died["error"], died["name"]) == ("a thread ended", "ZeroDivisionError", "lease")
    assert "an old name" in str(warned["sentence"])


def test_before_it_is_set_up_nothing_is_printed(capsys: pytest.CaptureFixture[str]):
    logs.service_log()("request", api="graph")
    logs.logger("x").error("broken")

    assert capsys.readouterr() == ("", "")


# --- secrets (I15)


class Stubborn:
    """A value that shows a secret however it is asked."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __str__(self) -> str:
        return f"<{self.secret}>"

    __repr__ = __str__


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("look", LOOKS)
def test_what_looks_like_a_secret_is_in_no_line(look: str, form: logs.Format):
    with a_log(form) as stream:
        log = logs.service_log()
        log("note", said=look, deep={"a": [look, {"b": (look,)}]}, raw=look.encode(), thing=Stubborn(look))
        log(look)
        logging.getLogger("lib").error("%s", look)
        _fail(logs.logger("x"), look, "cause")

    assert not [part for part in TELLING if part in stream.getvalue()]
    assert len(stream.getvalue()) > 100


def test_a_set_is_told_in_the_order_of_its_texts():
    with a_log() as stream:
        logs.service_log()("note", numbers={f"RITM{n}" for n in (5, 3, 1, 4, 2)})

    assert json.loads(stream.getvalue())["numbers"] == [f"RITM{n}" for n in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("name", ["Authorization", "client_secret", "set-cookie", "X-API-Key", "webhook", "id_token"])
def test_what_a_secret_is_called_hides_it_whatever_it_is(name: str):
    with a_log() as stream:
        logs.service_log()("note", **{name: "plain"}, headers={name: ["plain"]})

    assert "plain" not in stream.getvalue()


secrets = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=6, max_size=40).filter(
    lambda text: len(text.strip()) >= 6 and len(set(text)) > 3
)
places = st.sampled_from(
    ["value", "key", "deep", "bytes", "object", "message", "sentence", "args", "cause", "group", "note", "context"]
)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(secret=secrets, place=places, form=st.sampled_from(["json", "console"]), around=st.text(max_size=5))
@example(secret='se"cr\\et\n', place="cause", form="json", around="")
def test_a_secret_that_this_process_knows_is_in_no_line_wherever_it_was_put(
    secret: str, place: str, form: logs.Format, around: str
):
    with a_log(form) as blank:
        put("", place, around)
    if secret.strip() in blank.getvalue():
        return  # it is a word of the line itself
    vault = secrecy.Vault()
    vault.keep(secret)

    with a_log(form, vault=vault) as stream:
        put(secret, place, around)

    written = stream.getvalue()
    spelled = {secret, secret.strip(), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    assert not [form for form in spelled if len(form) >= 6 and form in written and form not in blank.getvalue()]
    assert written


def put(secret: str, place: str, around: str) -> None:
    """Log it in one of the ways in which things are logged."""
    text, log = f"{around}{secret}{around}", logs.logger("x")
    match place:
        case "value":
            log.info("note", said=text)
        case "key":
            log.info("note", deep={text: 1})
        case "deep":
            log.info("note", deep=[{"a": ({text},)}])
        case "bytes":
            log.info("note", raw=text.encode(), other=[text.encode()])
        case "object":
            log.info("note", thing=Stubborn(text), broken=Broken())
        case "message":
            log.info(text)
        case "sentence":
            logs.service_log()(text)
        case "args":
            logging.getLogger("lib").warning("it is %s and %r", text, text)
        case "context":
            with logs.about(said=text):
                log.info("note")
        case _:
            _fail(log, text, place)


def _fail(log: object, text: str, place: str) -> None:
    try:
        _raise(text, place)
    except Exception:
        log.error("it failed", exc_info=True)  # type: ignore[attr-defined]


def _raise(text: str, place: str) -> None:
    if place == "group":
        raise ExceptionGroup(text, [ValueError(text), KeyError({"a": text})])
    error = RuntimeError(text, {"x": text})
    if place == "note":
        error.add_note(text)
    raise error from OSError(5, text, text)


def test_a_secret_is_known_from_the_moment_it_was_read(tmp_path: Path):
    file = tmp_path / "secret"
    file.write_text("an-unlikely-value-9\n")

    read_secret(None, file, what="x")

    assert secrecy.PROCESS.scrub("it is an-unlikely-value-9.") == "it is ***."


# --- from a ticket to the request


def test_a_ticket_leads_to_its_requests_at_graph_and_a_request_back_to_its_ticket(tmp_path: Path):
    with a_log(level="debug") as stream, a_day(tmp_path) as day:
        day.cycle()
        with day.app.database.read() as session:
            (sent,) = [
                row
                for row in journal.rows_for(session, "contoso", "RITM0010013")
                if row.kind == "result" and row.body["action"] == "assign_license"
            ]

    told = [line for line in lines(stream) if line.get("ticket") == "RITM0010013"]
    request = next(line for line in told if line["event"] == "request" and line.get("operation") == "assign_license")
    accepted = next(line for line in told if line["event"] == "write accepted" and line["write"] == "assign_license")
    assert request["request_id"] == accepted["request_id"] == sent.body["request_id"]
    assert request["client_request_id"] == sent.body["client_request_id"]
    assert {line["cycle"] for line in told} == {sent.cycle}
    assert {line["tenant"] for line in told} == {"contoso"}
    assert "Bearer" not in stream.getvalue()


def test_messages_are_constant_and_facts_are_fields(tmp_path: Path):
    with a_log(level="debug") as stream, a_day(tmp_path) as day:
        day.world.faults.add(FaultRule("server_error", route="GET /users", times=2))
        day.cycle()

    assert {line["event"] for line in lines(stream)} <= {
        "request",
        "request was not served",
        "write accepted",
        "write failed",
        "library",
    }
    assert not [line for line in lines(stream) if "@" in json.dumps(line)]  # no person is named
    written = stream.getvalue()
    assert not [s for s in (hosts.CLIENT_SECRET, hosts.SERVICENOW_PASSWORD, "eyJ", "sig=") if s in written]
