"""What the checks of gateways share: free ports, requests, and waiting."""

import json
import socket
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
