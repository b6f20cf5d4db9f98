"""Every setting of the service, with its name, default and meaning, in one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backend.formats.options import EncodeOptions

__all__ = ["Settings", "SettingsError", "load_settings"]


class SettingsError(ValueError):
    """A setting has a value that the service can't work with."""


_DAY = 86_400
"""Seconds."""


def _name(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """Settings of Maskloop, read from the environment and from ``.env`` in the working folder.

    Names that the ecosystem already uses are kept (``LABEL_STUDIO_URL``, ``MODEL_DIR``, …); ours
    begin with ``MASKLOOP_``.
    """

    # Not by field name: the environment has a COLUMNS, a HOST or a DEVICE of its own.
    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    # Label Studio
    label_studio_url: str = Field(
        "",
        validation_alias=_name("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"),
        description="Where Label Studio is, as this machine reaches it: http://host:port.",
    )
    label_studio_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=_name("LABEL_STUDIO_API_KEY"),
        description="Legacy token or personal access token of a Label Studio user.",
    )

    # Service
    host: str = Field(
        "0.0.0.0", validation_alias=_name("MASKLOOP_HOST"), description="Address to bind."
    )
    port: int = Field(9090, ge=0, le=65535, validation_alias=_name("PORT"))
    workers: int = Field(
        1, ge=1, le=32, validation_alias=_name("WORKERS"), description="Web processes."
    )
    threads: int = Field(
        8, ge=1, le=256, validation_alias=_name("THREADS"), description="Threads a web process."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=_name("LOG_LEVEL")
    )
    basic_auth_user: str = Field("", validation_alias=_name("BASIC_AUTH_USER"))
    basic_auth_pass: SecretStr = Field(SecretStr(""), validation_alias=_name("BASIC_AUTH_PASS"))

    # State
    model_dir: Path = Field(
        Path("maskloop-data"),
        validation_alias=_name("MODEL_DIR"),
        description="Folder of the database, the queue, masks, networks and cached frames.",
    )
    database_url: str = Field(
        "",
        validation_alias=_name("MASKLOOP_DATABASE_URL"),
        description="SQLAlchemy URL; empty: SQLite in MODEL_DIR.",
    )
    queue_url: str = Field(
        "",
        validation_alias=_name("MASKLOOP_QUEUE_URL"),
        description="redis://… for several workers; empty: SQLite in MODEL_DIR.",
    )

    # The loop
    budget: int = Field(
        5, ge=1, le=100_000, validation_alias=_name("MASKLOOP_BUDGET"),
        description="Samples a round asks for; a round is due when so many new labels are in.",
    )  # fmt: skip
    budget_clicks: int = Field(
        0, ge=0, le=100_000_000, validation_alias=_name("MASKLOOP_BUDGET_CLICKS"),
        description="Clicks a round: a round is due when new labels cost so many. 0: samples are "
        "counted.",
    )  # fmt: skip
    total_samples: int = Field(
        0, ge=0, le=100_000_000, validation_alias=_name("MASKLOOP_TOTAL_SAMPLES"),
        description="Samples that may be labelled in all; then /status says to stop. 0: no limit.",
    )  # fmt: skip
    total_clicks: int = Field(
        0, ge=0, le=1_000_000_000, validation_alias=_name("MASKLOOP_TOTAL_CLICKS"),
        description="Clicks that labels may cost in all; then /status says to stop. 0: no limit.",
    )  # fmt: skip
    quiet_seconds: float = Field(
        20.0, ge=0, le=86_400, validation_alias=_name("MASKLOOP_QUIET_SECONDS"),
        description="A round with fewer new labels is due after so many seconds without another.",
    )  # fmt: skip
    check_seconds: float = Field(
        60.0, ge=1, le=86_400, validation_alias=_name("MASKLOOP_CHECK_SECONDS"),
        description="How often Label Studio is asked for what a lost webhook would have told.",
    )  # fmt: skip
    keep_versions: int = Field(
        3, ge=1, le=100, validation_alias=_name("MASKLOOP_KEEP_VERSIONS"),
        description="Model versions whose predictions stay in Label Studio.",
    )  # fmt: skip
    target: float = Field(
        0.95, gt=0, le=1, validation_alias=_name("MASKLOOP_TARGET"),
        description="The mIoU wanted; /status says when it is expected to be reached.",
    )  # fmt: skip
    strategy: str = Field("reach", validation_alias=_name("MASKLOOP_STRATEGY"))
    method: Literal["nearest", "flow", "network", "maskloop"] = Field(
        "maskloop", validation_alias=_name("MASKLOOP_METHOD")
    )
    unlabelled: Literal["background", "ignore"] = Field(
        "background", validation_alias=_name("MASKLOOP_UNLABELLED"),
        description="What a pixel that a person left uncovered means.",
    )  # fmt: skip

    objects: Literal["auto", "on", "off"] = Field(
        "auto", validation_alias=_name("MASKLOOP_OBJECTS"),
        description="Whether each region is an object with an id of its own; auto: where the "
        "labelling configuration asks for more of each region, and on videos.",
    )  # fmt: skip
    min_area: int = Field(
        10, ge=0, le=1_000_000, validation_alias=_name("MASKLOOP_MIN_AREA"),
        description="Specks and holes of fewer pixels are left out of masks that are sent.",
    )  # fmt: skip
    polygon_tolerance: float = Field(
        1.0, ge=0, le=100, validation_alias=_name("MASKLOOP_POLYGON_TOLERANCE"),
        description="How far a polygon may be from the mask's boundary, in pixels.",
    )  # fmt: skip

    columns: bool = Field(
        True, validation_alias=_name("MASKLOOP_COLUMNS"),
        description="Whether the Data Manager shows rank, expected quality and round of each task, "
        "as fields of its data.",
    )  # fmt: skip

    # The model
    network: str = Field("compact", validation_alias=_name("MASKLOOP_NETWORK"))
    flow: str = Field("dis", validation_alias=_name("MASKLOOP_FLOW"))
    device: str = Field("cpu", validation_alias=_name("MASKLOOP_DEVICE"))
    preset: Literal["fast", "hvsa"] = Field(
        "fast", validation_alias=_name("MASKLOOP_PRESET"),
        description="How the network is fine-tuned: fast on a CPU, or as HVSA does it.",
    )  # fmt: skip
    finetune_seconds: float | Literal["auto"] = Field(
        "auto", validation_alias=_name("MASKLOOP_FINETUNE_SECONDS"),
        description="Longest time that fine-tuning may take for one clip in one round; auto: by "
        "the clip's length.",
    )  # fmt: skip
    consistency: float = Field(
        1.0, ge=0, le=100, validation_alias=_name("MASKLOOP_CONSISTENCY"),
        description="Weight λ of the flow consistency loss.",
    )  # fmt: skip
    seed: int = Field(0, ge=0, validation_alias=_name("MASKLOOP_SEED"))

    # Frames
    media_max_gb: float = Field(
        10.0, gt=0, validation_alias=_name("MASKLOOP_MEDIA_MAX_GB"),
        description="Size limit of the cache of frames.",
    )  # fmt: skip
    media_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), validation_alias=_name("MASKLOOP_MEDIA_HOSTS"),
        description="Hosts, beside Label Studio, from which frames may be fetched; comma-separated."
        " '*' allows every public host.",
    )  # fmt: skip

    @field_validator("media_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(host.strip().lower() for host in value.split(",") if host.strip())
        return value

    @field_validator("media_hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if "/" in host or ("*" in host and host != "*"):
                raise ValueError(
                    "expected names of hosts, such as cdn.example.com or cdn.example.com:8443 "
                    f"(or * alone, for every public one), got {host.rpartition('@')[2]!r}"
                )
        return value

    @field_validator("finetune_seconds", mode="before")
    @classmethod
    def _check_seconds(cls, value: Any) -> Any:
        if isinstance(value, str) and value.strip().lower() == "auto":
            return "auto"
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = -1.0
        if not 0 <= seconds <= _DAY:
            raise ValueError(f"expected auto, or seconds from 0 to {_DAY:,}")
        return seconds

    @field_validator("label_studio_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        value = value.strip().rstrip("/")
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("expected an address that begins with http:// or https://")
        if "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError("expected an address without user and password; the token is enough")
        if re.search(r"/projects(/\d.*)?$|/user/(account|login|signup)|[?#]", value):
            raise ValueError("expected Label Studio's own address: http://host:8080, not a page's")
        return value

    @field_validator("label_studio_api_key")
    @classmethod
    def _check_key(cls, value: SecretStr) -> SecretStr:
        token = value.get_secret_value().strip()
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError(
                "expected a token as Label Studio shows it, without spaces and other letters than "
                "those of English"
            )
        return SecretStr(token)

    @model_validator(mode="after")
    def _check_auth(self) -> Settings:
        if bool(self.basic_auth_user) != bool(self.basic_auth_pass.get_secret_value()):
            raise ValueError("BASIC_AUTH_USER and BASIC_AUTH_PASS go together: set both or none")
        return self

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @property
    def resolved_database_url(self) -> str:
        """The SQLAlchemy URL in use."""
        return self.database_url or f"sqlite:///{self.model_dir.resolve() / 'maskloop.db'}"

    @property
    def encode_options(self) -> EncodeOptions:
        """How masks are written."""
        return EncodeOptions(tolerance=self.polygon_tolerance, min_area=self.min_area)

    @property
    def media_max_bytes(self) -> int:
        """Size limit of the frame cache in bytes."""
        return int(self.media_max_gb * 1024**3)

    def require_label_studio(self) -> tuple[str, str]:
        """The address and the token of Label Studio.

        Returns:
            ``(url, api key)``.

        Raises:
            SettingsError: When either is missing; the sentence says how to set it.
        """
        missing = [
            name
            for name, value in (
                ("LABEL_STUDIO_URL", self.label_studio_url),
                ("LABEL_STUDIO_API_KEY", self.label_studio_api_key.get_secret_value()),
            )
            if not value
        ]
        if missing:
            raise SettingsError(
                f"{' and '.join(missing)} must be set: the address of Label Studio, and the token "
                "of a user (in Label Studio: Account & Settings → Access Token)."
            )
        return self.label_studio_url, self.label_studio_api_key.get_secret_value()


def load_settings(**overrides: Any) -> Settings:
    """Read the settings.

    Args:
        **overrides: Values by field name, before the environment and ``.env``.

    Returns:
        The settings.

    Raises:
        SettingsError: With one line for each wrong value: its name, the value, what is allowed.
    """
    try:
        return Settings(
            **{_alias(key): value for key, value in overrides.items() if value is not None}
        )
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None
    except (UnicodeDecodeError, OSError) as error:
        raise SettingsError(
            f"The file .env in {Path.cwd()} can't be read as text in UTF-8 ({error}): save it so, "
            "or start the service in another folder."
        ) from None


def _alias(field: str) -> str:
    """The name of a setting in the environment, by the name of its field."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else field


def _explain(problem: Any) -> str:
    if not problem["loc"]:  # Of several settings; it may hold a password.
        return f"{problem['msg'].removeprefix('Value error, ')}."
    name = str(problem["loc"][0])
    secret = any(
        name in field.validation_alias.choices and field.annotation is SecretStr
        for field in Settings.model_fields.values()
        if isinstance(field.validation_alias, AliasChoices)
    )
    hidden = secret or "@" in str(problem.get("input"))  # an address with a password in it
    value = "(hidden)" if hidden else repr(problem.get("input"))
    sentence = problem["msg"].removeprefix("Value error, ")
    return f"{name} is {value}: {sentence[0].lower()}{sentence[1:]}."
