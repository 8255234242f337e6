"""Addresses: which are opened at all, and that nobody there can send us elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stream_server import (
    HTTP_OK,
    SECRET,
    Server,
    Visit,
    assert_nothing_secret,
    read,
    transport_stream,
)

from detkit.errors import SourceError, VideoOpenError
from detkit.video import StreamSource

pytestmark = pytest.mark.usefixtures("nothing_secret_is_printed")


@pytest.fixture
def ts(tmp_path: Path) -> bytes:
    return transport_stream(tmp_path)


def hit(canary: Server, handler: Any, scheme: str = "http", **options: Any) -> int:
    """How often the canary was visited; the source may fail, but only with a typed error."""
    with Server(lambda visit: handler(visit, canary)) as server:
        read(StreamSource(server.address(scheme), reconnect=None, **options))
    return canary.num_visits


def redirects(visit: Visit, canary: Server) -> None:
    visit.request()
    visit.send(f"HTTP/1.1 302 Found\r\nLocation: {canary.address()}\r\n\r\n".encode())


def playlist(visit: Visit, canary: Server) -> None:
    visit.request()
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{canary.address(path='/a.ts')}\n"
    text += "#EXT-X-ENDLIST\n"
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n"
    visit.send(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())


def concatenation(visit: Visit, canary: Server) -> None:
    visit.request()
    visit.send(HTTP_OK + f"ffconcat version 1.0\nfile {canary.address()}\n".encode())


def session_description(visit: Visit, canary: Server) -> None:
    visit.request()
    text = f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=video {canary.port} RTP/AVP 33\r\n"
    visit.send(HTTP_OK + text.encode())


@pytest.mark.parametrize("handler", [redirects, playlist, concatenation, session_description])
def test_nobody_sends_us_elsewhere(handler: Any) -> None:
    with Server(lambda visit: None) as canary:
        assert hit(canary, handler) == 0


def test_a_server_that_speaks_rtsp_leads_to_no_other_protocol() -> None:
    def leads_away(visit: Visit, canary: Server) -> None:
        while request := visit.request():
            visit.reply_rtsp(request, "302 Found", f"Location: {canary.address('http')}")

    with Server(lambda visit: None) as canary:
        assert hit(canary, leads_away, "rtsp") == 0


@pytest.mark.parametrize("handler", [redirects, playlist])
def test_unless_it_is_asked_for(handler: Any, ts: bytes) -> None:
    def serves(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK + ts)

    with Server(serves) as canary:
        assert hit(canary, handler, follow=True) > 0


@pytest.mark.parametrize("target", ["file:///etc/hostname", "rtsp://127.0.0.1/", "concat:a|b"])
def test_even_then_only_by_the_same_protocol(target: str, tmp_path: Path) -> None:
    def sends_away(visit: Visit) -> None:
        visit.request()
        visit.send(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n".encode())

    with Server(sends_away) as server:
        _, _, error = read(StreamSource(server.address(), follow=True, reconnect=None))
    assert isinstance(error, VideoOpenError)


@pytest.mark.parametrize("prefix", ["file://", "", "concat:", "subfile,,start,0,end,9999,,:"])
def test_a_playlist_from_the_network_reads_no_file_of_ours(
    prefix: str, tmp_path: Path, ts: bytes
) -> None:
    own = tmp_path / "own.ts"
    own.write_bytes(ts)

    def names_it(visit: Visit) -> None:
        visit.request()
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{prefix}{own}\n#EXT-X-ENDLIST\n"
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n"
        visit.send(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())

    with Server(names_it) as server:
        frames, _, error = read(StreamSource(server.address(), follow=True, reconnect=None))
    assert frames == []
    assert isinstance(error, VideoOpenError)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/a.mp4", "file:///etc/passwd", "udp://@:1234", "tcp://host:1", "rtmp://host/x",
        "data://x", "concat://a|b", "rtsp://", "http:///path", "http://host:notaport/",
        "http://host:99999/", "http://ho st/", "http://host\\@evil/", "http://host/\r\nX: y",
        "http://[::1/", f"rtsp://u:{SECRET}/@host/x", f"rtsp://u:{SECRET}#@host/x",
        f"ftp://u:{SECRET}@host/x", f"http://u:{SECRET}@host\x00/", f"http://h/?p={SECRET} x",
    ],
)  # fmt: skip
def test_strange_addresses_are_refused_before_anything_is_opened(address: str) -> None:
    with pytest.raises(SourceError) as caught:
        StreamSource(address)
    assert_nothing_secret(caught.value)
