"""`StreamSource`: a camera or video at an address, over RTSP or HTTP.

Owns which addresses are opened, for how long anything is waited for, and that no password leaves
this file. Knows PyAV; how a lost stream is found again is its base's business.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

from detkit.addresses import without_credentials
from detkit.errors import SourceError, VideoOpenError
from detkit.video.decoded_picture import DecodedPicture
from detkit.video.decoding import (
    CONTAINERS,
    Decoder,
    choose_stream,
    duration_seconds,
    pts_seconds,
    reason,
)
from detkit.video.live import LiveSource, Reconnect

# What FFmpeg may speak once an address of this kind is open: nothing that reads files, and no
# other kind of address.
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,tcp",
    "rtsps": "rtsp,rtp,tls,tcp",
    "http": "http,tcp",
    "https": "https,tls,tcp",
}
SCHEMES = tuple(_PROTOCOLS)
_ADDRESS = re.compile(r"\s*([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
# RFC 3986 has none of these in an address, and programs differ in what host they then see.
_FOREIGN = re.compile(r"[\x00-\x20\x7f\\<>\"^`{|}]")
# One second of a stream tells what is in it; the usual five outlast the time-out.
_ANALYSE_MICROSECONDS = "1000000"
# What FFmpeg says when its time-out ends a read, and when a body of unknown length is over.
_END = {
    "Immediate exit requested": "no more data within the time-out",
    "Input/output error": "the connection ended",
}


def is_address(text: str) -> bool:
    """Whether a text is meant as an address and not as a file: it begins with `scheme://`."""
    return _ADDRESS.match(text) is not None


class StreamSource(LiveSource):
    """A camera or video at an address. RTSP goes over TCP, so that no frame is half lost.

    What the user names is opened, wherever it is; what the other side names is not: redirects
    and playlists are refused unless `follow` allows them, files and other protocols always. (An
    RTSP server may still answer with another RTSP address.) Times are the stream's own.

    Args:
        address: rtsp, rtsps, http or https. A user and password may be in it; they are shown
            nowhere and sent to that host, and to another that an RTSP server names in its place.
        open_timeout_s: Longest wait until it is open.
        read_timeout_s: Longest wait for more data before the stream counts as lost.
        follow: Go where an HTTP redirect or an HLS playlist points, by the same protocol.
        verify_tls: Refuse hosts whose certificate the system does not trust, or that is another
            host's. The file that SSL_CERT_FILE names, if it is set, is what is trusted.
        reconnect: How a lost stream is opened again; `None` to end there.

    Raises:
        SourceError: If the address has another scheme, no host or strange characters.
        VideoOpenError: While iterating, if it cannot be opened at first.
        StreamLostError: While iterating, if it broke off and stays away.

    Example:
        >>> StreamSource("rtsp://admin:secret@10.0.0.7/door")
        <StreamSource 'rtsp://***@10.0.0.7/door', 0 frames read>
    """

    def __init__(
        self,
        address: str,
        *,
        open_timeout_s: float = 2.0,
        read_timeout_s: float = 2.0,
        follow: bool = False,
        verify_tls: bool = True,
        reconnect: Reconnect | None = Reconnect(),  # noqa: B008  frozen
    ) -> None:
        super().__init__(without_credentials(address.strip()), reconnect=reconnect)
        self._address = address.strip()
        scheme = _check(self._address, self.source_id)
        self._timeouts = (float(open_timeout_s), float(read_timeout_s))
        self._options = {
            "protocol_whitelist": _PROTOCOLS[scheme],
            "format_whitelist": f"{CONTAINERS},rtsp,rtp,mpjpeg",
            "analyzeduration": _ANALYSE_MICROSECONDS,
            "fpsprobesize": "0",
        }
        if scheme.startswith("rtsp"):
            self._options["rtsp_transport"] = "tcp"
        elif follow:
            self._options["format_whitelist"] += ",hls"
        else:
            self._options["max_redirects"] = "0"
        if scheme in ("rtsps", "https"):
            self._options["tls_verify"] = str(int(verify_tls))
            authorities = ssl.get_default_verify_paths().cafile
            if verify_tls and authorities:
                self._options["ca_file"] = authorities

    def connect(self) -> StreamConnection:
        """See `LiveSource.connect`."""
        import av

        started = time.monotonic()
        try:
            container = av.open(
                self._address, timeout=self._timeouts, container_options=self._options
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            is_late = time.monotonic() - started >= self._timeouts[0]
            why = _explain(error, is_late, is_encrypted="tls_verify" in self._options)
        else:
            stream = choose_stream(container, is_live=True)
            if stream is not None:
                return StreamConnection(container, stream, self._timeouts[1])
            container.close()
            why = "it holds no video, only sound or data"
        # Out here no error hangs on to FFmpeg's, which names the address with its password.
        raise VideoOpenError(f"{self.source_id}: cannot be opened: {why}")


class StreamConnection:
    """See `Connection`."""

    def __init__(self, container: Any, stream: Any, read_timeout_s: float) -> None:
        self._container = container
        self._decoder = Decoder(container, stream, read_timeout_s=read_timeout_s)
        rate = stream.average_rate or stream.guessed_rate
        self.fps = Fraction(rate) if rate else None
        self.end = ""
        self.is_finite = duration_seconds(container, stream) is not None
        self.expected_frames = int(stream.frames) or None
        # A camera's JPEG pictures have no times; FFmpeg makes some up.
        self._has_clock = container.format.name != "mpjpeg"

    @property
    def num_damaged(self) -> int:
        """See `Connection`."""
        return self._decoder.num_damaged

    def pictures(self) -> Iterator[tuple[DecodedPicture, float | None]]:
        """See `Connection.pictures`."""
        start: int | None = None
        for index, picture in enumerate(self._decoder):
            if start is None:
                start = picture.pts or 0
            pts = pts_seconds(picture, start, None, index) if self._has_clock else None
            yield DecodedPicture(picture), pts
        if self._decoder.end is not None:
            self.end = _END.get(reason(self._decoder.end), reason(self._decoder.end))

    def close(self) -> None:
        """See `Connection`."""
        self._container.close()


def _check(address: str, shown: str) -> str:
    """The scheme of a good address, lower case."""
    found = _ADDRESS.match(address)
    scheme = found.group(1).lower() if found else ""
    if scheme not in _PROTOCOLS:
        known = ", ".join(SCHEMES)
        raise SourceError(f"{shown}: addresses of this kind are not read; known are {known}")
    if _FOREIGN.search(address):
        raise SourceError(
            f"{shown}: a blank, backslash or control character cannot be in an address; "
            "write it as %20, %5C and so on"
        )
    try:
        parts = urlsplit(address)
        is_good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # A port that is no number, brackets that do not match.
        is_good = False
    if not is_good:
        raise SourceError(
            f"{shown}: no host and port can be read from this address; a / ? # or @ in a user "
            "name or password is written as %2F, %3F, %23 or %40"
        )
    return scheme


def _explain(error: BaseException, is_late: bool, is_encrypted: bool) -> str:
    import av

    if isinstance(error, av.HTTPUnauthorizedError):
        return "401 Unauthorized: the user name or password is wrong or missing"
    if is_late or isinstance(error, av.ExitError):
        return "no answer in time"
    if isinstance(error, av.InvalidDataError | av.ArgumentError):
        return "what comes from there is no video that is read (playlists need follow=True)"
    if reason(error) == "Input/output error":  # FFmpeg says no more than that.
        if not is_encrypted:
            return (
                "no answer that can be used, or one that leads elsewhere (which needs follow=True)"
            )
        return (
            "no encrypted connection; perhaps its certificate is another host's, or one that this "
            "system does not trust (SSL_CERT_FILE names those trusted, verify_tls=False takes any)"
        )
    return reason(error)
