"""A GUI's pool lives on for hours: across a dropped tunnel, and across many tokens."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from psycopg_pool import ConnectionPool

from tests.drawbridge_network.world import DATABASE, USER, World, sign
from tests.waiting import WAITING_SECONDS, eventually

MINUTES = 46
DROPS = (7, 23)
JDBC_DRIVER = Path("/usr/share/java/postgresql.jar")
JAVA = """
import java.sql.*;

class Ask {
    public static void main(String[] given) throws Exception {
        try (Connection connection = DriverManager.getConnection(given[0], given[1], "not a password");
                ResultSet row = connection.createStatement().executeQuery("SELECT session_user, 6 * 7")) {
            row.next();
            System.out.println(row.getString(1) + " " + row.getInt(2));
        }
        try {
            DriverManager.getConnection(given[0] + "_other", given[1], "").close();
        } catch (SQLException refused) {
            System.out.println(refused.getSQLState() + " " + refused.getMessage());
        }
    }
}
"""


def test_a_pool_opens_connections_for_46_minutes(world: World) -> None:
    """Three lifetimes of a token, two drops of the tunnel; no token is older than ten minutes, and none is missing."""
    tokens: list[str] = []
    ages: list[timedelta] = []

    def make() -> str:
        tokens.append(sign(world.connection, world.clock()))
        return tokens[-1]

    with world.listening(make_token=make) as listener:
        target = f"host=127.0.0.1 port={listener.port} user={USER} dbname={DATABASE}"
        with (
            ConnectionPool(target, min_size=3, max_size=3, open=False, check=ConnectionPool.check_connection) as pool,
            ThreadPoolExecutor(3) as people,
        ):

            def query(_: int) -> int:
                with pool.connection(timeout=WAITING_SECONDS) as connection:
                    row = connection.execute("SELECT 42").fetchone()
                return int(row[0]) if row else 0

            answers = []
            for minute in range(MINUTES):
                if minute in DROPS:
                    world.break_tunnel()
                pool.drain()  # the pool closes what it has, and opens anew
                answers += people.map(query, range(3))
                ages.append(world.clock() - _made_at(tokens[-1]))
                world.clock.move(timedelta(minutes=1))

    assert [42] * 3 * MINUTES == answers
    assert MINUTES // 10 + 1 == len(set(tokens)) == len(tokens)
    assert timedelta(minutes=10) > max(ages)
    assert len(DROPS) + 1 == [operation for operation, _ in world.front.calls].count("StartSession")
    assert len(DROPS) * 2 == len(world.said)
    assert eventually(lambda: ["Terminated"] * (len(DROPS) + 1) == world.statuses())


def _made_at(token: str) -> datetime:
    return datetime.strptime(dict(parse_qsl(token))["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@pytest.mark.skipif(not (JDBC_DRIVER.exists() and shutil.which("java")), reason="needs Java and Debian's JDBC driver")
def test_the_driver_of_java_comes_in_without_settings(world: World, tmp_path: Path) -> None:
    """As DBeaver has it: host, port and database; Java's sockets are IPv6 ones that carry IPv4. It reads refusals."""
    (tmp_path / "Ask.java").write_text(JAVA, encoding="utf-8")
    with world.listening() as listener:
        command = ["java", "-cp", str(JDBC_DRIVER), str(tmp_path / "Ask.java")]
        target = f"jdbc:postgresql://localhost:{listener.port}/{DATABASE}"
        done = subprocess.run([*command, target, USER], capture_output=True, text=True, timeout=60, check=False)

    assert f"{USER} 42" in done.stdout.splitlines()
    assert "3D000 FATAL: Drawbridge leads to the database depotpostgres here" in done.stdout, done.stderr
