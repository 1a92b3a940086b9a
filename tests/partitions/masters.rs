//! Looking at both masters all the time, past the network: who is open, and when.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::*;
use tandem::sandbox::Sandbox;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::patience::eventually;

/// Between two looks: enough to see what lasts for a round trip of a client, and little load.
const LOOK_AGAIN: Duration = Duration::from_millis(3);

/// One look: whether each was open, m2 between two looks at m1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    pub(crate) open: [bool; 2],
    /// The highest term that each knows.
    pub(crate) term: [u64; 2],
}

/// The looks at which something had changed. Dropping it ends the looking.
pub(crate) struct Watch {
    changes: Arc<Mutex<Vec<Look>>>,
    /// When the last look began that has come to its end.
    began: watch::Receiver<Instant>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) async fn start(sandbox: &Sandbox) -> Self {
        let mut connections = [
            sandbox.server(0).root_connection().await.expect("root's login"),
            sandbox.server(1).root_connection().await.expect("root's login"),
        ];
        for connection in &mut connections {
            eventually("the first term", async || {
                let term = "SELECT MAX(term) FROM tandem.term";
                // There is no such table yet, or nothing in it.
                connection.query_first::<Option<u64>, _>(term).await.ok().flatten().flatten()
            })
            .await;
        }
        let changes = Arc::new(Mutex::new(Vec::new()));
        let (seen, began) = watch::channel(Instant::now());
        let task = tokio::spawn(look(connections, changes.clone(), seen));
        Self { changes, began, task }
    }

    /// Until somebody has looked who began later than this call: on a busy machine a look may last.
    pub(crate) async fn look_again(&self) {
        let now = Instant::now();
        self.began.clone().wait_for(|began| *began > now).await.expect("it looks all the time");
    }

    /// What changed since then, and what was so before.
    pub(crate) fn since(&self, start: Instant) -> Vec<Look> {
        let changes = self.changes.lock().expect("no panic");
        let first = changes.partition_point(|look| look.at < start).saturating_sub(1);
        changes[first..].to_vec()
    }

    /// When this master was first seen open since then.
    pub(crate) fn opened(&self, server: usize, start: Instant) -> Option<Instant> {
        self.since(start).iter().find(|look| look.open[server]).map(|look| look.at.max(start))
    }

    /// How long, since then, both were open, and nobody was.
    pub(crate) fn durations(&self, start: Instant) -> (Duration, Duration) {
        let looks = self.since(start);
        let ends = looks.iter().skip(1).map(|look| look.at).chain([Instant::now()]);
        let mut sums = (Duration::ZERO, Duration::ZERO);
        for (look, end) in looks.iter().zip(ends) {
            let lasted = end.saturating_duration_since(look.at.max(start));
            match look.open {
                [true, true] => sums.0 += lasted,
                [false, false] => sums.1 += lasted,
                _ => {}
            }
        }
        sums
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(
    [mut m1, mut m2]: [Conn; 2],
    changes: Arc<Mutex<Vec<Look>>>,
    seen: watch::Sender<Instant>,
) {
    loop {
        let began = Instant::now();
        let before = ask(&mut m1).await;
        let (second, second_term) = ask(&mut m2).await;
        let at = Instant::now();
        let (first, first_term) = ask(&mut m1).await;
        // Open on both sides of the moment at which m2 was: open at that moment.
        let look = Look { at, open: [before.0 && first, second], term: [first_term, second_term] };
        note(&changes, look);
        seen.send_replace(began);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Notes what is not as it was.
fn note(changes: &Mutex<Vec<Look>>, look: Look) {
    let mut changes = changes.lock().expect("no panic");
    if changes.last().is_none_or(|last| (last.open, last.term) != (look.open, look.term)) {
        changes.push(look);
    }
}

async fn ask(conn: &mut Conn) -> (bool, u64) {
    let question = "SELECT @@GLOBAL.read_only, (SELECT MAX(term) FROM tandem.term)";
    let row: Option<(u8, u64)> = conn.query_first(question).await.expect("it answers");
    let (closed, term) = row.expect("a row");
    (closed == 0, term)
}
