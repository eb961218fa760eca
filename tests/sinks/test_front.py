"""The reader's door: ClickHouse's ordinary client over HTTP, and what it refuses."""

from __future__ import annotations

import gzip
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from ingest.contract.errors import UnavailableError
from ingest.contract.settings import Settings
from sinks.clickhouse.reader import connect, find_connection
from sinks.clickhouse.store import Store
from sinks.front.guard import forbidden_functions, objection
from sinks.front.opening import open_front, withdraw
from sinks.front.replies import hello
from sinks.front.server import Front
from tests.sinks.conftest import writable_front

pytestmark = pytest.mark.clickhouse


REFUSED = [
    "SELECT file('/etc/hostname')",
    "SELECT `file`('/etc/hostname')",
    "SELECT \"file\" /* so */ ('/etc/hostname')",
    "SELECT * FROM file('/etc/passwd', 'CSV', 'a String')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/key.csv')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM python(secret)",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "DESCRIBE TABLE s3('http://127.0.0.1:1/bucket/key.csv')",
    "SELECT 1 INTO OUTFILE '{directory}/written'",
    "SELECT 1 INTO /* so */ OUTFILE '{directory}/written'",
    "SELECT 1; SELECT 2",
    "INSERT INTO layouts VALUES ('9', 2)",
    'INSERT INTO layouts FORMAT JSONEachRow {{"layout":"9"}}',
    "INSERT INTO FUNCTION file('{directory}/written', 'CSV', 'a Int8') SELECT 1",
    "KILL QUERY WHERE 1",
    "SYSTEM SHUTDOWN",
    "SET readonly = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "DROP TABLE layouts",
    "ALTER TABLE layouts DELETE WHERE 1",
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a Int8)",
    "BACKUP TABLE layouts TO File('{directory}/written')",
    "ATTACH TABLE t",
    "SELECT sleep(1)",
    "SELECT aiGenerate('x')",
    "",
]


@pytest.fixture
def front(store: Store, client: Client, demo_settings: Settings) -> Iterator[Front]:
    """The door as the sinks' process opens it."""
    client.command("INSERT INTO layouts VALUES ('7', 1)")
    opened = open_front(demo_settings, store)
    threading.Thread(target=opened.serve_forever, daemon=True).start()
    yield opened
    opened.shutdown()
    opened.server_close()


@pytest.fixture
def reader(front: Front, demo_settings: Settings) -> Iterator[Client]:
    """What verify, status and Grafana use."""
    made = connect(demo_settings)
    assert made.uri.startswith("http://")
    yield made
    made.close()


def test_queries_parameters_and_empty_results(reader: Client) -> None:
    assert reader.query("SELECT count() FROM events").result_rows == [(0,)]
    assert reader.query("SELECT number FROM numbers(10) WHERE number > {least:Int32}", parameters={"least": 7}).result_rows == [
        (8,),
        (9,),
    ]
    assert reader.query("SELECT %(text)s AS x", parameters={"text": "it's 银行\n"}).result_rows == [("it's 银行\n",)]
    empty = reader.query("SELECT day, dau FROM dau WHERE app = 'nobody'")
    assert (empty.column_names, empty.result_rows) == (("day", "dau"), [])
    assert reader.query("SELECT day, dau FROM dau LIMIT 0").column_names == ("day", "dau")
    assert reader.command("EXISTS TABLE dau") == 1
    assert "dau" in str(reader.command("SHOW TABLES"))
    assert reader.raw_query("SELECT 1 AS a", fmt="JSONEachRow") == b'{"a":1}\n'
    assert reader.raw_query("SELECT 1 AS a", fmt="CSVWithNames") == b'"a"\n1\n'


def test_a_long_result_is_streamed_and_an_error_in_its_middle_is_told(reader: Client) -> None:
    with reader.query_row_block_stream("SELECT number FROM numbers(1000000)") as blocks:
        assert sum(len(block) for block in blocks) == 1_000_000
    failing = "SELECT throwIf(number = 900000) FROM numbers(1000000)"
    with pytest.raises((StreamFailureError, DatabaseError)), reader.query_row_block_stream(failing) as blocks:
        for _ in blocks:
            pass


def test_readers_in_parallel_do_not_mix(front: Front, demo_settings: Settings) -> None:
    def ask(number: int) -> int:
        client = connect(demo_settings)
        try:
            return int(str(client.command(f"SELECT sum(number) * 0 + {number} FROM numbers(10000)")))
        finally:
            client.close()

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(36))) == list(range(36))


def test_what_does_not_only_read_is_refused(reader: Client, front: Front, tmp_path: Path) -> None:
    for statement in REFUSED:
        sql = statement.format(directory=tmp_path)
        status, body = ask(front, sql.encode(), f"user=reader&password={front.user.password}")
        assert status >= 400, (sql, body)
    assert not (tmp_path / "written").exists()
    assert reader.query("SELECT layout FROM layouts WHERE layout != '1'").result_rows == [("7",)]


def test_a_statement_may_speak_of_forbidden_things(reader: Client) -> None:
    assert reader.command("SELECT 'file(1) INTO OUTFILE; KILL' /* url( */ -- s3(") == "file(1) INTO OUTFILE; KILL"


def test_limits_can_not_be_raised_through_the_url(front: Front) -> None:
    url = f"user=reader&password={front.user.password}&max_execution_time=0&max_memory_usage=0"
    status, body = ask(front, b"SELECT value FROM system.settings WHERE name = 'max_execution_time'", url)
    assert (status, body) == (200, b"300\n")
    status, body = ask(front, b"SELECT 1", f"user=reader&password={front.user.password}&format_schema_path=x")
    assert (status, b"READONLY" in body or b"readonly" in body) == (500, True)


def test_a_query_that_takes_too_much_memory_fails_alone(reader: Client) -> None:
    with pytest.raises(DatabaseError, match=r"MEMORY_LIMIT|memory limit"):
        reader.query("SELECT length(range(toUInt64(400000000)))")
    assert reader.command("SELECT 1") == 1


def test_without_the_password_nothing_is_told(front: Front) -> None:
    assert ask(front, b"SELECT 1", "")[0] == 403
    assert ask(front, b"SELECT 1", "user=reader&password=guess")[0] == 403
    assert ask(front, b"SELECT 1", f"user=default&password={front.user.password}")[0] == 403
    assert ask(front, b"", "", path="/ping") == (200, b"Ok.\n")


def test_a_request_that_is_too_large_is_refused_unread(front: Front) -> None:
    status, _ = ask(front, b"SELECT '" + b"x" * 3_000_000 + b"'", f"user=reader&password={front.user.password}")
    assert status == 413


def test_the_password_is_private_and_survives_a_restart(front: Front, store: Store, demo_settings: Settings) -> None:
    connection = find_connection(demo_settings)
    assert connection is not None
    password_file = Path(connection.password_file)
    assert password_file.stat().st_mode & 0o777 == 0o600
    assert password_file.read_text().strip() == front.user.password
    assert (connection.port, connection.user, connection.database) == (front.port, "reader", "footfall")
    with pytest.raises(UnavailableError, match=r"set sinks\.clickhouse_port"):
        open_front(demo_settings, store)


def test_grafanas_first_query_is_answered_in_its_own_revision(front: Front) -> None:
    sql = b"SELECT displayName(), version(), revision(), timezone()"
    status, body = ask(
        front, sql, f"user=reader&password={front.user.password}&client_protocol_version=54460&default_format=Native"
    )
    assert status == 200
    assert body == hello(front.engine.version, front.engine.timezone, 54460)


def test_the_reader_opens_the_store_itself_when_the_sinks_do_not_run(
    front: Front, store: Store, client: Client, demo_settings: Settings
) -> None:
    withdraw(demo_settings)
    front.shutdown()
    front.server_close()
    client.close()
    store.close()
    own = connect(demo_settings)
    assert own.query("SELECT layout FROM layouts WHERE since = 1").result_rows == [("7",)]
    own.close()


def test_the_writable_front_takes_compressed_inserts(store: Store, client: Client) -> None:
    front = writable_front(store)
    try:
        writer = clickhouse_connect.get_client(
            host="127.0.0.1", port=front.port, username="writer", password="w", database="footfall", autogenerate_session_id=False
        )
        writer.insert("layouts", [["a", 1], ["b", 2]], column_names=["layout", "since"])
        writer.raw_insert(
            "layouts", ["layout", "since"], gzip.compress(b'{"layout":"c","since":3}'), fmt="JSONEachRow", compression="gzip"
        )
        assert client.query("SELECT layout FROM layouts WHERE since < 4 ORDER BY since").result_rows == [("a",), ("b",), ("c",)]
        writer.close()
    finally:
        front.shutdown()
        front.server_close()


def test_the_guard_judges_by_names_before_a_bracket() -> None:
    forbidden = forbidden_functions(["url", "numbers", "s3", "format"])
    assert objection("SELECT url FROM s3", forbidden) is None
    assert objection("SELECT format('{}', 1) FROM numbers(3)", forbidden) is None
    assert objection("SELECT `url` (1)", forbidden) == "the function url is not allowed here"
    assert objection("SELECT 'a' FROM S3 ('x')", forbidden) == "the function s3 is not allowed here"
    assert objection("(((SELECT 1)))", forbidden) is None
    assert objection("SELECT 1; DROP TABLE t", forbidden) == "one statement at a time"
    assert objection("SELECT 1;", forbidden) is None


def ask(front: Front, body: bytes, query: str, path: str = "/") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{front.port}{path}?{query}", data=body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (ConnectionError, urllib.error.URLError):
        return 413, b"the connection was closed while sending"
