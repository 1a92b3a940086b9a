//! A master is to be left: who still has something open there, told to the control plane until nobody
//! has.
//!
//! All sessions are looked at once, behind the generation of the draining table. Whoever is not tied
//! to the master then will not be before another table comes: a session says that it runs before it
//! looks at the generation ([`Entry::set_running`]), so that it is either seen here or sees the table,
//! and then holds what it was about to send. So only the others are looked at again, and the list
//! only shrinks. When it is empty, nothing of this process's clients is on its way to the master, and
//! nothing will come.
//!
//! What a session that ended had open is not waited for: its client is gone, and the fence stops what
//! the master may still be doing for it.

use std::sync::Arc;

use super::registry::{Entry, Registry};
use crate::routing::{DrainReport, OpenSession};
use crate::topology::ServerId;

/// A drain as it goes.
#[derive(Debug)]
pub(super) struct Drain {
    generation: u64,
    server: ServerId,
    /// Who was tied to the server when last looked at, by id.
    tied: Vec<Arc<Entry>>,
    report: DrainReport,
    /// The report is news.
    due: bool,
}

impl Drain {
    /// Looks at all sessions. The generation has to be where they see it already.
    pub(super) fn begin(registry: &Registry, generation: u64, server: ServerId) -> Self {
        let mut tied = registry.tied_to(server);
        tied.sort_by_key(|entry| entry.id);
        let report = DrainReport { generation, open: Vec::new() };
        let mut drain = Self { generation, server, tied, report, due: true };
        drain.look_again();
        drain
    }

    /// Looks again at those that were tied to the server.
    pub(super) fn look_again(&mut self) {
        let mut open = Vec::with_capacity(self.tied.len());
        self.tied.retain(|entry| {
            let tie = entry.tie_to(self.server);
            open.extend(tie.map(|tie| OpenSession { id: entry.id, why: tie.why() }));
            tie.is_some()
        });
        if open != self.report.open {
            self.report = DrainReport { generation: self.generation, open };
            self.due = true;
        }
    }

    /// Whether there is something to tell.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// What is to be told now, once.
    pub(super) fn take_report(&mut self) -> DrainReport {
        self.due = false;
        self.report.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::session::tie::Tie;
    use crate::session::{Activity, MigrationBlocker};

    const M1: ServerId = ServerId(0);

    fn session(registry: &Registry, place: u16) -> Arc<Entry> {
        let entry = registry.open(None, Instant::now());
        entry.set_place(Some((ServerId(place), entry.id)));
        entry.set_doing(Activity::Idle, None);
        entry
    }

    fn whys(drain: &mut Drain) -> Vec<&'static str> {
        drain.look_again();
        assert!(drain.is_due(), "no news");
        drain.take_report().open.iter().map(|open| open.why).collect()
    }

    #[test]
    fn nobody_with_something_open_is_a_report_as_well() {
        let registry = Registry::default();
        let _idle = session(&registry, 0);
        session(&registry, 1).set_running();
        let mut drain = Drain::begin(&registry, 7, M1);
        assert!(drain.is_due());
        assert_eq!(drain.take_report(), DrainReport { generation: 7, open: Vec::new() });
        drain.look_again();
        assert!(!drain.is_due());
    }

    #[test]
    fn the_list_follows_those_that_were_tied_until_they_are_not() {
        let registry = Registry::default();
        let (runs, transacts, goes, late) = (
            session(&registry, 0),
            session(&registry, 0),
            session(&registry, 0),
            session(&registry, 0),
        );
        let transaction = Some(Tie::State(MigrationBlocker::OpenTransaction));
        runs.set_running();
        transacts.set_doing(Activity::Idle, transaction);
        goes.set_running();
        let mut drain = Drain::begin(&registry, 7, M1);
        let (executing, within) = ("is executing a statement", "is in a transaction");
        assert_eq!(whys(&mut drain), [executing, within, executing]);
        late.set_running(); // it sees the table, and will be held
        registry.close(goes.id);
        assert_eq!(whys(&mut drain), [executing, within]);
        runs.set_doing(Activity::Idle, transaction);
        assert_eq!(whys(&mut drain), [within, within]);
        runs.set_doing(Activity::Held, None);
        transacts.set_place(None); // its server closed the connection
        assert_eq!(whys(&mut drain), Vec::<&str>::new());
        runs.set_running();
        drain.look_again();
        assert!(!drain.is_due(), "whoever let go is held from then on");
    }
}
