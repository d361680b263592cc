"""Lines to standard output: nobody waits for their reader, and what is lost is said."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator

import pytest
from structlog.testing import capture_logs

from services.core.log_writer import LOST, LogWriter
from services.core.metrics import exposition, make_registry
from tools.waiting import wait_for

LINE = "x" * 999 + "\n"
PIPE = 64 * 1024  # bytes that Linux keeps for a reader


@pytest.fixture
def pipe() -> Generator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for each in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(each)


def lost() -> float:
    return next(sample.value for sample in next(iter(LOST.collect())).samples)


def test_what_nobody_reads_waits_then_is_dropped_and_counted(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    before = lost()
    writer = LogWriter(writing, most=10 * len(LINE))
    written = 200
    with capture_logs() as logs:
        for _ in range(written):
            writer.write(LINE)  # returns, though nobody reads
        dropped = int(lost() - before)
        assert 0 < dropped <= written - 10
        read = bytearray()
        kept = (written - dropped) * len(LINE)
        while len(read) < kept:
            read += os.read(reading, PIPE)
        wait_for(lambda: bool(logs), "a line about those that were lost")
    assert read == LINE.encode() * (written - dropped)
    assert [(each["event"], each["lines"]) for each in logs] == [("log.lines_lost", dropped)]
    assert f"log_lines_lost_total {lost()}" in exposition(make_registry()).decode()


def test_a_pipe_that_another_process_made_non_blocking_loses_no_line(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    before = lost()
    writer = LogWriter(writing)
    text = LINE * 200
    writer.write(text)
    read = bytearray()
    while len(read) < len(text):
        read += os.read(reading, PIPE)
    assert read == text.encode()
    assert lost() == before


def test_only_lines_that_were_not_written_count_as_lost(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    before = lost()
    writer = LogWriter(writing)
    writer.write(LINE * 200)
    read = bytearray()
    while len(read) < 100 * len(LINE):
        read += os.read(reading, PIPE)
    os.close(reading)
    wait_for(lambda: lost() > before, "lost lines")
    assert lost() - before <= 100


def test_lines_of_several_threads_stay_whole(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LogWriter(writing)
    lines = [f"{number} " + "x" * 500 + "\n" for number in range(8)]
    threads = [
        threading.Thread(target=lambda line=line: [writer.write(line) for _ in range(50)])
        for line in lines
    ]
    for each in threads:
        each.start()
    with os.fdopen(os.dup(reading), "r") as output:
        read = [output.readline() for _ in range(len(lines) * 50)]
    for each in threads:
        each.join()
    assert sorted(read) == sorted(lines * 50)


def test_a_reader_that_has_gone_ends_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    before = lost()
    writer = LogWriter(writing)
    for number in (1, 2):
        writer.write(LINE)
        wait_for(lambda number=number: lost() == before + number, "the lost line")


def test_the_last_lines_of_a_process_are_written() -> None:
    program = (
        "import structlog; from services.core.logs import LogFormat, configure_logs\n"
        "configure_logs(LogFormat.JSON, service='s', environment='live')\n"
        "for number in range(1000): structlog.get_logger().info('said', number=number)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    said = [json.loads(line)["number"] for line in done.stdout.splitlines()]
    assert said == list(range(1000))
