//! diesel on libmariadb: its query builder, everything in the binary protocol.

mod transcript;

use diesel::connection::SimpleConnection as _;
use diesel::mysql::MysqlConnection;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Binary, Text};
use transcript::{check, env, go, md5_of, statements};

diesel::table! {
    bound (id) {
        id -> Integer,
        i -> Nullable<Bigint>,
        u -> Nullable<Unsigned<Bigint>>,
        d -> Nullable<Double>,
        s -> Nullable<Varchar>,
        b -> Nullable<Varbinary>,
        n -> Nullable<Integer>,
    }
}

diesel::table! {
    keyed (id) {
        id -> Integer,
        k -> Nullable<Varchar>,
        v -> Integer,
    }
}

diesel::table! {
    large (id) {
        id -> Integer,
        data -> Nullable<Blob>,
    }
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

#[derive(QueryableByName)]
struct Raw {
    #[diesel(sql_type = Binary)]
    data: Vec<u8>,
}

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

fn login(user: &str, password: &str) -> ConnectionResult<MysqlConnection> {
    let tls = if env("TLS") == "on" { "?ssl_mode=REQUIRED" } else { "?ssl_mode=DISABLED" };
    let (host, port, database) = (env("HOST"), env("PORT"), env("DATABASE"));
    MysqlConnection::establish(&format!("mysql://{user}:{password}@{host}:{port}/{database}{tls}"))
}

fn one(db: &mut MysqlConnection, expression: &str) -> Answer<String> {
    let found: Line =
        diesel::sql_query(format!("SELECT CAST({expression} AS CHAR) AS line")).get_result(db)?;
    Ok(found.line)
}

fn refused<T, E: std::fmt::Display + std::fmt::Debug>(name: &str, result: Result<T, E>) {
    match result {
        Ok(_) => panic!("{name}: no error"),
        Err(error) => check(name, format!("{error:?}")),
    }
}

fn walk() -> Answer<()> {
    let mut db = login(&env("USER"), &env("PASSWORD"))?;
    check(
        "login",
        one(
            &mut db,
            "CONCAT_WS(' ', CURRENT_USER(), DATABASE(), @@character_set_client, @@sql_mode, @@version)",
        )?,
    );
    refused("login.wrong", login(&env("USER"), "wrong").map(drop));
    refused("login.nobody", login("nobody", "x").map(drop));
    for sql in statements("types.sql").iter().chain(&statements("set-up.sql")) {
        db.batch_execute(sql)?;
    }
    let columns: Vec<String> = {
        #[derive(QueryableByName)]
        struct Column {
            #[diesel(sql_type = Text)]
            name: String,
        }
        let sql = "SELECT column_name AS name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'types' ORDER BY ordinal_position";
        diesel::sql_query(sql)
            .load::<Column>(&mut db)?
            .into_iter()
            .map(|column| column.name)
            .collect()
    };
    for column in columns {
        let sql = format!(
            "SELECT CAST({column} AS BINARY) AS data FROM types WHERE {column} IS NOT NULL ORDER BY id"
        );
        for row in diesel::sql_query(sql).load::<Raw>(&mut db)? {
            check(&format!("types.{column}"), transcript::shown(&row.data));
        }
    }
    let text = "it's \\ \"ö\" 🦀";
    let done = diesel::insert_into(bound::table)
        .values((
            bound::i.eq(i64::MIN),
            bound::u.eq(u64::MAX),
            bound::d.eq(0.1),
            bound::s.eq(text),
            bound::b.eq(b"\0\xff\\'\x1a".as_slice()),
            bound::n.eq(None::<i32>),
        ))
        .execute(&mut db)?;
    type Bound =
        (i32, Option<i64>, Option<u64>, Option<f64>, Option<String>, Option<Vec<u8>>, Option<i32>);
    let read: Vec<Bound> = bound::table.filter(bound::s.eq(text)).load(&mut db)?;
    check("bound", format!("{done} {read:?}"));
    let rows: Vec<_> = (0..500).map(|n| (keyed::k.eq(format!("m{n}")), keyed::v.eq(n))).collect();
    check("many", diesel::insert_into(keyed::table).values(&rows).execute(&mut db)?.to_string());
    let sum: Vec<(Option<String>, i32)> = keyed::table
        .select((keyed::k, keyed::v))
        .filter(keyed::v.gt(490))
        .order(keyed::id)
        .load(&mut db)?;
    check("many.read", format!("{sum:?}"));
    check(
        "update",
        diesel::update(keyed::table.filter(keyed::v.lt(10)))
            .set(keyed::v.eq(keyed::v + 1))
            .execute(&mut db)?
            .to_string(),
    );
    for sql in [
        "SELEC 1",
        "SELECT * FROM nowhere",
        "INSERT INTO types (id) VALUES (1)",
        "SELECT * FROM mysql.user",
    ] {
        refused("error", diesel::sql_query(sql).execute(&mut db));
    }
    let rolled_back = db.transaction::<(), Error, _>(|db| {
        diesel::delete(keyed::table).execute(db)?;
        db.transaction::<(), Error, _>(|_| Err(Error::RollbackTransaction)).ok();
        Err(Error::RollbackTransaction)
    });
    refused("transaction", rolled_back);
    check("transaction.count", keyed::table.count().get_result::<i64>(&mut db)?.to_string());
    for megabytes in [1_i32, 17] {
        let bytes: Vec<u8> = (0..megabytes << 20).map(|n| n as u8).collect();
        diesel::replace_into(large::table)
            .values((large::id.eq(megabytes), large::data.eq(&bytes)))
            .execute(&mut db)?;
        let read: Option<Vec<u8>> =
            large::table.find(megabytes).select(large::data).first(&mut db)?;
        assert!(read.as_ref() == Some(&bytes), "{megabytes} MiB: other bytes");
        check("large", format!("{megabytes} {}", md5_of(&bytes)));
    }
    check("end", one(&mut db, "'still here'")?);
    Ok(())
}

fn failover() -> Answer<()> {
    let (mut idle, mut busy) =
        (login(&env("USER"), &env("PASSWORD"))?, login(&env("USER"), &env("PASSWORD"))?);
    for sql in
        [transcript::SURVIVED, "SET SESSION lock_wait_timeout = 4242", "SET @note = 'still 🦀'"]
    {
        idle.batch_execute(sql)?;
    }
    // Kept prepared in the connection's cache.
    let sum = |db: &mut MysqlConnection, a: i32, b: i32| -> Answer<i32> {
        use diesel::sql_types::Integer;
        let of_both = diesel::dsl::sql::<Integer>("CAST(")
            .bind::<Integer, _>(a)
            .sql(" + ")
            .bind::<Integer, _>(b)
            .sql(" AS SIGNED)");
        Ok(diesel::select(of_both).get_result(db)?)
    };
    assert_eq!(sum(&mut idle, 1, 2)?, 3);
    let before = one(&mut idle, "@@server_id")?;
    busy.batch_execute("BEGIN")?;
    diesel::sql_query("INSERT INTO survived (a) VALUES ('lost')").execute(&mut busy)?;
    go();
    check("prepared", sum(&mut idle, 20, 22)?.to_string());
    check("variables", one(&mut idle, "CONCAT(@@lock_wait_timeout, ' ', @note)")?);
    check(
        "moved",
        (if one(&mut idle, "@@server_id")? == before { "no" } else { "yes" }).to_owned(),
    );
    let lost = diesel::sql_query("INSERT INTO survived (a) VALUES ('lost too')").execute(&mut busy);
    if let Err(error) = lost {
        // Diesel tells no codes; a deadlock has a kind of its own.
        let is_deadlock = error.to_string().contains("restart");
        check("transaction", (if is_deadlock { "1213" } else { "another error" }).to_owned());
    }
    for sql in ["ROLLBACK", "BEGIN", "INSERT INTO survived (a) VALUES ('again')", "COMMIT"] {
        busy.batch_execute(sql)?;
    }
    check("again", one(&mut idle, "(SELECT GROUP_CONCAT(a) FROM survived)")?);
    Ok(())
}

fn main() -> Answer<()> {
    if transcript::is_failover() { failover() } else { walk() }
}
