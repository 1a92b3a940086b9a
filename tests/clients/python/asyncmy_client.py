"""asyncmy: asyncio, with its inner loops in Cython."""

import asyncmy
import asyncmy.errors
from asyncmy.constants.CLIENT import MULTI_STATEMENTS

import async_driver
import scenario

driver = async_driver.AsyncDriver(asyncmy, asyncmy.errors.MySQLError, MULTI_STATEMENTS)
driver.infile = False  # 0.2.18 fails before it opens the file: it takes the name for bytes
scenario.run(driver)
