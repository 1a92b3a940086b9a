use std::collections::VecDeque;

use tokio::time::advance;

use super::*;
use crate::metrics::{Metrics, encode};

/// What a scripted probe does when it is called.
enum Act {
    Answer(Outcome),
    Hang,
    /// It hangs, and the next question is asked beside it after half of the time.
    HangAskingAgain,
    /// The process sleeps for this long, timers included, and then the connection fails.
    Stall(Duration),
    Abstain,
}

struct Scripted {
    acts: VecDeque<Act>,
    ran: mpsc::UnboundedSender<()>,
    asked: Option<Instant>,
}

#[async_trait]
impl Probe for Scripted {
    async fn probe(&mut self) -> Look {
        self.ran.send(()).ok();
        match self.acts.pop_front() {
            Some(Act::Answer(outcome)) => Look::Seen(outcome),
            Some(Act::Abstain) => Look::Abstained("no descriptors".to_owned()),
            Some(Act::Stall(length)) => {
                advance(length).await;
                Look::Seen(refused())
            }
            Some(Act::HangAskingAgain) => {
                let half = self.asked.take().unwrap_or_else(Instant::now) + TIMEOUT / 2;
                sleep_until(half).await;
                self.asked = Some(Instant::now());
                std::future::pending().await
            }
            Some(Act::Hang) | None => std::future::pending().await,
        }
    }

    fn asked_since(&self) -> Option<Instant> {
        self.asked
    }

    fn forget(&mut self) {
        self.asked = None;
    }
}

fn refused() -> Outcome {
    Outcome::Unreachable { kind: UnreachableKind::Refused, detail: "refused".to_owned() }
}

fn says_no() -> Outcome {
    Outcome::SaysNo { code: 1040, message: "Too many connections".to_owned() }
}

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_millis(500);

struct Bench {
    requested: Arc<Notify>,
    seen: mpsc::Receiver<Observation>,
    ran: mpsc::UnboundedReceiver<()>,
    metrics: Metrics,
}

fn start(acts: impl IntoIterator<Item = Act>) -> Bench {
    let requested = Arc::new(Notify::new());
    let (observations, seen) = mpsc::channel(8);
    let (started, ran) = mpsc::unbounded_channel();
    let metrics = Metrics::new(["m2"]);
    let prober = Prober {
        server: ServerId(1),
        probe: Scripted { acts: acts.into_iter().collect(), ran: started, asked: None },
        interval: INTERVAL,
        timeout: TIMEOUT,
        requested: requested.clone(),
        observations,
        metrics: metrics.monitor.server("m2"),
        abstained: 0,
    };
    tokio::spawn(prober.run());
    Bench { requested, seen, ran, metrics }
}

impl Bench {
    fn abstained(&self) -> String {
        let samples = encode(&self.metrics.registry);
        let line = |line: &&str| line.starts_with("tandem_monitor_abstained_total{");
        samples.lines().find(line).unwrap_or_default().to_owned()
    }

    async fn next(&mut self) -> Observation {
        self.seen.recv().await.expect("an observation")
    }
}

#[tokio::test(start_paused = true)]
async fn probes_come_at_the_interval() {
    let began = Instant::now();
    let mut bench = start([Act::Answer(says_no()), Act::Answer(says_no()), Act::Answer(refused())]);
    for expected in [Duration::ZERO, INTERVAL, INTERVAL * 2] {
        let observation = bench.next().await;
        assert_eq!(observation.at, (began + expected).into_std());
        assert_eq!((observation.server, observation.source), (ServerId(1), Source::Probe));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_server_is_silent_after_the_timeout() {
    let began = Instant::now();
    let mut bench = start([Act::Hang]);
    let observation = bench.next().await;
    assert!(matches!(
        observation.outcome,
        Outcome::Unreachable { kind: UnreachableKind::Silent, .. }
    ));
    assert_eq!(observation.at, (began + TIMEOUT).into_std());
    assert_eq!(observation.took, TIMEOUT);
}

/// So many silent probes take a half of their timeouts more than one, and each is waited for as long.
#[tokio::test(start_paused = true)]
async fn a_question_that_is_out_is_gone_on_with() {
    let began = Instant::now();
    let mut bench = start([Act::HangAskingAgain, Act::HangAskingAgain, Act::HangAskingAgain]);
    for count in 0..3 {
        let observation = bench.next().await;
        assert_eq!(observation.took, TIMEOUT);
        assert_eq!(observation.at, (began + TIMEOUT + TIMEOUT / 2 * count).into_std());
        bench.requested.notify_one();
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_waited_for_is_not() {
    let began = Instant::now();
    let mut bench = start([Act::HangAskingAgain, Act::Hang]);
    bench.next().await;
    let observation = bench.next().await;
    assert_eq!(observation.at, (began + INTERVAL + TIMEOUT).into_std());
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_at_once() {
    let mut bench = start([Act::Answer(says_no()), Act::Answer(refused())]);
    let first = bench.next().await;
    bench.requested.notify_one();
    let second = bench.next().await;
    assert_eq!(second.at, first.at, "no time passes");
    assert!(matches!(second.outcome, Outcome::Unreachable { .. }));
}

#[tokio::test(start_paused = true)]
async fn requests_during_a_probe_make_one_more() {
    let mut bench = start([Act::Hang, Act::Answer(refused()), Act::Answer(says_no())]);
    bench.ran.recv().await.expect("the first one runs");
    for _ in 0..5 {
        bench.requested.notify_one();
    }
    let first = bench.next().await;
    let second = bench.next().await;
    let third = bench.next().await;
    assert_eq!(second.at, first.at);
    assert_eq!(third.at - second.at, INTERVAL - TIMEOUT, "the third waits for its turn");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_process_abstains_and_asks_again() {
    let began = Instant::now();
    let stall = TIMEOUT * 3;
    let mut bench = start([Act::Stall(stall), Act::Answer(says_no())]);
    let observation = bench.next().await;
    assert!(matches!(observation.outcome, Outcome::SaysNo { .. }), "{observation:?}");
    assert_eq!(observation.at, (began + stall).into_std(), "asked again at once");
}

/// Not a paused clock: the event loop is blocked for real.
#[tokio::test]
async fn a_silence_while_the_event_loop_was_blocked_is_not_counted() {
    let mut bench = start([Act::Hang, Act::Answer(says_no())]);
    bench.ran.recv().await.expect("the first one runs");
    tokio::time::sleep(TIMEOUT / 5).await;
    std::thread::sleep(TIMEOUT);
    let observation = bench.next().await;
    assert!(matches!(observation.outcome, Outcome::SaysNo { .. }), "{observation:?}");
    assert_eq!(bench.abstained(), "tandem_monitor_abstained_total{server=\"m2\"} 1");
}

/// A server that is silent for good is found by a process that is never quite there, too.
#[tokio::test(start_paused = true)]
async fn abstaining_has_an_end() {
    let stalls = (0..6).map(|_| Act::Stall(TIMEOUT * 3));
    let mut bench = start(stalls);
    assert!(matches!(bench.next().await.outcome, Outcome::Unreachable { .. }));
    assert_eq!(bench.abstained(), "tandem_monitor_abstained_total{server=\"m2\"} 5");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_merely_slow_counts() {
    let mut bench = start([Act::Stall(TIMEOUT), Act::Answer(says_no())]);
    assert!(matches!(bench.next().await.outcome, Outcome::Unreachable { .. }));
}

#[tokio::test(start_paused = true)]
async fn abstaining_sends_nothing_until_the_next_turn() {
    let began = Instant::now();
    let mut bench = start([Act::Abstain, Act::Answer(says_no())]);
    assert_eq!(bench.next().await.at, (began + INTERVAL).into_std());
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_audience() {
    let Bench { seen, mut ran, .. } = start([Act::Answer(says_no())]);
    ran.recv().await.expect("it runs");
    drop(seen);
    assert_eq!(ran.recv().await, None, "the probe is gone");
}
