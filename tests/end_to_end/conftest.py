"""The real Label Studio and the service, each as processes of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from backend.local_service import LocalService
from backend.studio import Studio
from backend.studio_server import StudioServer

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="disc" background="#e6194b"/><Label value="box" background="#3cb44b"/>'
    "</BrushLabels></View>"
)


@pytest.fixture(scope="session")
def studio_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Label Studio that was started once; to be copied, not used."""
    if find_spec("label_studio") is None:
        pytest.skip("Label Studio is not installed: pip install 'maskloop[studio]'")
    folder = tmp_path_factory.mktemp("studio-template")
    with StudioServer(folder):
        pass
    return folder


@pytest.fixture(scope="session")
def server(studio_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioServer]:
    """A running Label Studio, the same for all tests."""
    folder = tmp_path_factory.mktemp("studio") / "data"
    shutil.copytree(studio_folder, folder)
    with StudioServer(folder) as running:
        yield running


@pytest.fixture(scope="session")
def studio(server: StudioServer) -> Studio:
    """A client of the running Label Studio."""
    return Studio(server.url, server.login.api_key)


@pytest.fixture(scope="session")
def personal_token(studio: Studio) -> str:
    """A personal access token; Label Studio gives a user one only."""
    return str(studio.request("POST", "/api/token/")["token"])


@pytest.fixture
def start_service(server: StudioServer, tmp_path: Path) -> Iterator[Callable[..., LocalService]]:
    """Start the service with some settings; all that were started end with the test."""
    started: list[LocalService] = []

    def start(*, api_key: str = server.login.api_key, **settings: str) -> LocalService:
        service = LocalService(
            tmp_path / f"service{len(started)}",
            studio_url=server.url,
            api_key=api_key,
            settings=settings,
        )
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.stop()
