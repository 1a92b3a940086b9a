//! The story: what happens, in which order, and what each step waits for.
//!
//! Nothing is printed here. Every step tells the [`Stage`] what happened; the figures come from the
//! writers' ledger and from the masters themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::{Conn, Opts};
use tokio::sync::mpsc;

use super::boxes::{self, within};
use super::event::{Event, Stays};
use super::findings::{Findings, Pulse};
use super::idle::{IdleAnswer, IdleClient};
use super::observer::Observer;
use super::stage::Stage;
use super::{DemoError, event};
use crate::app::App;
use crate::checker::{Book, Gap, Kill, Load, Verdict, Writers, make_table};
use crate::config::ReturningMaster;
use crate::sandbox::{Progress, Sandbox, SandboxOptions};
use crate::topology::ServerAddress;

/// How many connections write.
const WRITERS: u16 = 8;

/// From one statement of a writer to its next. As an application does, and not as fast as they can: at
/// full speed the standby's applier falls behind, and the gap is then the time that it takes to
/// catch up.
const PACE: Duration = Duration::from_millis(10);

/// How long the writers write undisturbed: before the kill, after it, and when both are back.
const STEADY: Duration = Duration::from_secs(2);

/// How the closing chart is cut up.
const PULSE_CELLS: usize = 60;

/// Servers and proxy, still running. Dropping it ends both.
#[derive(Debug)]
pub(super) struct Company {
    // Dropped in this order: nobody is to watch the servers go.
    observer: Observer,
    app: App,
    sandbox: Sandbox,
}

/// Plays the whole story.
pub(super) async fn play(stage: &Stage) -> Result<(Findings, Company), DemoError> {
    let began = Instant::now();
    let sandbox = start_servers(stage).await?;
    let keys = show_pair(stage, &sandbox).await?;
    let app = start_proxy(stage, &sandbox).await?;
    let book = Arc::new(Book::new(stage.began()));
    let observer = Observer::start(stage, app.handles(), &book);
    let mut company = Company { observer, app, sandbox };

    let opts = company.opts()?;
    let idle = connect_clients(stage, &company, &opts).await?;
    let load = Load { writers: WRITERS, pace: Some(PACE), table: boxes::WRITES.to_owned() };
    let writers = Writers::start(&opts, &load, &book);
    stage.tell(Event::Writing { writers: WRITERS, pace: PACE });
    let survived = crash(stage, &mut company, &book, idle).await?;
    bring_back(stage, &mut company, &book, survived.kill).await?;
    stage.tell(Event::Chapter("What became of every row"));
    stage.tell(Event::Doing("stopping the writers"));
    writers.stop().await;
    let acknowledged = book.ledger().acknowledged.len();
    stage.tell(Event::Stopped { acknowledged });
    stage.tell(Event::Doing("comparing the tables of both masters"));
    let tables = boxes::read_tables(&company.sandbox).await?;
    let rows = tables.rows.each_ref().map(Vec::len);
    stage.tell(Event::Compared { checksums: tables.checksums, rows });
    let replication = boxes::slave_status(&company.sandbox).await?;
    let ledger = book.ledger().clone();
    let findings = Findings {
        killed: survived.kill.master,
        verdict: Verdict::of(&ledger, Some(survived.kill), &tables.rows),
        held: company.app.handles().metrics.session.held.get(),
        keys,
        idle: survived.idle,
        replication,
        checksums: tables.checksums,
        pulse: pulse_of(&book, survived.kill),
        took: began.elapsed(),
    };
    stage.tell(Event::Found(Box::new(findings.clone())));
    Ok((findings, company))
}

impl Company {
    /// Where everything is, for people who want to try it.
    pub(super) fn places(&self) -> Result<Stays, DemoError> {
        let port = self.port()?;
        let text = |address: &ServerAddress| address.to_string();
        Ok(Stays {
            url: format!("mysql://app:app@127.0.0.1:{port}/app"),
            client: format!("mysql -h 127.0.0.1 -P {port} -u app -papp app"),
            console: self.app.console().and_then(|address| match address {
                ServerAddress::Tcp { port, .. } => {
                    Some(format!("mysql -h 127.0.0.1 -P {port} -u admin"))
                }
                ServerAddress::Unix(_) => None,
            }),
            http: self.app.http().map(text).map(|address| format!("http://{address}/")),
            pids: [0, 1].map(|master| self.sandbox.server(master).pid()),
        })
    }

    /// Ends everything in order.
    pub(super) fn end(self) {
        drop(self.observer);
        self.app.stop();
    }

    fn port(&self) -> Result<u16, DemoError> {
        match self.app.listening().first() {
            Some(ServerAddress::Tcp { port, .. }) => Ok(*port),
            _ => Err(DemoError::NotListening),
        }
    }

    fn opts(&self) -> Result<Opts, DemoError> {
        Ok(Opts::from_url(&self.sandbox.url(self.port()?)).map_err(mysql_async::Error::from)?)
    }
}

async fn start_servers(stage: &Stage) -> Result<Sandbox, DemoError> {
    stage.tell(Event::Chapter("Two servers become a pair"));
    stage.tell(Event::Doing("looking for a server"));
    let (progress, mut heard) = mpsc::unbounded_channel();
    let options =
        SandboxOptions { semi_sync: true, progress: Some(progress), ..SandboxOptions::default() };
    let tell = async {
        while let Some(progress) = heard.recv().await {
            let next = match &progress {
                Progress::Initialising { .. } => "making the system tables, starting both",
                Progress::Pairing => "waiting for both threads of both",
                _ => "",
            };
            stage.tell(Event::Setup(progress));
            if !next.is_empty() {
                stage.tell(Event::Doing(next));
            }
        }
    };
    let (sandbox, ()) = tokio::join!(Sandbox::start(options), tell);
    Ok(sandbox?)
}

async fn show_pair(stage: &Stage, sandbox: &Sandbox) -> Result<event::KeysTried, DemoError> {
    for status in boxes::slave_status(sandbox).await? {
        stage.tell(Event::SlaveStatus(status));
    }
    let said = boxes::await_semi_sync(sandbox, 0).await?;
    stage.tell(Event::SemiSync { master: 0, said });
    stage.tell(Event::Promise);
    stage.tell(Event::Chapter("Odd keys from one, even keys from the other"));
    let keys = boxes::try_keys(sandbox).await?;
    stage.tell(Event::KeysTried(keys.clone()));
    Ok(keys)
}

async fn start_proxy(stage: &Stage, sandbox: &Sandbox) -> Result<App, DemoError> {
    stage.tell(Event::Chapter("The proxy, an idle client and eight writers"));
    let mut config = sandbox.proxy_config();
    // Nobody is there to look at what m1 had written and nobody had acknowledged.
    config.failover.returning_master = ReturningMaster::Merge;
    Ok(App::start(config)?)
}

/// Waits for an active master; then the table, and the idle client.
async fn connect_clients(
    stage: &Stage,
    company: &Company,
    opts: &Opts,
) -> Result<IdleClient, DemoError> {
    stage.tell(Event::Listening { url: company.places()?.url });
    let mut routes = company.app.handles().routes.clone();
    within("an active master", async {
        let chosen = routes.wait_for(|table| table.active().is_some()).await;
        let table = chosen.map_err(|_| DemoError::ProxyEnded)?;
        if let Some(active) = table.active() {
            stage.tell(Event::Active { master: active.index(), term: table.term.0 });
        }
        Ok(())
    })
    .await?;
    let mut maker = Conn::new(opts.clone()).await?;
    make_table(&mut maker, boxes::WRITES).await?;
    maker.disconnect().await?;
    let idle = IdleClient::connect(opts.clone()).await?;
    stage.tell(Event::IdleConnected);
    Ok(idle)
}

struct Survived {
    kill: Kill,
    idle: IdleAnswer,
}

/// kill -9, and what clients notice of it.
async fn crash(
    stage: &Stage,
    company: &mut Company,
    book: &Arc<Book>,
    mut idle: IdleClient,
) -> Result<Survived, DemoError> {
    stage.tell(Event::Doing("writing for a while"));
    tokio::time::sleep(STEADY).await;
    let routes = company.app.handles().routes.clone();
    let master = routes.borrow().active().ok_or(DemoError::NobodyActive)?.index();
    stage.tell(Event::Keys { master, keys: book.ledger().last_keys(master, 5) });

    stage.tell(Event::Chapter("kill -9"));
    stage.tell(Event::Doing("waiting for the first row after it"));
    let pid = company.sandbox.server(master).pid();
    let mut counts = book.counts();
    let kill = Kill { master, at: book.now() };
    stage.tell_at(kill.at, Event::Killed { master, pid });
    company.sandbox.server_mut(master).kill().await?;
    let other = 1 - master;
    within("a row after the kill", async {
        counts.wait_for(|counts| counts[other] > 0).await.map_err(|_| DemoError::ProxyEnded)?;
        Ok(())
    })
    .await?;
    let gap = book.ledger().gap(kill).map(Gap::length).unwrap_or_default();
    stage.tell(Event::WritesAgain { master: other, gap });
    let asked = Instant::now();
    let answer = idle.ask().await?;
    stage.tell(Event::Idle { answer: answer.clone(), took: asked.elapsed() });
    stage.tell(Event::Doing("writing for a while"));
    tokio::time::sleep(STEADY).await;
    stage.tell(Event::Keys { master: other, keys: book.ledger().last_keys(other, 5) });
    Ok(Survived { kill, idle: answer })
}

/// The killed master rejoins while the writers go on.
async fn bring_back(
    stage: &Stage,
    company: &mut Company,
    book: &Arc<Book>,
    kill: Kill,
) -> Result<(), DemoError> {
    stage.tell(Event::Chapter("The killed master comes back"));
    stage.tell(Event::Doing("starting it again"));
    let started = Instant::now();
    company.sandbox.server_mut(kill.master).restart().await?;
    stage.tell(Event::Back { master: kill.master, took: started.elapsed() });
    stage.tell(Event::Doing("waiting for both threads of both"));
    company.sandbox.await_replication().await?;
    for status in boxes::slave_status(&company.sandbox).await? {
        stage.tell(Event::SlaveStatus(status));
    }
    let master = 1 - kill.master;
    let said = boxes::await_semi_sync(&company.sandbox, master).await?;
    stage.tell(Event::SemiSync { master, said });
    stage.tell(Event::Doing("writing for a while"));
    tokio::time::sleep(STEADY).await;
    stage.tell(Event::Keys { master, keys: book.ledger().last_keys(master, 5) });
    Ok(())
}

/// Cuts the time around the kill so that the gap takes about a third of the chart.
fn pulse_of(book: &Book, kill: Kill) -> Pulse {
    let ledger = book.ledger();
    let gap = ledger.gap(kill).map(Gap::length).unwrap_or_default();
    let fits = |step: &Duration| gap <= *step * 20;
    let steps = [5, 10, 20, 50, 100, 200, 500].map(Duration::from_millis);
    let step = steps.into_iter().find(fits).unwrap_or(Duration::from_secs(1));
    let before = PULSE_CELLS / 3;
    let from = kill.at.saturating_sub(step * u32::try_from(before).unwrap_or(0));
    Pulse { step, cells: ledger.pulse(from, step, PULSE_CELLS), kill: before }
}
