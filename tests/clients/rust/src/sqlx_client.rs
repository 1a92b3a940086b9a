//! sqlx: every query with arguments is a prepared statement from its cache; `raw_sql` is text.

mod transcript;

use futures_util::TryStreamExt as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlRow, MySqlSslMode};
use sqlx::{
    Column as _, ConnectOptions as _, Connection as _, Either, Error, Executor as _,
    MySqlConnection, Row as _, TypeInfo as _,
};
use transcript::{IDENTITY, check, env, go, md5_of, port, shown, statements};

fn options() -> MySqlConnectOptions {
    MySqlConnectOptions::new()
        .host(&env("HOST"))
        .port(port())
        .username(&env("USER"))
        .password(&env("PASSWORD"))
        .database(&env("DATABASE"))
        .ssl_mode(if env("TLS") == "on" { MySqlSslMode::Required } else { MySqlSslMode::Disabled })
}

fn table(name: &str, rows: &[MySqlRow]) {
    for row in rows {
        for column in row.columns() {
            let bytes: Option<Vec<u8>> = row.get_unchecked(column.ordinal());
            let shown = bytes.as_deref().map_or_else(|| "NULL".to_owned(), shown);
            check(
                &format!("{name}.{}", column.name()),
                format!("{} {shown}", column.type_info().name()),
            );
        }
    }
}

fn refused<T>(name: &str, result: Result<T, Error>) {
    match result {
        Ok(_) => panic!("{name}: no error"),
        Err(error) => {
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            check(name, format!("{code:?} {error}"));
        }
    }
}

async fn results(conn: &mut MySqlConnection, name: &str, sql: &str) -> Result<(), Error> {
    let mut stream = sqlx::raw_sql(sql).fetch_many(conn);
    while let Some(each) = stream.try_next().await? {
        match each {
            Either::Left(done) => {
                check(name, format!("{} {}", done.rows_affected(), done.last_insert_id()))
            }
            Either::Right(row) => table(name, &[row]),
        }
    }
    Ok(())
}

async fn walk() -> Result<(), Error> {
    let mut conn = options().connect().await?;
    table("login", &conn.fetch_all(sqlx::raw_sql(IDENTITY)).await?);
    refused("login.wrong", options().password("wrong").connect().await);
    refused("login.nobody", options().username("nobody").connect().await);
    for sql in statements("types.sql").iter().chain(&statements("set-up.sql")) {
        conn.execute(sqlx::raw_sql(sql)).await?;
    }
    for name in ["types", "special"] {
        let sql = format!("SELECT * FROM {name} ORDER BY id");
        table(&format!("{name}.text"), &conn.fetch_all(sqlx::raw_sql(&sql)).await?);
        table(&format!("{name}.binary"), &sqlx::query(&sql).fetch_all(&mut conn).await?);
        let described = conn.describe(&sql).await?;
        check(
            &format!("{name}.nullable"),
            format!(
                "{:?}",
                (0..described.columns().len()).map(|n| described.nullable(n)).collect::<Vec<_>>()
            ),
        );
    }
    let done = sqlx::query("INSERT INTO bound (i, u, d, s, b, n) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(i64::MIN)
        .bind(u64::MAX)
        .bind(0.1_f64)
        .bind("it's \\ \"ö\" 🦀")
        .bind(b"\0\xff\\'\x1a".as_slice())
        .bind(None::<i32>)
        .execute(&mut conn)
        .await?;
    check("bound", format!("{} {}", done.rows_affected(), done.last_insert_id()));
    table(
        "bound.read",
        &sqlx::query("SELECT * FROM bound WHERE d = ?").bind(0.1).fetch_all(&mut conn).await?,
    );
    // More statements than its cache holds: the oldest are closed.
    for n in 0..150 {
        let sum: i64 =
            sqlx::query_scalar(&format!("SELECT CAST({n} + ? AS SIGNED)")).bind(1).fetch_one(&mut conn).await?;
        assert_eq!(sum, n + 1);
    }
    let multi =
        "SELECT 1 AS a; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two', NULL; DO 0; SELECT 3";
    results(&mut conn, "results", multi).await?;
    let failing = "SELECT 1; SELECT * FROM nowhere; SELECT 2";
    refused("results.error", results(&mut conn, "results.error", failing).await);
    refused("results.late", results(&mut conn, "results.late", "CALL fails_late()").await);
    results(&mut conn, "call", "CALL two_results(20, @out); SELECT @out").await?;
    for sql in [
        "SELEC 1",
        "SELECT * FROM nowhere",
        "INSERT INTO types (id) VALUES (1)",
        "SELECT * FROM mysql.user",
    ] {
        refused("error.text", conn.execute(sqlx::raw_sql(sql)).await);
        refused("error.binary", sqlx::query(sql).execute(&mut conn).await);
    }
    for commit in [false, true] {
        let mut work = conn.begin().await?;
        let done = sqlx::query("INSERT INTO keyed (k) VALUES (?), (?)")
            .bind("t1")
            .bind("t2")
            .execute(&mut *work)
            .await?;
        check("transaction", format!("{} {}", done.rows_affected(), done.last_insert_id()));
        if commit {
            work.commit().await?
        } else {
            work.rollback().await?
        }
        table(
            "transaction.count",
            &sqlx::query("SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'")
                .fetch_all(&mut conn)
                .await?,
        );
    }
    for megabytes in [1_i32, 17] {
        let data: Vec<u8> = (0..megabytes << 20).map(|n| n as u8).collect();
        sqlx::query("REPLACE INTO large VALUES (?, ?)")
            .bind(megabytes)
            .bind(&data)
            .execute(&mut conn)
            .await?;
        let row = sqlx::query("SELECT data, SHA2(data, 256) FROM large WHERE id = ?")
            .bind(megabytes)
            .fetch_one(&mut conn)
            .await?;
        let read: Vec<u8> = row.get(0);
        assert!(read == data, "{megabytes} MiB: other bytes");
        check("large", format!("{} {}", read.len(), md5_of(&read)));
    }
    let mut streamed = 0;
    {
        let mut rows = sqlx::query("SELECT id FROM keyed ORDER BY id").fetch(&mut conn);
        while rows.try_next().await?.is_some() {
            streamed += 1;
        }
    }
    check("streamed", streamed.to_string());
    let pool = MySqlPoolOptions::new().max_connections(3).connect_with(options()).await?;
    let many =
        (0..20).map(|n| sqlx::query_scalar::<_, i64>("SELECT CAST(? * 2 AS SIGNED)").bind(n).fetch_one(&pool));
    let doubled: Result<Vec<i64>, Error> =
        futures_util::future::join_all(many).await.into_iter().collect();
    check("pool", format!("{:?}", doubled?));
    pool.close().await;
    conn.ping().await?;
    table("end", &conn.fetch_all(sqlx::raw_sql("SELECT 'still here'")).await?);
    conn.close().await
}

async fn failover() -> Result<(), Error> {
    let (mut idle, mut busy) = (options().connect().await?, options().connect().await?);
    idle.execute(sqlx::raw_sql(transcript::SURVIVED)).await?;
    idle.execute(sqlx::raw_sql("SET SESSION lock_wait_timeout = 4242")).await?;
    idle.execute(sqlx::raw_sql("SET @note = 'still 🦀'")).await?;
    let sum = "SELECT CAST(? + ? AS SIGNED)";
    let found: i64 = sqlx::query_scalar(sum).bind(1).bind(2).fetch_one(&mut idle).await?;
    assert_eq!(found, 3);
    let before: u64 =
        sqlx::query_scalar("SELECT CAST(@@server_id AS UNSIGNED)").fetch_one(&mut idle).await?;
    busy.execute(sqlx::raw_sql("BEGIN")).await?;
    busy.execute(sqlx::raw_sql("INSERT INTO survived (a) VALUES ('lost')")).await?;
    go();
    let found: i64 = sqlx::query_scalar(sum).bind(20).bind(22).fetch_one(&mut idle).await?;
    check("prepared", found.to_string());
    let found: String = sqlx::query_scalar("SELECT CONCAT(@@lock_wait_timeout, ' ', @note)")
        .fetch_one(&mut idle)
        .await?;
    check("variables", found);
    let after: u64 =
        sqlx::query_scalar("SELECT CAST(@@server_id AS UNSIGNED)").fetch_one(&mut idle).await?;
    check("moved", (if after == before { "no" } else { "yes" }).to_owned());
    if let Err(Error::Database(error)) =
        busy.execute(sqlx::raw_sql("INSERT INTO survived (a) VALUES ('lost too')")).await
    {
        let error = error.downcast_ref::<sqlx::mysql::MySqlDatabaseError>();
        check("transaction", error.number().to_string());
    }
    for sql in ["ROLLBACK", "BEGIN", "INSERT INTO survived (a) VALUES ('again')", "COMMIT"] {
        busy.execute(sqlx::raw_sql(sql)).await?;
    }
    let found: String =
        sqlx::query_scalar("SELECT GROUP_CONCAT(a) FROM survived").fetch_one(&mut idle).await?;
    check("again", found);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if transcript::is_failover() { failover().await } else { walk().await }
}
