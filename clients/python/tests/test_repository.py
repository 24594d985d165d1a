"""The first example of each README, the one for users of Redis, and the version."""

import re
from types import SimpleNamespace

import pytest
from calls import reserved
from service import REPOSITORY, Service

from ratelimiterd import Limiter, __version__

DAILY = "tenant:acme:llm:daily_tokens"


@pytest.mark.parametrize("path", ["README.md", "clients/python/README.md"])
def test_the_first_example_works(service: Service, observer: Limiter, path: str) -> None:
    example = re.search(r"```python\n(.*?)```", (REPOSITORY / path).read_text(), re.DOTALL)
    assert example is not None
    before = reserved(observer, DAILY)
    names = {"prompt": "Why?", "ask": lambda prompt: SimpleNamespace(usage=SimpleNamespace(total_tokens=7))}
    exec(example[1].replace("http://127.0.0.1:8080", service.url), names)
    assert reserved(observer, DAILY) == before + 7


def test_the_example_for_users_of_redis_prints_what_its_page_says(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (REPOSITORY / "docs" / "coming-from" / "redis-script.md").read_text()
    code, output = (re.search(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("python", "text"))
    assert code is not None
    assert output is not None
    exec(code[1].replace("http://127.0.0.1:8080", service.url), {})
    assert capsys.readouterr().out == output[1]


def test_the_version_is_that_of_the_service() -> None:
    assert f'\nversion = "{__version__}"\n' in (REPOSITORY / "Cargo.toml").read_text()
