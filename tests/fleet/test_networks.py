"""Workers on hosts of their own, and the cable of one is pulled in the middle of its cycle until its lease is over.

Store, sandbox and two workers are in a network namespace each. Nobody is told that the cable is out: what was on its
way waits in the kernels at both ends, as between machines.
"""

from __future__ import annotations

import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.fleet.make_network import Network, NoNetwork, a_network
from tests.fleet.make_process import Running, Site, heard, said_twice
from tests.make_postgres import NoServer, Server, a_server

pytestmark = [pytest.mark.tls, pytest.mark.long, pytest.mark.timeout(900)]
STORE, SYSTEMS, ONE, OTHER = "store", "systems", "one", "other"
HELD = "SELECT owner FROM lease WHERE owner IS NOT NULL AND until_s > extract(epoch from clock_timestamp())"


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        with a_network(STORE, SYSTEMS, ONE, OTHER) as network:
            yield network
    except NoNetwork as error:
        pytest.skip(str(error))


@pytest.fixture
def server(network: Network) -> Iterator[Server]:
    nobody = pwd.getpwnam("nobody")
    bare = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    try:
        server = a_server(inside=(*network.inside(STORE), *bare), listen_addresses="*")
    except NoServer as error:
        pytest.skip(str(error))
    try:
        with (server.folder / "data" / "pg_hba.conf").open("a") as allowed:
            allowed.write("host all all 10.77.0.0/24 trust\n")
        server.control("reload")
        server.run("CREATE DATABASE fleet")
        yield server
    finally:
        server.stop()


@pytest.fixture
def site(network: Network, server: Server, tmp_path) -> Iterator[Site]:
    named = f"postgresql+psycopg://postgres@{network.hosts[STORE]}/fleet"
    site = Site(tmp_path, server.url("fleet"), as_named=named)
    site.run("db", "upgrade", before=network.inside(STORE))
    for host in (ONE, OTHER):
        network.names(host, "localhost", network.hosts[SYSTEMS])
    with site.running("sandbox", "serve", before=network.inside(SYSTEMS)), _reachable(network, site):
        yield site


@contextmanager
def _reachable(network: Network, site: Site) -> Iterator[None]:
    """The sandbox listens on its host's loopback only: elsewhere it is known by a name that its certificate has."""
    known = site.state / "sandbox" / "control.json"
    said = known.read_text("utf-8")
    known.write_text(said.replace("127.0.0.1", "localhost"), "utf-8")
    ports = sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", said)))
    command = [*network.inside(SYSTEMS), sys.executable, "-m", "tests.fleet.relay", network.hosts[SYSTEMS], *ports]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as relay:
        assert relay.stdout is not None
        assert relay.stdout.readline() == b"up\n"
        yield
        relay.communicate(timeout=30)


def _kept(site: Site) -> dict[str, Any]:
    """Both systems as they are, but for the dice that each answer throws."""
    return {name: value for name, value in site.world().to_json().items() if name != "rng"}


def test_a_worker_whose_cable_was_out_for_longer_than_its_lease_writes_nothing_late_and_goes_on(network, site):
    with ExitStack() as up:
        hosts: dict[int, str] = {}
        workers: list[Running] = []
        for host in (ONE, OTHER):
            worker = up.enter_context(site.running("worker", before=network.inside(host)))
            workers.append(worker)
            hosts[worker.process.pid] = host
        cut = heard(" write accepted ", 3, *workers, each=True)
        network.pull(hosts[cut.process.pid])
        owner = site.column(HELD)
        begun = site.unanswered()
        other = next(worker for worker in workers if worker is not cut)

        heard(" cycle ended ", 3, other)
        writes = len(site.intents())
        world = _kept(site)
        network.plug_in(hosts[cut.process.pid])
        heard(" cycle ended | was taken over |cycle failed|ended early", 1, cut)
        heard(" cycle ended ", 3, *workers)
        other.process.terminate()
        other.process.communicate(timeout=60)
        heard(" cycle ended ", 2, cut)

        assert site.column(HELD) != owner
        assert len(site.intents()) == writes
        assert _kept(site) == world
    assert said_twice(site.world()) == []
    assert site.unanswered() <= begun
    assert "holds" in site.run("audit", "verify", before=network.inside(STORE))
