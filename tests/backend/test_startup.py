"""What is refused before the service starts, in one sentence."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from gunicorn.util import parse_address

from backend.processes import bind_address, run_web, run_worker, serve
from backend.schema import StoreError
from backend.settings import Settings, SettingsError, load_settings
from backend.startup import check_port, check_settings, misspelt


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.nice", lambda _: 0)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")


def settings_of(folder: Path, **chosen: Any) -> Settings:
    chosen = {"model_dir": folder / "my state", **chosen}
    return load_settings(
        label_studio_url="http://127.0.0.1:9", label_studio_api_key="0" * 40, **chosen
    )


def test_the_defaults_are_accepted_also_in_a_folder_with_spaces(tmp_path: Path) -> None:
    check_settings(settings_of(tmp_path))
    assert list((tmp_path / "my state").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"MODEL_DIR is '.*file/state', which can't be written"):
        check_settings(settings_of(tmp_path, model_dir=tmp_path / "file" / "state"))


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backend.startup.tempfile.NamedTemporaryFile", full)
    with pytest.raises(SettingsError, match=r"MODEL_DIR.*No space left on device.*user of the"):
        check_settings(settings_of(tmp_path))


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (
            {"database_url": "postgres-on-db:s3cret"},
            "MASKLOOP_DATABASE_URL is no database's address",
        ),
        (
            {"database_url": "nosuch://me:s3cret@db/x"},
            "MASKLOOP_DATABASE_URL is no database's address",
        ),
        ({"queue_url": "db:6379/s3cret"}, "MASKLOOP_QUEUE_URL is no queue's address"),
        ({"strategy": "best"}, "MASKLOOP_STRATEGY: there is no strategy named 'best'"),
        ({"flow": "best"}, "MASKLOOP_FLOW: there is no flow named 'best'"),
    ],
)
@pytest.mark.parametrize("start", [serve, run_worker, run_web])
def test_what_no_restart_mends_stops_the_start(tmp_path: Path, start, chosen, said) -> None:
    with pytest.raises(SettingsError) as caught:
        start(settings_of(tmp_path, **chosen))
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("start", [serve, run_web])
def test_a_damaged_store_stops_the_start(tmp_path: Path, start) -> None:
    settings = settings_of(tmp_path)
    settings.model_dir.mkdir()
    (settings.model_dir / "maskloop.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"maskloop\.db can't be used: file is not a database"):
        start(settings)


def test_a_store_of_a_newer_maskloop_stops_the_start(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    settings.model_dir.mkdir()
    connection = sqlite3.connect(settings.model_dir / "maskloop.db")
    connection.executescript(
        "CREATE TABLE schema_version (id INTEGER, version INTEGER);"
        "INSERT INTO schema_version VALUES (1, 99);"
    )
    connection.close()
    with pytest.raises(StoreError, match="newer Maskloop"):
        serve(settings)


def test_a_port_that_is_taken_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.startup._PORT_PAUSE", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} of '127\.0\.0\.1': Address already"):
            serve(settings_of(tmp_path, host="127.0.0.1", port=port))
    check_port(settings_of(tmp_path, host="127.0.0.1", port=port))
    with pytest.raises(SettingsError, match="MASKLOOP_HOST must be an address of this machine"):
        check_port(settings_of(tmp_path, host="203.0.113.7"))


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "::", "::1", "localhost"])
def test_gunicorn_takes_every_kind_of_host(tmp_path: Path, host: str) -> None:
    settings = settings_of(tmp_path, host=host, port=9090)
    assert parse_address(bind_address(settings)) == (host, 9090)


def test_names_that_are_nearly_those_of_settings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert misspelt() == []
    for name in ("MASKLOOP_BUGDET", "MASKLOOP_FINETUNE_SECOND", "MASKLOOP_SERVICE_HOST", "BUGDET"):
        monkeypatch.setenv(name, "1")
    assert misspelt() == [
        "MASKLOOP_BUGDET is no setting; is MASKLOOP_BUDGET meant?",
        "MASKLOOP_FINETUNE_SECOND is no setting; is MASKLOOP_FINETUNE_SECONDS meant?",
    ]
