"""Django's ORM on mysqlclient, which is the driver that it recommends."""

import datetime
import decimal
import sys

import django
from django.conf import settings

import scenario
from scenario import check

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "HOST": scenario.HOST,
            "PORT": scenario.PORT,
            "USER": scenario.USER,
            "PASSWORD": scenario.PASSWORD,
            "NAME": scenario.DATABASE,
            "CONN_MAX_AGE": None,
            "OPTIONS": {"charset": "utf8mb4", "ssl_mode": "REQUIRED" if scenario.TLS else "DISABLED"},
        }
    },
    USE_TZ=False,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.db import IntegrityError, OperationalError, connection, models, transaction  # noqa: E402


class Author(models.Model):
    name = models.CharField(max_length=100, unique=True)
    born = models.DateField(null=True)

    class Meta:
        app_label = "clients"


class Book(models.Model):
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")
    title = models.TextField()
    price = models.DecimalField(max_digits=20, decimal_places=4)
    rating = models.FloatField(null=True)
    stock = models.PositiveBigIntegerField()
    sold = models.BooleanField(default=False)
    added = models.DateTimeField()
    length = models.DurationField()
    at = models.TimeField()
    cover = models.BinaryField()
    extra = models.JSONField()
    key = models.UUIDField()

    class Meta:
        app_label = "clients"


def book(title, **more):
    values = {
        "title": title,
        "price": decimal.Decimal("1234567890.1234"),
        "rating": 0.1,
        "stock": 9223372036854775807,
        "added": datetime.datetime(2024, 2, 29, 12, 34, 56, 1),
        "length": datetime.timedelta(days=3, microseconds=1),
        "at": datetime.time(1, 2, 3, 4),
        "cover": bytes(range(256)),
        "extra": {"a": [1, None, "🦀"]},
        "key": "123e4567-e89b-12d3-a456-426655440000",
    }
    return Book(**values | more)


def main():
    with connection.cursor() as cursor:
        cursor.execute(scenario.IDENTITY)
        check("login", cursor.fetchall())
        cursor.execute("DROP TABLE IF EXISTS clients_book, clients_author")
    check("version", connection.mysql_server_info)
    check("features", f"{connection.features.supports_transactions} {connection.features.has_native_uuid_field}")
    with connection.schema_editor() as editor:
        editor.create_model(Author)
        editor.create_model(Book)
    with connection.cursor() as cursor:
        for column in connection.introspection.get_table_description(cursor, "clients_book"):
            check(f"inspect.{column.name}", str(tuple(column)))
    with transaction.atomic():
        author = Author.objects.create(name="Ö 🦀", born=datetime.date(1000, 1, 1))
        Book.objects.bulk_create([book(f"b{number}", author=author) for number in range(20)])
    for values in Book.objects.filter(author__name="Ö 🦀").order_by("id").values_list():
        check(f"book.{values[0]}", values)
    check("prefetched", [a.books.count() for a in Author.objects.prefetch_related("books")])
    check("update", Book.objects.filter(title__lt="b3").update(rating=None))
    try:
        with transaction.atomic():
            Book.objects.all().delete()
            raise RuntimeError
    except RuntimeError:
        check("rolled_back", Book.objects.count())
    with transaction.atomic():
        try:
            with transaction.atomic():
                Author.objects.create(name="Ö 🦀")
        except IntegrityError as error:
            check("error.1062", repr(error.args))
        check("savepoint", Author.objects.count())
    large = book("large", author=author, cover=bytes(range(256)) * (17 * 4096))
    large.save()
    large.refresh_from_db()
    check("large", (large.id, bytes(large.cover)))
    Author.objects.bulk_create([Author(name=f"many {number}") for number in range(2000)], batch_size=500)
    check("many", sum(1 for _ in Author.objects.order_by("id").iterator(chunk_size=100)))
    check("get_or_create", [Author.objects.get_or_create(name="many 7")[1], Author.objects.get_or_create(name="new")[1]])
    check("json", Book.objects.filter(extra__a__2="🦀").count())
    check("aggregate", str(Book.objects.aggregate(models.Sum("price"), models.Avg("rating"))))
    with transaction.atomic():
        check("locked", [found.name for found in Author.objects.select_for_update().filter(pk=author.pk)])


def failover():
    """One session that is idle, and a thread's own in a transaction that Django would retry."""
    import threading

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)")
        cursor.execute("SET SESSION lock_wait_timeout = 4242")
        cursor.execute("SET @note = 'still 🦀'")
        cursor.execute("SELECT @@server_id")
        before = cursor.fetchone()
    inside, killed = threading.Event(), threading.Event()
    seen = []

    def work():
        for attempt in ("lost", "again"):
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("INSERT INTO survived (a) VALUES (%s)", (attempt,))
                    inside.set()
                    killed.wait()
                    cursor.execute("SELECT COUNT(*) FROM survived FOR UPDATE")
                return
            except OperationalError as error:
                seen.append(error.args[0])

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    print("ready", flush=True)
    assert sys.stdin.readline() == "go\n"
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s + %s", (20, 22))
        check("prepared", str(cursor.fetchone()[0]))
        cursor.execute("SELECT @@lock_wait_timeout, @note")
        check("variables", " ".join(map(str, cursor.fetchone())))
        cursor.execute("SELECT @@server_id")
        check("moved", "yes" if cursor.fetchone() != before else "no")
        killed.set()
        thread.join()
        check("transaction", " ".join(map(str, seen)))
        cursor.execute("SELECT GROUP_CONCAT(a) FROM survived")
        check("again", cursor.fetchone()[0])


failover() if sys.argv[1] == "failover" else main()
