"""The listing of a generated tenant over plain HTTP on loopback, in a process of its own.

`python -m tests.bench.server USERS SEED [LATER]` renders every page first, prints one JSON line with its port, and
answers until its standard input is closed. It does nothing but hand out bytes: what is measured is the client. With
LATER, the tenant a day later is below /later. `/users/delta` and the table `task` answer that nothing moved.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.bench.tenant import Tenant

_PAGE = re.compile(r"skiptoken=p(\d+)")
_TOUCHED = {"sys_id": "1" * 32, "sys_updated_on": "2026-11-02 08:59:00", "sys_mod_count": "3"}
_NOTHING = gzip.compress(json.dumps({"result": []}).encode())
_TASK = gzip.compress(json.dumps({"result": [_TOUCHED]}).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    pages: tuple[bytes, ...] = ()
    later: tuple[bytes, ...] = ()
    idle: bytes = b""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        found = _PAGE.search(self.path)
        total = ""
        if "/delta" in self.path:
            body = self.server.idle
        elif "/table/" in self.path:
            body, total = (_TASK, "1") if "/table/task?" in self.path else (_NOTHING, "0")
        else:
            pages = self.server.later if self.path.startswith("/later") else self.server.pages
            body = pages[int(found[1]) if found else 0]
        self.send_response(200)
        self.send_header("Content-Type", "application/json;odata.metadata=minimal;charset=utf-8")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        if total:
            self.send_header("X-Total-Count", total)
        self.send_header("request-id", "00000000-0000-4000-8000-000000000001")
        self.send_header("x-ms-resource-unit", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the benchmark's table is the only output."""


def main() -> None:
    users, seed, is_later = int(sys.argv[1]), int(sys.argv[2]), len(sys.argv) > 3
    server = _Server(("127.0.0.1", 0), _Handler)
    port = server.server_address[1]
    # The links say https because our client follows no other; the benchmark's transport speaks plainly.
    server.pages = tuple(Tenant(users, seed).pages(f"https://127.0.0.1:{port}/v1.0"))
    if is_later:
        server.later = tuple(Tenant(users, seed, is_later=True).pages(f"https://127.0.0.1:{port}/later"))
    link = f"https://127.0.0.1:{port}/v1.0/users/delta?$deltatoken=a"
    server.idle = gzip.compress(json.dumps({"value": [], "@odata.deltaLink": link}).encode())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": port, "pages": len(server.pages)}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
