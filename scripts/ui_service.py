"""A ratelimiterd with limits and tokens, for the checks of the web page. scripts/check_ui.py uses it."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from check_metrics import free_ports

# A debug build on a busy machine takes a while to read MANY limits.
READY_SECONDS_MAX = 120
MANY = 100_000
LARGEST = 2**63 - 1
HOSTILE = '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
SLOTS, TPM, BUCKET = "global:llm:openai:gpt-4o:slots", "global:llm:openai:gpt-4o:tpm", "api:search:bucket"
TEMPLATE = "tenant:{tenant}:llm:daily_tokens"
LIMITS: list[dict[str, Any]] = [
    {"key": SLOTS, "kind": "concurrency", "capacity": 10, "timeout_seconds": 300, "unit": "call"},
    {"key": TPM, "kind": "rolling", "capacity": 60_000, "window_seconds": 600, "unit": "token"},
    {"key": "global:llm:openai:gpt-4o:rpm", "kind": "rolling", "capacity": 500, "window_seconds": 60},
    {
        "key": "global:llm:anthropic:opus:tpm",
        "kind": "rolling",
        "capacity": 80_000,
        "window_seconds": 600,
        "unit": "token",
    },
    {"key": BUCKET, "kind": "token_bucket", "capacity": 200, "refill_amount": 1, "refill_interval_ms": 86_400_000},
    {"key": "api:upload:monthly", "kind": "fixed_window", "capacity": 1_000, "window_seconds": 2_592_000},
    {"key": "api:login:sliding", "kind": "sliding_window", "capacity": 30, "window_seconds": 300, "segments": 10},
    {"key": "batch:nightly:slots", "kind": "concurrency", "capacity": 0, "timeout_seconds": 3_600},
    {"key": "largest", "kind": "rolling", "capacity": LARGEST, "window_seconds": 60},
    {
        "key": "hostile",
        "kind": "rolling",
        "capacity": 5,
        "window_seconds": 60,
        "unit": "<b>x</b>",
        "description": HOSTILE,
    },
    {
        "key": TEMPLATE,
        "kind": "fixed_window",
        "capacity": 1_000_000,
        "window_seconds": 86_400,
        "unit": "token",
        "max_instances": 100,
    },
]
USED = [
    (SLOTS, 10),
    (TPM, 34_800),
    ("global:llm:anthropic:opus:tpm", 75_200),
    (BUCKET, 64),
    ("api:upload:monthly", 412),
    ("api:login:sliding", 30),
    ("tenant:acme:llm:daily_tokens", 640_000),
    ("tenant:globex:llm:daily_tokens", 12_000),
    ("tenant:initech:llm:daily_tokens", 998_500),
]
DENIED = [(SLOTS, 7), ("api:login:sliding", 3), (TPM, 1)]


class Service:
    """A ratelimiterd over the memory ledger, with tokens."""

    def __init__(self, program: Path, folder: Path, states: list[dict[str, Any]] | None = None) -> None:
        self.program, self.folder, self.port = program, folder, free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin = self._token("admin", "read,admin,metrics,reserve")
        self.reader = self._token("reader", "read")
        if states is not None:
            (folder / "registry.json").write_text(json.dumps(states))
        self.start()

    def _token(self, name: str, scopes: str) -> str:
        command = [
            self.program,
            "token",
            "new",
            "--name",
            name,
            "--scope",
            scopes,
            "--write",
            self.folder / "tokens.toml",
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def start(self) -> None:
        settings = {
            "server-backend": "memory",
            "server-listen-addr": f"127.0.0.1:{self.port}",
            "server-drain-ms": "0",
            "auth-tokens-path": self.folder / "tokens.toml",
            "registry-path": self.folder / "registry.json",
        }
        arguments = [str(each) for name, value in settings.items() for each in (f"--{name}", value)]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen([self.program, "serve", *arguments], stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/readyz", timeout=5).close()
                return
            if time.monotonic() > deadline:
                self.stop()
                sys.exit(
                    f"error: no service within {READY_SECONDS_MAX} s:\n{(self.folder / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=15)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {self.admin}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def put(self, definition: dict[str, Any]) -> None:
        self.ask("PUT", "v1/admin/limits", definition)

    def limit(self, key: str) -> Any:
        return self.ask("GET", f"v1/admin/limits/{key}")["limit"]

    def reserve(self, key: str, amount: int) -> None:
        # 26 digits of Crockford's alphabet, the first at most 7.
        lease = f"{time.time_ns():026d}"
        self.ask("POST", "v1/reserve", {"lease_id": lease, "requirements": [{"key": key, "amount": amount}]})


def fill(service: Service) -> None:
    """Defines LIMITS, and uses them."""
    for limit in LIMITS:
        service.put(limit)
    for key, amount in USED:
        service.reserve(key, amount)
    for key, count in DENIED:
        for _ in range(count):
            service.reserve(key, 60_000 if key == TPM else 1)


def many_limits() -> list[dict[str, Any]]:
    """The states of MANY limits, as the registry file has them."""

    def state(number: int) -> dict[str, Any]:
        key = f"tenant:t{number:06d}:model:{number % 7}"
        definition = {"key": key, "kind": "rolling", "capacity": 100, "window_seconds": 60}
        return {"definition": definition, "status": "active", "pending_decrease_to": 0}

    return [state(number) for number in range(MANY)]
