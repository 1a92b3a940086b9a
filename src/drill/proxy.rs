//! The proxy before which clients write, as its console shows it.

use std::collections::HashMap;
use std::time::Duration;

use mysql_async::Opts;

use super::{DrillError, within};
use crate::config::Admin;
use crate::console::{AskError, Client};

/// Between two looks at what the console does not tell by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A running proxy, and how clients log in to it.
#[derive(Debug)]
pub(super) struct Proxy {
    console: Client,
    pub(super) opts: Opts,
}

/// A master, as `SHOW MASTERS` has it.
#[derive(Clone, Debug)]
pub(super) struct Master {
    pub(super) name: String,
    pub(super) active: bool,
    pub(super) up: bool,
    pub(super) version: String,
}

/// What the proxy has counted since it runs, of all its clients.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    /// Statements that waited for an active master.
    pub(super) held: u64,
    /// Statements that were sent to another master again.
    pub(super) retried: u64,
    /// For how many seconds writes waited for a standby that is behind, all together.
    pub(super) paced_seconds: f64,
}

/// How long the machine was in each phase, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Phases(HashMap<String, f64>);

impl Phases {
    /// In this one; NaN if it was never in it.
    pub(super) fn took(&self, phase: &str) -> f64 {
        self.0.get(phase).copied().unwrap_or(f64::NAN)
    }

    /// From the rows of `SHOW EVENTS`: the phase that was left, the one that was entered, and the
    /// milliseconds since the row before.
    fn of<'a>(rows: impl Iterator<Item = (&'a str, &'a str, f64)>) -> Self {
        let (mut now, mut entered, mut took) = (0.0, HashMap::new(), HashMap::new());
        for (from, to, pause) in rows {
            now += pause;
            if let Some(since) = entered.remove(from) {
                took.insert(from.to_owned(), now - since);
            }
            entered.insert(to.to_owned(), now);
        }
        Self(took)
    }
}

impl Proxy {
    /// Logs in to its console.
    pub(super) async fn connect(admin: &Admin, opts: Opts) -> Result<Self, AskError> {
        Ok(Self { console: Client::connect(admin).await?, opts })
    }

    pub(super) fn address(&self) -> String {
        self.console.address().to_string()
    }

    pub(super) async fn masters(&mut self) -> Result<Vec<Master>, AskError> {
        let rows = self.console.ask("SHOW MASTERS").await?;
        Ok(rows
            .iter()
            .map(|row| Master {
                name: row.text("Name").to_owned(),
                active: row.text("State") == "active",
                up: row.text("Up") == "Yes",
                version: row.text("Version").to_owned(),
            })
            .collect())
    }

    /// The name of the active master.
    pub(super) async fn active(&mut self) -> Result<String, DrillError> {
        let masters = self.masters().await?;
        let active = masters.into_iter().find(|master| master.active);
        Ok(active.ok_or(DrillError::NobodyActive)?.name)
    }

    /// The active master, and the next one after it that is up, in turn.
    pub(super) async fn active_and_next(&mut self) -> Result<(String, String), DrillError> {
        let masters = self.masters().await?;
        let active =
            masters.iter().position(|master| master.active).ok_or(DrillError::NobodyActive)?;
        let mut others = masters[active + 1..].iter().chain(&masters[..active]);
        let next = others.find(|master| master.up).ok_or(DrillError::NobodyElse)?;
        Ok((masters[active].name.clone(), next.name.clone()))
    }

    pub(super) async fn switch_over(&mut self, to: &str) -> Result<(), AskError> {
        self.console.ask(&format!("SWITCHOVER TO `{to}`")).await.map(drop)
    }

    pub(super) async fn counters(&mut self) -> Result<Counters, AskError> {
        let rows = self.console.ask("SHOW STATS").await?;
        let text = |name: &str| {
            let row = rows.iter().find(|row| row.text("Name") == name);
            row.map_or("", |row| row.text("Value"))
        };
        let count = |name: &str| text(name).parse().unwrap_or_default();
        Ok(Counters {
            held: count("tandem_session_held_total"),
            retried: count("tandem_session_retried_total"),
            paced_seconds: text("tandem_session_paced_seconds_total").parse().unwrap_or_default(),
        })
    }

    /// How many acknowledged transactions the change by `term` has lost, once that is final; `None` where
    /// the proxy cannot say so exactly.
    pub(super) async fn lost_by(&mut self, term: u64) -> Result<Option<u64>, DrillError> {
        let term = term.to_string();
        within("what the failover lost, by the proxy", async {
            loop {
                let rows = self.console.ask("SHOW LOST WRITES").await?;
                let row = rows.iter().find(|row| row.text("Term") == term);
                if let Some(row) = row.filter(|row| row.text("Final") == "Yes") {
                    return Ok(row.text("Lost").parse().ok());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await
    }

    /// The number of the last event.
    pub(super) async fn last_event(&mut self) -> Result<u64, AskError> {
        let rows = self.console.ask("SHOW EVENTS LIMIT 1").await?;
        Ok(rows.first().and_then(|row| row.text("Number").parse().ok()).unwrap_or_default())
    }

    /// How long each phase after this event took.
    pub(super) async fn phases_after(&mut self, event: u64) -> Result<Phases, AskError> {
        let rows = self.console.ask(&format!("SHOW EVENTS AFTER {event}")).await?;
        let pause = |text: &str| text.parse().unwrap_or_default();
        Ok(Phases::of(
            rows.iter()
                .map(|row| (row.text("From"), row.text("To"), pause(row.text("Milliseconds")))),
        ))
    }

    /// Whether a session with this connection id goes through this proxy.
    pub(super) async fn serves(&mut self, id: u32) -> Result<bool, AskError> {
        let rows = self.console.ask("SHOW SESSIONS").await?;
        Ok(rows.iter().any(|row| row.text("Id") == id.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_took_what_lies_between_its_two_rows() {
        let rows = [
            ("steady", "approaching", 5000.0),
            ("approaching", "draining", 8.0),
            // Something else happens in between.
            ("away", "standby", 1.0),
            ("draining", "freezing", 2.0),
        ];
        let phases = Phases::of(rows.into_iter());
        assert_eq!(phases.took("approaching"), 8.0);
        assert_eq!(phases.took("draining"), 3.0);
        assert!(phases.took("freezing").is_nan(), "it was not left");
    }
}
