"""The checks of scripts/test-nginx: starts ratelimiterd and nginx from the files of examples/nginx, and asks nginx."""

import pathlib
import re
import sys
import tempfile

from gateway_checks import Programs, call, eventually

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "nginx"
# The ports in the files of the example.
PORTS = {"http": 8080, "clients": 10000, "echo": 10001}


class World(Programs):
    """The programs, on ports of their own, in a folder of their own."""

    def __init__(self, folder, ratelimiterd, nginx):
        super().__init__(folder, ratelimiterd, PORTS)
        self.nginx = nginx
        for file in EXAMPLE.iterdir():
            text = file.read_text()
            for name, port in PORTS.items():
                text = re.sub(rf"\b{port}\b", str(self.ports[name]), text)
            if file.name == "nginx.conf":
                # The time-outs of the example would strike where a test machine is busy.
                text = re.sub(r"(proxy_\w+_timeout) \d+ms", r"\1 5s", text)
            (self.folder / file.name).write_text(text)

    def start_nginx(self):
        self.start("nginx", self.nginx, "-p", str(self.folder), "-c", "nginx.conf")
        self.await_ready("nginx", "echo", "/")

    def ask(self, tenant, path="/", method="GET", body=None, **headers):
        return call(method, self.ports["clients"], path, body, x_tenant=tenant, **headers)

    def is_limited(self, tenant):
        """Whether ratelimiterd has taken of the limit of a tenant."""
        return call("GET", self.ports["http"], f"/v1/admin/limits/tenant:{tenant}:rpm")[0] == 200


def check_answers(world):
    """Three requests pass, and the fourth is denied."""
    for left in ["2", "1", "0"]:
        status, headers, body = world.ask("acme")
        assert (status, body) == (200, b"hello\n"), (status, headers, body)
        assert headers["RateLimit-Policy"] == '"tenant:acme:rpm";q=3;w=60', headers
        assert headers["RateLimit"] == f'"tenant:acme:rpm";r={left};t=60', headers
        assert "Retry-After" not in headers, headers
    status, headers, _ = world.ask("acme")
    assert status == 429, (status, headers)
    assert int(headers["Retry-After"]) >= 1, headers
    assert headers["RateLimit"] == f'"tenant:acme:rpm";r=0;t={headers["Retry-After"]}', headers
    assert world.ask("another")[0] == 200, "each tenant has a limit of its own"
    assert "unexpected status" not in (world.folder / "nginx.log").read_text(), "a denial is no line in the log"


def check_requests_of_clients(world):
    """A client chooses neither the key nor what ratelimiterd reads."""
    for tenant in ["a?amount=0&x=", "../admin", "x" * 300]:
        world.ask(tenant)
    assert world.ask("")[0] == 429, "all of these share one limit"
    of_page = {"origin": "https://elsewhere.example", "sec_fetch_site": "cross-site", "authorization": "Bearer x"}
    status, headers, body = world.ask("headers", method="POST", body={"a": 1}, **of_page)
    assert (status, body) == (200, b"hello\n"), (status, body)
    assert headers["RateLimit"] == '"tenant:headers:rpm";r=2;t=60', "it was charged"


def check_statuses_of_the_service(world):
    """A 403 of the service itself stays one."""
    status, _, body = world.ask("statuses", "/forbidden")
    assert (status, body) == (403, b"of the service\n"), (status, body)


def check_fails_open(world):
    """Without ratelimiterd, requests pass; when it is back, they are limited again."""
    world.stop("ratelimiterd")
    for method, body in [("GET", None), ("POST", {"a": 1})]:
        assert world.ask("acme", method=method, body=body)[0::2] == (200, b"hello\n"), "nginx fails open"
    world.start_ratelimiterd()
    eventually("the limit is in force again", lambda: world.ask("back")[0] == 429)


def check_unknown_limit(world):
    """A limit that is not defined denies nothing: nginx treats it as a ratelimiterd that is away."""
    assert call("DELETE", world.ports["http"], "/v1/admin/limits/tenant:%7Btenant%7D:rpm")[0] == 200
    assert world.ask("fresh")[0] == 200
    assert not world.is_limited("fresh")


CHECKS = [
    check_answers,
    check_requests_of_clients,
    check_statuses_of_the_service,
    check_fails_open,
    check_unknown_limit,
]


def main():
    with tempfile.TemporaryDirectory(prefix="ratelimiterd-nginx-") as folder:
        world = World(folder, *sys.argv[1:])
        try:
            world.start_ratelimiterd()
            minute = {"kind": "rolling", "capacity": 3, "window_seconds": 60}
            status, _, body = call("PUT", world.ports["http"], "/v1/admin/limits", {"key": "tenant:{tenant}:rpm", **minute})
            assert status == 200, body
            world.start_nginx()
            for check in CHECKS:
                check(world)
                print(f"ok: {check.__doc__}", flush=True)
        except BaseException:
            for log in world.folder.glob("*.log"):
                print(f"== {log.name}\n{log.read_text()[-4000:]}", file=sys.stderr)
            raise
        finally:
            for name, process in world.running.items():
                # The master of nginx ends its workers only where it is asked to end.
                process.terminate() if name == "nginx" else process.kill()
                process.wait()


main()
