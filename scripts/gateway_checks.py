"""What the checks of gateways share: free ports, requests, waiting, and the programs."""

import json
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

READY_SECONDS_MAX = 60


def free_ports(names):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    return dict(zip(names, (one.getsockname()[1] for one in sockets)))


def call(method, port, path, body=None, **headers):
    """Status, headers and body of an answer; 0 if there is none."""
    data = None if body is None else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers["content-type"] = "application/json"
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()
    except OSError as error:
        return 0, {}, str(error).encode()


def eventually(what, holds, program=None):
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not holds():
        assert program is None or program.poll() is None, f"the program ended: {what}"
        assert time.monotonic() < deadline, f"not within {READY_SECONDS_MAX} s: {what}"
        time.sleep(0.05)


class Programs:
    """A ratelimiterd and a gateway, on ports of their own, in a folder of their own."""

    def __init__(self, folder, ratelimiterd, ports):
        self.folder, self.ratelimiterd = pathlib.Path(folder), ratelimiterd
        self.ports = free_ports(ports)
        self.running = {}

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "ab")
        # ratelimiterd refuses variables that look like its settings and are none.
        self.running[name] = subprocess.Popen(command, cwd=self.folder, env={}, stdout=log, stderr=log)

    def stop(self, name):
        process = self.running.pop(name)
        process.terminate()
        assert process.wait(timeout=30) == 0, f"{name} ended with {process.returncode}"

    def start_ratelimiterd(self):
        self.start("ratelimiterd", self.ratelimiterd, "serve", "--config", "ratelimiterd.toml")
        self.await_ready("ratelimiterd", "http", "/readyz")

    def await_ready(self, name, port, path):
        is_ready = lambda: call("GET", self.ports[port], path)[0] == 200
        eventually(f"{name} is ready", is_ready, self.running[name])
