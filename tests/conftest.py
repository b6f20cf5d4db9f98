"""The databases and queues that the service can be given: SQLite, and where their programs are
installed a Postgres and a Redis of the test's own."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from backend.children import free_port
from backend.threads import wait_passively

# Tests share the machine with the servers that they start, and with other runs of the suite.
wait_passively()

_POSTGRES_USER = "postgres"
_numbers = itertools.count(1)


def _postgres_program(name: str) -> str | None:
    # Debian keeps them off the PATH.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, folders)]))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a Postgres server of the tests' own, without a database's name."""
    initdb, server = _postgres_program("initdb"), _postgres_program("postgres")
    if initdb is None or server is None:
        pytest.skip("Postgres is not installed")
    # Postgres refuses to run as root; and the folders of pytest are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="maskloop-postgres-"))
    user = _POSTGRES_USER if os.getuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()
    subprocess.run(
        [initdb, "-D", data, "-A", "trust", "-N", "-U", _POSTGRES_USER],
        check=True, capture_output=True, user=user, cwd=folder,
    )  # fmt: skip
    program = subprocess.Popen(
        [server, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder,
    )  # fmt: skip
    address = f"postgresql+psycopg://{_POSTGRES_USER}@127.0.0.1:{port}/"
    try:
        _wait_for_postgres(address, program)
        yield address
    finally:
        program.terminate()
        program.wait(30)
        shutil.rmtree(folder)


def _wait_for_postgres(address: str, program: subprocess.Popen[bytes]) -> None:
    engine = create_engine(address + "postgres")
    deadline = time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
        except Exception:
            assert program.poll() is None, "Postgres ended"
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            engine.dispose()
            return


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a new, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/maskloop.db"
    address = str(request.getfixturevalue("postgres"))
    name = f"maskloop_{next(_numbers)}"
    engine = create_engine(address + "postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return address + name


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """Address of a Redis server of the test's own."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("Redis is not installed")
    import redis

    port = free_port()
    program = subprocess.Popen(
        [server, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", tmp_path],
        stdout=subprocess.DEVNULL,
    )
    url = f"redis://127.0.0.1:{port}"
    client = redis.Redis.from_url(url)
    deadline = time.monotonic() + 30
    try:
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert program.poll() is None, "Redis ended"
                assert time.monotonic() < deadline, "Redis does not answer"
                time.sleep(0.05)
        yield url
    finally:
        client.close()
        program.terminate()
        program.wait(30)
