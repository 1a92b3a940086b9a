//! Generated keys that cannot collide, with room to grow, and the keys that nothing keeps apart.

use std::collections::BTreeMap;

use super::list::Check;
use super::pair::{Pair, counted, few, listed, quoted};
use super::{Finding, Mend, Severity};
use crate::pair::facts::{AfterRestart, Facts, Part, Table};
use crate::topology::{Flavor, KeyClass};

const TABLES: &[Part] = &[Part::Tables];

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "auto-increment",
        Severity::Error,
        "`auto_increment_increment` and `auto_increment_offset` with which two masters hand out the same keys",
        running,
    ),
    Check::new(
        "auto-increment-after-restart",
        Severity::Error,
        "the same, as it will be after a restart",
        after_restart,
    ),
    Check::new(
        "auto-increment-end",
        Severity::Error,
        "a table whose next generated key is near the end of its type (from 80 %)",
        near_end,
    )
    .needs(TABLES),
    Check::new("primary-key", Severity::Warning, "tables without a primary key", primary_keys)
        .needs(TABLES),
    Check::new(
        "unique-keys",
        Severity::Notice,
        "unique keys over other than generated columns, which interleaving does not protect",
        unique_keys,
    )
    .needs(TABLES),
    Check::new(
        "table-engine",
        Severity::Warning,
        "tables that know no transactions (MyISAM, Aria, MEMORY)",
        engines,
    )
    .needs(TABLES),
];

const INCREMENT: &str = "auto_increment_increment";
const OFFSET: &str = "auto_increment_offset";

/// The two settings of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class {
    increment: u32,
    offset: u32,
}

impl Class {
    fn of(facts: &Facts, value: impl Fn(&Facts, &str) -> Option<u32>) -> Option<Self> {
        Some(Self { increment: value(facts, INCREMENT)?, offset: value(facts, OFFSET)? })
    }

    /// Its numbers.
    fn keys(self) -> KeyClass {
        KeyClass::new(self.increment, self.offset)
    }
}

/// Classes that keep these masters apart and change as few of them as possible.
fn mended(classes: &[Class], masters: u32) -> Vec<Class> {
    let enough = |increment: u32| increment >= masters.max(2);
    let largest = classes.iter().map(|class| class.increment).filter(|it| enough(*it)).max();
    let increment = largest.unwrap_or_else(|| masters.max(2));
    let fits = |offset: u32| (1..=increment).contains(&offset);
    let mut taken: Vec<u32> = Vec::new();
    let mut result: Vec<Option<u32>> = Vec::new();
    for class in classes {
        let keeps = fits(class.offset) && !taken.contains(&class.offset);
        result.push(keeps.then_some(class.offset));
        taken.extend(keeps.then_some(class.offset));
    }
    let mut free = (1..=increment).filter(|offset| !taken.contains(offset));
    let offset = |kept: Option<u32>| kept.or_else(|| free.next()).unwrap_or(1);
    result.into_iter().map(offset).map(|offset| Class { increment, offset }).collect()
}

fn mend(masters: &[(&Facts, Class)], count: u32) -> Vec<Mend> {
    let classes: Vec<Class> = masters.iter().map(|(_, class)| *class).collect();
    let mut steps = Vec::new();
    for ((facts, is), shall) in masters.iter().zip(mended(&classes, count)) {
        if is.increment != shall.increment {
            steps.extend(Mend::set(facts, INCREMENT, shall.increment));
        }
        if is.offset != shall.offset {
            steps.extend(Mend::set(facts, OFFSET, shall.offset));
        }
    }
    steps
}

fn value(facts: &Facts, name: &str) -> Option<u32> {
    facts.variables.number(name)
}

/// What is known of the value after a restart.
fn later(facts: &Facts, name: &str) -> Option<u32> {
    match facts.variables.get(name)?.after_restart() {
        AfterRestart::Value(value) => value.parse().ok(),
        AfterRestart::AsTheFilesSay | AfterRestart::Unknown => None,
    }
}

/// "m1 and m2 hand out the same keys (1, 3, 5, …): …"
fn collisions(masters: &[(&Facts, Class)], when: &str) -> Option<String> {
    for (at, (facts, class)) in masters.iter().enumerate() {
        for (other, theirs) in &masters[at + 1..] {
            if class.keys().meets(theirs.keys()) {
                let tell = |facts: &Facts, class: &Class| {
                    format!(
                        "{}: {} (increment {}, offset {})",
                        facts.name,
                        class.keys(),
                        class.increment,
                        class.offset
                    )
                };
                return Some(format!(
                    "{} and {} hand out the same keys{when}: {}; {}",
                    facts.name,
                    other.name,
                    tell(facts, class),
                    tell(other, theirs)
                ));
            }
        }
    }
    None
}

const WHY: &str = "Two rows get one key when both masters are written to, as in a split or around a \
                   failover: replication stops at the second one, or keeps either.";

fn running(pair: Pair<'_>) -> Vec<Finding> {
    let masters: Vec<_> =
        pair.masters().filter_map(|facts| Some((facts, Class::of(facts, value)?))).collect();
    let names = || masters.iter().map(|(facts, _)| &facts.name);
    if let Some(what) = collisions(&masters, "") {
        let mut mend = mend(&masters, pair.master_count());
        mend.push(Mend::advice(
            "sessions that are open keep the old values until they connect again",
        ));
        return vec![Finding::new(Severity::Error, names(), what, WHY).mended_by(mend)];
    }
    Vec::new()
}

fn after_restart(pair: Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let now: Vec<_> =
        pair.masters().filter_map(|facts| Some((facts, Class::of(facts, value)?))).collect();
    let then: Vec<_> =
        pair.masters().filter_map(|facts| Some((facts, Class::of(facts, later)?))).collect();
    // What collides already is told as such.
    if collisions(&now, "").is_some() {
        return found;
    }
    if let Some(what) = collisions(&then, " after a restart") {
        let names = then.iter().map(|(facts, _)| &facts.name);
        let mend = then.iter().flat_map(|(facts, _)| persist(facts));
        found.push(Finding::new(Severity::Error, names, what, WHY).mended_by(mend));
        return found;
    }
    for (facts, _) in &now {
        let forgotten: Vec<&str> = [INCREMENT, OFFSET]
            .into_iter()
            .filter(|name| {
                let variable = facts.variables.get(name);
                variable.is_some_and(|it| it.after_restart() == AfterRestart::AsTheFilesSay)
            })
            .collect();
        if forgotten.is_empty() {
            continue;
        }
        // MariaDB has no other way than a file, and does not tell what it says: nothing may be wrong.
        let (severity, seen) = match facts.flavor() {
            Flavor::MySql => (Severity::Warning, "it is written down nowhere that can be seen"),
            Flavor::MariaDb => (Severity::Notice, "what my.cnf says shows after the next restart"),
        };
        let what = format!(
            "{} of {} {} set by a statement: {seen}",
            listed(&forgotten),
            facts.name,
            if forgotten.len() == 1 { "was" } else { "were" }
        );
        let mend = persist(facts);
        found.push(Finding::new(severity, [&facts.name], what, WHY).mended_by(mend));
    }
    found
}

/// Writes down what is now.
fn persist(facts: &Facts) -> Vec<Mend> {
    let settings = [INCREMENT, OFFSET];
    let now = settings.into_iter().filter_map(|name| Some((name, facts.variables.text(name)?)));
    let one = |(name, value): (&str, &str)| match facts.flavor() {
        Flavor::MySql => Mend::sql(&facts.name, format_args!("SET PERSIST {name} = {value}")),
        Flavor::MariaDb => Mend::config(&facts.name, format_args!("{name} = {value}")),
    };
    now.map(one).collect()
}

/// The tables of all masters by name, each with the server where it was seen first.
fn tables(pair: Pair<'_>) -> BTreeMap<&(String, String), (&Facts, &Table)> {
    let mut all = BTreeMap::new();
    for facts in pair.masters() {
        for (name, table) in facts.tables.iter().flat_map(|tables| &tables.tables) {
            if table.is_base() {
                all.entry(name).or_insert((facts, table));
            }
        }
    }
    all
}

fn dotted((schema, table): &(String, String)) -> String {
    format!("{schema}.{table}")
}

fn named((schema, table): &(String, String)) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

/// Where statements go that every master is to get by replication.
fn first_to_tell<'a>(pair: Pair<'a>, seen: &'a Facts) -> &'a str {
    pair.active().map_or(&seen.name, |active| &active.name)
}

fn near_end(pair: Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in tables(pair).keys() {
        // The highest of all masters: the number is each server's own.
        let of = |facts: &&Facts| {
            let table = facts.tables.as_ref().ok()?.tables.get(*name)?;
            let column = table.generated()?;
            Some((table.next?, column.clone(), column.largest()?))
        };
        let seen = pair.masters().filter_map(|facts| Some((facts, of(&facts)?)));
        let Some((facts, (next, column, largest))) = seen.max_by_key(|(_, (next, ..))| *next)
        else {
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
        let used = next as f64 / largest as f64;
        if used < 0.8 {
            continue;
        }
        let severity = if used < 0.95 { Severity::Warning } else { Severity::Error };
        let what = format!(
            "{}.{} has used {:.1} % of its numbers: the next is {next}, the last of {} is {largest}",
            dotted(name),
            column.name,
            used * 100.0,
            column.column_type
        );
        let why = "At the end every insert fails with a duplicate key, on every master alike: no failover \
                   helps. Interleaved keys get there so many times as fast as there are masters.";
        let wider = format!(
            "ALTER TABLE {} MODIFY {} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT",
            named(name),
            quoted(&column.name)
        );
        let mend = if largest == u64::MAX {
            Mend::advice("there is no larger type: look for what inserts such numbers")
        } else {
            Mend::sql(first_to_tell(pair, facts), wider)
        };
        found.push(Finding::new(severity, [&facts.name], what, why).mended_by([mend]));
    }
    found
}

fn primary_keys(pair: Pair<'_>) -> Vec<Finding> {
    let all = tables(pair);
    let without: Vec<_> =
        all.iter().filter(|(_, (_, table))| !table.keys.contains_key("PRIMARY")).collect();
    let Some((first, (facts, table))) = without.first() else { return Vec::new() };
    let names: Vec<String> = without.iter().map(|(name, _)| dotted(name)).collect();
    let what = format!(
        "{} no primary key: {}",
        counted(names.len(), "table has", "tables have"),
        few(&names)
    );
    let why = "The standby looks through the whole table for every row that is changed or deleted: it \
               falls behind, and a failover waits for it.";
    let on = first_to_tell(pair, facts);
    let mend = match candidate(table) {
        Some(columns) => vec![Mend::sql(
            on,
            format_args!("ALTER TABLE {} ADD PRIMARY KEY ({columns})", named(first)),
        )],
        None => copied(on, first, table),
    };
    let masters = pair.masters().map(|facts| &facts.name);
    vec![Finding::new(Severity::Warning, masters, what, why).mended_by(mend)]
}

/// Columns that are as good as a primary key: a unique key without NULLs, or the generated column.
fn candidate(table: &Table) -> Option<String> {
    let solid = |name: &String| {
        let column = table.columns.iter().find(|column| column.name == *name);
        column.is_some_and(|column| column.rest.starts_with("not null"))
    };
    let unique = table.keys.values().find(|key| key.unique && key.columns.iter().all(solid));
    let columns = unique.map(|key| key.columns.clone());
    let columns = columns.or_else(|| Some(vec![table.generated()?.name.clone()]))?;
    Some(columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
}

/// An ALTER that adds a generated column numbers the rows on each server in the order in which they
/// happen to lie there. Rows that are inserted anew get their numbers once
/// (<https://dev.mysql.com/doc/refman/8.4/en/replication-features-auto-increment.html>).
fn copied(on: &str, name: &(String, String), table: &Table) -> Vec<Mend> {
    let (schema, own) = name;
    let of = |suffix: &str| named(&(schema.clone(), format!("{own}{suffix}")));
    let (new, old, now) = (of("_keyed"), of("_unkeyed"), named(name));
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let columns = columns.join(", ");
    let advice = "nobody may write to the table meanwhile; a column of its own that is unique would be \
                  the better key";
    vec![
        Mend::sql(on, format_args!("CREATE TABLE {new} LIKE {now}")),
        Mend::sql(
            on,
            format_args!(
                "ALTER TABLE {new} ADD COLUMN row_number_ BIGINT UNSIGNED NOT NULL AUTO_INCREMENT \
                 INVISIBLE PRIMARY KEY"
            ),
        ),
        Mend::sql(on, format_args!("INSERT INTO {new} ({columns}) SELECT {columns} FROM {now}")),
        Mend::sql(on, format_args!("RENAME TABLE {now} TO {old}, {new} TO {now}")),
        Mend::sql(on, format_args!("DROP TABLE {old}")),
        Mend::advice(advice),
    ]
}

fn unique_keys(pair: Pair<'_>) -> Vec<Finding> {
    let mut names = Vec::new();
    for (name, (_, table)) in tables(pair) {
        let generated = table.generated().map(|column| column.name.as_str());
        let open = table.keys.iter().filter(|(_, key)| {
            key.unique && !key.columns.iter().any(|column| Some(column.as_str()) == generated)
        });
        names.extend(open.map(|(_, key)| format!("{} ({})", dotted(name), key.columns.join(", "))));
    }
    if names.is_empty() {
        return Vec::new();
    }
    let what = format!(
        "{} not made of generated numbers: {}",
        counted(names.len(), "unique key is", "unique keys are"),
        few(&names)
    );
    let why = "Two masters that are written to at the same time, in a split, can both take the same value, \
               and replication stops there; a master that returns with such a row is quarantined.";
    let masters = pair.masters().map(|facts| &facts.name);
    vec![Finding::new(Severity::Notice, masters, what, why)]
}

fn engines(pair: Pair<'_>) -> Vec<Finding> {
    let all = tables(pair);
    let transactional = ["InnoDB", "RocksDB", "ROCKSDB", "TokuDB", "ndbcluster"];
    let other: Vec<_> = all
        .iter()
        .filter(|(_, (_, table))| !transactional.contains(&table.engine.as_str()))
        .collect();
    let Some((first, (facts, table))) = other.first() else { return Vec::new() };
    let names: Vec<String> = other
        .iter()
        .map(|(name, (_, table))| format!("{} ({})", dotted(name), table.engine))
        .collect();
    let what = format!(
        "{} no transactions: {}",
        counted(names.len(), "table knows", "tables know"),
        few(&names)
    );
    let why = "What a fence rolls back stays in them, and a crash may leave half of a statement: the \
               masters differ from then on.";
    let _ = table;
    let statement = format!("ALTER TABLE {} ENGINE = InnoDB", named(first));
    let mend = Mend::sql(first_to_tell(pair, facts), statement);
    let masters = pair.masters().map(|facts| &facts.name);
    vec![Finding::new(Severity::Warning, masters, what, why).mended_by([mend])]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(increment: u32, offset: u32) -> Class {
        Class { increment, offset }
    }

    #[test]
    fn as_few_as_possible_are_changed() {
        assert_eq!(mended(&[class(1, 1), class(1, 1)], 2), [class(2, 1), class(2, 2)]);
        assert_eq!(mended(&[class(10, 3), class(10, 3)], 2), [class(10, 3), class(10, 1)]);
        assert_eq!(mended(&[class(2, 2), class(2, 2)], 2), [class(2, 2), class(2, 1)]);
        assert_eq!(
            mended(&[class(2, 1), class(2, 2), class(2, 1)], 3),
            [class(3, 1), class(3, 2), class(3, 3)]
        );
    }
}
