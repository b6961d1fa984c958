"""Requests and answers held against Microsoft's own description of Graph (the OpenAPI slice among the contracts).

`Checked` wraps a transport: whatever passes through it to a described address must match the description, items of a
batch one by one. Where the file is not at hand, nothing is checked and `contract()` skips the test that asks for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

FILE = Path(__file__).parents[2].parent / "shared" / "contracts" / "graph-openapi.yaml"
BASE = "/v1.0"
METHODS = ("get", "post", "patch", "delete")


class Contract:
    """The description, ready to be asked."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = _as_json_schema(document)
        self._paths = [(_pattern(template), template) for template in sorted(document["paths"], key=_particular_first)]

    def operations(self) -> Iterator[tuple[str, str]]:
        """Every described (method, path template)."""
        for template, item in self._document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method.upper(), template

    def properties(self, type_name: str) -> set[str]:
        """Names of a type's properties, navigation properties included."""
        return self._names({"$ref": f"#/components/schemas/{type_name}"}) - {"@odata.type"}

    def template(self, method: str, path: str) -> str | None:
        """The described path that this one is an instance of, or None."""
        for pattern, template in self._paths:
            if pattern.fullmatch(path) and method.lower() in self._document["paths"][template]:
                return template
        return None

    def check_request(self, method: str, template: str, body: Any) -> None:
        """Raises jsonschema.ValidationError when the body is not as described."""
        described = self._document["paths"][template][method.lower()].get("requestBody")
        if described is not None:
            self._check(described["content"]["application/json"]["schema"], body)

    def check_response(self, method: str, template: str, status: int, body: Any) -> None:
        """Raises jsonschema.ValidationError or AssertionError when status or body are not as described."""
        responses = self._document["paths"][template][method.lower()]["responses"]
        described = responses.get(str(status))
        if described is None:
            assert status >= 400, f"{method} {template} does not answer {status}, but {', '.join(responses)}"
            described = responses["default"]
        if "$ref" in described:
            described = self._resolve(described["$ref"])
        content = described.get("content")
        if content is None:
            assert body is None, f"{method} {template} answers {status} without a body"
            return
        schema = content["application/json"]["schema"]
        self._check(schema, body)
        if status < 400:
            self._check_names(schema, body)

    def _check(self, schema: Any, value: Any) -> None:
        whole = {**schema, "components": self._document["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)

    def _check_names(self, schema: Any, body: Any) -> None:
        """Every property is one that the description knows: a mistyped name would pass an open schema."""
        item = schema.get("properties", {}).get("value", {}).get("items")
        for row in body["value"] if item else [body]:
            if isinstance(row, dict):
                mixed = str(row.get("@odata.type", "")).removeprefix("#")
                if mixed and mixed not in self._document["components"]["schemas"]:
                    continue  # a type outside the slice
                known = self._names({"$ref": f"#/components/schemas/{mixed}"} if mixed else item or schema)
                unknown = {n for n in row if "@" not in n} - known
                assert not unknown, f"the description knows no {', '.join(sorted(unknown))}"

    def _names(self, schema: Any) -> set[str]:
        if "$ref" in schema:
            return self._names(self._resolve(schema["$ref"]))
        names = set(schema.get("properties", {}))
        for part in (*schema.get("allOf", ()), *schema.get("anyOf", ())):
            names |= self._names(part)
        return names

    def _resolve(self, ref: str) -> Any:
        value: Any = self._document
        for part in ref.removeprefix("#/").split("/"):
            value = value[part]
        return value


class Checked(httpx.BaseTransport):
    """A transport whose traffic must be as described."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self._contract = _contract()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        response = self._inner.handle_request(request)
        response.read()
        if self._contract is not None:
            path = request.url.path
            sent, got = _decoded(request.content), _decoded(response.content)
            if path == f"{BASE}/$batch" and response.status_code == 200:
                self._check_batch(sent, got)
            else:
                self._check_one(request.method, path, sent, response.status_code, got)
        return response

    def _check_one(self, method: str, path: str, sent: Any, status: int, got: Any) -> None:
        assert self._contract is not None
        template = self._contract.template(method, path.removeprefix(BASE))
        if template is None or path.endswith("/$count"):  # counts are plain text and not described
            return
        if status < 400:  # what is refused may well be malformed
            self._contract.check_request(method, template, sent)
        self._contract.check_response(method, template, status, got)

    def _check_batch(self, sent: Any, got: Any) -> None:
        items = {item["id"].lower(): item for item in sent["requests"]}
        for response in got["responses"]:
            item = items[response["id"].lower()]
            path = item["url"].partition("?")[0]
            path = path if path.startswith("/") else f"/{path}"
            self._check_one(item["method"], path, item.get("body"), response["status"], response.get("body"))


def contract() -> Contract:
    """The description; skips the test when it is not at hand."""
    found = _contract()
    if found is None:
        pytest.skip(f"the description of Graph is not at hand ({FILE.name})")
    return found


@cache
def _contract() -> Contract | None:
    if not FILE.exists():
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Contract(yaml.load(FILE.read_text("utf-8"), Loader=loader))


def _decoded(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()


def _pattern(template: str) -> re.Pattern[str]:
    parts = [r"[^/]+" if p.startswith("{") else re.escape(p) for p in template.split("/")]
    return re.compile("/".join(parts))


def _particular_first(template: str) -> tuple[int, str]:
    return template.count("{"), template


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 writes `nullable`; JSON Schema has a type for null."""
    if isinstance(node, list):
        return [_as_json_schema(n) for n in node]
    if not isinstance(node, dict):
        return node
    changed = {k: _as_json_schema(v) for k, v in node.items() if k != "nullable"}
    if node.get("nullable") is True:
        if isinstance(changed.get("type"), str):
            changed["type"] = [changed["type"], "null"]
        elif "$ref" in changed or "anyOf" in changed or "allOf" in changed:
            return {"anyOf": [changed, {"type": "null"}]}
    return changed
