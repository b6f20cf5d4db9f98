"""The store's tables in the database: made when they are missing, brought up to date when they
are of an earlier version, refused when they are of a later one."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Engine, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError

from backend.tables import Base, Schema

__all__ = ["SCHEMA", "StoreError", "prepare", "trouble"]

SCHEMA = 2
"""Version of the tables. To be raised when a column or a table is added: then an older Maskloop,
which knows nothing of it, says so instead of writing rows that lack it.

1: 0.1.0, which wrote no version. 2: `projects.terms`, `.refreshes`, `.gone_at`.
"""

_ATTEMPTS = 3


class StoreError(RuntimeError):
    """A store that this Maskloop can't work with; the sentence says what to do."""


def trouble(error: DBAPIError) -> str:
    """What is wrong with a store that is in use, as a sentence: its disk is full, it is gone."""
    return f"The store can't be used: {_reason(error)}"


def prepare(engine: Engine) -> None:
    """Make a database's tables those that `backend.tables` describes.

    What is missing is added, nothing is taken away: a store of any earlier version keeps all its
    rows. Columns that are added hold their default in the rows that are there.

    Args:
        engine: The database.

    Raises:
        StoreError: When a newer Maskloop made the store, or the database can't be opened.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with engine.begin() as connection:
                _prepare(connection)
            return
        except DBAPIError as error:
            # The worker and the web process start together: what one adds the other may find.
            if attempt == _ATTEMPTS:
                raise StoreError(
                    f"The store at {_name(engine)} can't be used: {_reason(error)}"
                ) from None
            time.sleep(0.2 * attempt)


def _reason(error: DBAPIError) -> str:
    """What the driver says, in one line that ends as a sentence does."""
    text = " ".join(str(error.orig).split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _prepare(connection: Connection) -> None:
    # Asked before anything is changed: a store of the future stays as it is.
    has_version = inspect(connection).has_table(Schema.__tablename__)
    version = connection.scalar(select(Schema.version)) if has_version else None
    if version is not None and version > SCHEMA:
        raise StoreError(
            f"The store {_name(connection.engine)} was made by a newer Maskloop (its version is "
            f"{version}, this Maskloop knows {SCHEMA}): install that Maskloop again, or begin anew "
            "with another MODEL_DIR."
        )
    Base.metadata.create_all(connection)
    _add_columns(connection)
    if connection.dialect.name == "postgresql":
        _widen_columns(connection)
    if version is None:
        connection.execute(insert(Schema).values(id=1, version=SCHEMA))
    elif version < SCHEMA:
        connection.execute(update(Schema).values(version=SCHEMA))


def _name(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _add_columns(connection: Connection) -> None:
    quote = connection.dialect.identifier_preparer.quote
    there = inspect(connection)
    for table in Base.metadata.sorted_tables:
        known = {column["name"] for column in there.get_columns(table.name)}
        for column in (column for column in table.columns if column.name not in known):
            # Without NOT NULL, which rows that are there could not meet.
            text = f"{quote(column.name)} {column.type.compile(connection.dialect)}"
            connection.exec_driver_sql(f"ALTER TABLE {quote(table.name)} ADD COLUMN {text}")
            value = _default(column)
            if value is not None:
                connection.execute(update(table).values({column.name: value}))


def _widen_columns(connection: Connection) -> None:
    """Let columns hold large numbers where an earlier version made them for small ones."""
    quote = connection.dialect.identifier_preparer.quote
    there = inspect(connection)
    for table in Base.metadata.sorted_tables:
        kinds = {column["name"]: column["type"] for column in there.get_columns(table.name)}
        for column in table.columns:
            small = not isinstance(kinds[column.name], BigInteger)
            if isinstance(column.type, BigInteger) and small:
                connection.exec_driver_sql(
                    f"ALTER TABLE {quote(table.name)} ALTER COLUMN {quote(column.name)} TYPE BIGINT"
                )


def _default(column: Column[Any]) -> Any:
    """What a column holds in rows that do not say; None where that is nothing."""
    default: Any = column.default
    if default is None:
        return None
    return default.arg(None) if default.is_callable else default.arg
