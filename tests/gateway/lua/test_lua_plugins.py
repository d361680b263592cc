"""The Lua plugins, in LuaJIT out of a wheel and, where it is there, in Debian's."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lupa import luajit21

from services.core.errors import STATUS_OF, ErrorCode
from services.core.headers import API_KEY, REQUEST_ID
from services.local.gateway.plugins import error_envelope
from services.policy import schema
from services.policy.render import SUSPENDED_TAG

REPOSITORY = Path(__file__).parents[3]
PLUGINS = REPOSITORY / "gateway" / "plugins"
CASES = REPOSITORY / "tests" / "gateway" / "lua" / "plugins_test.lua"
AT_LEAST = 79  # cases; fewer means that the file ended early


@pytest.fixture(scope="module")
def lua() -> Any:  # noqa: ANN401 -- lupa has no types
    runtime = luajit21.LuaRuntime()
    runtime.globals().ROOT = str(REPOSITORY)
    return runtime


def test_every_case_passes_in_the_wheels_luajit(lua: Any) -> None:  # noqa: ANN401
    results = [(row[1], row[2]) for row in lua.execute(CASES.read_text()).values()]
    assert [row for row in results if row[1]] == []
    assert len(results) >= AT_LEAST


@pytest.mark.needs("luajit")
def test_every_case_passes_and_every_file_compiles_in_debians_luajit() -> None:
    for file in PLUGINS.rglob("*.lua"):
        compiled = subprocess.run(
            ["luajit", "-b", str(file), "/dev/null"], capture_output=True, text=True, check=False
        )
        assert compiled.returncode == 0, compiled.stderr
    ran = subprocess.run(
        ["luajit", str(CASES)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.search(r"^(\d+) passed, 0 failed$", ran.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= AT_LEAST


def test_a_broken_plugin_fails_its_cases(lua: Any) -> None:  # noqa: ANN401
    lua.globals().ANSWERS = str(PLUGINS / "kong/plugins/error-envelope/answers.lua")
    lua.execute(
        'package.loaded["kong.plugins.error-envelope.answers"] = nil\n'
        'package.preload["kong.plugins.error-envelope.answers"] = function()\n'
        "  local broken = dofile(ANSWERS)\n"
        "  broken.status_instead = {}\n"
        "  return broken\n"
        "end"
    )
    failed = [row[1] for row in lua.execute(CASES.read_text()).values() if row[2]]
    lua.execute('package.preload["kong.plugins.error-envelope.answers"] = nil')
    assert failed == [
        "a form of HTTP that is not supported is the caller's fault: 400, and what is wrong",
        "a client that waits for 100-continue is told 413, not 417",
    ]


def lua_answers(lua: Any) -> Any:  # noqa: ANN401
    return lua.execute((PLUGINS / "kong/plugins/error-envelope/answers.lua").read_text())


def test_lua_and_python_answer_alike(lua: Any) -> None:  # noqa: ANN401
    answers = lua_answers(lua)
    in_lua = {status: (row[1], row[2]) for status, row in answers.by_status.items()}
    assert in_lua == {s: (str(code), text) for s, (code, text) in error_envelope.ANSWERS.items()}
    assert dict(answers.status_instead.items()) == error_envelope.STATUS_INSTEAD
    assert answers.SUSPENDED_TAG == SUSPENDED_TAG
    assert tuple(answers.SUSPENDED.values()) == error_envelope.SUSPENDED
    assert answers.NO_KEY == error_envelope.NO_KEY_MESSAGE
    assert answers.UNKNOWN_KEY == error_envelope.UNKNOWN_KEY_MESSAGE
    assert answers.SEVERAL_KEYS == error_envelope.SEVERAL_KEYS_MESSAGE


def test_the_gateways_codes_are_the_kernels(lua: Any) -> None:  # noqa: ANN401
    answers = lua_answers(lua)
    for status, row in [*answers.by_status.items(), (403, answers.SUSPENDED)]:
        assert STATUS_OF[ErrorCode(row[1])] == (answers.status_instead[status] or status)


@pytest.mark.parametrize("plugin", ["error-envelope", "backend-token"])
def test_the_table_has_a_plugin_at_the_place_of_its_handler(lua: Any, plugin: str) -> None:  # noqa: ANN401
    lua.execute(CASES.read_text())  # leaves the stub's kong and the plugins' path behind
    handler = lua.eval(f'require("kong.plugins.{plugin}.handler")')
    assert schema.PLUGINS[plugin].priority == handler.PRIORITY


def test_an_error_gets_its_envelope_whichever_plugin_ends_the_request() -> None:
    """In Kong only a plugin whose turn has come shapes what nginx answers."""
    own = schema.PLUGINS["error-envelope"].priority
    before = {name for name, plugin in schema.PLUGINS.items() if plugin.priority > own}
    assert before == {"correlation-id"}


@pytest.mark.parametrize("plugin", ["error-envelope", "backend-token"])
def test_the_table_has_the_fields_of_a_plugins_own_schema(lua: Any, plugin: str) -> None:  # noqa: ANN401
    lua.execute(CASES.read_text())
    own = lua.eval(f'require("kong.plugins.{plugin}.schema")')
    config = next(row.config for row in own.fields.values() if row.config)
    fields = {
        name: (field.type, bool(field.required))
        for row in config.fields.values()
        for name, field in row.items()
    }
    assert fields == {
        name: ({str: "string", list: "array"}[field.kind], field.required)
        for name, field in schema.PLUGINS[plugin].fields.items()
    }


def test_the_plugins_spell_the_headers_as_the_kernel_does() -> None:
    handler = (PLUGINS / "kong/plugins/error-envelope/handler.lua").read_text()
    assert f'"{API_KEY}"' in handler
    assert f'"{REQUEST_ID}"' in handler
