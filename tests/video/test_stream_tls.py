"""Encrypted streams: certificates are checked unless told otherwise, and a bad one is an error."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from stopwatch import Stopwatch
from stream_server import (
    HTTP_OK,
    USER,
    Handler,
    Server,
    Visit,
    assert_nothing_secret,
    read,
    transport_stream,
)

from detkit.errors import VideoOpenError
from detkit.video import StreamSource

pytestmark = [
    pytest.mark.usefixtures("nothing_secret_is_printed"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl"),
]

# Opening and reading have 2 s each.
BOUND_S = 5.0


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a certificate that nobody signed, with its key in the same file, for a host."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(host: str) -> Path:
        path = folder / f"{host.replace(':', '-')}.pem"
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            f"-subj /CN=test -addext subjectAltName={host} -keyout {path}.key -out {path}.crt"
        )
        subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
        path.write_bytes(Path(f"{path}.key").read_bytes() + Path(f"{path}.crt").read_bytes())
        return path

    return make


def encrypted(certificate: Path, handler: Handler) -> Handler:
    def serve(visit: Visit) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        visit.connection = context.wrap_socket(visit.connection, server_side=True)
        handler(visit)

    return serve


def sends(ts: bytes) -> Handler:
    def serve(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK + ts)

    return serve


@pytest.mark.parametrize("scheme", ["https", "rtsps"])
def test_a_certificate_that_nobody_signed_is_refused(
    certificate: Callable[[str], Path], scheme: str
) -> None:
    requests: list[str] = []
    hears = encrypted(certificate("IP:127.0.0.1"), lambda visit: requests.append(visit.request()))
    with Server(hears) as server:
        watch = Stopwatch()
        source = StreamSource(server.address(scheme, USER))
        frames, events, error = read(source)
        assert watch.elapsed_s < BOUND_S
    assert isinstance(error, VideoOpenError)
    assert "certificate" in str(error)
    assert (frames, events, "".join(requests)) == ([], [], "")  # no password was sent
    assert_nothing_secret(error, source)


def test_one_that_the_system_trusts_is_taken(
    certificate: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = certificate("IP:127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", f"{trusted}.crt")
    with Server(encrypted(trusted, sends(transport_stream(tmp_path)))) as server:
        frames, _, _ = read(StreamSource(server.address("https"), reconnect=None))
    assert len(frames) == 30


def test_one_of_another_host_is_refused_though_trusted(
    certificate: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = certificate("DNS:camera.example")
    monkeypatch.setenv("SSL_CERT_FILE", f"{other}.crt")
    with Server(encrypted(other, sends(transport_stream(tmp_path)))) as server:
        frames, _, error = read(StreamSource(server.address("https"), reconnect=None))
    assert frames == []
    assert isinstance(error, VideoOpenError)


def test_checking_can_be_switched_off(certificate: Callable[[str], Path], tmp_path: Path) -> None:
    own = certificate("DNS:camera.example")
    with Server(encrypted(own, sends(transport_stream(tmp_path)))) as server:
        source = StreamSource(server.address("https"), verify_tls=False, reconnect=None)
        frames, _, _ = read(source)
    assert len(frames) == 30


@pytest.mark.parametrize("scheme", ["https", "rtsps"])
def test_a_server_that_never_shakes_hands(scheme: str) -> None:
    with Server(Visit.stall) as server:
        watch = Stopwatch()
        _, _, error = read(StreamSource(server.address(scheme)))
        assert watch.elapsed_s < BOUND_S
    assert isinstance(error, VideoOpenError)
    assert "no answer in time" in str(error)
