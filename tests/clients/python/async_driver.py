"""A synchronous face for drivers that are made for asyncio, so that they walk through the same scenario."""

import asyncio
import ssl

import scenario

LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)


def wait(what):
    if not hasattr(what, "__await__"):
        return what

    async def settled():
        return await what

    return LOOP.run_until_complete(settled())


class Face:
    """Passes everything on, and waits for what has to be awaited."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        value = getattr(self.inner, name)
        return (lambda *args, **kwargs: wait(value(*args, **kwargs))) if callable(value) else value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        wait(self.inner.close())

    def cursor(self):
        return Face(wait(self.inner.cursor()))


class AsyncDriver(scenario.Driver):
    """aiomysql and asyncmy have the same interface."""

    def __init__(self, module, error, multi_statements):
        self.module, self.error, self.multi_statements = module, error, multi_statements

    def connect(self, user=scenario.USER, password=scenario.PASSWORD, autocommit=True, timeout=None):
        if timeout:
            return None  # asyncio's own: it ends the coroutine, not a read
        tls = None
        if scenario.TLS:
            tls = ssl.create_default_context()
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        connecting = self.module.connect(
            host=scenario.HOST,
            port=scenario.PORT,
            user=user,
            password=password,
            db=scenario.DATABASE,
            autocommit=autocommit,
            local_infile=True,
            charset="utf8mb4",
            client_flag=self.multi_statements,
            ssl=tls,
        )
        return Face(wait(connecting))

    def ping(self, connection):
        connection.ping(reconnect=False)
