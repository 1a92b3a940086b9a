"""PyMySQL: pure Python, text protocol."""

import ssl

import pymysql
from pymysql.constants import CLIENT

import scenario


class PyMySql(scenario.Driver):
    error = pymysql.err.MySQLError

    def connect(self, user=scenario.USER, password=scenario.PASSWORD, autocommit=True, timeout=None):
        tls = {"ssl_verify_cert": False, "ssl_verify_identity": False, "ssl": {"check_hostname": False}}
        return pymysql.connect(
            host=scenario.HOST,
            port=scenario.PORT,
            user=user,
            password=password,
            database=scenario.DATABASE,
            autocommit=autocommit,
            local_infile=True,
            charset="utf8mb4",
            read_timeout=timeout,
            max_allowed_packet=64 << 20,
            client_flag=CLIENT.MULTI_STATEMENTS,
            **(tls if scenario.TLS else {"ssl_disabled": True}),
        )

    def is_encrypted(self, connection):
        return isinstance(connection._sock, ssl.SSLSocket)

    def ping(self, connection):
        connection.ping(reconnect=False)


scenario.run(PyMySql())
