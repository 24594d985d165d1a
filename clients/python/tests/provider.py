"""A fake provider that speaks OpenAI's API for chat completions."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Provider:
    """Answers each prompt with `pieces` words. `status` other than 200 is an error."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.status = 200
        self.pieces = 3
        self.total_tokens = 42
        self.cached_tokens = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.requests.append(body)
                content_type, answer = provider.answer(body)
                self.send_response(provider.status)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> tuple[str, bytes]:
        """The content type and the body of an answer."""
        if self.status != 200:
            return "application/json", b'{"error":{"message":"why"}}'
        common = {"id": "1", "created": 1, "model": body["model"]}
        usage = {
            "prompt_tokens": 1,
            "completion_tokens": self.total_tokens - 1,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }
        if not body.get("stream"):
            message = {"role": "assistant", "content": "word " * self.pieces}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            answer = {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
            return "application/json", json.dumps(answer).encode()
        choice = {"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": "word "}}
        chunks: list[dict[str, Any]] = [{"choices": [choice]}] * self.pieces
        if (body.get("stream_options") or {}).get("include_usage"):
            chunks = [*chunks, {"choices": [], "usage": usage}]
        events = [json.dumps({**common, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
        return "text/event-stream", "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()

    def __enter__(self) -> "Provider":
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
