"""Hosts in network namespaces, each with one cable to a switch, that can be pulled. Linux, root and iproute2 only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HOSTS_FILES = Path("/etc/netns")  # what a host of this name has in the place of files below /etc: ip-netns(8)


class NoNetwork(Exception):
    """No namespaces can be made here; the sentence says why."""


@dataclass(frozen=True)
class Network:
    """`hosts` by name, with the address of each."""

    prefix: str
    hosts: dict[str, str]

    def inside(self, host: str) -> tuple[str, ...]:
        """Words in front of a command that run it on this host."""
        return ("ip", "netns", "exec", f"{self.prefix}{host}")

    def pull(self, host: str) -> None:
        """Nothing reaches the host any more, nor leaves it; nobody is told."""
        _ip("-n", f"{self.prefix}switch", "link", "set", f"to-{host}", "down")

    def plug_in(self, host: str) -> None:
        _ip("-n", f"{self.prefix}switch", "link", "set", f"to-{host}", "up")

    def names(self, host: str, name: str, address: str) -> None:
        """On this host `name` means this address and nothing else."""
        folder = HOSTS_FILES / f"{self.prefix}{host}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text(f"{address} {name}\n", "ascii")


@contextmanager
def a_network(*hosts: str) -> Iterator[Network]:
    """These hosts, connected, for a block.

    Raises:
        NoNetwork: none can be made here.
    """
    if os.geteuid() != 0:
        raise NoNetwork("network namespaces need root")
    if shutil.which("ip") is None:
        raise NoNetwork("network namespaces need `ip` (Debian's package iproute2)")
    network = Network(f"rc{os.getpid()}-", {host: f"10.77.0.{n}" for n, host in enumerate(hosts, start=1)})
    try:
        try:
            _ip("netns", "add", f"{network.prefix}switch")
        except subprocess.CalledProcessError as error:
            raise NoNetwork(f"network namespaces cannot be made here: {error.stderr.strip()}") from None
        switch = ("-n", f"{network.prefix}switch", "link")
        _ip(*switch, "add", "switch", "type", "bridge")
        _ip(*switch, "set", "switch", "up")
        for host, address in network.hosts.items():
            name = f"{network.prefix}{host}"
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            peer = ("peer", "name", f"to-{host}", "netns", f"{network.prefix}switch")
            _ip("-n", name, "link", "add", "cable", "type", "veth", *peer)
            _ip(*switch, "set", f"to-{host}", "master", "switch", "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            _ip("-n", name, "link", "set", "cable", "up")
        yield network
    finally:
        for host in ("switch", *hosts):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", f"{network.prefix}{host}")
            shutil.rmtree(HOSTS_FILES / f"{network.prefix}{host}", ignore_errors=True)
        with suppress(OSError):
            HOSTS_FILES.rmdir()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
