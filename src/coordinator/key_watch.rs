//! Which keys are whose, and what people are told when they mix.
//!
//! Sessions compare the keys that masters hand out with each master's class (`session/key_classes.rs`).
//! The classes come from probes, with care: whoever changes `auto_increment_offset` on a server changes
//! what the probes see, too. So a set of classes counts only when it keeps the keys of all masters
//! apart, and the last one that did stays in force while they do not: a key that is made under the changed
//! setting is of another class than it should be, and is found.
//!
//! A key is told with its table and its statement, in the log and as an event; of one table once in ten
//! minutes, however many keys there are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::journal::Journal;
use crate::failover::Transition;
use crate::session::{ForeignKey, Shared};
use crate::topology::{KeyClass, ServerId, Topology};

/// Between two looks at what sessions found.
const TICK: Duration = Duration::from_millis(500);
/// Between two words about one table.
const TELL_AGAIN: Duration = Duration::from_secs(600);
/// Tables that are told apart; of more nothing is told until some are forgotten.
const TABLES: usize = 256;

/// Watches keys.
#[derive(Debug)]
pub struct KeyWatch {
    sessions: Arc<Shared>,
    topology: watch::Receiver<Arc<Topology>>,
    journal: Arc<Journal>,
    settings: Settings,
    told: Told,
}

impl KeyWatch {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(
        sessions: Arc<Shared>,
        topology: watch::Receiver<Arc<Topology>>,
        journal: Arc<Journal>,
    ) -> Self {
        let (settings, told) = (Settings::default(), Told::default());
        Self { sessions, topology, journal, settings, told }
    }

    /// Watches until the coordinator ends.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.topology.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.look_at_settings();
                }
                _ = ticks.tick() => self.look_at_keys(),
            }
        }
    }

    fn look_at_settings(&mut self) {
        let topology = Arc::clone(&self.topology.borrow_and_update());
        let servers = topology.servers();
        let seen: Option<Vec<Setting>> = servers
            .masters()
            .map(|master| {
                let facts = topology.facts(master.id)?;
                let numbers = (facts.auto_increment_increment, facts.auto_increment_offset);
                Some((master.id, numbers))
            })
            .collect();
        let Some(seen) = seen else { return };
        let news = self.settings.take_in(&seen);
        for (server, class) in &self.settings.classes {
            self.sessions.key_classes().set(*server, *class);
        }
        let Some(apart) = news else { return };
        let say = |(server, (step, start)): &Setting| {
            format!("{} {start} + n * {step}", servers.name(*server))
        };
        let reason = format!(
            "{} ({})",
            if apart { "the masters' keys are kept apart again" } else { MIXED },
            seen.iter().map(say).collect::<Vec<_>>().join(", ")
        );
        self.tell(if apart { APART } else { NOT_APART }, reason, None);
    }

    fn look_at_keys(&mut self) {
        let now = Instant::now();
        for key in self.sessions.take_foreign_keys() {
            let server = key.server;
            if let Some(reason) = self.told.news(now, key) {
                self.tell(NOT_APART, reason, Some(server));
            }
        }
    }

    fn tell(&self, to: &'static str, reason: String, server: Option<ServerId>) {
        let from = if to == APART { NOT_APART } else { APART };
        let name = server.map(|id| self.topology.borrow().servers().name(id).to_owned());
        if to == APART {
            info!(server = name, "{reason}");
        } else {
            warn!(server = name, "{reason}");
        }
        let transition = Transition { from, to, reason, server };
        self.journal.record(Instant::now(), SystemTime::now(), transition);
    }
}

const APART: &str = "keys apart";
const NOT_APART: &str = "keys mixed";
const MIXED: &str = "auto_increment_increment and auto_increment_offset no longer keep the keys of the \
     masters apart: two of them hand out the same numbers";

/// A master's `auto_increment_increment` and `auto_increment_offset`.
type Setting = (ServerId, (u32, u32));

/// What the masters' settings were when they last kept keys apart.
#[derive(Debug, Default)]
struct Settings {
    classes: Vec<(ServerId, KeyClass)>,
    mixed: bool,
}

impl Settings {
    /// Whether keys are kept apart now, when that has changed since they first were.
    fn take_in(&mut self, seen: &[Setting]) -> Option<bool> {
        let numbers: Vec<(u32, u32)> = seen.iter().map(|(_, numbers)| *numbers).collect();
        match KeyClass::apart(&numbers) {
            Some(classes) => {
                self.classes = seen.iter().map(|(server, _)| *server).zip(classes).collect();
                std::mem::take(&mut self.mixed).then_some(true)
            }
            None if self.classes.is_empty() || self.mixed => None,
            None => {
                self.mixed = true;
                Some(false)
            }
        }
    }
}

/// What was told of each table, and what was not since.
#[derive(Debug, Default)]
struct Told(BTreeMap<(ServerId, String), (Instant, u64)>);

impl Told {
    /// The words for a key, unless its table had some lately.
    fn news(&mut self, now: Instant, key: ForeignKey) -> Option<String> {
        let ForeignKey { server, class, key, table, digest, user } = key;
        let due = |at: Instant| now.saturating_duration_since(at) >= TELL_AGAIN;
        let of_table = (server, table.clone());
        let silent = match self.0.get_mut(&of_table) {
            Some((at, silent)) if !due(*at) => {
                *silent += 1;
                return None;
            }
            Some((_, silent)) => *silent,
            None => 0,
        };
        if self.0.len() >= TABLES {
            self.0.retain(|_, (at, _)| !due(*at));
        }
        if self.0.len() >= TABLES {
            return None;
        }
        self.0.insert(of_table, (now, 0));
        let more = if silent == 0 {
            String::new()
        } else {
            format!(", and at least {silent} more since it was last told")
        };
        Some(format!(
            "a row of {table} got the key {key}, which is none of this master's ({class}){more}: \
             auto_increment_offset was changed, or the key was given by the client, {user}: {digest}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixture::{M1, M2};

    #[test]
    fn what_kept_keys_apart_stays_in_force_while_nothing_does() {
        let mut settings = Settings::default();
        // From the beginning: nobody knows what was meant.
        assert_eq!(settings.take_in(&[(M1, (2, 2)), (M2, (2, 2))]), None);
        assert!(settings.classes.is_empty());
        assert_eq!(settings.take_in(&[(M1, (2, 1)), (M2, (2, 2))]), None);
        let meant = settings.classes.clone();
        assert_eq!(meant, [(M1, KeyClass::new(2, 1)), (M2, KeyClass::new(2, 2))]);
        // Somebody changes m1, or a restart forgets.
        assert_eq!(settings.take_in(&[(M1, (2, 2)), (M2, (2, 2))]), Some(false));
        assert_eq!(settings.take_in(&[(M1, (1, 1)), (M2, (2, 2))]), None, "told once");
        assert_eq!(settings.classes, meant);
        // A third master is prepared for: one server after the other.
        assert_eq!(settings.take_in(&[(M1, (3, 1)), (M2, (3, 2))]), Some(true));
        assert_eq!(settings.classes, [(M1, KeyClass::new(3, 1)), (M2, KeyClass::new(3, 2))]);
    }

    #[test]
    fn a_table_is_told_once_in_a_while() {
        let (mut told, now) = (Told::default(), Instant::now());
        let key = |table: &str| ForeignKey {
            server: M1,
            class: KeyClass::new(2, 1),
            key: 6,
            table: table.to_owned(),
            digest: "INSERT INTO t VALUES (?)".to_owned(),
            user: "app".to_owned(),
        };
        let words = told.news(now, key("app.t")).expect("told");
        for part in ["app.t", "key 6", "(1, 3, 5, …)", "app: INSERT INTO t VALUES (?)"] {
            assert!(words.contains(part), "{words}");
        }
        assert_eq!(told.news(now, key("app.t")), None);
        assert!(told.news(now, key("app.u")).is_some());
        let words = told.news(now + TELL_AGAIN, key("app.t")).expect("told again");
        assert!(words.contains("at least 1 more"), "{words}");
        for table in 0..2 * TABLES {
            told.news(now + TELL_AGAIN, key(&format!("t{table}")));
        }
        assert!(told.0.len() <= TABLES);
    }
}
