"""What can be told without starting the service; tests/end_to_end starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.children import ChildError
from backend.local_service import LocalService


def service(folder: Path, **settings: str) -> LocalService:
    return LocalService(folder, studio_url="http://127.0.0.1:9", api_key="key", settings=settings)


def test_one_that_is_not_started(tmp_path: Path) -> None:
    stopped = service(tmp_path)
    stopped.stop()
    with pytest.raises(RuntimeError, match="not started"):
        _ = stopped.program


def test_a_wrong_setting_is_in_what_it_says(tmp_path: Path) -> None:
    wrong = service(tmp_path, MASKLOOP_BUDGET="none")
    with pytest.raises(ChildError, match=r"ended with code 1(.|\n)*MASKLOOP_BUDGET"):
        wrong.start()
    with pytest.raises(RuntimeError, match="not started"):
        _ = wrong.program


def test_it_knows_the_password_that_the_service_will_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service(tmp_path).auth == ("", "")
    monkeypatch.setenv("BASIC_AUTH_USER", "me")
    monkeypatch.setenv("BASIC_AUTH_PASS", "secret")
    assert service(tmp_path).auth == ("me", "secret")
    assert service(tmp_path, BASIC_AUTH_PASS="other").auth == ("me", "other")
