"""The Spring sample of docs/partner/samples: it can't be run here, as Spring can't be had."""

import re
from pathlib import Path

import pytest

from tests.samples.languages import SAMPLES, compiled

pytestmark = pytest.mark.long

FOLDER = SAMPLES / "spring"
IMPORT = re.compile(r"^import ([\w.]+)\.(\w+);$", re.MULTILINE)
ERROR = re.compile(r": compiler\.err\.([\w.]+): (.*)$", re.MULTILINE)
FOREIGN = ("org.springframework", "com.fasterxml", "org.slf4j")


@pytest.mark.needs("java", "javac")
def test_the_spring_sample_is_parsed_and_type_checked_but_not_run(
    java_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The compiler may complain of what is Spring's, Jackson's and SLF4J's, and of nothing else.

    So our own types, such as SignatureCheck, are used as they are; Spring's may be used wrongly.
    """
    sources = sorted(FOLDER.glob("*.java"))
    goes_on = "-XDshould-stop.ifError=FLOW"  # to types, though imports are missing
    raw = ("-proc:none", "-XDrawDiagnostics", goes_on, "-Xmaxerrs", "1000")
    folders = ("-cp", str(java_classes), "-d", str(tmp_path))
    done = compiled(*raw, *folders, *map(str, sources))
    imports = {
        (package, name)
        for source in sources
        for package, name in IMPORT.findall(source.read_text("utf-8"))
        if package.startswith(FOREIGN)
    }
    packages, names = {each[0] for each in imports}, {each[1] for each in imports}
    found = ERROR.findall(done.stderr)
    assert len(found) >= len(imports), done.stderr
    for kind, what in found:
        if kind == "doesnt.exist":
            assert what in packages | names, done.stderr
        else:
            assert kind.startswith("cant.resolve"), done.stderr
            assert what.split(", ")[1] in names, done.stderr
    with capsys.disabled():
        print(
            f"\nNOT RUN: docs/partner/samples/spring: {len(sources)} files parsed and type-checked"
        )
