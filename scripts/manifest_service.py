"""Starts a service with the settings of deploy/kubernetes, over the memory ledger, and asks it what Kubernetes and
Prometheus ask. scripts/check_manifests.py uses it."""

import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Manifest = dict[str, Any]

READY_SECONDS_MAX = 20


def make_certificate(folder: Path, names: list[str]) -> None:
    """tls.crt and tls.key, for these names."""
    names_of = "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=ratelimiterd", "-addext", names_of, *files]
    subprocess.run(command, check=True, capture_output=True)


def make_token(ratelimiterd: Path, folder: Path, scope: str) -> str:
    """A token in tokens.toml."""
    command = [str(ratelimiterd), "token", "new", "--name", scope, "--scope", scope]
    command += ["--write", str(folder / "tokens.toml")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def environment_of(container: Manifest, settings_file: Path, folder: Path) -> dict[str, str]:
    """The variables of the container, with the volumes in `folder`."""
    environment = {"PATH": os.environ["PATH"]} | {each["name"]: each["value"] for each in container["env"]}
    return environment | {
        "RATELIMITERD_CONFIG": str(settings_file),
        "RATELIMITERD_AUTH_TOKENS_PATH": str(folder / "tokens.toml"),
        "RATELIMITERD_TLS_CERTIFICATE_PATH": str(folder / "tls.crt"),
        "RATELIMITERD_TLS_KEY_PATH": str(folder / "tls.key"),
        "RATELIMITERD_REGISTRY_PATH": str(folder / "registry.json"),
    }


@contextlib.contextmanager
def serving(ratelimiterd: Path, environment: dict[str, str], ports: dict[str, int]) -> Iterator[None]:
    """The service, with its ports on the loopback address."""
    over = {
        "RATELIMITERD_SERVER_BACKEND": "memory",
        "RATELIMITERD_SERVER_LISTEN_ADDR": f"127.0.0.1:{ports['https']}",
        "RATELIMITERD_SERVER_ADMIN_LISTEN_ADDR": f"127.0.0.1:{ports['admin']}",
        "RATELIMITERD_SERVER_DRAIN_MS": "0",
    }
    process = subprocess.Popen([ratelimiterd, "serve"], env=environment | over, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=15)


def unverified() -> ssl.SSLContext:
    """TLS as kubelet speaks it for probes: it checks no certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def status(
    port: int, path: str, context: ssl.SSLContext, name: str | None = None, headers: dict[str, str] | None = None
) -> int | str:
    """The status of the answer to a GET, or why the certificate is not trusted.

    `name` is the server name of TLS. The Host is an address, unless it is one of the headers.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        try:
            stream = context.wrap_socket(connection, server_hostname=name)
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        with stream:
            client = http.client.HTTPConnection("127.0.0.1", port)
            client.sock = stream
            client.request("GET", path, headers=headers or {})
            return client.getresponse().status


def wait_until_ready(port: int) -> None:
    """Fails if the service is not ready in time."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        with contextlib.suppress(OSError):
            if status(port, "/readyz", unverified()) == 200:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the service was not ready within {READY_SECONDS_MAX} s")
        time.sleep(0.05)
