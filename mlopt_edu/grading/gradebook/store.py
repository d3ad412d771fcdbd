"""Opens a gradebook, and lets one process at a time write to it.

SQLite and PostgreSQL are tested; SQLAlchemy speaks to others in the same way. A
transaction either happens or does not, whatever kills the process, and two who write
at once wait for each other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from .schema import FORMAT, Base, Meta

FILE = "gradebook.sqlite"
PATIENCE = 60.0  # seconds to wait for another process that writes


class GradebookError(OSError):
    """A gradebook that cannot be opened, read or written; the message says why."""


class Gradebook:
    """A gradebook in a database; close it, or use it in a `with` statement.

    Args:
        where: A file (made when missing), or the URL of a database as SQLAlchemy
            takes it: "postgresql+psycopg://user@host/grades".

    Raises:
        GradebookError: If it cannot be opened, or is something else.
    """

    def __init__(self, where: Path | str) -> None:
        self.url = _url(where)
        self.name = self.url.render_as_string(hide_password=True)
        if self.url.drivername.startswith("sqlite"):
            self.name = self.url.database or "in memory"
        try:
            self._engine = _engine(self.url)
        except ModuleNotFoundError as error:
            raise GradebookError(
                f"the gradebook {self.name} needs the Python package {error.name!r}; "
                "install it with pip"
            ) from None
        except NoSuchModuleError:
            raise GradebookError(
                f"SQLAlchemy knows no database called {self.url.drivername!r}"
            ) from None
        try:
            self._create()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the gradebook."""
        with self._named_errors(), self._engine.connect() as connection:
            if self._engine.dialect.name != "sqlite":  # SQLite's readers always do
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ"
                )
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection that alone may write; all of it counts, or nothing."""
        with self._named_errors(), self._engine.connect() as connection:
            connection = connection.execution_options(writing=True)
            with connection.begin():
                connection.execute(select(Meta.id).with_for_update()).all()
                yield connection

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _create(self) -> None:
        """Make the tables where there are none, or see that they are ours."""
        if not self._has_tables():
            try:
                self._create_once()
            except GradebookError:
                # Another process may have made them meanwhile: then they are there.
                if not self._has_tables():
                    raise
        with self.reading() as connection:
            found = connection.execute(select(Meta.format)).scalar()
        if found != FORMAT:
            raise GradebookError(
                f"the gradebook {self.name} has format {found}, and this version of "
                f"mlopt-edu reads format {FORMAT}"
            )

    def _has_tables(self) -> bool:
        with self.reading() as connection:
            return inspect(connection).has_table(Meta.__tablename__)

    def _create_once(self) -> None:
        with self._named_errors(), self._engine.connect() as connection:
            connection = connection.execution_options(writing=True)
            with connection.begin():
                Base.metadata.create_all(connection)
                if connection.execute(select(Meta.id)).first() is None:
                    connection.execute(insert(Meta), [{"id": 1, "format": FORMAT}])

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            raise GradebookError(
                f"the gradebook {self.name} cannot be used: {reason}"
            ) from error


def _url(where: Path | str) -> URL:
    if isinstance(where, str) and "://" in where:
        try:
            return make_url(where)
        except ArgumentError:
            raise GradebookError(
                "the gradebook's URL must look like postgresql+psycopg://user@host/name"
            ) from None
    return URL.create("sqlite", database=str(where))


def _engine(url: URL) -> Engine:
    if not url.drivername.startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": PATIENCE})

    # Python's own driver begins late and shares the lock; see "Serializable
    # isolation" in SQLAlchemy's pages on SQLite.
    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine
