"""The checks of scripts/test-envoy: starts ratelimiterd and Envoy from the files of examples/envoy, and asks Envoy."""

import concurrent.futures
import json
import pathlib
import re
import sys
import tempfile

from gateway_checks import Programs, call, eventually

PROTO = pathlib.Path(__file__).parent.parent / "proto"
EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "envoy"
# The ports in the files of the example.
PORTS = {"http": 8080, "grpc": 8081, "clients": 10000, "echo": 10001, "envoy_admin": 9901}
LOAD_CALLERS, LOAD_REQUESTS = 4, 100
BODY = b"hello, this is 32 bytes of text\n"


class World(Programs):
    """The programs, on ports of their own, in a folder of their own."""

    def __init__(self, folder, ratelimiterd, envoy):
        super().__init__(folder, ratelimiterd, PORTS)
        self.envoy = envoy
        for file in EXAMPLE.iterdir():
            self.copy(file.name)

    def copy(self, name, **replaced):
        text = (EXAMPLE / name).read_text()
        for port in PORTS:
            text = re.sub(rf"\b{PORTS[port]}\b", str(self.ports[port]), text)
        for old, new in replaced.items():
            assert old in text, f"{name} has no {old}"
            text = re.sub(rf"{old}: \S+", f"{old}: {new}", text)
        (self.folder / name).write_text(text)

    def start_envoy(self, **replaced):
        # A time-out of the example would strike where a test machine is busy.
        self.copy("envoy.yaml", **{" timeout": "5s", **replaced})
        self.start("envoy", self.envoy, "-c", "envoy.yaml", "--use-dynamic-base-id", "--log-level", "warn")
        self.await_ready("envoy", "envoy_admin", "/ready")

    def put(self, limit):
        status, _, body = call("PUT", self.ports["http"], "/v1/admin/limits", limit)
        assert status == 200, body

    def ask(self, path, tenant):
        return call("GET", self.ports["clients"], path, x_tenant=tenant)

    def reserved(self, key):
        return self.usage(key)["reserved"]

    def debt(self, key):
        return self.usage(key)["debt"]

    def usage(self, key):
        status, _, body = call("GET", self.ports["http"], f"/v1/admin/limits/{key}")
        return json.loads(body)["limit"]["usage"] if status == 200 else {"reserved": 0, "debt": 0}

    def made(self, tenant):
        """How many limits of tenants with this beginning there are."""
        path = "/v1/admin/limits?template=tenant:%7Btenant%7D:rpm"
        _, _, body = call("GET", self.ports["http"], f"{path}&prefix=tenant:{tenant}")
        return len(json.loads(body)["limits"])

    def access_log(self):
        lines = (self.folder / "envoy.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def check_answers(world):
    """Three requests pass, and the fourth is denied."""
    for left in ["2", "1", "0"]:
        status, headers, body = world.ask("/", "acme")
        assert (status, body) == (200, BODY), (status, headers, body)
        assert headers["x-ratelimit-remaining"] == left, headers
        assert headers["x-ratelimit-limit"] == '3, 3;w=60;name="tenant:acme:rpm"', headers
        assert 1 <= int(headers["x-ratelimit-reset"]) <= 60, headers
    status, headers, _ = world.ask("/", "acme")
    assert status == 429, (status, headers)
    assert headers["x-envoy-ratelimited"] == "true", headers
    assert headers["x-ratelimit-remaining"] == "0", headers
    assert int(headers["retry-after"]) >= 1, headers
    assert world.ask("/", "other")[0] == 200, "each tenant has a limit of its own"
    assert world.ask("/", "x" * 300)[0] == 429, "a long value is no way around the limit"
    assert call("GET", world.ports["clients"], "/")[0] == 200, "Envoy does not ask without the header"


def check_metadata(world):
    """Envoy's access log tells which limit denied."""
    denied = lambda: [line for line in world.access_log() if line["limiting_key"]]
    eventually("Envoy has written its access log", denied)
    assert denied()[0]["status"] == 429 and denied()[0]["limiting_key"] == "tenant:acme:rpm", denied()
    assert denied()[0]["retry_after_ms"] > 0, denied()


def check_charge_at_the_end(world):
    """An answer is charged when it is sent, by its bytes."""
    assert world.ask("/metered", "acme")[0] == 200
    key = "tenant:acme:daily_bytes"
    eventually("the answer is charged", lambda: world.reserved(key) == len(BODY))
    # More than the limit of the day has, and then another answer.
    small = {"key": "tenant:small:daily_bytes", "kind": "fixed_window", "capacity": 40, "window_seconds": 86_400}
    world.put(small)
    for _ in range(2):
        assert world.ask("/metered", "small")[0] == 200
    eventually("the excess is debt", lambda: world.debt(small["key"]) == 2 * len(BODY) - 40)


def make_client(folder):
    """Makes a client from proto/, and adds it to the path of modules."""
    import grpc_tools
    from grpc_tools import protoc

    files = [str(file.relative_to(PROTO)) for file in PROTO.rglob("*.proto")]
    made = folder / "made"
    made.mkdir()
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    paths = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={made}", f"--grpc_python_out={made}"]
    assert protoc.main(["protoc", *paths, *files]) == 0
    sys.path.insert(0, str(made))


def check_kuadrant(world):
    """A client in Python, made from proto/, reserves and commits."""
    import grpc

    make_client(world.folder)
    from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2 as common
    from envoy.service.ratelimit.v3 import rls_pb2 as rls
    from kuadrant.service.ratelimit.v1 import ratelimit_pb2 as messages
    from kuadrant.service.ratelimit.v1 import ratelimit_pb2_grpc as services

    entry = common.RateLimitDescriptor.Entry(key="metered_tenant", value="kuadrant")
    call = {"domain": "edge", "descriptors": [common.RateLimitDescriptor(entries=[entry])]}
    key = "tenant:kuadrant:daily_bytes"
    with grpc.insecure_channel(f"127.0.0.1:{world.ports['grpc']}") as channel:
        stub = services.RateLimitServiceStub(channel)
        reserved = stub.Reserve(messages.ReserveRequest(**call, amount=9_000))
        assert (reserved.code, world.reserved(key)) == (rls.RateLimitResponse.OK, 9_000), reserved
        denied = stub.Reserve(messages.ReserveRequest(**call, amount=1_001))
        assert (denied.code, denied.reservation_id) == (rls.RateLimitResponse.OVER_LIMIT, ""), denied
        commit = messages.CommitRequest(**call, reservation_id=reserved.reservation_id, actual_amount=700)
        for released in [True, False]:
            assert stub.Commit(commit).reservation_released == released
            assert world.reserved(key) == 700


def check_fails_open(world):
    """Without ratelimiterd, requests pass; when it is back, they are limited again."""
    world.stop("ratelimiterd")
    for _ in range(5):
        assert world.ask("/", "acme")[0] == 200, "Envoy fails open"
    world.start_ratelimiterd()
    eventually("the limit is in force again", lambda: world.ask("/", "back")[0] == 429)


def check_killed_under_load(world):
    """When ratelimiterd is killed under load, every request is answered."""

    def ask_many(caller):
        return [world.ask("/", f"load-{caller}-{number}")[0] for number in range(LOAD_REQUESTS)]

    with concurrent.futures.ThreadPoolExecutor(LOAD_CALLERS) as pool:
        answers = [pool.submit(ask_many, caller) for caller in range(LOAD_CALLERS)]
        eventually("the load is under way", lambda: world.made("load") > 0)
        killed = world.running.pop("ratelimiterd")
        killed.kill()
        killed.wait()
        statuses = {status for answer in answers for status in answer.result()}
    assert statuses == {200}, statuses
    world.start_ratelimiterd()


def check_fails_closed(world):
    """With failure_mode_deny, requests are denied without ratelimiterd."""
    world.stop("envoy")
    world.start_envoy(failure_mode_deny="true")
    eventually("Envoy asks ratelimiterd", lambda: world.ask("/", "closed")[0] == 200)
    world.stop("ratelimiterd")
    assert world.ask("/", "closed")[0] == 500, "Envoy fails closed"


CHECKS = [
    check_answers,
    check_metadata,
    check_charge_at_the_end,
    check_kuadrant,
    check_fails_open,
    check_killed_under_load,
    check_fails_closed,
]


def measure_load(address, seconds):
    """Measures the service at an address of gRPC, or else one with counters in memory that it starts."""
    import envoy_load

    with tempfile.TemporaryDirectory(prefix="ratelimiterd-envoy-") as folder:
        make_client(pathlib.Path(folder))
        from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2 as common
        from envoy.service.ratelimit.v3 import rls_pb2 as rls

        if address:
            return envoy_load.report(address, seconds, rls, common)
        world = World(folder, *sys.argv[1:3])
        try:
            world.start_ratelimiterd()
            world.put({"key": "tenant:{tenant}:rpm", "kind": "rolling", "capacity": 1_000_000, "window_seconds": 60})
            envoy_load.report(f"127.0.0.1:{world.ports['grpc']}", seconds, rls, common)
        finally:
            world.running.pop("ratelimiterd").kill()


def main():
    if len(sys.argv) > 3:
        _, _, _, seconds, *address = sys.argv
        return measure_load("".join(address), float(seconds))
    with tempfile.TemporaryDirectory(prefix="ratelimiterd-envoy-") as folder:
        world = World(folder, *sys.argv[1:])
        try:
            world.start_ratelimiterd()
            minute = {"kind": "rolling", "capacity": 3, "window_seconds": 60}
            world.put({"key": "tenant:{tenant}:rpm", **minute})
            day = {"kind": "fixed_window", "capacity": 10_000, "window_seconds": 86_400}
            world.put({"key": "tenant:{tenant}:daily_bytes", **day})
            world.start_envoy()
            for check in CHECKS:
                check(world)
                print(f"ok: {check.__doc__}", flush=True)
        except BaseException:
            for log in world.folder.glob("*.log"):
                print(f"== {log.name}\n{log.read_text()[-4000:]}", file=sys.stderr)
            raise
        finally:
            for process in world.running.values():
                process.kill()
                process.wait()


main()
