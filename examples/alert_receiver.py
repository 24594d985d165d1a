#!/usr/bin/env python3
"""Receives the events of crossed thresholds, and prints a line for each.

    python3 examples/alert_receiver.py --secret-file webhook-secret --port 9099

It needs nothing but Python 3.9. Copy `verified` into a receiver of your own. docs/alerts.md describes the events.
"""

import argparse
import hashlib
import hmac
import json
import time
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

# An event that was signed longer ago may be an old one that somebody sends again.
AGE_SECONDS_MAX = 300
# Events are a few hundred bytes long.
BODY_BYTES_MAX = 65_536
# The ids of events that are remembered: an event comes again if its answer was lost.
IDS_MAX = 10_000


def verified(header, body, secret, now_seconds):
    """Whether the body was signed with the secret a short while ago. `header` is x-ratelimiterd-signature."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    signed_at, signature = parts.get("t", ""), parts.get("v1", "")
    if not (signed_at.isascii() and signed_at.isdigit()) or abs(now_seconds - int(signed_at)) > AGE_SECONDS_MAX:
        return False
    expected = hmac.new(secret, signed_at.encode() + b"." + body, hashlib.sha256).hexdigest()
    # In constant time, so that nobody can guess the signature digit by digit.
    return hmac.compare_digest(expected.encode(), signature.encode())


class Seen:
    """The ids of the newest events."""

    def __init__(self):
        self._ids = OrderedDict()
        self._lock = Lock()

    def is_new(self, event_id):
        with self._lock:
            if event_id in self._ids:
                return False
            self._ids[event_id] = None
            if len(self._ids) > IDS_MAX:
                self._ids.popitem(last=False)
            return True


def handler(secret):
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = self.headers.get("content-length", "")
            if not length.isdigit() or int(length) > BODY_BYTES_MAX:
                self.answer(413)
                return
            body = self.rfile.read(int(length))
            if not verified(self.headers.get("x-ratelimiterd-signature", ""), body, secret, time.time()):
                self.answer(401)
                return
            event = json.loads(body)
            if seen.is_new(event["id"]):
                # Hand the event over to a queue or a pager here, before the answer: 2xx says that it is taken.
                print(f"{event['key']} has reached {event['threshold_percent']} %", flush=True)
            self.answer(204)

        def answer(self, status):
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--secret-file", type=Path, required=True)
    parser.add_argument("--port", type=int, default=9099)
    arguments = parser.parse_args()
    secret = arguments.secret_file.read_bytes().rstrip(b"\r\n")
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), handler(secret))
    print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
