"""The files of the package import in one direction: the table in ARCHITECTURE.md."""

import re

from service import REPOSITORY

PACKAGE = REPOSITORY / "clients" / "python" / "src" / "ratelimiterd"
ORDER = [
    *("left", "errors", "ulid", "keys", "usage", "prices", "measures", "wants", "protocol", "flow"),
    *("batch", "lease", "http", "background", "client", "aio", "estimate", "llm"),
    *("integrations.outcome", "integrations.langchain", "integrations.litellm", "integrations.openai"),
]


def test_a_file_imports_only_files_above_it() -> None:
    files = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    names = {path: name for path, name in files.items() if not name.endswith("__init__")}
    assert sorted(names.values()) == sorted(ORDER)
    for path, name in names.items():
        folder = name.rpartition(".")[0]
        for dots, target in re.findall(r"^from (\.+)(\w+) import", path.read_text(), re.MULTILINE):
            imported = f"{folder}.{target}" if folder and dots == "." else target
            assert ORDER.index(imported) < ORDER.index(name), f"{name} imports {imported}"
