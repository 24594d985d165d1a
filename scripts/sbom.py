"""Writes the software bill of materials of ratelimiterd as CycloneDX 1.5, from `cargo metadata` and Cargo.lock.

usage: sbom.py TARGET FEATURES

TARGET is the platform, such as x86_64-unknown-linux-musl, FEATURES those of the build, with commas between. The document
goes to standard output. It is the same for the same tree: its serial number is made of its contents.
"""

import json
import subprocess
import sys
import tomllib
import urllib.parse
import uuid


def metadata(target, features):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    command += ["--no-default-features", "--features", features]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def linked(graph):
    """From each package of the program, the packages that it links or that build it. Those of tests are not in it."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    found, waiting = {}, [graph["root"]]
    while waiting:
        package = waiting.pop()
        if package in found:
            continue
        dependencies = nodes[package]["deps"]
        kept = [d["pkg"] for d in dependencies if any(kind["kind"] != "dev" for kind in d["dep_kinds"])]
        found[package] = sorted(kept)
        waiting += kept
    return found


def checksums():
    """The SHA-256 of each package by name and version. Cargo.lock holds them."""
    with open("Cargo.lock", "rb") as lock:
        packages = tomllib.load(lock)["package"]
    return {(p["name"], p["version"]): p["checksum"] for p in packages if "checksum" in p}


def component(package, sums):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{urllib.parse.quote(version)}"
    described = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if package["license"]:
        # Older packages put a slash between two licences.
        expression = " OR ".join(part.strip() for part in package["license"].split("/"))
        described["licenses"] = [{"expression": expression}]
    if (name, version) in sums:
        described["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
    return described


def tigerbeetle(packages):
    """The C client of TigerBeetle, which its package builds with Zig and links statically."""
    for package in packages:
        if package["name"] == "tigerbeetle-unofficial-sys":
            # Its build metadata names the release of TigerBeetle.
            release = package["version"].partition("+")[2]
            ref = f"pkg:github/tigerbeetle/tigerbeetle@{release}"
            yield component(package, {})["bom-ref"], {
                "type": "library", "bom-ref": ref, "name": "tigerbeetle (C client)", "version": release,
                "purl": ref, "licenses": [{"license": {"id": "Apache-2.0"}}],
            }


def document(target, features):
    read = metadata(target, features)
    packages = {package["id"]: package for package in read["packages"]}
    graph, sums = linked(read["resolve"]), checksums()
    components = {ident: component(packages[ident], sums) for ident in graph}
    edges = {components[ident]["bom-ref"]: [components[d]["bom-ref"] for d in graph[ident]] for ident in graph}
    root = components.pop(read["resolve"]["root"])
    listed = list(components.values())
    for owner, client in tigerbeetle([packages[ident] for ident in graph]):
        listed.append(client)
        edges[owner].append(client["bom-ref"])
        edges[client["bom-ref"]] = []
    root |= {"type": "application", "name": "ratelimiterd"}
    properties = [{"name": "ratelimiterd:target", "value": target}, {"name": "ratelimiterd:features", "value": features}]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": root, "properties": properties},
        "components": sorted(listed, key=lambda one: one["bom-ref"]),
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(edges[ref]))} for ref in sorted(edges)],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True))
    return {"serialNumber": f"urn:uuid:{serial}", **bill}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    json.dump(document(*sys.argv[1:]), sys.stdout, indent=1)
    print()
