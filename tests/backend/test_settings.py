from __future__ import annotations

import pytest

from backend.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "PORT", "MASKLOOP_BUDGET"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MASKLOOP_BUDGET", "many", "MASKLOOP_BUDGET is 'many'"),
        ("MASKLOOP_BUDGET", "0", "greater than or equal to 1"),
        ("PORT", "99999", "PORT is '99999'"),
        ("MASKLOOP_METHOD", "magic", "'maskloop'"),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL is 'LOUD'"),
        ("LABEL_STUDIO_URL", "localhost:8080", "http://"),
        ("LABEL_STUDIO_URL", "http://localhost:8080/projects/3/data?tab=1", "not a page's"),
        ("LABEL_STUDIO_API_KEY", "\u2026", "LABEL_STUDIO_API_KEY is (hidden): expected a token"),
        ("LABEL_STUDIO_API_KEY", "Token 0123", "expected a token"),
        ("MASKLOOP_MEDIA_HOSTS", "a.org, https://cdn.example.com/", "got 'https://cdn.example"),
        ("MASKLOOP_MEDIA_HOSTS", "*.example.com", "names of hosts"),
        ("MASKLOOP_FINETUNE_SECONDS", "long", "expected auto, or seconds from 0 to 86,400"),
        ("MASKLOOP_FINETUNE_SECONDS", "-1", "expected auto, or seconds from 0 to 86,400"),
        ("MASKLOOP_FINETUNE_SECONDS", "nan", "expected auto, or seconds from 0 to 86,400"),
        ("MASKLOOP_FINETUNE_SECONDS", "86401", "expected auto, or seconds from 0 to 86,400"),
        ("MASKLOOP_UNLABELLED", "void", "'ignore'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(monkeypatch, name, value, said) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "meant"), [("auto", "auto"), (" Auto", "auto"), ("12.5", 12.5), ("0", 0.0)]
)
def test_seconds_of_fine_tuning_are_a_number_or_go_by_the_clip(monkeypatch, value, meant) -> None:
    assert load_settings().finetune_seconds == "auto"
    monkeypatch.setenv("MASKLOOP_FINETUNE_SECONDS", value)
    assert load_settings().finetune_seconds == meant


def test_settings_are_not_read_by_the_names_of_their_fields(monkeypatch) -> None:
    """A shell that exports COLUMNS kept every command from starting."""
    for name in ("COLUMNS", "HOST", "DEVICE", "TARGET", "BUDGET", "LABELS"):
        monkeypatch.setenv(name, "80")
    settings = load_settings(target=0.9)
    assert (settings.columns, settings.host, settings.device) == (True, "0.0.0.0", "cpu")
    assert (settings.target, settings.budget) == (0.9, 5)


def test_an_override_comes_before_each_name_of_its_setting(monkeypatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_HOST", "http://old")
    assert load_settings().label_studio_url == "http://old"
    assert load_settings(label_studio_url="http://new").label_studio_url == "http://new"


def test_all_wrong_values_are_told_at_once(monkeypatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("MASKLOOP_BUDGET", "x")
    with pytest.raises(SettingsError, match=r"(?s)PORT.*MASKLOOP_BUDGET|MASKLOOP_BUDGET.*PORT"):
        load_settings()


def test_a_secret_never_shows_in_an_error_or_in_print(monkeypatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "s3cret")
    settings = load_settings()
    assert "s3cret" not in repr(settings)
    assert settings.label_studio_api_key.get_secret_value() == "s3cret"


def test_a_password_in_an_address_is_neither_taken_nor_shown(monkeypatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "https://me:s3cret@ls.example.com")
    with pytest.raises(SettingsError, match=r"LABEL_STUDIO_URL is .*without user") as caught:
        load_settings()
    assert "s3cret" not in str(caught.value)


def test_addresses_and_tokens_that_are_fine(monkeypatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "https://example.com/label-studio/")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "eyJh.eyJ0.x-_1\n")
    monkeypatch.setenv("MASKLOOP_MEDIA_HOSTS", "CDN.example.com:8443, *")
    settings = load_settings()
    assert settings.label_studio_url == "https://example.com/label-studio"
    assert settings.label_studio_api_key.get_secret_value() == "eyJh.eyJ0.x-_1"
    assert settings.media_hosts == ("cdn.example.com:8443", "*")


def test_missing_label_studio_says_what_to_set() -> None:
    with pytest.raises(SettingsError, match="LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"):
        load_settings().require_label_studio()


def test_env_file_environment_and_overrides(monkeypatch, tmp_path) -> None:
    (tmp_path / ".env").write_text(
        "MASKLOOP_BUDGET=7\nPORT=1000\nMASKLOOP_MEDIA_HOSTS=a.org, B.org\n"
    )
    monkeypatch.setenv("PORT", "2000")
    settings = load_settings(budget=9)
    assert (settings.budget, settings.port) == (9, 2000)
    assert settings.media_hosts == ("a.org", "b.org")


def test_an_empty_value_counts_as_unset(monkeypatch) -> None:
    monkeypatch.setenv("MASKLOOP_BUDGET", "")
    assert load_settings().budget == 5


def test_trailing_slash_of_the_address_goes(monkeypatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://ls:8080/")
    assert load_settings().label_studio_url == "http://ls:8080"


@pytest.mark.parametrize("name", ["BASIC_AUTH_USER", "BASIC_AUTH_PASS"])
def test_a_user_without_a_password_is_refused_and_neither_is_shown(monkeypatch, name) -> None:
    monkeypatch.setenv(name, "s3cret")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith("BASIC_AUTH_USER and BASIC_AUTH_PASS go together")
    assert "s3cret" not in str(caught.value)


def test_an_env_file_that_is_no_text_is_named(tmp_path) -> None:
    (tmp_path / ".env").write_bytes(b"MASKLOOP_BUDGET=7\n# gr\xfc\xdfe\n")
    with pytest.raises(SettingsError, match=r"\.env in .* can't be read as text in UTF-8"):
        load_settings()


def test_a_folder_called_env_is_passed_over(tmp_path) -> None:
    (tmp_path / ".env").mkdir()  # a virtual environment, often
    assert load_settings().budget == 5


def test_another_tool_s_env_file_does_no_harm(tmp_path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=mysql://\nexport X=1\nnonsense\nDEBUG=yes\n")
    assert load_settings().database_url == ""
