//! mysql_async: text, binary, long data, LOAD DATA LOCAL, TLS with rustls.

mod transcript;

use futures_util::{FutureExt as _, StreamExt as _};
use mysql_async::prelude::{Query as _, Queryable as _};
use mysql_async::{ChangeUserOpts, Conn, Error, OptsBuilder, Row, SslOpts, TxOpts, Value};
use transcript::{IDENTITY, check, env, go, md5_of, port, shared, shown, statements};

fn options() -> OptsBuilder {
    let tls = SslOpts::default()
        .with_danger_accept_invalid_certs(true)
        .with_danger_skip_domain_validation(true);
    let file = |name: &[u8]| {
        let path = String::from_utf8_lossy(name).into_owned();
        async move {
            let data = std::fs::read(path)?;
            Ok(futures_util::stream::iter([Ok(data.into())]).boxed())
        }
        .boxed()
    };
    OptsBuilder::default()
        .ip_or_hostname(env("HOST"))
        .tcp_port(port())
        .user(Some(env("USER")))
        .pass(Some(env("PASSWORD")))
        .db_name(Some(env("DATABASE")))
        .prefer_socket(false)
        .max_allowed_packet(Some(64 << 20))
        .ssl_opts((env("TLS") == "on").then_some(tls))
        .local_infile_handler(Some(
            move |name: &[u8]| -> futures_util::future::BoxFuture<'static, _> { file(name) },
        ))
}

fn value(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => shown(bytes),
        other => format!("{other:?}"),
    }
}

fn table(name: &str, rows: Vec<Row>) {
    for row in &rows {
        for (column, each) in row.columns_ref().iter().zip(row.clone().unwrap()) {
            let kind = column.column_type();
            let flags = column.flags();
            check(
                &format!("{name}.{}", column.name_str()),
                format!("{kind:?} {flags:?} {}", value(&each)),
            );
        }
    }
}

fn refused<T>(name: &str, result: Result<T, Error>) {
    match result {
        Ok(_) => panic!("{name}: no error"),
        Err(error) => check(name, error.to_string()),
    }
}

async fn results(conn: &mut Conn, name: &str, sql: &str) -> Result<(), Error> {
    let mut result = conn.query_iter(sql).await?;
    while !result.is_empty() || result.columns().is_some() {
        let rows: Vec<Row> = result.collect().await?;
        check(name, format!("{} rows", rows.len()));
        table(name, rows);
    }
    // An error in a later result waits here.
    result.drop_result().await
}

async fn walk() -> Result<(), Error> {
    let mut conn = Conn::new(options()).await?;
    table("login", conn.query(IDENTITY).await?);
    check("version", format!("{:?}", conn.server_version()));
    refused("login.wrong", Conn::new(options().pass(Some("wrong"))).await);
    refused("login.nobody", Conn::new(options().user(Some("nobody"))).await);
    for sql in statements("types.sql").into_iter().chain(statements("set-up.sql")) {
        conn.query_drop(sql).await?;
    }
    for name in ["types", "special"] {
        let sql = format!("SELECT * FROM {name} ORDER BY id");
        table(&format!("{name}.text"), conn.query(&sql).await?);
        table(&format!("{name}.binary"), conn.exec(&sql, ()).await?);
    }
    let insert = "INSERT INTO bound (i, u, d, s, b, n, dt, ti) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let values = vec![
        Value::Int(i64::MIN),
        Value::UInt(u64::MAX),
        Value::Double(0.1),
        Value::from("it's \\ \"ö\" 🦀"),
        Value::from(b"\0\xff\\'\x1a".as_slice()),
        Value::NULL,
        Value::Date(2024, 2, 29, 12, 34, 56, 1),
        Value::Time(true, 4, 4, 0, 0, 5),
    ];
    conn.exec_drop(insert, values).await?;
    check("bound", format!("{} {:?}", conn.affected_rows(), conn.last_insert_id()));
    table("bound.read", conn.exec("SELECT * FROM bound WHERE d = ?", (0.1,)).await?);
    let multi =
        "SELECT 1 AS a; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two', NULL; SELECT 3";
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
        refused("error.text", conn.query_drop(sql).await);
        refused("error.binary", conn.exec_drop(sql, ()).await);
    }
    conn.query_drop(format!(
        "LOAD DATA LOCAL INFILE '{}' INTO TABLE loaded CHARACTER SET utf8mb4",
        shared("rows.tsv")
    ))
    .await?;
    check("infile", format!("{} {}", conn.affected_rows(), conn.info()));
    table("infile.rows", conn.query("SELECT * FROM loaded ORDER BY id").await?);
    for commit in [false, true] {
        let mut work = conn.start_transaction(TxOpts::default()).await?;
        work.exec_drop("INSERT INTO keyed (k) VALUES (?), (?)", ("t1", "t2")).await?;
        check("transaction", format!("{} {:?}", work.affected_rows(), work.last_insert_id()));
        if commit {
            work.commit().await?
        } else {
            work.rollback().await?
        }
        table(
            "transaction.count",
            conn.query("SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'").await?,
        );
    }
    for megabytes in [1_usize, 17] {
        let data: Vec<u8> = (0..megabytes << 20).map(|n| n as u8).collect();
        conn.exec_drop("REPLACE INTO large VALUES (?, ?)", (megabytes, &data)).await?;
        let sql = "SELECT data, SHA2(data, 256) FROM large WHERE id = ?";
        let read: Option<(Vec<u8>, String)> = conn.exec_first(sql, (megabytes,)).await?;
        let (read, sum) = read.expect("a row");
        assert!(read == data, "{megabytes} MiB: other bytes");
        check("large", format!("{} {sum} {}", read.len(), md5_of(&read)));
        let text: Option<Vec<u8>> = sql_text(megabytes).first(&mut conn).await?;
        assert!(text.as_ref() == Some(&data), "{megabytes} MiB: other bytes in text");
    }
    let rows = (0..300).map(|n| (format!("m{n}"), n));
    conn.exec_batch("INSERT INTO keyed (k, v) VALUES (?, ?)", rows).await?;
    table(
        "many",
        conn.query("SELECT COUNT(*), SUM(v), MAX(id) FROM keyed WHERE k LIKE 'm%'").await?,
    );
    conn.change_user(ChangeUserOpts::default()).await?;
    table("change_user", conn.query(IDENTITY).await?);
    check("reset", conn.reset().await?.to_string());
    conn.ping().await?;
    table("end", conn.query("SELECT 'still here'").await?);
    conn.disconnect().await
}

fn sql_text(id: usize) -> String {
    format!("SELECT data FROM large WHERE id = {id}")
}

async fn failover() -> Result<(), Error> {
    let (mut idle, mut busy) = (Conn::new(options()).await?, Conn::new(options()).await?);
    idle.query_drop(transcript::SURVIVED).await?;
    idle.query_drop("SET SESSION lock_wait_timeout = 4242").await?;
    idle.query_drop("SET @note = 'still 🦀'").await?;
    let sum = idle.prep("SELECT CAST(? + ? AS SIGNED)").await?;
    assert_eq!(idle.exec_first::<i64, _, _>(&sum, (1, 2)).await?, Some(3));
    let before: Option<u32> = idle.query_first("SELECT @@server_id").await?;
    busy.query_drop("BEGIN").await?;
    busy.query_drop("INSERT INTO survived (a) VALUES ('lost')").await?;
    go();
    let found: Option<i64> = idle.exec_first(&sum, (20, 22)).await?;
    check("prepared", found.expect("a row").to_string());
    let found: Option<String> =
        idle.query_first("SELECT CONCAT(@@lock_wait_timeout, ' ', @note)").await?;
    check("variables", found.expect("a row"));
    let after: Option<u32> = idle.query_first("SELECT @@server_id").await?;
    check("moved", (if after == before { "no" } else { "yes" }).to_owned());
    if let Err(Error::Server(error)) =
        busy.query_drop("INSERT INTO survived (a) VALUES ('lost too')").await
    {
        check("transaction", error.code.to_string());
    }
    busy.query_drop("ROLLBACK").await?;
    busy.query_drop("BEGIN").await?;
    busy.query_drop("INSERT INTO survived (a) VALUES ('again')").await?;
    busy.query_drop("COMMIT").await?;
    let found: Option<String> = idle.query_first("SELECT GROUP_CONCAT(a) FROM survived").await?;
    check("again", found.expect("a row"));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if transcript::is_failover() { failover().await } else { walk().await }
}
