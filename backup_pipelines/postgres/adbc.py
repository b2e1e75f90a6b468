"""A session of PostgreSQL whose rows come as Arrow batches: ADBC by its own interface.

ADBC's DB-API imports pyarrow.dataset, and with it pandas: a quarter of a second and 40 MB of each
backup.
"""

import contextlib
from collections.abc import Generator
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql
import pyarrow as pa

Error = adbc_driver_manager.Error

# A second reader of 16 MB batches costs 100 MB of memory, one of these 50 MB, at the same speed;
# the files grow by 1 %.
_BATCH_BYTES = 4 * 1024 * 1024

_BATCH_BYTES_HINT = adbc_driver_postgresql.StatementOptions.BATCH_SIZE_HINT_BYTES.value


class Session:
    """A connection in a transaction that begins with its first statement."""

    def __init__(self, conninfo: str, driver: str | None = None) -> None:
        """Connect, by the `driver` of that path where one is named; raises Error."""
        self._database = (
            adbc_driver_manager.AdbcDatabase(driver=driver, uri=conninfo)
            if driver
            else adbc_driver_postgresql.connect(conninfo)
        )
        try:
            self._connection = adbc_driver_manager.AdbcConnection(self._database)
        except BaseException:
            self._database.close()
            raise
        try:
            self._connection.set_autocommit(False)
        except BaseException:
            self.close()
            raise

    def execute(self, statement: str) -> None:
        """Run a statement whose result does not matter; raises Error."""
        with self._statement(statement) as prepared:
            prepared.execute_update()

    @contextlib.contextmanager
    def batches(self, statement: str) -> Generator[pa.RecordBatchReader]:
        """The rows of a query, in batches of about 4 MB.

        Raises Error when the query is refused. A reading that breaks off ends the batches by what
        pyarrow raises: ArrowException or OSError.
        """
        with self._statement(statement) as prepared:
            prepared.set_options(**{_BATCH_BYTES_HINT: str(_BATCH_BYTES)})
            stream, _ = prepared.execute_query()
            with _as_error():
                reader = pa.RecordBatchReader.from_stream(stream)
            try:
                yield reader
            finally:
                reader.close()

    def row(self, statement: str) -> tuple[Any, ...]:
        """The one row of a query; raises Error."""
        with self.batches(statement) as found, _as_error():
            table = found.read_all()
        return tuple(column[0].as_py() for column in table.columns)

    def close(self) -> None:
        """End the session, and with it the transaction; raises Error."""
        try:
            self._connection.close()
        finally:
            self._database.close()

    @contextlib.contextmanager
    def _statement(self, statement: str) -> Generator[adbc_driver_manager.AdbcStatement]:
        with adbc_driver_manager.AdbcStatement(self._connection) as prepared:
            prepared.set_sql_query(statement)
            yield prepared


@contextlib.contextmanager
def _as_error() -> Generator[None]:
    """Raise as Error what pyarrow makes of an error of PostgreSQL."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        status = adbc_driver_manager.AdbcStatusCode.IO
        raise adbc_driver_manager.OperationalError(str(error), status_code=status) from error
