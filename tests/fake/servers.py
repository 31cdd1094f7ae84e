"""Servers that are no use: what listens at an address and does not answer as one should."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Behaviour = Callable[[socket.socket, threading.Event], None]
_PACE = 0.05
_HEAD = b"HTTP/1.1 200 OK\r\nX-Repo-Commit: " + b"0" * 40 + b"\r\nContent-Length: 100000\r\n\r\n"


def never_answers(connection: socket.socket, ended: threading.Event) -> None:
    """Take the connection and stay silent."""
    ended.wait()


def drips_its_header(connection: socket.socket, ended: threading.Event) -> None:
    """Begin an answer, a byte at a time, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    while not ended.wait(_PACE):
        connection.sendall(b"x")


def drips_its_body(connection: socket.socket, ended: threading.Event) -> None:
    """Answer at once, and send the body a byte at a time."""
    connection.sendall(_HEAD)
    while not ended.wait(_PACE):
        connection.sendall(b" ")


def stops_in_its_body(connection: socket.socket, ended: threading.Event) -> None:
    """Answer at once, and send no body."""
    connection.sendall(_HEAD + b"[")
    ended.wait()


BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.__name__: behaviour for behaviour in (never_answers, drips_its_header, drips_its_body, stops_in_its_body)
}


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Give the address of a local server that behaves so to everybody."""
    ended = threading.Event()

    def behave(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            behaviour(connection, ended)

    def accept() -> None:
        with suppress(OSError):
            while not ended.is_set():
                connection, _ = listener.accept()
                threading.Thread(target=behave, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def closed_port() -> Iterator[str]:
    """Give an address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}"
