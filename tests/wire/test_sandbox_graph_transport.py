"""The sandbox in process: one httpx transport for all its hosts."""

from __future__ import annotations

import httpx
import pytest

from reconciler.sandbox import hosts
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from tests.make_graph import MONDAY


@pytest.fixture
def http() -> httpx.Client:
    return httpx.Client(transport=SandboxTransport(World(MONDAY)), trust_env=False)


def test_each_host_is_a_service_of_the_same_world(http: httpx.Client):
    token = http.post(
        f"{hosts.LOGIN_URL}/{hosts.TENANT_ID}/oauth2/v2.0/token",
        data={
            "grant_type": "client_credentials",
            "client_id": hosts.READER_CLIENT_ID,
            "client_secret": hosts.READER_CLIENT_SECRET,
            "scope": f"{hosts.GRAPH_URL}/.default",
        },
    ).json()["access_token"]

    response = http.get(f"{hosts.GRAPH_URL}/v1.0/organization", headers={"Authorization": f"Bearer {token}"})

    assert response.json()["value"][0]["id"] == hosts.TENANT_ID
    assert response.request.url.host == hosts.GRAPH_HOST


@pytest.mark.parametrize("url", ["https://graph.microsoft.com/v1.0/users", "https://example.com/"])
def test_no_other_host_is_ever_reached(http: httpx.Client, url: str):
    with pytest.raises(httpx.ConnectError):
        http.get(url)
