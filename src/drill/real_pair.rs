//! Switchovers of a pair that is in use, by its running proxy, when told so twice.
//!
//! Nothing is hurt: the proxy is asked over its console, as `tandem switchover` does. The clients of the
//! drill log in through the proxy with an account of the operator's, and write in a schema of their own,
//! which is dropped at the end; and at the end the master is active that was before. Both is done after
//! Ctrl-C and after a failure as well, and what could not be done is said.

use std::process::ExitCode;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Opts};

use super::load::{LoadKind, Traffic};
use super::output::Output;
use super::proxy::Proxy;
use super::report::Report;
use super::switchover::{MEASURES, judge, to_and_fro};
use super::{DrillError, PATIENCE, conclude, show_interrupted, status};
use crate::cli::DrillOptions;
use crate::config;
use crate::console::AskError;
use crate::signals::{INTERRUPTED, Signals};

/// What the clients write in. It must not be there before.
const SCHEMA: &str = "tandem_drill";

/// How the clients log in, with a password that is not for everybody who can list processes.
const DSN: &str = "TANDEM_DRILL_DSN";

/// Writes a second, if nothing is said.
const RATE: u32 = 100;

/// From one transfer of a client to its next.
const TRANSFER_PACE: Duration = Duration::from_millis(200);

/// `ER_DB_CREATE_EXISTS`
const THERE_ALREADY: u16 = 1007;
/// `ER_DBACCESS_DENIED_ERROR`
const DENIED: u16 = 1044;

/// Between two attempts to go back.
const AGAIN: Duration = Duration::from_millis(500);

/// Checks, switches over, and clears away.
pub(super) async fn run(
    options: &DrillOptions,
    out: &mut Output,
    signals: &mut Signals,
) -> Result<ExitCode, DrillError> {
    let runs = options.drills.switchover.unwrap_or_default();
    let load = LoadKind {
        writers: options.writers,
        rate: Some(options.rate.unwrap_or(RATE)),
        transfer_pace: Some(TRANSFER_PACE),
        schema: SCHEMA,
    };
    let admin = config::load_admin(options.config.as_deref(), std::env::vars_os())?;
    let dsn = options.dsn.clone().or_else(|| std::env::var(DSN).ok());
    let opts = dsn.as_deref().map(Opts::from_url).transpose().map_err(Error::from)?;
    let mut proxy = Proxy::connect(&admin, opts.clone().unwrap_or_default()).await?;
    let plan = plan(&mut proxy, runs, &load).await?;
    if !options.really {
        return Err(DrillError::Refused(format!("this would {plan}.\nTo do it: --really")));
    }
    if opts.is_none() {
        return Err(DrillError::Refused(format!(
            "how do clients log in to the proxy? {DSN}=mysql://user:password@host:port, or --dsn"
        )));
    }
    let mut pair = RealPair::open(proxy).await?;
    let mut found = None;
    let ended = tokio::select! {
        ended = pair.drill(runs, &load, &mut found, out) => Some(ended),
        () = signals.next() => None,
    };
    out.doing("clearing away…")?;
    let cleared = tokio::select! {
        cleared = pair.clear() => cleared,
        () = signals.next() => Err(pair.left("interrupted again")),
    };
    let Some(ended) = ended else {
        show_interrupted(found, out)?;
        cleared?;
        out.say(&format!("interrupted; {} is active, and {SCHEMA} is dropped", pair.home))?;
        return Ok(ExitCode::from(INTERRUPTED));
    };
    // Both may have failed; what is left behind must be known in any case.
    match (ended, cleared) {
        (Err(error), Err(left)) => return Err(DrillError::NotCleared(format!("{error}; {left}"))),
        (ended, cleared) => ended.and(cleared)?,
    }
    Ok(status(conclude(&mut found, out)?))
}

/// What is about to be done, as the end of a sentence.
async fn plan(proxy: &mut Proxy, runs: u32, load: &LoadKind) -> Result<String, DrillError> {
    let (home, _) = proxy.active_and_next().await?;
    let names = proxy.masters().await?.into_iter().map(|m| m.name).collect::<Vec<_>>().join(", ");
    Ok(format!(
        "switch the pair behind {} over {runs} times, among {names}, and back to {home};\n\
         meanwhile, in a schema {SCHEMA} that is made for it and dropped at the end, {}.\n\
         All clients of the pair notice each switchover as a pause; transactions of clients of other \
         proxies may be rolled back",
        proxy.address(),
        load.text(),
    ))
}

struct RealPair {
    proxy: Proxy,
    /// Who was active in the beginning.
    home: String,
}

impl RealPair {
    /// Makes the schema, if clients get to this proxy and nobody has one of this name.
    async fn open(mut proxy: Proxy) -> Result<Self, DrillError> {
        let home = proxy.active().await?;
        let mut maker = Conn::new(proxy.opts.clone()).await?;
        if !proxy.serves(maker.id()).await? {
            return Err(DrillError::Refused(format!(
                "the DSN leads to {}:{}, and that is not the proxy whose console is {}",
                proxy.opts.ip_or_hostname(),
                proxy.opts.tcp_port(),
                proxy.address()
            )));
        }
        match maker.query_drop(format!("CREATE DATABASE {SCHEMA}")).await {
            Ok(()) => {}
            Err(Error::Server(error)) if error.code == THERE_ALREADY => {
                return Err(DrillError::Refused(format!(
                    "there is a schema {SCHEMA} already. If a drill left it: DROP DATABASE {SCHEMA}"
                )));
            }
            Err(Error::Server(error)) if error.code == DENIED => {
                return Err(DrillError::Refused(format!(
                    "{}. It may with GRANT ALL ON {SCHEMA}.* TO '{}'@'%'",
                    error.message,
                    proxy.opts.user().unwrap_or_default()
                )));
            }
            Err(error) => return Err(error.into()),
        }
        // A schema is there now, so that clearing away has to follow whatever comes.
        Ok(Self { proxy, home })
    }

    async fn drill(
        &mut self,
        runs: u32,
        load: &LoadKind,
        found: &mut Option<Report>,
        out: &mut Output,
    ) -> Result<(), DrillError> {
        let masters = self.proxy.masters().await?;
        let masters: Vec<String> =
            masters.iter().map(|master| format!("{} ({})", master.name, master.version)).collect();
        let setting = vec![
            format!("switchover of a real pair, {runs} times"),
            masters.join(", "),
            load.text(),
        ];
        let report = found.insert(Report::new("switchover", MEASURES, setting));
        out.begin(report)?;
        let traffic = Traffic::start(&self.proxy.opts, load, 1).await?;
        let windows = to_and_fro(&mut self.proxy, &traffic, runs, report, out).await?;
        let told = traffic.stop().await;
        out.doing("comparing the tables…")?;
        // Through the proxy: the last master in turn, which has the rows of all before it; then, back
        // on the first, that one.
        let read = async |pair: &Self| {
            let mut reader = Conn::new(pair.proxy.opts.clone()).await?;
            told.tables.read(&mut reader).await
        };
        let mut contents = vec![read(self).await?];
        if self.proxy.active().await? != self.home {
            self.go_home().await?;
            contents.push(read(self).await?);
        }
        judge(&told, windows, contents, report, out)?;
        report.remarks.push(format!("held and retried are of all clients of the proxy; {} is active again, {SCHEMA} is dropped", self.home));
        Ok(())
    }

    /// Makes the schema disappear, and the master active that was. What a signal interrupted may still go
    /// on, so this waits for it.
    async fn clear(&mut self) -> Result<(), DrillError> {
        let home = self.go_home().await;
        let dropped = tokio::time::timeout(PATIENCE, async {
            let mut connection = Conn::new(self.proxy.opts.clone()).await?;
            connection.query_drop(format!("DROP DATABASE IF EXISTS {SCHEMA}")).await
        });
        match (home, dropped.await) {
            (Ok(()), Ok(Ok(()))) => Ok(()),
            (Err(error), _) => Err(self.left(&error.to_string())),
            (_, Ok(Err(error))) => Err(self.left(&error.to_string())),
            (_, Err(_)) => Err(self.left("no answer")),
        }
    }

    async fn go_home(&mut self) -> Result<(), DrillError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let masters = self.proxy.masters().await?;
            if masters.iter().any(|master| master.active && master.name == self.home) {
                return Ok(());
            }
            match self.proxy.switch_over(&self.home).await {
                Ok(()) => {}
                // Another one is under way, say.
                Err(AskError::Refused { .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn left(&self, why: &str) -> DrillError {
        let home = &self.home;
        DrillError::NotCleared(format!(
            "not all was cleared away ({why}). See `tandem status`; if need be, `tandem switchover {home}` \
             and DROP DATABASE {SCHEMA}"
        ))
    }
}
