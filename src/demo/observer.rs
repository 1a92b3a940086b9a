//! Looks at the proxy while it works: what it decides, and how the writers are doing.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::event::{Beat, Event, MasterState};
use super::stage::{Stage, Teller};
use crate::app::Handles;
use crate::checker::Book;
use crate::topology::ServerId;

/// How often the state is looked at.
const BEAT: Duration = Duration::from_millis(50);

/// Tells the stage until it is dropped.
#[derive(Debug)]
pub(super) struct Observer {
    _tasks: JoinSet<()>,
}

impl Observer {
    /// Begins to look.
    pub(super) fn start(stage: &Stage, handles: &Handles, book: &Arc<Book>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_decisions(stage.teller(), handles.clone()));
        tasks.spawn(beat(stage.teller(), handles.clone(), Arc::clone(book)));
        Self { _tasks: tasks }
    }
}

/// Every transition, with the moment of the journal.
async fn follow_decisions(teller: Teller, mut handles: Handles) {
    let mut told = 0;
    let mut ticks = tokio::time::interval(BEAT);
    loop {
        for row in handles.journal.rows_after(told) {
            told = row.number;
            let transition = row.transition;
            let event = Event::Transition {
                from: transition.from,
                to: transition.to,
                reason: transition.reason,
            };
            teller.tell_of(row.at, event);
        }
        // Most change one of these. What does not, is seen at the next tick.
        let changed = tokio::select! {
            changed = handles.status.changed() => changed,
            changed = handles.routes.changed() => changed,
            _ = ticks.tick() => Ok(()),
        };
        if changed.is_err() {
            return;
        }
    }
}

async fn beat(teller: Teller, handles: Handles, book: Arc<Book>) {
    let counts = book.counts();
    let mut last = [0; 2];
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let total = *counts.borrow();
        let session = &handles.metrics.session;
        let held_now = u64::try_from(session.held_now.get()).unwrap_or(0);
        teller.tell(Event::Beat(Beat {
            masters: [0, 1].map(|id| state_of(&handles, ServerId(id))),
            rows: [total[0] - last[0], total[1] - last[1]],
            total,
            held: [held_now, session.held.get()],
            errors: book.ledger().failed.len(),
            term: handles.routes.borrow().term.0,
        }));
        last = total;
    }
}

fn state_of(handles: &Handles, master: ServerId) -> MasterState {
    if handles.routes.borrow().active() == Some(master) {
        MasterState::Active
    } else if handles.topology.borrow().seen(master).answers() {
        MasterState::Standby
    } else {
        MasterState::Down
    }
}
