"""SQLAlchemy: its core and ORM on PyMySQL, with a pool."""

import datetime
import decimal
import sys

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql

import scenario
from scenario import check


class Base(orm.DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "sa_author"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(100), unique=True)
    born: orm.Mapped[datetime.date | None]
    books: orm.Mapped[list["Book"]] = orm.relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "sa_book"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("sa_author.id"))
    author: orm.Mapped[Author] = orm.relationship(back_populates="books")
    title: orm.Mapped[str] = orm.mapped_column(sa.Text)
    price: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(20, 4))
    rating: orm.Mapped[float | None] = orm.mapped_column(sa.Double)
    stock: orm.Mapped[int] = orm.mapped_column(mysql.BIGINT(unsigned=True))
    sold: orm.Mapped[bool] = orm.mapped_column(default=False)
    added: orm.Mapped[datetime.datetime] = orm.mapped_column(mysql.DATETIME(fsp=6))
    length: orm.Mapped[datetime.time] = orm.mapped_column(mysql.TIME(fsp=6))
    cover: orm.Mapped[bytes] = orm.mapped_column(mysql.LONGBLOB)
    extra: orm.Mapped[dict] = orm.mapped_column(sa.JSON)
    kind: orm.Mapped[str] = orm.mapped_column(sa.Enum("novel", "größe", "🦀"))


def engine(password=scenario.PASSWORD):
    url = sa.URL.create(
        "mysql+pymysql", scenario.USER, password, scenario.HOST, scenario.PORT, scenario.DATABASE, {"charset": "utf8mb4"}
    )
    tls = {"ssl_verify_cert": False, "ssl": {"check_hostname": False}} if scenario.TLS else {"ssl_disabled": True}
    return sa.create_engine(url, connect_args=tls | {"max_allowed_packet": 64 << 20}, pool_size=3)


def book(title, **more):
    values = {
        "title": title,
        "price": decimal.Decimal("1234567890.1234"),
        "rating": 0.1,
        "stock": 18446744073709551615,
        "added": datetime.datetime(2024, 2, 29, 12, 34, 56, 1),
        "length": datetime.time(1, 2, 3, 4),
        "cover": bytes(range(256)),
        "extra": {"a": [1, None, "🦀"]},
        "kind": "🦀",
    }
    return Book(**values | more)


def main():
    database = engine()
    with database.connect() as connection:
        check("login", connection.exec_driver_sql(scenario.IDENTITY).all())
        check("version", connection.dialect.server_version_info)
    Base.metadata.drop_all(database)
    Base.metadata.create_all(database)
    for table in sorted(sa.inspect(database).get_table_names()):
        if table.startswith("sa_"):
            for column in sa.inspect(database).get_columns(table):
                check(f"inspect.{table}.{column['name']}", f"{column['type']} {column['nullable']}")

    with orm.Session(database) as session:
        session.add(Author(name="Ö 🦀", born=datetime.date(1000, 1, 1), books=[book(f"b{n}") for n in range(20)]))
        session.commit()
        for found in session.scalars(sa.select(Book).join(Author).where(Author.name == "Ö 🦀").order_by(Book.id)):
            check(f"book.{found.id}", [getattr(found, column.name) for column in Book.__table__.columns])
        changed = session.execute(sa.update(Book).where(Book.title < "b3").values(rating=None))
        check("update", changed.rowcount)
        session.rollback()
        check("rolled_back", session.scalar(sa.select(sa.func.count()).where(Book.rating.is_(None))))
        with session.begin_nested() as inside:
            session.execute(sa.delete(Book).where(Book.title == "b1"))
            inside.rollback()
        check("savepoint", session.scalar(sa.select(sa.func.count(Book.id))))
        session.commit()
        large = book("large", author=session.scalars(sa.select(Author)).first(), cover=bytes(range(256)) * (17 * 4096))
        session.add(large)
        session.commit()
        session.expire_all()
        check("large", (large.id, large.cover))
        try:
            session.add(Author(name="Ö 🦀"))
            session.commit()
        except sa.exc.IntegrityError as error:
            check("error.1062", f"{type(error.orig).__name__} {error.orig.args!r}")
            session.rollback()
    with orm.Session(database) as session:
        session.execute(
            sa.insert(Author), [{"name": f"many {number}", "born": None} for number in range(2000)]
        )
        session.commit()
        rows = session.execute(sa.select(Author.id, Author.name).order_by(Author.id)).all()
        check("many", (len(rows), rows[-1].id))
        streamed = session.execute(sa.select(Author.name).order_by(Author.id), execution_options={"yield_per": 100})
        check("streamed", sum(1 for _ in streamed))
    for name, sql in (("1146", "SELECT * FROM nowhere"), ("1064", "SELEC 1")):
        try:
            with database.connect() as connection:
                connection.execute(sa.text(sql))
        except sa.exc.DBAPIError as error:
            check(f"error.{name}", f"{type(error).__name__} {error.orig.args!r}")
    with database.connect() as connection:
        raw = connection.connection.cursor()
        raw.callproc("two_results", (20, 0)) if scenario_tables(connection) else None
        check("call", raw.fetchall())
    try:
        engine("wrong").connect()
    except sa.exc.OperationalError as error:
        check("login.wrong", f"{error.orig.args!r}")


def scenario_tables(connection):
    for sql in scenario.statements("set-up.sql"):
        connection.exec_driver_sql(sql)
    return True


def failover():
    """A session in use, one in a transaction, and one that lies in the pool."""
    database = engine()
    idle, busy, pooled = database.connect(), database.connect(), database.connect()
    idle.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)"
    )
    idle.exec_driver_sql("SET SESSION lock_wait_timeout = 4242")
    idle.exec_driver_sql("SET @note = 'still 🦀'")
    add = sa.text("SELECT :a + :b")
    assert idle.execute(add, {"a": 1, "b": 2}).scalar() == 3
    before = idle.exec_driver_sql("SELECT @@server_id").scalar()
    idle.commit()
    busy.exec_driver_sql("INSERT INTO survived (a) VALUES ('lost')")
    pooled.close()
    print("ready", flush=True)
    assert sys.stdin.readline() == "go\n"
    check("prepared", str(idle.execute(add, {"a": 20, "b": 22}).scalar()))
    check("variables", " ".join(map(str, idle.exec_driver_sql("SELECT @@lock_wait_timeout, @note").one())))
    check("moved", "yes" if idle.exec_driver_sql("SELECT @@server_id").scalar() != before else "no")
    try:
        busy.exec_driver_sql("INSERT INTO survived (a) VALUES ('lost too')")
    except sa.exc.OperationalError as error:
        assert not error.connection_invalidated
        check("transaction", str(error.orig.args[0]))
    busy.rollback()
    busy.exec_driver_sql("INSERT INTO survived (a) VALUES ('again')")
    busy.commit()
    with database.connect() as connection:
        check("again", connection.exec_driver_sql("SELECT GROUP_CONCAT(a) FROM survived").scalar())


failover() if sys.argv[1] == "failover" else main()
