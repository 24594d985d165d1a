"""The service under test, and a proxy in front of it that injects faults."""

import http.client
import json
import os
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

REPOSITORY = Path(__file__).parents[3]

Fault = Literal["cut", "unavailable", "silent"]
"""A request that is carried out and whose connection is cut; one that is answered 503 and not carried out; one that is
carried out and never answered."""


def program() -> str:
    """The path of the service's program."""
    named = os.environ.get("RATELIMITERD_BIN")
    paths = [Path(named)] if named else [REPOSITORY / "target" / kind / "ratelimiterd" for kind in ("debug", "release")]
    for path in paths:
        if path.exists():
            return str(path.resolve())
    raise FileNotFoundError("build ratelimiterd first, or name its program in RATELIMITERD_BIN")


class Service:
    """A running service over the memory ledger."""

    def __init__(self, folder: Path, limits: list[dict[str, Any]], *flags: str) -> None:
        registry = folder / "registry.json"
        registry.write_text(
            json.dumps([{"definition": limit, "status": "active", "pending_decrease_to": 0} for limit in limits])
        )
        self._log = folder / "log"
        address = ["--server-listen-addr", "127.0.0.1:0", "--registry-path", str(registry)]
        # The service takes each RATELIMITERD_... variable as one of its settings.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RATELIMITERD_")}
        with self._log.open("wb") as log:
            command = [program(), "serve", "--server-backend", "memory", *address, *flags]
            self._process = subprocess.Popen(
                command,
                stderr=log,
                cwd=folder,
                env=environment,
            )
        self.port = self._wait_for_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            found = re.search(r"listens.*?127\.0\.0\.1:(\d+)", self._log.read_text())
            if found:
                return int(found[1])
            time.sleep(0.02)
        self._process.kill()
        self._process.wait()
        raise RuntimeError(f"the service did not start: {self._log.read_text()}")

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(20)


@dataclass
class Seen:
    """A request that reached the proxy."""

    path: str
    body: Any
    lease_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.lease_id = self.body.get("lease_id", "") if isinstance(self.body, dict) else ""


class Proxy:
    """Passes requests on to a service."""

    def __init__(self, upstream_port: int) -> None:
        self.seen: list[Seen] = []
        self._path = ""
        self._faults: deque[Fault] = deque()
        self.rewrite: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
        self.is_released = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                proxy.handle(self, upstream_port)

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def inject(self, path: str, fault: Fault, times: int = 1) -> None:
        """Lets a fault happen to the next requests whose path begins with `path`."""
        self._path, self._faults = path, deque([fault] * times)

    def paths(self) -> list[str]:
        """The paths of all requests, in order."""
        return [seen.path for seen in self.seen]

    def handle(self, handler: BaseHTTPRequestHandler, upstream_port: int) -> None:
        """Answers one request."""
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        self.seen.append(Seen(handler.path, json.loads(body) if body else None))
        fault = self._faults.popleft() if self._faults and handler.path.startswith(self._path) else None
        if fault == "unavailable":
            status, answer = 503, b'{"allowed":false,"error":"backend_error"}'
        else:
            status, answer = self._pass_on(handler, body, upstream_port)
        if fault == "silent":
            self.is_released.wait(20)
        if fault in ("cut", "silent"):
            handler.close_connection = True
            return
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def _pass_on(self, handler: BaseHTTPRequestHandler, body: bytes, port: int) -> tuple[int, bytes]:
        upstream = http.client.HTTPConnection("127.0.0.1", port)
        upstream.request(handler.command, handler.path, body or None, dict(handler.headers))
        response = upstream.getresponse()
        answer = response.read()
        upstream.close()
        return response.status, json.dumps(self.rewrite(json.loads(answer))).encode()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *error: object) -> None:
        self.is_released.set()
        self._server.shutdown()
        self._server.server_close()
