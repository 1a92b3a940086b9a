//! The checks of the pair, inside the proxy: slowly, and out of everybody's way.
//!
//! What `tandem check` finds when somebody thinks of running it goes wrong at any time, so the same is
//! looked at again and again with the monitor's login ([`Looker`]). Servers are asked one after the
//! other, and not for the definitions of thousands of tables. While another master is being made
//! active nobody is asked anything: a look that is under way is given up.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::failover::Status;
use crate::metrics::Metrics;
use crate::pair::check::{Checked, Finding, Looker, News, Severity};

/// After the start: servers that have just been started replicate by then.
const FIRST: Duration = Duration::from_secs(20);
/// A look that takes longer is given up.
const LONGEST: Duration = Duration::from_secs(120);
/// What the machine is at while nothing happens.
const STEADY: &str = "steady";

/// Looks at the servers.
pub(super) struct Checks {
    pub(super) looker: Looker,
    pub(super) interval: Duration,
    pub(super) status: watch::Receiver<Arc<Status>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) standing: watch::Sender<Arc<Checked>>,
}

impl Checks {
    /// Looks until the coordinator ends.
    pub(super) async fn run(mut self) {
        let mut wait = FIRST.min(self.interval);
        loop {
            tokio::time::sleep(wait).await;
            wait = self.interval;
            // Who looks while a master is away tells what everybody knows, and is in the way.
            if self.status.wait_for(|now| now.phase == STEADY).await.is_err() {
                return;
            }
            let began = Instant::now();
            let mut status = self.status.clone();
            let verdict = tokio::select! {
                verdict = timeout(LONGEST, self.looker.verdict()) => verdict,
                _ = status.wait_for(|now| now.phase != STEADY) => {
                    wait = FIRST.min(self.interval);
                    continue;
                }
            };
            let Ok(verdict) = verdict else {
                warn!("the check of the servers was given up: it took longer than {LONGEST:?}");
                continue;
            };
            let before = Arc::clone(&self.standing.borrow());
            let (standing, news) = before.after(verdict, SystemTime::now(), began.elapsed());
            self.tell(before.at.is_none(), &standing, &news);
            self.standing.send_replace(Arc::new(standing));
        }
    }

    fn tell(&self, first: bool, standing: &Checked, news: &[News]) {
        let [errors, warnings, notices] =
            [Severity::Error, Severity::Warning, Severity::Notice].map(|it| standing.count(it));
        let found = [("error", errors), ("warning", warnings), ("notice", notices)];
        if let Some(at) = standing.at {
            self.metrics.check.looked(&found, at, standing.took);
        }
        for news in news {
            match news {
                News::Found(finding) => tell_of(finding),
                News::Gone(Finding { check, servers, what, .. }) => {
                    let servers = servers.join(", ");
                    info!(check, servers, "well again; it was found before that {what}");
                }
            }
        }
        if first || !news.is_empty() {
            let blind = standing.not_seen.len();
            info!(errors, warnings, notices, blind, "the servers were checked (SHOW CHECKS)");
        }
    }
}

fn tell_of(finding: &Finding) {
    let Finding { severity, check, servers, what, why, mend } = finding;
    let servers = servers.join(", ");
    let mend = mend.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    match severity {
        Severity::Error => error!(check, servers, mend, "{what}. {why}"),
        Severity::Warning => warn!(check, servers, mend, "{what}. {why}"),
        Severity::Notice => info!(check, servers, mend, "{what}. {why}"),
    }
}
