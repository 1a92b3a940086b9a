use std::time::SystemTime;

use mysql_async::Value;

use super::*;
use crate::stranded::cell::Kind;
use crate::stranded::shape::{Column, UniqueKey};

/// `app.t (id INT PRIMARY KEY, a INT, e VARCHAR UNIQUE)`, in memory.
#[derive(Debug)]
struct Rows {
    shape: Arc<Shape>,
    rows: Vec<StandingRow>,
}

impl Standing for Rows {
    async fn shape(&mut self, table: &TableName) -> Result<Option<Arc<Shape>>, InspectError> {
        Ok((table.table == "t").then(|| Arc::clone(&self.shape)))
    }

    async fn row(
        &mut self,
        _: &TableName,
        shape: &Shape,
        condition: &[(&str, String)],
    ) -> Result<Option<StandingRow>, InspectError> {
        let fits = |row: &&StandingRow| {
            condition.iter().all(|(name, literal)| {
                let at = shape.columns.iter().position(|column| column.name == *name);
                let at = at.expect("a column");
                let cell = row[at].as_ref().expect("a value");
                shape.columns[at].kind.literal(cell).as_ref() == Some(literal)
            })
        };
        Ok(self.rows.iter().find(fits).cloned())
    }

    async fn exists(&mut self, _: &TableName, _: &[(&str, String)]) -> Result<bool, InspectError> {
        Ok(false)
    }
}

fn row(id: i64, a: i64, e: &str) -> StandingRow {
    vec![Some(Cell::Number(id.into())), Some(Cell::Number(a.into())), Some(Cell::Bytes(e.into()))]
}

fn image(id: i64, a: i64, e: &str) -> Vec<Option<LoggedValue>> {
    [Value::Int(id), Value::Int(a), Value::Bytes(e.into())]
        .map(|value| Some(LoggedValue::Value(value)))
        .into()
}

type Image = Option<(i64, i64, &'static str)>;

fn change(table: &str, before: Image, after: Image) -> RowChange {
    let of = |values: Image| values.map(|(id, a, e)| image(id, a, e));
    RowChange { schema: "app".into(), table: table.into(), before: of(before), after: of(after) }
}

fn judge(rows: &[StandingRow]) -> Judge<Rows> {
    let int = || Kind::Integer { bits: 32, unsigned: false };
    let text = Kind::Text { charset: "utf8mb4".into(), padded: false };
    let column = |name: &str, kind| Column { name: name.into(), kind, generated: false };
    let shape = Shape {
        columns: vec![column("id", int()), column("a", int()), column("e", text)],
        primary: vec![0],
        unique: vec![UniqueKey { name: "e".into(), columns: vec![2], partial: false }],
        ..Shape::default()
    };
    let standing = Rows { shape: Arc::new(shape), rows: rows.to_vec() };
    Judge::new(standing, 100, "GRANT SELECT ON {table}".into())
}

async fn verdict(judge: &mut Judge<Rows>, gtid: &str, rows: Vec<RowChange>) -> String {
    let logged = Logged {
        gtid: gtid.into(),
        at: SystemTime::UNIX_EPOCH,
        bytes: 1,
        tables: Vec::new(),
        statements: Vec::new(),
        rows,
        incomplete: None,
    };
    judge.judge(logged).await.expect("a judgement").verdict.to_string()
}

#[tokio::test]
async fn each_is_judged_on_what_those_before_leave_behind() {
    let mut judge = judge(&[row(1, 10, "one"), row(2, 20, "two")]);
    let steps = [
        // A row that is new, changed, renamed, gone, and new again.
        (None, Some((5, 1, "x"))),
        (Some((5, 1, "x")), Some((5, 2, "x"))),
        (Some((5, 2, "x")), Some((7, 2, "y"))),
        (Some((7, 2, "y")), None),
        (None, Some((5, 3, "z"))),
        // One that stands; then its unique value is free for another.
        (Some((1, 10, "one")), Some((1, 11, "uno"))),
        (Some((1, 11, "uno")), Some((1, 12, "uno"))),
        (None, Some((9, 1, "one"))),
        (Some((2, 20, "two")), None),
        (None, Some((11, 1, "two"))),
    ];
    for (number, (before, after)) in steps.into_iter().enumerate() {
        let rows = vec![change("t", before, after)];
        assert_eq!(verdict(&mut judge, &number.to_string(), rows).await, "safe", "{number}");
    }
}

#[tokio::test]
async fn what_builds_on_a_conflict_is_one() {
    let mut judge = judge(&[row(1, 10, "one"), row(5, 9, "mine")]);
    let mut verdict = async |gtid, before, after| {
        verdict(&mut judge, gtid, vec![change("t", before, after)]).await
    };
    assert_eq!(
        verdict("a", None, Some((5, 1, "x"))).await,
        "conflict: app.t id=5: the key is taken"
    );
    assert_eq!(
        verdict("b", Some((5, 1, "x")), Some((5, 2, "x"))).await,
        "conflict: app.t id=5: builds on a, which may not be merged"
    );
    assert_eq!(
        verdict("c", Some((1, 11, "one")), None).await,
        "conflict: app.t id=1: a was 11 and is 10"
    );
    assert_eq!(
        verdict("d", Some((3, 1, "three")), None).await,
        "conflict: app.t id=3: the row is gone"
    );
    assert_eq!(
        verdict("e", None, Some((7, 1, "mine"))).await,
        "conflict: app.t id=5: has the same e"
    );
    assert_eq!(verdict("f", None, Some((9, 1, "else"))).await, "safe");
}

#[tokio::test]
async fn one_bad_row_condemns_the_transaction_and_all_that_it_touched() {
    let mut judge = judge(&[row(1, 10, "one")]);
    let rows = vec![change("t", None, Some((3, 1, "x"))), change("t", None, Some((1, 1, "y")))];
    assert!(verdict(&mut judge, "a", rows).await.starts_with("conflict: app.t id=1"));
    let rows = vec![change("t", Some((3, 1, "x")), Some((3, 2, "x")))];
    assert!(verdict(&mut judge, "b", rows).await.contains("builds on a"));
}

#[tokio::test]
async fn what_cannot_be_followed_is_not_judged_nor_what_comes_after() {
    let mut blind = judge(&[]);
    let hidden = verdict(&mut blind, "a", vec![change("u", None, Some((1, 1, "x")))]).await;
    assert_eq!(
        hidden,
        "cannot be judged: app.u is not there, or may not be read; GRANT SELECT ON `app`.*"
    );
    // Another table is not concerned.
    assert_eq!(verdict(&mut blind, "b", vec![change("t", None, Some((1, 1, "x")))]).await, "safe");
    let mut partial = change("t", Some((1, 1, "x")), Some((1, 2, "x")));
    partial.before.as_mut().expect("an image")[1] = None;
    let whole = verdict(&mut blind, "c", vec![partial]).await;
    assert!(whole.contains("not whole in the log"), "{whole}");
    let later = verdict(&mut blind, "d", vec![change("t", None, Some((9, 1, "y")))]).await;
    assert!(later.contains("changed by c"), "{later}");

    let mut judge = judge(&[]);
    let ddl = Logged {
        gtid: "a".into(),
        at: SystemTime::UNIX_EPOCH,
        bytes: 1,
        tables: Vec::new(),
        statements: vec!["TRUNCATE t".into()],
        rows: Vec::new(),
        incomplete: None,
    };
    let statement = judge.judge(ddl).await.expect("a judgement").verdict.to_string();
    assert!(statement.ends_with("TRUNCATE t"), "{statement}");
    let later = verdict(&mut judge, "b", vec![change("t", None, Some((9, 1, "y")))]).await;
    assert!(later.contains("it follows a"), "{later}");
}
