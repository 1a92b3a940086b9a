//! What was proven, for people and for machines.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::topology::KeyClass;

/// What a write test saw.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// The scratch table; it is gone.
    pub table: String,
    /// Tables of earlier runs that were found and dropped.
    pub leftovers: Vec<String>,
    /// Who wrote what, in order.
    pub writes: Vec<Written>,
    /// On which servers the rows are the same: on all.
    pub same_on: Vec<String>,
}

/// What one master wrote in its turn.
#[derive(Clone, Debug, Serialize)]
pub struct Written {
    /// The master.
    pub master: String,
    /// What it hands out.
    #[serde(serialize_with = "in_words")]
    pub class: KeyClass,
    /// The keys that it took.
    pub keys: Vec<u64>,
    /// Whether it is closed to applications.
    pub closed: bool,
    /// How long the last of them took to every other server.
    pub arrivals: Vec<Arrival>,
}

/// One direction.
#[derive(Clone, Debug, Serialize)]
pub struct Arrival {
    /// Where it arrived.
    pub server: String,
    /// From sending the INSERT to the one master until the other server had executed it.
    #[serde(rename = "milliseconds", serialize_with = "in_milliseconds")]
    pub took: Duration,
}

fn in_milliseconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Microseconds are more than it can be known by.
    serializer.serialize_f64((took.as_secs_f64() * 1e6).round() / 1e3)
}

fn in_words<S: Serializer>(class: &KeyClass, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(class)
}

impl Proof {
    /// How many rows were written.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.writes.iter().map(|written| written.keys.len()).sum()
    }
}

/// The figure: a line for each turn.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "write test: {}", self.table)?;
        for table in &self.leftovers {
            writeln!(f, "  an earlier run had left {table}; it is dropped")?;
        }
        let masters = self.writes.iter().map(|written| written.master.len()).max().unwrap_or(0);
        let keys = |written: &Written| {
            written.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let widest = self.writes.iter().map(|written| keys(written).len()).max().unwrap_or(0);
        for written in &self.writes {
            let arrivals: Vec<String> = written
                .arrivals
                .iter()
                .map(|arrival| {
                    format!("{} {:.1} ms", arrival.server, arrival.took.as_secs_f64() * 1e3)
                })
                .collect();
            let Written { master, class, .. } = written;
            let state = if written.closed { "closed" } else { "open" };
            writeln!(
                f,
                "  {master:masters$}  {state:6}  took {:widest$}  of {class}  ->  {}",
                keys(written),
                arrivals.join("  ")
            )?;
        }
        let rows = self.rows();
        writeln!(f, "  {rows} rows, the same on {}; the table is dropped", self.same_on.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Proof {
        let written = |master: &str, offset, keys: &[u64], to: &str, ms| Written {
            master: master.to_owned(),
            class: KeyClass::new(2, offset),
            keys: keys.to_vec(),
            closed: offset == 2,
            arrivals: vec![Arrival { server: to.to_owned(), took: Duration::from_micros(ms) }],
        };
        Proof {
            table: "tandem.write_test_1".to_owned(),
            leftovers: Vec::new(),
            writes: vec![
                written("m1", 1, &[1, 3, 5], "m2", 2_140),
                written("m2", 2, &[6], "m1", 1_080),
                written("m1", 1, &[7], "m2", 1_951),
            ],
            same_on: vec!["m1".to_owned(), "m2".to_owned()],
        }
    }

    #[test]
    fn the_figure_has_a_line_for_each_turn() {
        assert_eq!(
            proof().to_string(),
            "write test: tandem.write_test_1\n  \
             m1  open    took 1 3 5  of 1, 3, 5, …  ->  m2 2.1 ms\n  \
             m2  closed  took 6      of 2, 4, 6, …  ->  m1 1.1 ms\n  \
             m1  open    took 7      of 1, 3, 5, …  ->  m2 2.0 ms\n  \
             5 rows, the same on m1, m2; the table is dropped\n"
        );
    }

    #[test]
    fn machines_read_the_same() {
        let json = serde_json::to_value(proof()).expect("serializable");
        assert_eq!(json["writes"][1]["keys"], serde_json::json!([6]));
        assert_eq!(json["writes"][0]["arrivals"][0]["milliseconds"], 2.14);
        assert_eq!(json["writes"][0]["class"], "1, 3, 5, …");
    }
}
