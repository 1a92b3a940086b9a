use std::time::SystemTime;

use mysql_async::Value;
use proptest::prelude::*;

use super::*;
use crate::stranded::cell::{Cell, Kind, Logged};
use crate::stranded::shape::Column;
use crate::topology::Flavor;

/// `app.t (id INT PRIMARY KEY, a INT)`
type Table = BTreeMap<i64, i64>;
type Row = Option<(i64, i64)>;

fn shape() -> Arc<Shape> {
    let kind = || Kind::Integer { bits: 32, unsigned: false };
    let column = |name: &str| Column { name: name.into(), kind: kind(), generated: false };
    Arc::new(Shape {
        columns: vec![column("id"), column("a")],
        primary: vec![0],
        ..Shape::default()
    })
}

fn name() -> TableName {
    TableName { schema: "app".into(), table: "t".into() }
}

fn undo() -> Undo {
    let stranded = GtidSet::parse(Flavor::MariaDb, "1-1-106..999").expect("a set");
    Undo::new(stranded, HashMap::from([(name(), shape())]), 100)
}

fn begins(domain: u32, sequence: u64) -> LogEvent {
    let gtid = Gtid::Domain { domain, server: domain, sequence };
    LogEvent::Begins(gtid, SystemTime::UNIX_EPOCH)
}

fn rows(before: Row, after: Row) -> LogEvent {
    let image = |row: Row| {
        row.map(|(id, a)| {
            vec![Some(Logged::Value(Value::Int(id))), Some(Logged::Value(Value::Int(a)))]
        })
    };
    let change = RowChange {
        schema: "app".into(),
        table: "t".into(),
        before: image(before),
        after: image(after),
    };
    LogEvent::Rows(vec![change])
}

fn row(id: i64, a: i64) -> StandingRow {
    vec![Some(Cell::Number(id.into())), Some(Cell::Number(a.into()))]
}

/// What a client does.
#[derive(Clone, Debug)]
enum Step {
    Insert(i64, i64),
    Update(i64, i64),
    Move(i64, i64),
    Delete(i64),
}

impl Step {
    /// The row before and after, if it can be done on `table`.
    fn on(&self, table: &Table) -> Option<(Row, Row)> {
        let at = |id: &i64| table.get(id).map(|a| (*id, *a));
        match self {
            Self::Insert(id, a) => at(id).is_none().then_some((None, Some((*id, *a)))),
            Self::Update(id, a) => Some((Some(at(id)?), Some((*id, *a)))),
            Self::Move(id, to) if at(to).is_none() => {
                let (id, a) = at(id)?;
                Some((Some((id, a)), Some((*to, a))))
            }
            Self::Move(..) => None,
            Self::Delete(id) => Some((Some(at(id)?), None)),
        }
    }
}

fn change(table: &mut Table, before: Row, after: Row) {
    if let Some((id, _)) = before {
        table.remove(&id);
    }
    if let Some((id, a)) = after {
        table.insert(id, a);
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (id, a) = (0..6_i64, 0..4_i64);
    prop_oneof![
        (id.clone(), a.clone()).prop_map(|(id, a)| Step::Insert(id, a)),
        (id.clone(), a).prop_map(|(id, a)| Step::Update(id, a)),
        (id.clone(), id.clone()).prop_map(|(id, to)| Step::Move(id, to)),
        id.prop_map(Step::Delete),
    ]
}

proptest! {
    /// Two masters that were alike; clients write on m1 (stranded) and on m2, whose changes come to m1
    /// in between, each found by its key and whole, until one does not find what it needs. Undone, m1
    /// is what m2 was after the last of its changes that came.
    #[test]
    fn a_master_whose_stranded_changes_are_undone_is_like_the_other(
        base in prop::collection::btree_map(0..6_i64, 0..4_i64, 0..6),
        steps in prop::collection::vec((any::<bool>(), step()), 1..40),
    ) {
        let (mut m1, mut m2) = (base.clone(), base);
        let mut undo = undo();
        for (number, (stranded, step)) in steps.into_iter().enumerate() {
            let number = number as u64;
            if stranded {
                let Some((before, after)) = step.on(&m1) else { continue };
                change(&mut m1, before, after);
                undo.take(begins(1, 106 + number));
                undo.take(rows(before, after));
                continue;
            }
            let Some((before, after)) = step.on(&m2) else { continue };
            let found = match before {
                Some((id, _)) => match m1.get(&id) {
                    Some(a) => Some((id, *a)),
                    None => break,
                },
                None => None,
            };
            let moves = before.map(|(id, _)| id) != after.map(|(id, _)| id);
            if moves && after.is_some_and(|(id, _)| m1.contains_key(&id)) {
                break;
            }
            change(&mut m2, before, after);
            change(&mut m1, found, after);
            undo.take(begins(2, number));
            undo.take(rows(found, after));
        }
        for ((_, key), fate) in undo.finish().expect("all can be followed") {
            let Cell::Number(id) = key[0] else { unreachable!() };
            let id = i64::try_from(id).expect("small");
            let is = m1.get(&id).map(|a| row(id, *a));
            prop_assert_eq!(&is, &fate.left, "the log says what is there");
            match fate.wanted {
                Some(wanted) => {
                    let Some(Cell::Number(a)) = wanted[1] else { unreachable!() };
                    m1.insert(id, i64::try_from(a).expect("small"));
                }
                None => {
                    m1.remove(&id);
                }
            }
        }
        prop_assert_eq!(m1, m2);
    }
}

#[test]
fn what_came_before_is_of_no_interest() {
    let mut undo = undo();
    undo.take(begins(1, 105));
    undo.take(rows(None, Some((1, 1))));
    undo.take(LogEvent::Statement("ALTER TABLE t ADD b INT".into()));
    undo.take(LogEvent::Unreadable("strange".into()));
    assert!(undo.finish().expect("nothing").is_empty());
}

#[test]
fn a_row_is_followed_from_its_first_change_to_its_last() {
    let mut undo = undo();
    undo.take(begins(1, 106));
    undo.take(rows(Some((1, 10)), Some((1, 11))));
    undo.take(rows(Some((1, 11)), Some((3, 12))));
    undo.take(rows(None, Some((5, 1))));
    let rows = undo.finish().expect("followed");
    let fate = |id: i64| &rows[&(name(), vec![Cell::Number(id.into())])];
    assert_eq!(*fate(1), Fate { left: None, wanted: Some(row(1, 10)) });
    assert_eq!(*fate(3), Fate { left: Some(row(3, 12)), wanted: None });
    assert_eq!(*fate(5), Fate { left: Some(row(5, 1)), wanted: None });
    let place = (name(), vec![Cell::Number(5)]);
    let shape = shape();
    assert_eq!(
        fate(5).surprise(&place, &shape, Some(&row(5, 2))),
        "app.t id=5: a is 2, and by the log 1"
    );
    assert!(Fate::same(&shape, Some(&row(5, 1)), fate(5).left.as_ref()));
    assert!(!Fate::same(&shape, Some(&row(5, 2)), fate(5).left.as_ref()));
}

#[test]
fn what_cannot_be_followed_is_said() {
    let after = |event: LogEvent| {
        let mut undo = undo();
        undo.take(begins(1, 106));
        undo.take(rows(None, Some((1, 1))));
        undo.take(begins(2, 7));
        undo.take(event);
        undo.take(begins(2, 8));
        undo.finish().err()
    };
    assert_eq!(after(LogEvent::Statement("CREATE TABLE other (id INT)".into())), None);
    assert_eq!(after(LogEvent::Statement("CREATE DATABASE more".into())), None);
    assert_eq!(
        after(LogEvent::Statement("CREATE TABLE IF NOT EXISTS app.t (id INT)".into())),
        None
    );
    assert_eq!(after(LogEvent::Statement("ALTER TABLE tt ADD t_t INT".into())), None);
    for (event, why) in [
        (LogEvent::Statement("alter table T add b int".into()), "alter table t add b int"),
        (LogEvent::Statement("DROP DATABASE app".into()), "drop database"),
        (LogEvent::Statement("CREATE OR REPLACE TABLE `t` (id INT)".into()), "or replace"),
        (LogEvent::Statement("UPDATE other SET a = 1".into()), "update other"),
        (LogEvent::Packed, "compressed"),
        (LogEvent::Unreadable("strange".into()), "strange"),
    ] {
        let found = after(event).expect("an obstacle").to_lowercase();
        assert!(found.contains(why), "{found}");
    }
    let mut undo = undo();
    undo.take(begins(1, 106));
    undo.take(LogEvent::Statement("CREATE TABLE other (id INT)".into()));
    assert!(undo.finish().expect_err("stranded DDL").contains("what is stranded has a statement"));
    let whole = LogEvent::Rows(vec![RowChange {
        schema: "app".into(),
        table: "t".into(),
        before: None,
        after: Some(vec![Some(Logged::Value(Value::Int(1))), None]),
    }]);
    assert!(after(whole).expect("not whole").contains("not whole in the log"));
}
