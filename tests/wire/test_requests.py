"""A request that is put together once is the one that httpx would have built."""

from __future__ import annotations

import httpx
from hypothesis import given
from hypothesis import strategies as st

from reconciler.clients.wire import make_http
from reconciler.clients.wire.requests import Requests

HTTP = make_http(httpx.MockTransport(lambda _: httpx.Response(200)))
NAMES = ("Authorization", "client-request-id", "Content-Type", "ConsistencyLevel", "Accept", "user-agent", "Host")

methods = st.sampled_from(("GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"))
headers = st.dictionaries(st.sampled_from(NAMES), st.text("abc :;/=", max_size=12))
contents = st.none() | st.binary(max_size=20)


@given(
    methods, st.sampled_from(("https://graph.example/v1.0/users?$top=5", "https://one.example:8443")), headers, contents
)
def test_what_leaves_is_what_httpx_would_have_sent(method, url, more, content):
    limits = {"deadline_s": 5.0}

    built = Requests(HTTP).build(method, httpx.URL(url), more, content=content, extensions=limits)

    usual = HTTP.build_request(method, url, headers=more, content=content, extensions=limits)
    assert (built.method, built.url, built.headers.raw) == (usual.method, usual.url, usual.headers.raw)
    assert (built.content, built.extensions) == (usual.content, usual.extensions)
