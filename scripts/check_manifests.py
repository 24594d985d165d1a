"""Checks the manifests of deploy/kubernetes: against the schemas of Kubernetes, and against each other.

scripts/test-deploy runs it. The settings that the manifests name are checked by `ratelimiterd check-config`, and by a
service that is started with them and asked what kubelet, callers and Prometheus ask.
"""

import argparse
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import manifest_service
import tomllib
import yaml

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "kubernetes"
# The oldest release of Kubernetes that the manifests are for, and the newest that has schemas.
KUBERNETES_VERSIONS = ["1.29", "1.37"]
# The schemas of these are not part of Kubernetes.
KINDS_OF_OTHERS = {"Kustomization", "ServiceMonitor"}
# How long the service takes at most after drain_ms.
FINISH_SECONDS = 10

Manifest = dict[str, Any]


def manifests() -> list[Manifest]:
    """All objects, without the kustomizations, which must name every file."""
    found: list[Manifest] = []
    for kustomization in FOLDER.rglob("kustomization.yaml"):
        names = yaml.safe_load(kustomization.read_text())["resources"]
        files = {path.name for path in kustomization.parent.glob("*.yaml")} - {kustomization.name}
        if set(names) != files:
            sys.exit(f"error: {kustomization} names {sorted(names)}, and its folder has {sorted(files)}")
        for name in names:
            found += yaml.safe_load_all((kustomization.parent / name).read_text())
    return found


def of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    found = [manifest for manifest in objects if manifest["kind"] == kind]
    if not found:
        sys.exit(f"error: no manifest is a {kind}")
    return found


def schema_problems(objects: list[Manifest]) -> Iterator[str]:
    for manifest in objects:
        if manifest["kind"] in KINDS_OF_OTHERS:
            continue
        for version in KUBERNETES_VERSIONS:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = "/".join(str(step) for step in error.absolute_path)
                yield f"{manifest['kind']} {where}, Kubernetes {version}: {error.message}"


def label_problems(objects: list[Manifest], pod: Manifest) -> Iterator[str]:
    """Selectors that do not match the pods, or the service that they are for."""
    labels = pod["metadata"]["labels"].items()
    selectors = [(manifest, manifest["spec"]["selector"]) for manifest in of_kind(objects, "Service")]
    for kind, field in [
        ("Deployment", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ]:
        selectors += [(manifest, manifest["spec"][field]["matchLabels"]) for manifest in of_kind(objects, kind)]
    for manifest, selector in selectors:
        if not selector.items() <= labels:
            yield f"{manifest['kind']} {manifest['metadata']['name']} does not select the pods"
    for monitor in of_kind(objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        services = [
            service for service in of_kind(objects, "Service") if wanted <= service["metadata"]["labels"].items()
        ]
        if len(services) != 1:
            yield f"the ServiceMonitor selects {len(services)} services, not one"
        elif services[0]["metadata"]["labels"].get(monitor["spec"]["jobLabel"]) != "ratelimiterd":
            yield "the ServiceMonitor does not make the job ratelimiterd, which the alerts expect"
        else:
            ports = {port["name"] for port in services[0]["spec"]["ports"]}
            names = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
            yield from (f"the ServiceMonitor scrapes the unknown port {name}" for name in names - ports)


def port_problems(objects: list[Manifest], container: Manifest, settings: dict[str, Any]) -> Iterator[str]:
    """Ports that nobody listens on."""
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listeners = {int(settings["server"][name].rsplit(":", 1)[1]) for name in ("listen_addr", "admin_listen_addr")}
    if set(ports.values()) != listeners:
        yield f"the container has the ports {ports}, and the settings {listeners}"
    used = {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    for service in of_kind(objects, "Service"):
        used |= {port["targetPort"] for port in service["spec"]["ports"]}
    for policy in of_kind(objects, "NetworkPolicy"):
        opened = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
        if sorted(opened) != sorted(ports):
            yield f"the NetworkPolicy opens the ports {opened}, and the container has {list(ports)}"
    if used != set(ports):
        yield f"services and probes use the ports {used}, and the container has {set(ports)}"


def setting_problems(objects: list[Manifest], pod: Manifest, settings: dict[str, Any]) -> Iterator[str]:
    """Settings that do not fit what surrounds the process."""
    spec, server = pod["spec"], settings["server"]
    if spec["terminationGracePeriodSeconds"] <= server["drain_ms"] / 1000 + FINISH_SECONDS:
        yield "terminationGracePeriodSeconds leaves no time to drain and to finish"
    for service in of_kind(objects, "Service"):
        name = service["metadata"]["name"]
        hosts = {name + end for end in ("", ".ratelimiterd", ".ratelimiterd.svc", ".ratelimiterd.svc.cluster.local")}
        yield from (f"server.allowed_hosts lacks {host}" for host in sorted(hosts - set(server["allowed_hosts"])))
    egress = [rule for policy in of_kind(objects, "NetworkPolicy") for rule in policy["spec"]["egress"]]
    allowed = {
        f"{peer['ipBlock']['cidr'].removesuffix('/32')}:{port['port']}"
        for rule in egress
        for peer in rule["to"]
        if "ipBlock" in peer
        for port in rule["ports"]
    }
    if allowed != set(settings["tigerbeetle"]["addresses"]):
        yield f"the NetworkPolicy lets pods reach {sorted(allowed)}, not tigerbeetle.addresses"
    container = spec["containers"][0]
    volumes = {volume["name"] for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    if set(mounts.values()) != volumes:
        yield f"the container mounts {set(mounts.values())}, and the pod has {volumes}"
    tls = settings["tls"]
    paths = [settings["auth"]["tokens_path"], tls["certificate_path"], tls["key_path"], settings["registry"]["path"]]
    for path in paths:
        if not any(path == mount or path.startswith(mount + "/") for mount in mounts):
            yield f"the settings name {path}, which no volume holds"


def service_problems(ratelimiterd: Path, objects: list[Manifest], container: Manifest) -> Iterator[str]:
    """What goes wrong with a service that has the settings of the container."""
    settings_file = FOLDER / "ratelimiterd.toml"
    hosts = tomllib.loads(settings_file.read_text())["server"]["allowed_hosts"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = {scope: manifest_service.make_token(ratelimiterd, folder, scope) for scope in ("metrics", "read")}
        manifest_service.make_certificate(folder, hosts)
        environment = manifest_service.environment_of(container, settings_file, folder)
        checked = subprocess.run([ratelimiterd, "check-config"], env=environment, text=True, capture_output=True)
        if checked.returncode != 0:
            yield f"ratelimiterd check-config: {checked.stderr.strip()}"
            return
        ports = {port["name"]: free_port() for port in container["ports"]}
        with manifest_service.serving(ratelimiterd, environment, ports):
            manifest_service.wait_until_ready(ports["https"])
            verified = ssl.create_default_context(cafile=folder / "tls.crt")
            yield from probe_problems(container, ports)
            yield from scrape_problems(objects, ports, verified, tokens["metrics"])
            yield from host_problems(hosts, ports, verified, tokens["read"])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def probe_problems(container: Manifest, ports: dict[str, int]) -> Iterator[str]:
    """kubelet connects to an address and checks no certificate."""
    unverified = manifest_service.unverified()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = container[probe]["httpGet"]
        found = manifest_service.status(ports[get["port"]], get["path"], unverified)
        if get["scheme"] != "HTTPS":
            yield f"the {probe} does not speak TLS"
        if found != 200:
            yield f"the {probe} is answered {found}"


def scrape_problems(
    objects: list[Manifest], ports: dict[str, int], verified: ssl.SSLContext, token: str
) -> Iterator[str]:
    """Prometheus connects to an address, checks the certificate for a name, and has a token."""
    authorization = {"authorization": f"Bearer {token}"}
    for monitor in of_kind(objects, "ServiceMonitor"):
        for endpoint in monitor["spec"]["endpoints"]:
            name, path = endpoint["tlsConfig"]["serverName"], endpoint["path"]
            found = manifest_service.status(ports[endpoint["port"]], path, verified, name, authorization)
            if found != 200:
                yield f"Prometheus is answered {found}"
                continue
            if manifest_service.status(ports["https"], path, verified, name, authorization) != 404:
                yield f"callers reach {path}"
            if manifest_service.status(ports[endpoint["port"]], path, verified, name) != 401:
                yield f"everybody may read {path}"


def host_problems(hosts: list[str], ports: dict[str, int], verified: ssl.SSLContext, token: str) -> Iterator[str]:
    """Operators connect by each name of the services."""
    for host in hosts:
        headers = {"host": host, "authorization": f"Bearer {token}"}
        found = manifest_service.status(ports["admin"], "/v1/admin/limits", verified, host, headers)
        if found != 200:
            yield f"a list of limits at {host} is answered {found}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratelimiterd", type=Path, required=True)
    ratelimiterd = parser.parse_args().ratelimiterd.resolve()
    objects = manifests()
    pod = of_kind(objects, "Deployment")[0]["spec"]["template"]
    container = pod["spec"]["containers"][0]
    settings = tomllib.loads((FOLDER / "ratelimiterd.toml").read_text())
    problems = [
        *schema_problems(objects),
        *label_problems(objects, pod),
        *port_problems(objects, container, settings),
        *setting_problems(objects, pod, settings),
        *service_problems(ratelimiterd, objects, container),
    ]
    if problems:
        sys.exit("\n".join(["error: the manifests do not fit:", *problems]))
    print(f"{len(objects)} manifests fit Kubernetes {' and '.join(KUBERNETES_VERSIONS)}, each other and the settings")


if __name__ == "__main__":
    main()
