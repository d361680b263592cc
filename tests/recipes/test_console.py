"""The runner of recipes: what a document says is what must happen."""

from pathlib import Path

from tests.recipes.console import commands_of, run, told

DOCUMENT = """
Some text.

```console
$ echo one two  # a remark
one two
$ KEY=$(echo secret)
$ echo "$KEY" &&
>   echo more
sec...
more
$ false # exit 1
```

```sh
not run
```

```console
$ echo "$KEY again"
secret and not so
$ (exit 3) # exit 4
```
"""


def test_commands_share_a_shell_and_are_compared_with_the_document(tmp_path: Path) -> None:
    document = tmp_path / "some.md"
    document.write_text(DOCUMENT)
    commands = commands_of(document)
    run(commands, tmp_path, {}, within=20)
    assert [each.line for each in commands] == [5, 7, 8, 12, 20, 22]
    assert [each.fault is None for each in commands] == [True, True, True, True, False, False]
    words = told(commands, document)
    assert 'some.md:20: $ echo "$KEY again"' in words
    assert "secret again" in words
    assert "exit code 3, not 4" in words
