"""Two sources that name the same country in their own words, by the shipped loop."""

from __future__ import annotations

from reconciler.store import journal
from tests.simulation.make_day import TENANT, a_day, contoso_with

TICKET, ANNA = "RITM0010001", "anna.berger@contoso.example"


def test_a_country_by_its_names_is_set_as_its_code_and_both_sources_are_kept(tmp_path):
    with a_day(tmp_path, contoso_with(TICKET)) as day:
        anna = day.world.directory.user(ANNA)
        anna.country = "Deutschland"
        day.world.instance.change("sys_user", day.world.instance.user("anna.berger")["sys_id"], country="Germany")

        day.cycle()

        assert (anna.usage_location, day.phase(TICKET)) == ("DE", "granted")
        assert "DE" in day.notes(TICKET)[0]
        with day.app.database.read() as session:
            rows = journal.rows_for(session, TENANT, TICKET)
        (intent,) = [r.body for r in rows if r.kind == "intent" and r.body["action"] == "set_usage_location"]
        assert intent["what"]["after"] == {"usage_location": "DE", "sources": ["ServiceNow person", "Entra country"]}


def test_a_word_that_could_mean_two_countries_is_quoted_and_nothing_is_set(tmp_path):
    with a_day(tmp_path, contoso_with(TICKET)) as day:
        anna = day.world.directory.user(ANNA)
        anna.country = "Korea"
        for _ in range(2):
            day.cycle()
            day.wait(60)

        assert (anna.usage_location or "", day.phase(TICKET)) == ("", "review")
        (note,) = day.notes(TICKET)
        assert "'Korea'" in note
