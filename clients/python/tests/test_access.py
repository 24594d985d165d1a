"""Tokens and TLS."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from service import Proxy, Service, program

from ratelimiterd import (
    AsyncLimiter,
    CallRefused,
    Forbidden,
    InvalidRequest,
    Limiter,
    Options,
    OutcomeUnknown,
    RepeatPolicy,
    Unauthorized,
)

LIMIT: dict[str, Any] = {"key": "tenant:acme:slots", "kind": "concurrency", "capacity": 5, "timeout_seconds": 60}
OTHER = {**LIMIT, "key": "tenant:zorg:slots"}
ONCE = RepeatPolicy(give_up_after=0)


def new_token(folder: Path, *flags: str) -> str:
    """Adds a token that may reserve of one tenant."""
    command = [program(), "token", "new", "--scope", "reserve", "--keys", "tenant:acme:*", "--write", "tokens.toml"]
    return subprocess.run([*command, *flags], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Service, str]]:
    """A service that needs a token, and such a token."""
    token = new_token(tmp_path, "--name", "acme")
    with Service(tmp_path, [LIMIT, OTHER], "--auth-tokens-path", "tokens.toml") as service:
        yield service, token


def test_a_token_is_sent_and_never_shown(guarded: tuple[Service, str], tmp_path: Path) -> None:
    service, token = guarded
    (tmp_path / "token").write_text(f"{token}\n")
    for options in (Options(token=token), Options(token_file=tmp_path / "token")):
        assert token not in repr(options)
        with Limiter(service.url, options) as limiter:
            limiter.acquire({LIMIT["key"]: 1}).complete()
            with pytest.raises(Forbidden) as raised:
                limiter.acquire({OTHER["key"]: 1})
            assert (raised.value.name, raised.value.status) == ("forbidden", 403)
            results = limiter.acquire_batch([{LIMIT["key"]: 1}, {OTHER["key"]: 1}])
            assert isinstance(results[1], Forbidden)


def test_a_refused_token_is_an_error_at_once(guarded: tuple[Service, str]) -> None:
    with Proxy(guarded[0].port) as proxy:
        for options in (Options(), Options(token="rl_wrong")):
            with Limiter(proxy.url, options) as limiter, pytest.raises(Unauthorized) as raised:
                limiter.acquire({LIMIT["key"]: 1})
            assert raised.value.status == 401
        assert len(proxy.seen) == 2


def test_a_token_that_expires_is_refused(guarded: tuple[Service, str], tmp_path: Path) -> None:
    service, _ = guarded
    token = new_token(tmp_path, "--name", "brief", "--expires", "3s")
    with Limiter(service.url, Options(token=token)) as limiter:
        deadline = time.monotonic() + 20
        was_granted = False
        while time.monotonic() < deadline:
            try:
                limiter.acquire({LIMIT["key"]: 1}).complete()
                was_granted = True
            except Unauthorized:
                if was_granted:
                    return
            time.sleep(0.1)
    pytest.fail(f"the token did not expire, or was never valid ({was_granted})")


@pytest.mark.parametrize("token", ["", "a b", "a\r\nx: y", "é"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        Limiter("http://127.0.0.1:1", Options(token=token))


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://host"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        Limiter(url)


def test_a_url_may_have_a_path(service: Service) -> None:
    with Limiter(f"{service.url}/limits/") as limiter, pytest.raises(CallRefused, match="no endpoint"):
        limiter.acquire({"test:none": 1})


def test_tls_checks_both_sides(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client.internal")
    files: dict[str, Callable[[str], None]] = {
        "ca.pem": authority.cert_pem.write_to_path,
        "stranger.pem": stranger.cert_pem.write_to_path,
        "server.key": server.private_key_pem.write_to_path,
        "client.key": client.private_key_pem.write_to_path,
        "server.pem": server.cert_chain_pems[0].write_to_path,
        "client.pem": client.cert_chain_pems[0].write_to_path,
    }
    for name, write in files.items():
        write(str(tmp_path / name))
    flags = ["--tls-certificate-path", "server.pem", "--tls-key-path", "server.key", "--tls-client-ca-path", "ca.pem"]
    with Service(tmp_path, [LIMIT], *flags, "--tls-client-certificates", "required") as service:
        url = service.url.replace("http:", "https:")
        pair = (tmp_path / "client.pem", tmp_path / "client.key")
        good = Options(ca_file=tmp_path / "ca.pem", client_certificate=pair, repeat=ONCE)
        with Limiter(url, good) as limiter:
            limiter.acquire({LIMIT["key"]: 1}).complete()

        async def main() -> None:
            async with AsyncLimiter(url, good) as limiter:
                await (await limiter.acquire({LIMIT["key"]: 1})).complete()

        asyncio.run(main())
        for bad in (
            Options(ca_file=tmp_path / "stranger.pem", client_certificate=pair, repeat=ONCE),
            Options(ca_file=tmp_path / "ca.pem", repeat=ONCE),
            Options(client_certificate=pair, repeat=ONCE),
        ):
            with Limiter(url, bad) as limiter, pytest.raises(OutcomeUnknown):
                limiter.acquire({LIMIT["key"]: 1})
