"""Fixtures: a service for all tests, limits of its own for each test, and limiters."""

import itertools
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from calls import QUICK, Call, DefineLimit
from service import REPOSITORY, Proxy, Service, program

from ratelimiterd import Limiter


def pytest_sessionstart() -> None:
    try:
        program()
    except FileNotFoundError as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    examples = json.loads((REPOSITORY / "examples" / "limits.json").read_text())
    with Service(tmp_path_factory.mktemp("service"), [limit["definition"] for limit in examples]) as service:
        yield service


@pytest.fixture
def proxy(service: Service) -> Iterator[Proxy]:
    with Proxy(service.port) as proxy:
        yield proxy


@pytest.fixture
def limiter(proxy: Proxy) -> Iterator[Limiter]:
    """A limiter that asks through the proxy."""
    with Limiter(proxy.url, QUICK) as limiter:
        yield limiter


_numbers = itertools.count()


@pytest.fixture
def define(service: Service) -> DefineLimit:
    """Defines a limit of a fresh key, and returns the key."""

    def define(kind: str, capacity: int, key: str | None = None, **fields: Any) -> str:
        key = key or f"test:{next(_numbers)}"
        times = {"window_seconds": 3600} if kind == "rolling" else {"timeout_seconds": 3600}
        body = {"key": key, "kind": kind, "capacity": capacity, **times, **fields}
        request = urllib.request.Request(
            f"{service.url}/v1/admin/limits",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
            method="PUT",
        )
        with urllib.request.urlopen(request) as response:
            assert json.load(response)["ok"]
        return key

    return define


@pytest.fixture
def limited(define: DefineLimit) -> Call:
    return Call(define)


@pytest.fixture
def observer(service: Service) -> Iterator[Limiter]:
    """A limiter that asks the service directly, to see what is reserved."""
    with Limiter(service.url) as limiter:
        yield limiter
