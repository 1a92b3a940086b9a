//! Servers without any setting of a pair, and what `tandem setup` says and does to them.

use std::collections::BTreeMap;

use mysql_async::Conn;
use mysql_async::prelude::{FromRow, Queryable};
use tandem::config::{Administrators, Config};
use tandem::pair::check::{Looker, Severity};
use tandem::pair::facts::Wanted;
use tandem::pair::setup::{self, Ended, Wishes};
use tandem::sandbox::{Sandbox, SandboxOptions, SandboxServer};
use tandem::tls::MasterTls;
use tandem::topology::Flavor;

use crate::support::eventually;

pub(crate) struct Bare {
    pub(crate) sandbox: Sandbox,
    pub(crate) config: Config,
}

/// What `setup` said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ended: Ended,
    pub(crate) text: String,
}

pub(crate) fn apply() -> Wishes {
    Wishes { apply: true, ..Wishes::default() }
}

impl Bare {
    pub(crate) async fn start(masters: u16, replicas: u16) -> Self {
        let options = SandboxOptions { masters, replicas, bare: true, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).await.expect("servers start");
        let config = sandbox.proxy_config();
        Self { sandbox, config }
    }

    pub(crate) fn flavor(&self) -> Flavor {
        self.sandbox.binaries().flavor()
    }

    pub(crate) fn server(&self, index: usize) -> &SandboxServer {
        self.sandbox.server(index)
    }

    pub(crate) fn administrators(&self) -> Administrators {
        let login = self.sandbox.administrator();
        administrators(&self.config, &login.user, login.password.reveal(), &[])
    }

    pub(crate) async fn setup(&self, wishes: &Wishes) -> Said {
        set_up(wishes, &self.config, &self.administrators()).await
    }

    /// Does what a person does: adds the lines that are asked for, restarts, and says it again. A server
    /// that was cloned into and has nobody who starts it again is started.
    pub(crate) async fn set_up_whole(&mut self, wishes: &Wishes) -> Said {
        let mut said = self.setup(wishes).await;
        if said.text.contains("needs a restart") {
            assert_eq!(said.ended, Ended::Failed, "{}", said.text);
            self.add_lines(&said.text);
            for index in 0..self.sandbox.servers().len() {
                self.sandbox.server_mut(index).restart().await.expect("restarted");
            }
            said = self.setup(wishes).await;
        }
        for _ in 0..self.sandbox.servers().len() {
            if !said.text.contains("has shut down for it") {
                break;
            }
            for index in 0..self.sandbox.servers().len() {
                if self.server(index).root_connection().await.is_err() {
                    self.sandbox.server_mut(index).restart().await.expect("restarted");
                }
            }
            said = self.setup(wishes).await;
        }
        said
    }

    /// Adds the lines for my.cnf that were printed to the files of the servers.
    pub(crate) fn add_lines(&self, text: &str) {
        let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut server = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("my.cnf of ") {
                server = rest.split([',', ' ']).next().unwrap_or("");
            } else if let Some(setting) = line.strip_prefix("    ").filter(|_| !server.is_empty()) {
                lines.entry(server).or_default().push(setting);
            } else {
                server = "";
            }
        }
        for server in self.sandbox.servers() {
            if let Some(lines) = lines.get(server.name()) {
                server.add_settings(&lines.join("\n")).expect("written");
            }
        }
    }

    /// The errors and warnings that `tandem check` has about the servers, but for the disks of this machine.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let tls = MasterTls::load(&self.config.server_tls).expect("no files are named");
        let looker = Looker::new(self.config.clone(), self.administrators(), tls, Wanted::ALL);
        let verdict = looker.verdict().await;
        assert_eq!(verdict.servers.len(), self.sandbox.servers().len());
        let findings = verdict.findings.into_iter();
        findings
            .filter(|found| found.severity != Severity::Notice && found.check != "disk")
            .map(|found| format!("{}: {}", found.check, found.what))
            .collect()
    }

    pub(crate) async fn root(&self, index: usize) -> Conn {
        self.server(index).root_connection().await.expect("root's login")
    }

    pub(crate) async fn rows<R>(&self, index: usize, question: &str) -> Vec<R>
    where
        R: FromRow + Send + 'static,
    {
        self.root(index)
            .await
            .query(question)
            .await
            .unwrap_or_else(|error| panic!("{question}: {error}"))
    }

    pub(crate) async fn value(&self, index: usize, name: &str) -> String {
        let question = format!("SELECT CONCAT(@@GLOBAL.{name})");
        self.rows::<String>(index, &question).await.remove(0)
    }

    /// Whether applications cannot write there.
    pub(crate) async fn is_closed(&self, index: usize) -> bool {
        ["1", "ON"].contains(&self.value(index, "read_only").await.as_str())
    }

    /// Everything that setting up could change: variables (GTIDs among them), accounts, channels, schemas.
    pub(crate) async fn everything(&self) -> Vec<BTreeMap<String, String>> {
        let mut all = Vec::new();
        for index in 0..self.sandbox.servers().len() {
            let mut of: BTreeMap<String, String> = self
                .rows::<(String, String)>(index, "SHOW GLOBAL VARIABLES")
                .await
                .into_iter()
                .collect();
            let accounts = "SELECT CONCAT(User, '@', Host), CONCAT_WS(' ', authentication_string, \
                            Super_priv, Repl_slave_priv) FROM mysql.user";
            of.extend(self.rows::<(String, String)>(index, accounts).await);
            let schemas = "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), ENGINE FROM \
                           information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'";
            of.extend(self.rows::<(String, String)>(index, schemas).await);
            let plugins = "SELECT PLUGIN_NAME, PLUGIN_STATUS FROM information_schema.PLUGINS";
            of.extend(self.rows::<(String, String)>(index, plugins).await);
            let status = match self.flavor() {
                Flavor::MariaDb => "SHOW ALL SLAVES STATUS",
                Flavor::MySql => "SHOW REPLICA STATUS",
            };
            let channels = self.rows::<mysql_async::Row>(index, status).await.len();
            of.insert("channels".to_owned(), channels.to_string());
            all.push(of);
        }
        all
    }

    /// Each channel of a server: its name, the port at its other end, both threads.
    pub(crate) async fn channels(&self, index: usize) -> Vec<(String, u16, bool)> {
        let replication = self.sandbox.replication(self.server(index)).await.expect("asked");
        let port = |source: &str| source.rsplit(':').next().and_then(|port| port.parse().ok());
        replication
            .into_iter()
            .map(|of| (of.channel.clone(), port(&of.source).unwrap_or(0), of.runs()))
            .collect()
    }

    /// Waits until every server has so many rows of `table`.
    pub(crate) async fn everywhere(&self, table: &str, rows: u64) {
        for index in 0..self.sandbox.servers().len() {
            if self.server(index).pid().is_some() {
                self.arrives(index, table, rows).await;
            }
        }
    }

    pub(crate) async fn arrives(&self, index: usize, table: &str, rows: u64) {
        let question = format!("SELECT COUNT(*) FROM {table}");
        eventually(
            &format!("{rows} rows of {table} on {}", self.server(index).name()),
            async || {
                let mut root = self.root(index).await;
                let count: Option<u64> = root.query_first(&question).await.ok().flatten();
                (count == Some(rows)).then_some(())
            },
        )
        .await;
    }
}

pub(crate) fn administrators(
    config: &Config,
    user: &str,
    password: &str,
    more: &[(&str, &str)],
) -> Administrators {
    let login = [("TANDEM_SETUP__USER", user), ("TANDEM_SETUP__PASSWORD", password)];
    let variables = login.iter().chain(more).map(|(name, text)| (name.into(), text.into()));
    Administrators::read(&config.servers, variables).expect("variables are right")
}

pub(crate) async fn set_up(
    wishes: &Wishes,
    config: &Config,
    administrators: &Administrators,
) -> Said {
    let mut text = String::new();
    let mut say = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    let ended = setup::set_up(wishes, config, administrators, &mut say).await;
    println!("--- {wishes:?}: {ended:?}\n{text}");
    let monitor = config.monitor.password.reveal();
    assert!(monitor.is_empty() || !text.contains(monitor), "no secret is printed");
    Said { ended, text }
}
