//! A writer that counts up in one row, and readers that say how old what they read is.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use tokio::task::JoinSet;

use super::{PATIENCE, Stack, connect};

/// Between two writes, and between two reads of a reader.
const PAUSE: Duration = Duration::from_millis(4);

/// When each number was acknowledged; the first is 0, which was there before.
type Acknowledged = Arc<Mutex<Vec<Instant>>>;

/// Reads under way.
pub(super) struct Load {
    acknowledged: Acknowledged,
    tasks: JoinSet<()>,
    findings: Arc<Mutex<Findings>>,
    max_lag: Duration,
}

/// What the readers found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How many reads there were.
    pub(super) reads: u64,
    /// What went wrong.
    pub(super) errors: Vec<String>,
    /// Reads that lacked what had been acknowledged `max_lag` before they were sent.
    pub(super) too_old: Vec<String>,
    /// The oldest: so long before it was sent the next number had been acknowledged.
    pub(super) oldest: Duration,
    /// The longest that one took.
    pub(super) slowest: Duration,
}

impl Findings {
    /// A read that was sent then and found `n`, when the number after it was acknowledged at `next`.
    fn note(
        &mut self,
        n: usize,
        from: &str,
        sent: Instant,
        took: Duration,
        next: Option<Instant>,
        max_lag: Duration,
    ) {
        self.reads += 1;
        self.slowest = self.slowest.max(took);
        let age = next.map_or(Duration::ZERO, |next| sent.saturating_duration_since(next));
        self.oldest = self.oldest.max(age);
        if age > max_lag {
            self.too_old.push(format!("{n} from {from}, {age:?} old"));
        }
    }
}

impl Load {
    /// Begins to write, and to read with so many clients.
    pub(super) async fn start(stack: &Stack, readers: usize, max_lag: Duration) -> Self {
        let acknowledged = Acknowledged::default();
        acknowledged.lock().expect("whole").push(Instant::now());
        let findings = Arc::<Mutex<Findings>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(write(stack.opts(), Arc::clone(&acknowledged)));
        for _ in 0..readers {
            let (acknowledged, findings) = (Arc::clone(&acknowledged), Arc::clone(&findings));
            tasks.spawn(read(connect(stack).await, acknowledged, findings, max_lag));
        }
        Self { acknowledged, tasks, findings, max_lag }
    }

    /// Waits until so many more numbers were written and so many more reads done.
    pub(super) async fn go_on(&self, count: usize) {
        let so_far = || {
            let findings = self.findings.lock().expect("whole");
            assert!(findings.errors.is_empty(), "{:?}", findings.errors);
            assert!(findings.too_old.is_empty(), "{:?}", findings.too_old);
            (findings.reads, self.acknowledged.lock().expect("whole").len())
        };
        let (reads, written) = so_far();
        let enough = async {
            loop {
                let (now_read, now_written) = so_far();
                if now_read >= reads + count as u64 && now_written >= written + count {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("load goes on");
    }

    /// Ends it. Nothing may have gone wrong.
    pub(super) fn end(mut self) -> Findings {
        self.tasks.abort_all();
        let findings = std::mem::take(&mut *self.findings.lock().expect("whole"));
        assert!(findings.errors.is_empty(), "{:?}", findings.errors);
        assert!(findings.too_old.is_empty(), "{:?}", findings.too_old);
        assert!(findings.oldest <= self.max_lag, "{findings:?}");
        findings
    }
}

/// Counts up. A failover may make it begin anew; what it was not told it does not count.
async fn write(opts: mysql_async::Opts, acknowledged: Acknowledged) {
    let mut conn = None;
    loop {
        if conn.is_none() {
            conn = mysql_async::Conn::new(opts.clone()).await.ok();
        }
        if let Some(client) = conn.as_mut() {
            let n = acknowledged.lock().expect("whole").len();
            // An unknown outcome leaves the number as it is, or higher by one: the next one is the same.
            match client.query_drop(format!("UPDATE beat SET n = {n} WHERE id = 1")).await {
                Ok(()) => acknowledged.lock().expect("whole").push(Instant::now()),
                Err(_) => conn = None,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(
    mut client: mysql_async::Conn,
    acknowledged: Acknowledged,
    findings: Arc<Mutex<Findings>>,
    max_lag: Duration,
) {
    loop {
        let sent = Instant::now();
        let row = client.query_first::<(usize, String), _>(
            "SELECT n, CONCAT(@@server_id, ' ', @@hostname) FROM beat WHERE id = 1",
        );
        let (n, from) = match row.await {
            Ok(row) => row.expect("a row"),
            Err(error) => {
                findings.lock().expect("whole").errors.push(error.to_string());
                return;
            }
        };
        let took = sent.elapsed();
        let next = acknowledged.lock().expect("whole").get(n + 1).copied();
        findings.lock().expect("whole").note(n, &from, sent, took, next, max_lag);
        tokio::time::sleep(PAUSE).await;
    }
}
