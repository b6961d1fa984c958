"""The Attachment API: files on records, raw or as a form.

Source: servicenow.md section 9 (endpoints, parameters, `hash` as SHA-256) and section 16 (headers that pysnc needs).
Whoever may read the record may read its files; whoever may write the record may add to it.
"""

from __future__ import annotations

import hashlib
import zlib
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import httpx

from reconciler.sandbox.servicenow.answers import ApiError, Call, answer, bad_request, no_record, operation_failed
from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.listing import matching, page_of
from reconciler.sandbox.servicenow.refusals import AclDenied
from reconciler.sandbox.servicenow.schema import Row
from reconciler.sandbox.servicenow.selecting import Selector
from reconciler.sandbox.servicenow.shape import Shaper

LIMIT_DEFAULT = 1000
TABLE = "sys_attachment"


class AttachmentApi:
    """Handles `/attachment`, `/attachment/file`, `/attachment/upload` and `/attachment/{sys_id}[/file]`."""

    def __init__(self, instance: Instance, selector: Selector) -> None:
        self._instance = instance
        self._selector = selector

    def handle(self, call: Call) -> httpx.Response:
        """Answer one call.

        Raises:
            ApiError: 400 for missing parameters, 404 for a record or file that is not there or not readable.
        """
        match (call.method, call.path):
            case ("GET" | "HEAD", ()):
                return self._list(call)
            case ("POST", ("file",)):
                return self._upload_raw(call)
            case ("POST", ("upload",)):
                return self._upload_form(call)
            case ("GET" | "HEAD", (sys_id,)):
                return answer(200, {"result": self._shaped(call, self._readable(call, sys_id))})
            case ("GET" | "HEAD", (sys_id, "file")):
                row = self._readable(call, sys_id)
                content = self._instance.attachments.get(sys_id, b"")
                return httpx.Response(200, headers={"Content-Type": row["content_type"]}, content=content)
            case ("DELETE", (sys_id,)):
                return self._remove(call, sys_id)
            case _:
                raise ApiError(405, "Method not supported", call.method)

    def _list(self, call: Call) -> httpx.Response:
        found = matching(self._selector, self._instance, TABLE, call)
        page = page_of(self._instance, call, found, limit_default=LIMIT_DEFAULT)
        rows = [self._shaped(call, row) for _, row in page.rows if self._holder(call, row) is not None]
        return answer(200, {"result": rows}, page.headers)

    def _upload_raw(self, call: Call) -> httpx.Response:
        content_type = call.headers.get("content-type", "")
        if not content_type:
            raise bad_request("Missing header", "Content-Type is required")
        return self._store(
            call,
            call.param("table_name"),
            call.param("table_sys_id"),
            call.param("file_name"),
            content_type=content_type,
            content=call.body,
        )

    def _upload_form(self, call: Call) -> httpx.Response:
        content_type = call.headers.get("content-type", "")
        if not content_type.lower().startswith("multipart/form-data"):
            raise ApiError(415, "Unsupported media type", content_type)
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        fields: dict[str, str] = {}
        upload: tuple[str, str, bytes] | None = None
        for part in BytesParser(policy=HTTP).parsebytes(head + call.body).walk():
            if part.is_multipart():
                continue
            name = part.get_param("name", header="content-disposition")
            payload = part.get_payload(decode=True)
            content = payload if isinstance(payload, bytes) else b""
            if part.get_filename() is not None:
                upload = (str(part.get_filename()), part.get_content_type(), content)
            else:
                fields[str(name)] = content.decode("utf-8", "replace").strip()
        if upload is None:
            raise bad_request("Missing parameter", "uploadFile is required")
        file_name, media, content = upload
        table, record = fields.get("table_name", ""), fields.get("table_sys_id", "")
        return self._store(call, table, record, file_name, content_type=media, content=content)

    def _store(
        self, call: Call, table: str, record: str, file_name: str, *, content_type: str, content: bytes
    ) -> httpx.Response:
        given = {"table_name": table, "table_sys_id": record, "file_name": file_name}
        missing = [name for name, value in given.items() if not value]
        if missing:
            raise bad_request("Missing parameter", f"{', '.join(missing)} required")
        found = self._instance.truth.find(table, record) if self._instance.schema.has(table) else None
        if found is None or not self._instance.access.can_read(call.caller, *found):
            raise no_record()
        if not self._instance.access.can_write(call.caller, *found):
            raise operation_failed(AclDenied.on("Insert").detail)
        values = {
            **given,
            "content_type": content_type,
            "size_bytes": str(len(content)),
            "size_compressed": str(len(zlib.compress(content))),
            "hash": hashlib.sha256(content).hexdigest(),
            "state": "available",
        }
        sys_id = self._instance.truth.insert(TABLE, values, by=call.caller.user_name)
        self._instance.attachments[sys_id] = content
        row = self._instance.truth.store.table(TABLE).by_id[sys_id]
        location = f"{call.base}/api/now/attachment/{sys_id}"
        return answer(201, {"result": self._shaped(call, row)}, {"Location": location})

    def _remove(self, call: Call, sys_id: str) -> httpx.Response:
        row = self._readable(call, sys_id)
        if not self._instance.access.can_delete(call.caller, TABLE, row):
            raise operation_failed(AclDenied.on("Delete").detail)
        self._instance.truth.delete(TABLE, sys_id)
        self._instance.attachments.pop(sys_id, None)
        return answer(204)

    def _readable(self, call: Call, sys_id: str) -> Row:
        row = self._instance.truth.store.get(TABLE, sys_id)
        if row is None or not self._instance.access.can_read(call.caller, TABLE, row):
            raise no_record()
        if self._holder(call, row) is None:
            raise no_record()
        return row

    def _holder(self, call: Call, row: Row) -> Row | None:
        """The record that a file hangs on, if the caller may read it."""
        table = row.get("table_name", "")
        found = self._instance.truth.find(table, row["table_sys_id"]) if self._instance.schema.has(table) else None
        return found[1] if found is not None and self._instance.access.can_read(call.caller, *found) else None

    def _shaped(self, call: Call, row: Row) -> dict[str, Any]:
        shaped = Shaper(self._instance, call, TABLE).shape(TABLE, row)
        link = f"{call.base}/api/now/attachment/{row['sys_id']}/file"
        is_all = call.param("sysparm_display_value") == "all"
        shaped["download_link"] = {"display_value": link, "value": link} if is_all else link
        return shaped
