//! Between the story and whoever watches it: a queue, and a thread that shows.
//!
//! The thread is there because a terminal can be slow, or stopped with Ctrl-S, and the writers must
//! not wait for it.

use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::event::{Event, Told};
use super::plain::Plain;
use super::screen::Screen;

/// How long something that happened waits for what happened before it and is told later: what the
/// proxy decides is seen a little after.
const PATIENCE: Duration = Duration::from_millis(80);

/// Shows what happens.
pub(super) trait Audience: Send {
    /// Shows these, which happened in this order. Called again and again, also with nothing.
    fn hear(&mut self, told: Vec<Told>) -> io::Result<()>;
    /// Nothing more will happen.
    fn leave(&mut self) -> io::Result<()>;
}

/// How it is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Lines.
    Plain,
    /// Redrawn in place.
    Screen { colour: bool },
}

impl Manner {
    /// What suits the standard output. Log lines on the same terminal would spoil a screen.
    pub(super) fn choose(plain: bool, logs: bool) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        let logs_in_the_way = logs && io::stderr().is_terminal();
        if plain || dumb || logs_in_the_way || !io::stdout().is_terminal() {
            return Self::Plain;
        }
        Self::Screen { colour: !is_set("NO_COLOR") }
    }
}

/// Where the story is told.
#[derive(Debug)]
pub(super) struct Stage {
    teller: Teller,
    left: watch::Receiver<()>,
    thread: JoinHandle<io::Result<()>>,
}

/// Tells what happens. Once nobody listens any more, it tells nobody.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    began: (Instant, SystemTime),
    queue: mpsc::Sender<Told>,
}

impl Teller {
    /// It happens now.
    pub(super) fn tell(&self, event: Event) {
        self.tell_at(self.began.0.elapsed(), event);
    }

    /// It happened so long after the beginning.
    pub(super) fn tell_at(&self, at: Duration, event: Event) {
        // An error means that nobody listens; `Stage::left` says so to who must know.
        let _ = self.queue.send(Told { at, event });
    }

    /// It happened when the clock on the wall said so.
    pub(super) fn tell_of(&self, at: SystemTime, event: Event) {
        self.tell_at(at.duration_since(self.began.1).unwrap_or_default(), event);
    }
}

impl Stage {
    /// Opens it: the story begins now.
    pub(super) fn open(manner: Manner) -> io::Result<Self> {
        let (queue, heard) = mpsc::channel();
        let (leaving, left) = watch::channel(());
        let audience: Box<dyn Audience> = match manner {
            Manner::Plain => Box::new(Plain::new(io::stdout())),
            Manner::Screen { colour } => Box::new(Screen::open(io::stdout(), colour)?),
        };
        let began = (Instant::now(), SystemTime::now());
        let show = move || {
            let _leaving = leaving;
            show(audience, began.0, &heard)
        };
        let thread = std::thread::Builder::new().name("show".into()).spawn(show)?;
        let teller = Teller { began, queue };
        Ok(Self { teller, left, thread })
    }

    pub(super) fn began(&self) -> Instant {
        self.teller.began.0
    }

    pub(super) fn tell(&self, event: Event) {
        self.teller.tell(event);
    }

    pub(super) fn tell_at(&self, at: Duration, event: Event) {
        self.teller.tell_at(at, event);
    }

    /// For tasks of their own.
    pub(super) fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// Resolves when nobody watches any more: the reader of the pipe has gone.
    pub(super) async fn left(&self) {
        let mut left = self.left.clone();
        while left.changed().await.is_ok() {}
    }

    /// Waits until everything that was told is shown. Every other teller must have gone before.
    pub(super) fn close(self) -> io::Result<()> {
        let Self { teller, thread, .. } = self;
        drop(teller);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn show(
    mut audience: Box<dyn Audience>,
    began: Instant,
    heard: &mpsc::Receiver<Told>,
) -> io::Result<()> {
    let mut waiting: Vec<Told> = Vec::new();
    loop {
        let gone = match heard.recv_timeout(PATIENCE / 2) {
            Ok(told) => {
                waiting.push(told);
                waiting.extend(heard.try_iter());
                false
            }
            Err(mpsc::RecvTimeoutError::Timeout) => false,
            Err(mpsc::RecvTimeoutError::Disconnected) => true,
        };
        // What happened at the same moment stays in the order in which it was told.
        waiting.sort_by_key(|told| told.at);
        let until = began.elapsed().saturating_sub(PATIENCE);
        let ripe = waiting.partition_point(|told| gone || told.at <= until);
        audience.hear(waiting.drain(..ripe).collect())?;
        if gone {
            return audience.leave();
        }
    }
}
