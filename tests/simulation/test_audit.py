"""The audit log around real writes: heads go out first, strict places stop, a full disk stops, evidence is signed.

Asserted are the tenant, the log and the files elsewhere, never the calls.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import event

from reconciler.audit import verify as audit
from reconciler.audit.checkpoints import checked
from reconciler.audit.verify import Report
from reconciler.errors import UserError
from reconciler.store import checkpoints, journal, outbox, sinks
from reconciler.store.database import row_counts
from reconciler.wiring.keys import known_verifier
from tests.simulation.make_day import Day, a_day

ROOT = Path(__file__).parents[2]


@pytest.fixture
def configured(tmp_path):
    def configured(**audit_keys: str) -> Path:
        text = (ROOT / "config.toml").read_text("utf-8")
        for name, value in audit_keys.items():
            lines = [line for line in text.splitlines() if not line.lstrip("# ").startswith(f"{name} =")]
            text = "\n".join(lines).replace("[audit]\n", f"[audit]\n{name} = {value}\n")
        file = tmp_path / "config.toml"
        file.write_text(text, "utf-8")
        return file

    return configured


def verified(day: Day, **more) -> Report:
    key = known_verifier(day.app.settings, "contoso")
    with day.app.database.read() as session:
        return audit.verify(journal.export(session), checkpoints.marks(session), verifiers=[key], **more)


def audit_rows(day: Day) -> dict[str, int]:
    with day.app.database.read() as session:
        return {name: count for name, count in row_counts(session).items() if name.startswith("audit")}


def evidence(day: Day) -> list[dict]:
    """The evidence files that the tickets carry, as ServiceNow has them."""
    with day.app.database.read() as session:
        owed = [o for n in day.phases() for o in outbox.of_ticket(session, "contoso", n.partition("/")[0])]
    return [
        json.loads(o.answer.text)
        for o in owed
        if o.answer.kind.value == "evidence" and o.state is outbox.State.CONFIRMED
    ]


def test_a_day_is_signed_its_evidence_carries_the_checkpoint_and_heads_leave_before_removals(tmp_path, configured):
    elsewhere = tmp_path / "elsewhere"
    config = configured(checkpoint_copy=f'"{elsewhere}/heads.jsonl"', sinks=f'["file:{elsewhere}/log"]')
    uncovered: list[str] = []

    with a_day(tmp_path / "state", config=config) as day:

        def is_covered(request) -> None:
            if request.url.path.endswith("/assignLicense") and json.loads(request.content)["removeLicenses"]:
                with day.app.database.read() as session:
                    size = journal.head(session, "contoso").size
                said = [json.loads(line) for line in (elsewhere / "heads.jsonl").read_text("utf-8").splitlines()]
                uncovered.extend([] if said[-1]["size"] == size else [str(request.url)])

        day.watch.meddle = is_covered
        day.cycle()

        assert len(day.watch.removals) >= 2
        assert uncovered == []
        report = verified(
            day, since=[json.loads((elsewhere / "heads.jsonl").read_text("utf-8").splitlines()[-1])["note"]]
        )
        assert (report.ok, report.unsigned["contoso"], report.unprotected["contoso"]) == (True, 0, 0)

        lines = (elsewhere / "log" / "contoso.jsonl").read_text("utf-8").splitlines()
        key = known_verifier(day.app.settings, "contoso")
        copy = audit.verify(journal.read_export(lines), audit.read_marks(lines), verifiers=[key])
        assert (copy.ok, copy.chain.head, copy.unsigned) == (True, report.chain.head, {"contoso": 0})

        files = evidence(day)
        assert len(files) >= 10
        for file in files:
            signed = checked(file["audit"]["checkpoint"]["note"], [key])
            assert file["audit"]["checkpoint"]["size"] == signed.size
            if file["audit"]["rows"]:
                assert file["audit"]["rows"][1] < signed.size, "the checkpoint covers what was sent for the ticket"

        before = audit_rows(day)
        day.cycle()
        assert audit_rows(day) == before, "a cycle that found nothing new signs nothing new"


def test_under_strict_a_place_that_is_down_stops_every_write_and_none_is_lost_when_it_is_back(tmp_path, configured):
    (tmp_path / "elsewhere").write_text("a file where a folder should be", "utf-8")
    config = configured(sinks=f'["file:{tmp_path}/elsewhere"]', sink_policy='"strict"')

    with a_day(tmp_path / "state", config=config) as day:
        report = day.cycle()

        assert day.watch.writes == []
        assert report is not None
        assert any("sink_policy is strict" in problem for problem in report.problems)
        with day.app.database.read() as session:
            place = sinks.positions(session, "contoso")[f"file:{tmp_path}/elsewhere"]
            intents = list(journal.export(session, "contoso", kinds={"intent"}))
        assert place.failing_since is not None
        assert place.behind > 0
        assert intents == []

        (tmp_path / "elsewhere").unlink()
        day.wait(30)
        day.cycle()

        assert len(day.watch.writes) > 10
        assert day.watch.unannounced == []
        with day.app.database.read() as session:
            place = sinks.positions(session, "contoso")[f"file:{tmp_path}/elsewhere"]
        assert (place.behind, place.failing_since) == (0, None)


def test_a_full_disk_under_the_log_stops_every_write(tmp_path):
    with a_day(tmp_path / "state") as day:
        engine = day.app.database._engine
        with day.app.database.read() as session:
            pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar_one()

        @event.listens_for(engine, "begin")
        def quota(connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 60}")

        with pytest.raises(UserError, match="no room left"):
            for _ in range(20):
                day.cycle()
                day.wait(60)

        assert day.watch.unannounced == []
        with day.app.database.read() as session:
            intents = len(list(journal.export(session, "contoso", kinds={"intent"})))
        assert len(day.watch.writes) <= intents
        before = len(day.watch.writes)
        with pytest.raises(UserError, match="no room left"):
            day.cycle()
        assert len(day.watch.writes) == before
