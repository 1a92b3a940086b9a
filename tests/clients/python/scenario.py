"""What every Python driver does: the same calls, directly and through the proxy.

Each line of output is `check NAME: VALUE`. Whoever runs this compares the lines of two runs, so nothing is
printed that differs by nature (connection ids, ports, times). What must be so in any case is asserted here.

A driver gives `connect(**options)` and what of DB-API 2.0 it does in its own way; see `Driver`.
"""

import datetime
import decimal
import hashlib
import os
import sys

HOST = os.environ["CLIENT_HOST"]
PORT = int(os.environ["CLIENT_PORT"])
USER = os.environ["CLIENT_USER"]
PASSWORD = os.environ["CLIENT_PASSWORD"]
DATABASE = os.environ["CLIENT_DATABASE"]
TLS = os.environ["CLIENT_TLS"] == "on"
SHARED = os.environ["CLIENT_SHARED"]

IDENTITY = (
    "SELECT CURRENT_USER(), DATABASE(), @@character_set_client, @@character_set_results, "
    "@@collation_connection, @@autocommit, @@sql_mode, @@version"
)


def show(value):
    """A value as one line: what is long as its length and hash."""
    if isinstance(value, (bytes, bytearray, str)) and len(value) > 200:
        raw = value.encode() if isinstance(value, str) else bytes(value)
        return f"{type(value).__name__} of {len(value)}, md5 {hashlib.md5(raw).hexdigest()}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(show(each) for each in value)})"
    if isinstance(value, (set, frozenset)):
        return f"set {sorted(value)!r}"
    return repr(value)


def check(name, value):
    print(f"check {name}: {value if isinstance(value, str) else show(value)}", flush=True)


def statements(name):
    with open(os.path.join(SHARED, name), encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if line.strip()]


class Driver:
    """What differs between drivers. This is PyMySQL's way; others override."""

    error = None
    #: Whether cursors can be asked for the binary protocol.
    prepares = False
    #: Columns that the driver itself misreads in the binary protocol, before any server.
    misread = ()
    #: What is bound to a BIGINT UNSIGNED.
    unsigned = 18446744073709551615
    #: The largest value read in the binary protocol, in MiB.
    largest_binary = 17
    multi = True
    infile = True

    def connect(self, user=USER, password=PASSWORD, autocommit=True, timeout=None):
        raise NotImplementedError

    def is_encrypted(self, connection):
        return None

    def prepared(self, connection):
        return connection.cursor(prepared=True)

    def describe(self, error):
        return error.args

    def ping(self, connection):
        connection.ping()

    def begin(self, connection):
        connection.begin()

    def change_user(self, connection):
        """Logs in again on the same connection; None where the driver cannot."""
        return None

    def results(self, connection, sql):
        """Every result of a text of several statements: rows, or affected rows."""
        found = []
        with connection.cursor() as cursor:
            cursor.execute(sql)
            while True:
                found.append(cursor.fetchall() if cursor.description else cursor.rowcount)
                if not cursor.nextset():
                    return found

    def call(self, connection):
        """The procedure's results, and its OUT parameter."""
        found = []
        with connection.cursor() as cursor:
            cursor.callproc("two_results", (20, 0))
            while True:
                if cursor.description:
                    found.append(cursor.fetchall())
                if not cursor.nextset():
                    break
            cursor.execute("SELECT @_two_results_1")
            return found, cursor.fetchall()


def run(driver):
    if sys.argv[1] == "failover":
        return failover(driver)
    login(driver)
    connection = driver.connect()
    for sql in statements("types.sql") + statements("set-up.sql"):
        with connection.cursor() as cursor:
            cursor.execute(sql)
    types(driver, connection)
    bound(driver, connection)
    results(driver, connection)
    errors(driver, connection)
    infile(driver, connection)
    transactions(driver, connection)
    large(driver, connection)
    many(driver, connection)
    timeouts(driver)
    again = driver.change_user(connection)
    if again is not None:
        check("change_user", again)
    driver.ping(connection)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'still here'")
        check("end", cursor.fetchall())
    connection.close()


def login(driver):
    connection = driver.connect()
    encrypted = driver.is_encrypted(connection)
    assert encrypted is None or encrypted == TLS, f"encrypted: {encrypted}"
    with connection.cursor() as cursor:
        cursor.execute(IDENTITY)
        check("login", cursor.fetchall())
    connection.close()
    refused(driver, "login.wrong", lambda: driver.connect(password="wrong"))
    refused(driver, "login.nobody", lambda: driver.connect(user="nobody"))


def refused(driver, name, what):
    try:
        what()
    except driver.error as error:
        check(name, f"{type(error).__name__} {driver.describe(error)!r}")
    else:
        raise AssertionError(f"{name}: no error")


def table(name, cursor):
    columns = [column[:2] for column in cursor.description]
    for row in cursor.fetchall():
        for (column, kind), value in zip(columns, row):
            check(f"{name}.{row[0]}.{column}", f"{kind} {show(value)}")


def types(driver, connection):
    for name in ("types", "special"):
        sql = f"SELECT * FROM {name} ORDER BY id"
        with connection.cursor() as cursor:
            cursor.execute(sql)
            table(f"{name}.text", cursor)
        if driver.prepares:
            cursor = connection.cursor()
            cursor.execute(f"SELECT * FROM {name} LIMIT 0")
            cursor.fetchall()
            columns = [column[0] for column in cursor.description if column[0] not in driver.misread]
            cursor.close()
            cursor = driver.prepared(connection)
            cursor.execute(sql.replace("*", ", ".join(columns)))
            table(f"{name}.binary", cursor)
            cursor.close()


BOUND = (
    -9223372036854775808,
    None,  # the driver's `unsigned`
    0.1,
    "it's \\ \"ö\" 🦀",
    b"\x00\xff\\'\x1a",
    None,
    datetime.datetime(2024, 2, 29, 12, 34, 56, 1),
    datetime.date(1000, 1, 1),
    datetime.timedelta(hours=-10, microseconds=5),
    decimal.Decimal("1234567890.1234"),
)


def bound(driver, connection):
    insert = "INSERT INTO bound (i, u, d, s, b, n, dt, da, ti, de) VALUES (" + ", ".join(["%s"] * 10) + ")"
    ways = [("text", connection.cursor)]
    if driver.prepares:
        ways.append(("binary", lambda: driver.prepared(connection)))
    values = (BOUND[0], driver.unsigned) + BOUND[2:]
    for name, cursor_of in ways:
        cursor = cursor_of()
        cursor.execute(insert, values)
        check(f"bound.{name}", (cursor.rowcount, cursor.lastrowid))
        cursor.close()
        cursor = cursor_of()
        cursor.execute("SELECT * FROM bound WHERE s = %s AND d = %s", (BOUND[3], BOUND[2]))
        rows = cursor.fetchall()
        cursor.close()
        assert rows[0][1:3] == values[:2], rows
        check(f"bound.{name}.read", rows)


def results(driver, connection):
    if driver.multi:
        sql = "SELECT 1 AS a; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two', NULL; DO 0; SELECT 3"
        check("results", driver.results(connection, sql))
        refused(
            driver, "results.error", lambda: driver.results(connection, "SELECT 1; SELECT * FROM nowhere; SELECT 2")
        )
        refused(driver, "results.error.late", lambda: driver.results(connection, "CALL fails_late()"))
    check("call", driver.call(connection))
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 WHERE FALSE")
        check("results.empty", (cursor.fetchall(), cursor.rowcount))


def errors(driver, connection):
    for name, sql in [
        ("1064", "SELEC 1"),
        ("1146", "SELECT * FROM nowhere"),
        ("1062", "INSERT INTO types (id) VALUES (1)"),
        ("1048", "INSERT INTO keyed (v) VALUES (NULL)"),
        ("1264", "INSERT INTO types (id, t1) VALUES (9, 1000)"),
        ("1142", "SELECT * FROM mysql.user"),
        ("1049", "USE nowhere"),
    ]:
        with connection.cursor() as cursor:
            refused(driver, f"error.{name}", lambda: cursor.execute(sql))


def infile(driver, connection):
    if not driver.infile:
        return
    path = os.path.join(SHARED, "rows.tsv")
    load = "LOAD DATA LOCAL INFILE '%s' INTO TABLE loaded CHARACTER SET utf8mb4"
    with connection.cursor() as cursor:
        cursor.execute(load % path)
        check("infile", cursor.rowcount)
        cursor.execute("SELECT * FROM loaded ORDER BY id")
        check("infile.rows", cursor.fetchall())
    # Some drivers leave the server waiting for the file then, and the connection is lost.
    other = driver.connect()
    for sql in (load % (path + ".nowhere"), "SELECT 'after it'"):
        try:
            with other.cursor() as cursor:
                cursor.execute(sql)
                found = cursor.fetchall() if cursor.description else cursor.rowcount
        except Exception as error:  # each driver has its own for a file that is missing
            found = type(error).__name__
        check("infile.missing", found)


def transactions(driver, connection):
    def count():
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'")
            return cursor.fetchall()[0][0]

    def insert(key):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO keyed (k) VALUES (%s)", (key,))
            return cursor.rowcount, cursor.lastrowid

    driver.begin(connection)
    check("transaction.insert", (insert("t1"), insert("t2")))
    check("transaction.inside", count())
    connection.rollback()
    check("transaction.rolled_back", count())
    driver.begin(connection)
    insert("t3")
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT a")
        cursor.execute("DELETE FROM keyed WHERE k = 't3'")
        cursor.execute("ROLLBACK TO a")
    connection.commit()
    check("transaction.committed", count())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE keyed SET v = v + 1 WHERE k LIKE 't%'")
        changed = cursor.rowcount
        cursor.execute("UPDATE keyed SET v = 1 WHERE k LIKE 't%'")
        check("transaction.affected", (changed, cursor.rowcount))


def large(driver, connection):
    for megabytes in (1, 17):
        data = bytes(range(256)) * (megabytes * 4096)
        ways = [("text", connection.cursor)]
        if driver.prepares and megabytes <= driver.largest_binary:
            ways.append(("binary", lambda: driver.prepared(connection)))
        for name, cursor_of in ways:
            cursor = cursor_of()
            cursor.execute("REPLACE INTO large VALUES (%s, %s)", (megabytes, data))
            cursor.close()
            cursor = cursor_of()
            cursor.execute("SELECT SHA2(data, 256), data, 'behind it' FROM large WHERE id = %s", (megabytes,))
            row = cursor.fetchall()[0]
            cursor.close()
            assert bytes(row[1]) == data, f"{megabytes} MiB, {name}: other bytes"
            check(f"large.{megabytes}.{name}", row)


def many(driver, connection):
    rows = [(f"m{number}", number) for number in range(1000)]
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO keyed (k, v) VALUES (%s, %s)", rows)
        check("many", cursor.rowcount)
        cursor.execute("SELECT k, v FROM keyed WHERE k LIKE 'm%' ORDER BY id")
        check("many.read", hashlib.md5(repr(cursor.fetchall()).encode()).hexdigest())


def timeouts(driver):
    connection = driver.connect(timeout=1)
    if connection is None:
        return
    with connection.cursor() as cursor:
        refused(driver, "timeout", lambda: cursor.execute("SELECT SLEEP(4)"))


def failover(driver):
    """One session that is idle when the active master dies, and one in a transaction."""
    idle, busy = driver.connect(), driver.connect()

    def ask(sql, *arguments):
        with idle.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall()[0] if cursor.description else None

    with idle.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)")
    ask("SET SESSION lock_wait_timeout = 4242")
    ask("SET @note = 'still 🦀'")
    cursor = driver.prepared(idle) if driver.prepares else idle.cursor()
    cursor.execute("SELECT %s + %s", (1, 2))
    assert int(cursor.fetchall()[0][0]) == 3
    driver.begin(busy)
    with busy.cursor() as work:
        work.execute("INSERT INTO survived (a) VALUES ('lost')")
    before = ask("SELECT @@server_id")
    print("ready", flush=True)
    assert sys.stdin.readline() == "go\n"
    cursor.execute("SELECT %s + %s", (20, 22))
    check("prepared", str(int(cursor.fetchall()[0][0])))
    cursor.close()
    check("variables", " ".join(str(value) for value in ask("SELECT @@lock_wait_timeout, @note")))
    check("moved", "yes" if ask("SELECT @@server_id") != before else "no")
    try:
        with busy.cursor() as work:
            work.execute("INSERT INTO survived (a) VALUES ('lost too')")
        check("transaction", "no error")
    except driver.error as error:
        check("transaction", f"{error_code(error)}")
    busy.rollback()
    driver.begin(busy)
    with busy.cursor() as work:
        work.execute("INSERT INTO survived (a) VALUES ('again')")
    busy.commit()
    check("again", str(ask("SELECT GROUP_CONCAT(a) FROM survived")[0]))


def error_code(error):
    return getattr(error, "errno", None) or error.args[0]
