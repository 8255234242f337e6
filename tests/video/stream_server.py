"""A server on loopback that behaves as badly as it is told to. No sleeping: it waits for events."""

from __future__ import annotations

import contextlib
import socket
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from video_clips import write_video

from detkit.errors import VideoError
from detkit.video import Frame, SourceEvent, StreamSource

Handler = Callable[["Visit"], None]

SECRET = "hunter2"
USER = f"admin:{SECRET}"
HTTP_OK = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n"


class Visit:
    """One connection that a client made."""

    def __init__(self, server: Server, connection: socket.socket, number: int) -> None:
        self.server = server
        self.connection = connection
        self.number = number

    def request(self) -> str:
        """One request, as far as its empty line; "" at the end."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.connection.recv(4096)
            if not more:
                return ""
            data += more
        return data.decode()

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def stall(self) -> None:
        """Say nothing more until the server is closed."""
        self.server.closing.wait(30)

    def reply_rtsp(self, request: str, status: str, *headers: str, body: str = "") -> None:
        number = next(line for line in request.split("\r\n") if line.lower().startswith("cseq"))
        lines = [f"RTSP/1.0 {status}", number, *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


class Server:
    """Runs `handler` for every visitor, each on a thread of its own. A context manager."""

    def __init__(self, handler: Handler) -> None:
        self.closing = threading.Event()
        self.num_visits = 0
        self._handler = handler
        self._visits: list[Visit] = []
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def address(self, scheme: str = "http", user: str = "", path: str = "/stream") -> str:
        return f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{self.port}{path}"

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            visit = Visit(self, connection, self.num_visits)
            self.num_visits += 1
            self._visits.append(visit)
            thread = threading.Thread(target=self._serve, args=(visit,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, visit: Visit) -> None:
        with contextlib.suppress(OSError):
            self._handler(visit)
        visit.connection.close()

    def close(self) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for visit in list(self._visits):
            with contextlib.suppress(OSError):
                visit.connection.shutdown(socket.SHUT_RDWR)
        for thread in [self._thread, *self._threads]:
            thread.join(10)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def transport_stream(folder: Path, num: int = 30, wh: tuple[int, int] = (64, 48)) -> bytes:
    """An MPEG transport stream of grey pictures, each as bright as its number says."""
    options = {"codec": "mpeg2video"}
    return write_video(folder / f"{num}-{wh[0]}.ts", num, wh=wh, gop=5, **options).read_bytes()


def rtsp_session(visit: Visit, packets: Iterable[bytes]) -> None:
    """Play MPEG-TS over RTSP inside its own connection: RFC 2326, 10.12, and RFC 3550, 5.1."""
    while request := visit.request():
        method = request.split()[0]
        if method == "DESCRIBE":
            session = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=door\r\nt=0 0\r\n"
            session += "m=video 0 RTP/AVP 33\r\na=control:track1\r\n"
            visit.reply_rtsp(request, "200 OK", "Content-Type: application/sdp", body=session)
        elif method == "SETUP":
            transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
            visit.reply_rtsp(request, "200 OK", transport, "Session: 1")
        elif method == "PLAY":
            visit.reply_rtsp(request, "200 OK", "Session: 1")
            for number, packet in enumerate(packets):
                head = bytes([0x80, 33]) + number.to_bytes(2, "big")
                head += (number * 3600).to_bytes(4, "big") + b"\0\0\0\1"
                size = (len(head) + len(packet)).to_bytes(2, "big")
                visit.send(b"$\0" + size + head + packet)
            return
        else:
            visit.reply_rtsp(request, "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY")


def rtp_packets(ts: bytes) -> list[bytes]:
    """A transport stream in pieces of seven of its packets, as is usual."""
    return [ts[at : at + 1316] for at in range(0, len(ts), 1316)]


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def garbage(num_bytes: int = 200_000) -> bytes:
    """Bytes that are no video."""
    return bytes(i * 7919 % 251 for i in range(num_bytes))


def multipart_jpeg(pictures: list[bytes]) -> Iterator[bytes]:
    """What an IP camera sends for "MJPEG"."""
    yield (
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=edge\r\n"
        b"Connection: close\r\n\r\n"
    )
    for picture in pictures:
        head = f"--edge\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        yield head.encode() + picture + b"\r\n"


def read(
    source: StreamSource, most: int | None = None
) -> tuple[list[Frame], list[SourceEvent], Exception | None]:
    """All frames or the first of them, all events and what ended them."""
    frames: list[Frame] = []
    events: list[SourceEvent] = []
    source.on_event = events.append
    try:
        for frame in islice(source, most):
            frames.append(frame)  # noqa: PERF402  an error may come in the middle
    except VideoError as error:
        return frames, events, error
    return frames, events, None


def numbers(frames: list[Frame]) -> list[int]:
    """Which frame of `transport_stream` each of them shows."""
    return [round(float(frame.image.mean()) / 8) for frame in frames]


def assert_nothing_secret(error: BaseException | None, *objects: object) -> None:
    told = [repr(thing) + str(thing) for thing in objects]
    while error is not None:
        told += [str(error), repr(error), *traceback.format_exception(error)]
        assert error.__context__ is error.__cause__
        error = error.__cause__
    assert SECRET not in "".join(told)
