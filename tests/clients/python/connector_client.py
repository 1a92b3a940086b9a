"""mysql-connector-python, Oracle's: pure Python and C extension, with binary prepared statements.

The first argument is `check` or `failover`, the second `pure` or `c`.
"""

import os
import sys

import mysql.connector
from _mysql_connector import MySQLInterfaceError
from mysql.connector.constants import ClientFlag

import scenario

PURE = sys.argv[2] == "pure"


class Connector(scenario.Driver):
    error = (mysql.connector.Error, MySQLInterfaceError)
    prepares = True
    misread = ("ye",)
    # The pure one cannot read a binary row of several packets.
    largest_binary = 1 if PURE else 17
    # The C extension fails on a parameter that fits no signed integer.
    unsigned = 18446744073709551615 if PURE else 9223372036854775807

    def connect(self, user=scenario.USER, password=scenario.PASSWORD, autocommit=True, timeout=None):
        return mysql.connector.connect(
            host=scenario.HOST,
            port=scenario.PORT,
            user=user,
            password=password,
            database=scenario.DATABASE,
            autocommit=autocommit,
            allow_local_infile=True,
            use_pure=PURE,
            ssl_disabled=not scenario.TLS,
            # MariaDB knows no utf8mb4_0900_ai_ci, this driver's own choice.
            collation="utf8mb4_general_ci",
            client_flags=[ClientFlag.MULTI_STATEMENTS],
            **({"read_timeout": timeout} if timeout else {}),
        )

    def describe(self, error):
        return error.errno, error.sqlstate, error.msg

    def ping(self, connection):
        connection.ping(reconnect=False)

    def begin(self, connection):
        connection.start_transaction()

    def results(self, connection, sql):
        found = []
        with connection.cursor() as cursor:
            cursor.execute(sql)
            while True:
                found.append(cursor.fetchall() if cursor.with_rows else cursor.rowcount)
                if not cursor.nextset():
                    return found

    def call(self, connection):
        with connection.cursor() as cursor:
            out = cursor.callproc("two_results", (20, 0))
            return [result.fetchall() for result in cursor.stored_results()], out

    def change_user(self, connection):
        connection.cmd_change_user(scenario.USER, scenario.PASSWORD, scenario.DATABASE)
        with connection.cursor() as cursor:
            cursor.execute(scenario.IDENTITY)
            found = cursor.fetchall()
        connection.cmd_reset_connection()
        return found


scenario.run(Connector())
# Once the C extension crashed while the interpreter took it down, with every line printed.
sys.stdout.flush()
os._exit(0)
