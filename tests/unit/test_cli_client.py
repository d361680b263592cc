"""The command line's client of admin, against servers that say what a test wants."""

import contextlib
import pwd
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from services.admin.audit.system_user import os_user
from services.cli.client import (
    AdminAwayError,
    Client,
    ClientSettings,
    RefusedByAdminError,
    decoded,
    lines,
)
from services.core.settings import SettingsError, load_settings
from services.local.children import free_port


class Item(msgspec.Struct, frozen=True):
    """What the lists of these tests hold."""

    name: str


class Server(ThreadingHTTPServer):
    """Answers what a test has put into `answers`, in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def client(self, os_user: str = "ada") -> Client:
        settings = ClientSettings(admin_url=f"http://127.0.0.1:{self.server_port}", admin_token="t")
        return Client(settings, os_user)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Any

    def _answer(self) -> None:
        status, body = self.server.answers.pop(0)
        if self.headers.get("Transfer-Encoding"):
            sent = b""
            while size := int(self.rfile.readline(), 16):
                sent += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers, sent))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 -- http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_an_answer_becomes_a_struct(server: Server) -> None:
    server.answers = [(200, b'{"name": "oak"}')]
    with server.client() as client:
        assert client.get(Item, "things", "a/b", state=None, failing=True) == Item("oak")
    method, path, headers, _ = server.asked[0]
    assert (method, path) == ("GET", "/admin/v1/things/a%2Fb?failing=true")
    assert headers["authorization"] == "Bearer t"


@pytest.mark.parametrize(("name", "sent"), [(".", "%2E"), ("..", "%2E%2E"), ("a.b", "a.b")])
def test_a_name_of_dots_is_no_step_to_a_folder(server: Server, name: str, sent: str) -> None:
    server.answers = [(200, b"{}")]
    with server.client() as client:
        client.get(dict[str, str], "stock", name)
    assert server.asked[0][1] == f"/admin/v1/stock/{sent}"


@pytest.mark.parametrize(("user", "sent"), [("ada", "ada"), ("Zo\u00eb", "Zo%C3%AB")])
def test_the_operating_system_user_goes_along(server: Server, user: str, sent: str) -> None:
    server.answers = [(200, b"{}")]
    with server.client(user) as client:
        client.get(dict[str, str], "things")
    assert server.asked[0][2]["x-os-user"] == sent


def test_a_list_is_read_page_by_page_up_to_its_limit(server: Server) -> None:
    page = b'{"items": [{"name": "oak"}], "next_cursor": "abc"}'
    server.answers = [(200, page), (200, page)]
    with server.client() as client:
        found = client.listing(Item, "things", limit=2)
    assert (found.items, found.next_cursor) == ([Item("oak")] * 2, "abc")
    paths = [path for _, path, _, _ in server.asked]
    assert paths == ["/admin/v1/things?limit=2", "/admin/v1/things?limit=1&cursor=abc"]


def test_a_long_list_is_asked_for_in_pages_that_admin_takes(server: Server) -> None:
    server.answers = [(200, b'{"items": [], "next_cursor": null}')]
    with server.client() as client:
        client.listing(Item, "things", limit=1_000)
    assert server.asked[0][1] == "/admin/v1/things?limit=200"


def test_a_refusal_keeps_code_sentence_and_request_id(server: Server) -> None:
    server.answers = [(409, b'{"code": "CONFLICT", "message": "no", "request_id": "r-1"}')]
    with server.client() as client, pytest.raises(RefusedByAdminError) as caught:
        client.post(Item, "things", body={"name": "oak"})
    assert (caught.value.code, caught.value.message) == ("CONFLICT", "no")
    assert caught.value.request_id == "r-1"


@pytest.mark.parametrize("body", [b"<html>", b"{}"])
def test_an_error_of_something_between_has_an_id_too(server: Server, body: bytes) -> None:
    server.answers = [(403, body)]
    with server.client() as client, pytest.raises(RefusedByAdminError) as caught:
        client.get(Item, "things")
    assert caught.value.request_id == server.asked[0][2]["x-request-id"]


def test_503_is_admin_away(server: Server) -> None:
    server.answers = [(503, b'{"code": "SERVICE_UNAVAILABLE", "message": "m", "request_id": "r"}')]
    with server.client() as client, pytest.raises(AdminAwayError):
        client.get(Item, "things")


def test_nobody_at_the_address_is_admin_away() -> None:
    settings = ClientSettings(admin_url=f"http://127.0.0.1:{free_port()}", admin_token="t")
    with Client(settings, "ada") as client, pytest.raises(AdminAwayError, match="can't be reached"):
        client.get(Item, "things")


def test_an_answer_of_another_release_is_one_sentence(server: Server) -> None:
    server.answers = [(200, b'{"title": "oak"}')]
    with server.client() as client, pytest.raises(RefusedByAdminError, match="expects"):
        client.get(Item, "things")


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("http://127.0.0.1:8100", True),
        ("https://admin.example/", True),
        ("http://[::1]:8100", True),
        ("http://admin:port", False),
        ("http://admin:123456", False),
        ("http://[::1", False),
        ("http://user@admin", False),
        ("http://admin/path", False),
    ],
)
def test_an_address_that_no_client_can_call_is_no_setting(url: str, is_one: bool) -> None:
    environment = {"ADMIN_URL": url, "ADMIN_TOKEN": "t"}
    if is_one:
        with Client(load_settings(ClientSettings, environment), "ada"):
            return
    with pytest.raises(SettingsError, match="ADMIN_URL"):
        load_settings(ClientSettings, environment)


def test_a_line_of_another_release_is_one_sentence(server: Server) -> None:
    server.answers = [(200, b'{"title": "oak"}')]
    with (
        server.client() as client,
        client.stream("GET", "things") as answer,
        pytest.raises(RefusedByAdminError, match="expects") as caught,
    ):
        decoded(answer, answer.read(), Item)
    assert caught.value.request_id == server.asked[0][2]["x-request-id"]


def test_a_refused_connection_goes_to_the_next_address(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in compose.yaml, where a name has the addresses of two admins and one restarts."""
    found = socket.getaddrinfo("127.0.0.1", server.server_port, type=socket.SOCK_STREAM)
    (family, kind, protocol, name, _) = found[0]
    away = (family, kind, protocol, name, ("127.0.0.2", server.server_port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [away, *found])
    server.answers = [(200, b'{"name": "oak"}')]
    settings = ClientSettings(admin_url=f"http://admin:{server.server_port}", admin_token="t")
    with Client(settings, "ada") as client:
        assert client.get(Item, "things") == Item("oak")


def test_a_file_is_sent_as_it_is_read_and_lines_as_they_come(server: Server) -> None:
    server.answers = [(200, b'{"a": 1}\n\n{"b": 2}\n{"c": 3}')]
    with (
        server.client() as client,
        client.stream(
            "POST", "things", content=iter([b"x,", b"1"]), content_type="text/csv"
        ) as answer,
    ):
        assert [*lines(answer)] == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']
    assert server.asked[0][3] == b"x,1"


def test_an_answer_that_breaks_off_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def break_off() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")

        thread = threading.Thread(target=break_off)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            contextlib.closing(listener),
            Client(ClientSettings(admin_url=url, admin_token="t"), "ada") as client,
            pytest.raises(AdminAwayError, match="audit log"),
        ):
            client.get(Item, "things")
        thread.join()


@pytest.mark.parametrize(
    ("name", "shown"), [("ada", "ada"), ("a\nb\udcff", "a?b?"), ("x" * 101, "x" * 100)]
)
def test_a_system_user_of_any_name_can_call_admin(
    monkeypatch: pytest.MonkeyPatch, name: str, shown: str
) -> None:
    found = pwd.struct_passwd((name, "x", 1, 1, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: found)
    assert os_user() == shown
