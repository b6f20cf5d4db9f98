"""What can be told without starting Label Studio; tests/end_to_end starts it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from backend.children import ChildError
from backend.studio_server import StudioServer


def test_the_login_is_made_once_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    first = StudioServer(tmp_path / "studio").login
    assert StudioServer(tmp_path / "studio").login == first
    assert StudioServer(tmp_path / "other").login.password != first.password
    assert len(first.api_key) == 40
    mode = (tmp_path / "studio" / "login.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_damaged_login_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "login.json").write_text(json.dumps({"email": "a"}))
    with pytest.raises(ChildError, match="delete the folder"):
        StudioServer(tmp_path)


def test_label_studio_gets_no_setting_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "9090")
    monkeypatch.setenv("HOST", "elsewhere")
    monkeypatch.setenv("DATABASE_NAME", "/somebody/else's")
    server = StudioServer(tmp_path)
    environment = server._environment()
    assert not {"PORT", "HOST", "DATABASE_NAME"} & set(environment)
    assert environment["LABEL_STUDIO_BASE_DATA_DIR"] == str(tmp_path)
    assert environment["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == str(server.document_root)


def test_it_is_new_until_there_is_a_database(tmp_path: Path) -> None:
    server = StudioServer(tmp_path)
    assert server.is_new
    (tmp_path / "label_studio.sqlite3").touch()
    assert not server.is_new


def test_where_label_studio_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.studio_server.sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("backend.studio_server.shutil.which", lambda name: None)
    with pytest.raises(ChildError, match=r"pip install 'maskloop\[studio\]'"):
        StudioServer(tmp_path).start()
