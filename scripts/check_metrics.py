"""Checks alerts, dashboard and /metrics against a real ratelimiterd that a real Prometheus scrapes.

scripts/test-metrics runs it. It starts a service over the memory ledger, one over a TigerBeetle that does not answer
(its metrics exist all the same), and a Prometheus with the alert rules. Then it checks that

- `promtool check metrics` finds nothing to say about /metrics;
- every selector of every alert and of the dashboard matches a series, with its metric and its labels;
- Prometheus evaluates every expression without an error;
- every alert has a test in which it fires, and a line in docs/operate/metrics.md;
- that page has every metric of /metrics, and no other.
"""

import argparse
import contextlib
import functools
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
ALERTS_TEST = DEPLOY / "prometheus" / "alerts_test.yml"
DASHBOARD = DEPLOY / "grafana" / "ratelimiterd.json"
PAGE = DEPLOY.parent / "docs" / "operate" / "metrics.md"
READY_SECONDS_MAX = 30
# What Grafana fills in.
VARIABLES = {"$job": ".*", "$instance": ".*", "$key": ".*", "$__rate_interval": "1m"}
# The limit whose usage is shown.
LIMIT = {"key": "checked", "kind": "rolling", "capacity": 10, "window_seconds": 60}
# The endings of names in the text that OpenMetrics leaves out of TYPE and HELP.
ENDINGS = {"counter": "_total", "info": "_info"}
# The labels of an aggregation or of a join, which look like metrics.
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
# Strings, ranges, numbers and functions are recognized so that they are not taken for selectors.
TOKEN = re.compile(
    r"""
    "(?:[^"\\]|\\.)*" | \[[^\]]*\] | \d[\w.]* | [a-zA-Z_]\w*\s*\(
    | (?P<selector> [a-zA-Z_:][\w:]* (?: \{ (?: [^}"] | "(?:[^"\\]|\\.)*" )* \} )? )
    """,
    re.VERBOSE,
)
OPERATORS = {"and", "or", "unless", "bool", "offset"}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


@contextlib.contextmanager
def running(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is stopped at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def put_limit(port: int) -> None:
    """Defines the limit whose usage is shown."""
    headers = {"content-type": "application/json"}
    url, body = f"http://127.0.0.1:{port}/v1/admin/limits", json.dumps(LIMIT).encode()
    urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT"), timeout=5).close()


def wait_for(what: str, is_there: Callable[[], object], log: Path) -> None:
    """Polls until `is_there()` holds; fails with the end of the log otherwise."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    error: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if is_there():
                return
        except OSError as refused:
            error = refused
        time.sleep(0.1)
    end = log.read_text()[-2000:]
    sys.exit(f"error: {what} within {READY_SECONDS_MAX} s ({error}); the end of its log:\n{end}")


def as_prometheus_text(open_metrics: str) -> str:
    """/metrics as `promtool check metrics` reads it, which knows the older format only.

    There HELP and TYPE have the endings of `ENDINGS`, and an info is a gauge.
    """
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", open_metrics, re.MULTILINE))
    lines = []
    for line in open_metrics.splitlines():
        comment = re.match(r"# (HELP|TYPE) (\S+) (.*)", line)
        if comment:
            word, name, rest = comment.groups()
            kind = "gauge" if types[name] == "info" else types[name]
            line = f"# {word} {name}{ENDINGS.get(types[name], '')} {kind if word == 'TYPE' else rest}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def selectors(expression: str) -> set[str]:
    """The selectors of an expression, without their ranges: `up{job="a"}`."""
    tokens = TOKEN.finditer(GROUPING.sub("", expression))
    return {token["selector"] for token in tokens if token["selector"]} - OPERATORS


def dashboard_expressions() -> list[str]:
    """The expressions of all panels and of the variables, filled in."""
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), *\w+\)", variable["query"]["query"])
            if not match:
                sys.exit(f"error: the variable {variable['name']} is not label_values(SELECTOR, LABEL)")
            expressions.append(match.group(1))
    if not expressions:
        sys.exit("error: the dashboard has no expressions")
    for name, value in VARIABLES.items():
        expressions = [expression.replace(name, value) for expression in expressions]
    return expressions


class Prometheus:
    """The HTTP API of a Prometheus."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1/"

    def ask(self, path: str, **query: str) -> Any:
        try:
            return json.loads(get(f"{self.url}{path}?{urllib.parse.urlencode(query)}"))["data"]
        except urllib.error.HTTPError as error:
            # 503 means that it is still starting.
            if error.code == 503:
                raise
            raise ValueError(error.read().decode()) from error

    def query(self, expression: str) -> list[Any]:
        return list(self.ask("query", query=expression)["result"])

    def alerts(self) -> list[dict[str, Any]]:
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]


def problems_of_expressions(prometheus: Prometheus, alerts: list[dict[str, Any]]) -> list[str]:
    problems = []
    expressions = [("alert " + rule["name"], rule["query"]) for rule in alerts]
    expressions += [("dashboard", expression) for expression in dashboard_expressions()]
    checked = 0
    for where, expression in expressions:
        try:
            prometheus.query(expression)
        except ValueError as error:
            problems.append(f"{where}: {expression}: {error}")
        found = selectors(expression)
        if not found:
            problems.append(f"{where}: {expression}: names no metric")
        for selector in found:
            checked += 1
            if not prometheus.query(f"count({selector})"):
                problems.append(f"{where}: no series matches {selector}")
    print(f"{len(expressions)} expressions with {checked} selectors, {len(problems)} problems")
    return problems


def problems_of_alerts(alerts: list[dict[str, Any]]) -> list[str]:
    """Alerts that Prometheus cannot evaluate, and alerts without a test in which they fire."""
    problems = [f"alert {rule['name']}: {rule['lastError']}" for rule in alerts if rule["health"] != "ok"]
    firing = set(re.findall(r"- alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:\n", ALERTS_TEST.read_text()))
    names = {rule["name"] for rule in alerts}
    problems += [f"alert {name}: no test in which it fires" for name in sorted(names - firing)]
    tested = set(re.findall(r"alertname: (\w+)", ALERTS_TEST.read_text()))
    problems += [f"alerts_test.yml: {name} is no alert" for name in sorted(tested - names)]
    return problems


def problems_of_page(alerts: list[dict[str, Any]], texts: list[str]) -> list[str]:
    """Metrics and alerts that are not on the page, and those on the page that do not exist."""
    page = PAGE.read_text()
    rows = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    types = re.findall(r"^# TYPE (\S+) (\S+)$", "\n".join(texts), re.MULTILINE)
    existing = {name + ENDINGS.get(kind, "") for name, kind in types} | {rule["name"] for rule in alerts}
    described = set(re.findall(r"`(ratelimiterd_\w+|Ratelimiterd\w+)", rows))
    problems = [f"{PAGE.name} does not describe {name}" for name in sorted(existing - described)]
    return problems + [f"{PAGE.name} describes {name}, which does not exist" for name in sorted(described - existing)]


def problems_of_metrics(promtool: Path, text: str) -> list[str]:
    """What promtool says about names and help texts."""
    command = [str(promtool), "check", "metrics"]
    checked = subprocess.run(command, input=as_prometheus_text(text), text=True, capture_output=True)
    if checked.returncode == 0:
        return []
    return (checked.stdout + checked.stderr).splitlines() or [f"promtool check metrics ends with {checked.returncode}"]


def scrape_configuration(ports: list[int]) -> str:
    targets = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    return f"""
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: ["{ALERTS}"]
scrape_configs:
  - job_name: ratelimiterd
    static_configs: [{{ targets: [{targets}] }}]
"""


def check(ratelimiterd: Path, prometheus_dir: Path, folder: Path) -> list[str]:
    memory, tigerbeetle, nobody, port = free_ports(4)
    logs = {name: folder / f"{name}.log" for name in ("memory", "tigerbeetle", "prometheus")}
    (folder / "prometheus.yml").write_text(scrape_configuration([memory, tigerbeetle]))

    def serve(backend: str, port: int, *more: str) -> list[str]:
        # Without a ledger, the usage of the limit takes this time. A scrape must not take longer than its interval, 1 s.
        shown = [f"--metrics-limits={LIMIT['key']}", "--server-request-timeout-ms=300"]
        address, registry = f"--server-listen-addr=127.0.0.1:{port}", f"--registry-path={folder}/{backend}.json"
        return [str(ratelimiterd), "serve", f"--server-backend={backend}", address, registry, *shown, *more]

    files = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    collector = [str(prometheus_dir / "prometheus"), *files, f"--web.listen-address=127.0.0.1:{port}"]
    prometheus = Prometheus(port)
    absent = f"--tigerbeetle-addresses=127.0.0.1:{nobody}"
    with (
        running(serve("memory", memory), logs["memory"]),
        running(serve("tigerbeetle", tigerbeetle, absent), logs["tigerbeetle"]),
    ):
        for backend, service in (("memory", memory), ("tigerbeetle", tigerbeetle)):
            is_there = functools.partial(get, f"http://127.0.0.1:{service}/healthz")
            wait_for(f"ratelimiterd did not serve over {backend}", is_there, logs[backend])
        put_limit(memory)
        texts = [get(f"http://127.0.0.1:{service}/metrics") for service in (memory, tigerbeetle)]
        problems = [problem for text in texts for problem in problems_of_metrics(prometheus_dir / "promtool", text)]
        with running(collector, logs["prometheus"]):
            # Rules have no health before their first evaluation.
            wait_for(
                "Prometheus did not scrape both services and evaluate the rules",
                lambda: (
                    len(prometheus.query('up{job="ratelimiterd"} == 1')) == 2
                    and all(rule["health"] != "unknown" for rule in prometheus.alerts())
                ),
                logs["prometheus"],
            )
            alerts = prometheus.alerts()
            problems += problems_of_alerts(alerts) + problems_of_page(alerts, texts)
            return problems + problems_of_expressions(prometheus, alerts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratelimiterd", type=Path, required=True)
    parser.add_argument("--prometheus-dir", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problems = check(options.ratelimiterd.resolve(), options.prometheus_dir.resolve(), Path(folder))
    if problems:
        sys.exit("\n".join(["error: metrics, alerts and dashboard do not fit:", *problems]))
    print("metrics, alerts and dashboard fit")


if __name__ == "__main__":
    main()
