from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.frames import TaskFrames, open_video
from backend.media import MediaCache, MediaError, bare_url, of_edition
from model.clip import ClipError, read_image

TOKEN = "0123456789abcdef0123456789abcdef01234567"


def picture(size: tuple[int, int] = (4, 3), kind: str = "PNG", noise: int | None = None) -> bytes:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    if noise is not None:
        pixels = np.random.default_rng(noise).integers(0, 256, pixels.shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size, with next to no data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@dataclass
class Host:
    """A web server whose answers the test sets; notes what it was asked."""

    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(body)

        self.answers[path] = answer

    def redirect(self, path: str, target: str) -> None:
        self.serve(path, b"", 302, Location=target)


@pytest.fixture
def hosts() -> Iterator[Callable[[], Host]]:
    servers: list[ThreadingHTTPServer] = []

    def start() -> Host:
        host = Host()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.seen.append((self.path, self.headers.get("Authorization")))
                answer = host.answers.get(self.path)
                if answer is None:
                    self.send_error(404)
                    return
                with contextlib.suppress(OSError):  # The client went away.
                    answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        host.port = server.server_address[1]
        return host

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def studio(hosts: Callable[[], Host]) -> Host:
    return hosts()


@pytest.fixture
def other(hosts: Callable[[], Host]) -> Host:
    return hosts()


def cache(folder: Path, studio: Host, *allowed: str, **options: Any) -> MediaCache:
    options = {"token": lambda: TOKEN, "studio_url": studio.url, "pauses": (0.0, 0.0)} | options
    options = {"max_bytes": 10**8} | options
    return MediaCache(folder, allowed_hosts=allowed, **options)


@pytest.mark.parametrize(
    "path", ["/data/local-files/?d=clip/00000.png", "/data/upload/4/e95e6851-00000.png"]
)
def test_a_file_of_label_studio_is_fetched_once_with_the_token(studio, tmp_path, path) -> None:
    studio.serve(path, picture())
    media = cache(tmp_path, studio)
    first = media.image(path)
    assert first.read_bytes() == picture()
    assert media.image(path) == first
    assert cache(tmp_path, studio).image(path) == first  # Another process finds it too.
    assert media.image(studio.url + path) == first
    assert studio.seen == [(path, f"Token {TOKEN}")]


def test_an_access_token_is_sent_as_a_bearer(studio, tmp_path) -> None:
    studio.serve("/data/upload/1/a.png", picture())
    cache(tmp_path, studio, token=lambda: "aa.bb.cc").image("/data/upload/1/a.png")
    assert studio.seen[0][1] == "Bearer aa.bb.cc"


def test_label_studio_under_a_path(studio, tmp_path) -> None:
    studio.serve("/ls/data/upload/1/a.png", picture())
    media = cache(tmp_path, studio, studio_url=f"{studio.url}/ls")
    assert media.image("/data/upload/1/a.png") == media.image("/ls/data/upload/1/a.png")


def test_other_hosts_are_allowed_by_name_only_and_never_get_the_token(
    studio, other, tmp_path
) -> None:
    other.serve("/a.png", picture())
    with pytest.raises(MediaError, match="MASKLOOP_MEDIA_HOSTS"):
        cache(tmp_path, studio).image(f"{other.url}/a.png")
    assert other.seen == []
    cache(tmp_path, studio, f"127.0.0.1:{other.port}").image(f"{other.url}/a.png")
    assert other.seen == [("/a.png", None)]


def test_a_private_address_is_refused_unless_named(studio, other, tmp_path) -> None:
    other.serve("/a.png", picture())
    with pytest.raises(MediaError, match="private network"):
        cache(tmp_path, studio, "*").image(f"{other.url}/a.png")
    with pytest.raises(MediaError, match="private network"):
        cache(tmp_path, studio, "*").image(f"http://localhost:{other.port}/a.png")
    assert other.seen == []
    cache(tmp_path, studio, "127.0.0.1").image(f"{other.url}/a.png")


def test_a_redirect_is_followed_only_where_a_file_may_be_fetched(studio, other, tmp_path) -> None:
    path = "/data/upload/1/a.png"
    studio.redirect(path, f"{other.url}/b.png")
    other.serve("/b.png", picture())
    with pytest.raises(MediaError, match="MASKLOOP_MEDIA_HOSTS"):
        cache(tmp_path, studio).image(path)
    assert other.seen == []
    cache(tmp_path, studio, "127.0.0.1").image(path)
    assert other.seen == [("/b.png", None)]  # Without the token.


def test_a_redirect_cannot_lead_the_token_elsewhere_on_label_studio(
    studio, other, tmp_path
) -> None:
    other.redirect("/a.png", f"{studio.url}/api/users/")
    with pytest.raises(MediaError, match="no file of a task"):
        cache(tmp_path, studio, "127.0.0.1").image(f"{other.url}/a.png")
    assert studio.seen == []


def test_endless_redirects_end(studio, tmp_path) -> None:
    path = "/data/upload/1/a.png"
    studio.redirect(path, path)
    with pytest.raises(MediaError, match="redirects more than"):
        cache(tmp_path, studio).image(path)
    assert len(studio.seen) < 10


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("file:///etc/passwd", "begins with"),
        ("/etc/passwd", "no file of a task"),
        ("etc/passwd", "begins with"),
        ("ftp://host/a.png", "begins with"),
        ("data:image/png;base64,AAAA", "begins with"),
        ("//127.0.0.1/a.png", "begins with"),
        ("/api/users/", "no file of a task"),
        ("/data/upload/../../api/users/", "leads out"),
        ("/data/upload/%2e%2e/%2e%2e/api/users/", "leads out"),
        ("/data/upload/%252e%252e/api", "leads out"),
        ("/data/local-files/?d=../../etc/passwd", "leads out"),
        ("/data/local-files/?d=a%2F..%2F..%2Fetc/passwd", "leads out"),
        ("/data/local-files/?d=..%5C..%5Cwindows", "leads out"),
        ("http://user:pass@127.0.0.1/a.png", "name or password"),
        ("http://127.0.0.1:x/a.png", "no address"),
        ("http://[::1/a.png", "no address"),
        ("s3://bucket/a.png", "no task"),
        ("", "no address"),
    ],
)
def test_addresses_that_are_refused(studio, tmp_path, url, sentence) -> None:
    with pytest.raises(MediaError, match=sentence):
        cache(tmp_path, studio, "*").image(url)
    assert studio.seen == []


def test_cloud_storage_is_opened_by_label_studio(studio, other, tmp_path) -> None:
    studio.redirect("/tasks/7/presign/?fileuri=czM6Ly9iL2EucG5n", f"{other.url}/signed")
    other.serve("/signed", picture())
    cache(tmp_path, studio, "127.0.0.1").image("s3://b/a.png", 7)
    assert other.seen == [("/signed", None)]


def test_what_is_no_picture_is_refused_and_not_kept(studio, tmp_path) -> None:
    path = "/data/upload/1/a.png"
    studio.serve(path, b"<html>log in</html>")
    media = cache(tmp_path, studio)
    with pytest.raises(MediaError, match="not a picture"):
        media.image(path)
    studio.serve(path, picture())
    assert media.image(path).read_bytes() == picture()
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 1


@pytest.mark.parametrize("size", [(20_000, 20_000), (60_000, 60_000)])
def test_a_picture_that_would_fill_the_memory_is_refused(studio, tmp_path, size) -> None:
    studio.serve("/data/upload/1/a.png", bomb(*size))
    with pytest.raises(MediaError, match="pixels"):
        cache(tmp_path, studio).image("/data/upload/1/a.png")


@pytest.mark.parametrize("claims", [True, False])
def test_a_file_that_is_too_large_is_refused(studio, tmp_path, claims) -> None:
    body = picture((64, 64), noise=1)
    headers = {} if claims else {"Content_Length": "", "Connection": "close"}
    studio.serve("/data/upload/1/a.png", body, **headers)
    with pytest.raises(MediaError, match="larger than"):
        cache(tmp_path, studio, max_file_bytes=1000).image("/data/upload/1/a.png")


def test_a_file_that_is_cut_off_is_refused(studio, tmp_path) -> None:
    body = picture((64, 64), noise=1)
    studio.serve("/data/upload/1/a.png", body, **{"Content-Length": str(len(body) + 10)})
    with pytest.raises(MediaError, match="can't be fetched"):
        cache(tmp_path, studio).image("/data/upload/1/a.png")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_host_that_does_not_answer_is_given_up(studio, tmp_path) -> None:
    studio.answers["/data/upload/1/a.png"] = lambda handler: time.sleep(1.0)
    with pytest.raises(MediaError, match="did not answer within"):
        cache(tmp_path, studio, timeout=0.1).image("/data/upload/1/a.png")


def test_a_host_that_is_not_there(tmp_path, studio) -> None:
    with pytest.raises(MediaError, match="can't be fetched"):
        cache(tmp_path, studio, studio_url="http://127.0.0.1:9").image("/data/upload/1/a.png")


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "LABEL_STUDIO_API_KEY"), (404, "isn't there"), (500, "500")]
)
def test_refusals_are_explained(studio, tmp_path, status, sentence) -> None:
    studio.serve("/data/upload/1/a.png", b"no", status)
    with pytest.raises(MediaError, match=sentence) as caught:
        cache(tmp_path, studio).image("/data/upload/1/a.png")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_may_be_over_in_a_moment_is_asked_again(studio, tmp_path, status: int) -> None:
    path, body = "/data/upload/1/a.png", picture((30, 30), noise=1)
    studio.serve(path, body[:100], **{"Content-Length": str(len(body))})
    cut_off = studio.answers[path]
    studio.serve(path, body)
    answers = [lambda handler: handler.send_error(status), cut_off, studio.answers[path]]
    studio.answers[path] = lambda handler: answers.pop(0)(handler)
    assert cache(tmp_path, studio).image(path).read_bytes() == body
    assert len(studio.seen) == 3
    studio.answers["/data/upload/1/b.png"] = lambda handler: handler.send_error(403)
    with pytest.raises(MediaError, match="403"):
        cache(tmp_path, studio).image("/data/upload/1/b.png")
    assert len(studio.seen) == 4  # that would say the same again


def test_an_authority_of_ones_own_counts_for_pictures_too(tmp_path, studio, monkeypatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "our-authority.pem"))
    media = cache(tmp_path / "frames", studio, studio_url="https://127.0.0.1:9")
    with pytest.raises(MediaError, match=r"our-authority\.pem"):
        media.image("/data/upload/1/a.png")


def test_a_full_disk_is_not_taken_for_a_picture_that_cannot_be_had(
    studio, tmp_path, monkeypatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    studio.serve("/data/upload/1/a.png", picture())
    media = cache(tmp_path, studio)
    with pytest.raises(OSError, match="No space left"):
        media._fetcher.fetch(f"{studio.url}/data/upload/1/a.png", Full(), 10**6)
    assert len(studio.seen) == 1


def test_what_signs_an_address_is_not_told(studio, other, tmp_path) -> None:
    secret = "X-Amz-Signature=5ec2e7"
    studio.redirect("/tasks/7/presign/?fileuri=czM6Ly9iL2EucG5n", f"{other.url}/signed?{secret}")
    other.serve(f"/signed?{secret}", b"denied", 403)
    media = cache(tmp_path, studio, "127.0.0.1")
    with pytest.raises(MediaError, match=r"/signed\?… was answered with 403") as caught:
        media.image("s3://b/a.png", 7)
    assert "5ec2e7" not in str(caught.value)
    with pytest.raises(MediaError, match="begins with http") as caught:
        cache(tmp_path, studio).image(f"ftp://bucket/a.png?{secret}", 7)
    assert "5ec2e7" not in str(caught.value)
    other.serve(f"/half?{secret}", picture()[:60])
    frames = TaskFrames(media, [(7, f"{other.url}/half?{secret}")], [0])
    with pytest.raises(ClipError, match="task 7") as damaged:
        frames.read(0)
    assert "5ec2e7" not in str(damaged.value)


def test_the_least_recently_used_files_make_room(studio, tmp_path) -> None:
    bodies = [picture((40, 40), noise=number) for number in range(6)]
    paths = [f"/data/upload/1/{number}.png" for number in range(6)]
    for path, body in zip(paths, bodies, strict=True):
        studio.serve(path, body)
    limit = int(3.5 * len(bodies[0]))
    media = cache(tmp_path, studio, max_bytes=limit, fresh_seconds=0)
    kept = []
    for number, path in enumerate(paths):
        kept.append(media.image(path))
        os.utime(kept[-1], (number, number))
        if number >= 1:
            os.utime(media.image(paths[0]), (100 + number, 100 + number))  # Used again and again.
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= limit
    assert kept[0].exists()
    assert kept[-1].exists()
    assert not kept[1].exists()
    assert media.image(paths[1]).read_bytes() == bodies[1]


def test_a_file_just_given_is_not_removed(studio, tmp_path) -> None:
    studio.serve("/data/upload/1/a.png", picture())
    studio.serve("/data/upload/1/b.png", picture())
    media = cache(tmp_path, studio, max_bytes=1)
    first = media.image("/data/upload/1/a.png")
    media.image("/data/upload/1/b.png")
    assert first.exists()


def test_several_threads_get_the_same_whole_file(studio, tmp_path) -> None:
    body = picture((64, 64), noise=3)
    studio.serve("/data/upload/1/a.png", body)
    got: list[bytes] = []
    media = [cache(tmp_path, studio) for _ in range(2)]

    def work(number: int) -> None:
        got.append(media[number % 2].image("/data/upload/1/a.png").read_bytes())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [body] * 8
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 1


def test_a_video_is_fetched_as_it_is(studio, tmp_path) -> None:
    studio.serve("/data/upload/1/a.mp4", b"any bytes")
    assert cache(tmp_path, studio).video("/data/upload/1/a.mp4").read_bytes() == b"any bytes"


def test_a_picture_of_another_edition_is_fetched_anew(tmp_path: Path, studio: Host) -> None:
    studio.serve("/data/upload/1/a.png", picture((4, 4)))
    media = cache(tmp_path, studio)
    assert read_image(media.image("/data/upload/1/a.png")).shape == (4, 4, 3)
    studio.serve("/data/upload/1/a.png", picture((6, 6)))
    assert read_image(media.image("/data/upload/1/a.png")).shape == (4, 4, 3)
    assert of_edition("/data/upload/1/a.png", 0) == "/data/upload/1/a.png"
    second = of_edition("/data/upload/1/a.png", 2)
    assert read_image(media.image(second)).shape == (6, 6, 3)
    assert {path for path, _ in studio.seen} == {"/data/upload/1/a.png"}
    assert bare_url(second) == "/data/upload/1/a.png"


def test_a_picture_that_came_in_half_is_fetched_anew(tmp_path: Path, studio: Host) -> None:
    whole = picture((64, 48), noise=1)
    studio.serve("/data/upload/1/a.png", whole[: len(whole) // 2])
    media, tasks = cache(tmp_path, studio), [(7, "/data/upload/1/a.png")]
    frames = TaskFrames(media, tasks)
    with pytest.raises(ClipError, match=r"none"):
        frames.read(0)
    assert "task 7 (/data/upload/1/a.png) can't be decoded" in frames.unreadable[0]
    studio.serve("/data/upload/1/a.png", whole)
    assert TaskFrames(media, tasks).read(0).shape == (48, 64, 3)


def test_a_video_that_came_in_half_is_fetched_anew(tmp_path: Path, studio: Host) -> None:
    studio.serve("/data/upload/1/a.mp4", b"half of a video")
    media = cache(tmp_path, studio)
    for _ in range(2):
        with pytest.raises(ClipError, match=r"task 7 \(/data/upload/1/a\.mp4\) is not a video"):
            open_video(media, "/data/upload/1/a.mp4", 7)
    assert len(studio.seen) == 2
