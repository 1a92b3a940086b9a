"""mysqlclient (MySQLdb): a binding of libmariadb."""

import MySQLdb
from MySQLdb.constants import CLIENT

import scenario


class MySqlDb(scenario.Driver):
    error = MySQLdb.MySQLError

    def connect(self, user=scenario.USER, password=scenario.PASSWORD, autocommit=True, timeout=None):
        return MySQLdb.connect(
            host=scenario.HOST,
            port=scenario.PORT,
            user=user,
            password=password,
            database=scenario.DATABASE,
            autocommit=autocommit,
            local_infile=1,
            charset="utf8mb4",
            client_flag=CLIENT.MULTI_STATEMENTS,
            **({"read_timeout": timeout} if timeout else {}),
            **({"ssl_mode": "REQUIRED"} if scenario.TLS else {"ssl_mode": "DISABLED"}),
        )

    def change_user(self, connection):
        connection.change_user(scenario.USER, scenario.PASSWORD, scenario.DATABASE)
        with connection.cursor() as cursor:
            cursor.execute(scenario.IDENTITY)
            return cursor.fetchall()

    def begin(self, connection):
        connection.query("BEGIN")


scenario.run(MySqlDb())
