"""aiomysql: PyMySQL for asyncio."""

import aiomysql
import pymysql
from pymysql.constants import CLIENT

import async_driver
import scenario

scenario.run(async_driver.AsyncDriver(aiomysql, pymysql.err.MySQLError, CLIENT.MULTI_STATEMENTS))
