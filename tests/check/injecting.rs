//! Carries the table of faults out.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};
use tandem::config::{Administrators, Config};
use tandem::pair::check::{Finding, Looker, Mend, Severity, Verdict, all};
use tandem::pair::facts::Wanted;
use tandem::sandbox::{Sandbox, SandboxOptions};
use tandem::tls::MasterTls;

use crate::faults::{FAULTS, Fault};
use crate::support::eventually;

/// A pair, and an administrator who looks at it.
pub(crate) struct Checked {
    pub(crate) sandbox: Sandbox,
    looker: Looker,
}

/// An administrator who comes over the network: root does not.
pub(crate) const ADMINISTRATOR: [(&str, &str); 2] =
    [("TANDEM_SETUP__USER", "dba"), ("TANDEM_SETUP__PASSWORD", "dba")];

pub(crate) async fn with_administrator(options: SandboxOptions) -> Sandbox {
    let sandbox = Sandbox::start(options).await.expect("a pair");
    for server in sandbox.servers() {
        let make = [
            "SET SESSION sql_log_bin = 0",
            "CREATE USER dba@'%' IDENTIFIED BY 'dba'",
            "GRANT ALL ON *.* TO dba@'%' WITH GRANT OPTION",
        ];
        server.execute(&make).await.expect("an administrator");
    }
    sandbox
}

impl Checked {
    pub(crate) async fn start(options: SandboxOptions) -> Self {
        let sandbox = with_administrator(options).await;
        let config: Config = sandbox.proxy_config();
        let login = ADMINISTRATOR.map(|(name, value)| (OsString::from(name), value.into()));
        let administrators = Administrators::read(&config.servers, login).expect("a login");
        let looker = Looker::new(config, administrators, MasterTls::disabled(), Wanted::ALL);
        Self { sandbox, looker }
    }

    pub(crate) async fn look(&self) -> Verdict {
        let mut verdict = self.looker.look().await;
        // The machine's own business: it may really be full.
        verdict.findings.retain(|finding| finding.check != "disk");
        verdict
    }

    /// Until nothing but notices is left: replication takes its time.
    pub(crate) async fn await_health(&self, after: &str) {
        let mut last = Vec::new();
        eventually(&format!("the pair is healthy, {after}"), async || {
            let now = grave(&self.look().await);
            if now != last {
                println!("  {after}: {now:#?}");
                last.clone_from(&now);
            }
            now.is_empty().then_some(())
        })
        .await;
    }

    /// Statements of root in one session, with what is awaited between them.
    async fn run(&self, (on, statements): (usize, &str)) {
        let mut root = self.sandbox.server(on).root_connection().await.expect("root's login");
        for statement in statements.split("; ").map(str::trim) {
            match statement.strip_prefix("DO await_") {
                Some(what) => awaited(&mut root, what).await,
                None => {
                    let done = root.query_drop(statement).await;
                    done.unwrap_or_else(|error| panic!("m{}: {statement}: {error}", on + 1));
                }
            }
        }
    }

    fn index(&self, name: &str) -> usize {
        let mut servers = self.sandbox.servers().iter();
        servers.position(|server| server.name() == name).expect("a server of the pair")
    }

    pub(crate) async fn restart(&mut self, on: usize) {
        self.sandbox.server_mut(on).restart().await.expect("it starts");
        self.sandbox.await_replication().await.expect("it replicates");
    }

    pub(crate) fn configure(&self, on: usize, line: &str) {
        let file = self.sandbox.server(on).directory().join("my.cnf");
        let mut file = OpenOptions::new().append(true).open(file).expect("my.cnf");
        writeln!(file, "{line}").expect("written");
    }

    /// Word for word, on the servers that are named, one session each.
    pub(crate) async fn carry_out(&mut self, finding: &Finding) {
        let mut sessions: Vec<(usize, Conn)> = Vec::new();
        let mut configured = Vec::new();
        for step in &finding.mend {
            match step {
                Mend::Sql { on, sql } => {
                    let root = self.session(&mut sessions, on).await;
                    let done = root.query_drop(sql).await;
                    done.unwrap_or_else(|error| panic!("{}: {on}: {sql}: {error}", finding.check));
                }
                Mend::Copy { from, show, to } => {
                    let asked = self.session(&mut sessions, from).await;
                    let rows: Vec<Row> = asked.query(show).await.expect(show);
                    let told = self.session(&mut sessions, to).await;
                    told.query_drop("SET SESSION sql_log_bin = 0").await.expect("off");
                    for row in rows {
                        let mut texts =
                            (0..row.len()).filter_map(|at| row.get::<Option<String>, _>(at)?);
                        let is_statement =
                            |text: &String| text.starts_with("CREATE") || text.starts_with("GRANT");
                        let statement = texts.rfind(is_statement).expect("a statement");
                        // A schema's tables are made in it.
                        let schema = show.split('`').nth(1).filter(|_| show.contains(" TABLE "));
                        if let Some(schema) = schema {
                            told.query_drop(format!("USE `{schema}`")).await.expect("there");
                        }
                        let done = told.query_drop(&statement).await;
                        done.unwrap_or_else(|error| panic!("{to}: {statement}: {error}"));
                    }
                    told.query_drop("SET SESSION sql_log_bin = 1").await.expect("on");
                }
                Mend::Config { on, my_cnf } => {
                    let on = self.index(on);
                    self.configure(on, my_cnf);
                    configured.push(on);
                }
                Mend::Advice { .. } => {}
            }
        }
        drop(sessions);
        let is_sql = |step: &Mend| matches!(step, Mend::Sql { .. } | Mend::Copy { .. });
        let restarts = finding.mend.iter().find_map(|step| match step {
            Mend::Advice { advice } => advice.strip_prefix("restart "),
            _ => None,
        });
        if let Some(name) = restarts {
            let name = name.split(' ').next().expect("a name").to_owned();
            self.restart(self.index(&name)).await;
        } else if !finding.mend.iter().any(is_sql) {
            // A line in a file only: what it does shows after a start.
            for on in configured {
                self.restart(on).await;
            }
        }
    }

    async fn session<'s>(&self, sessions: &'s mut Vec<(usize, Conn)>, name: &str) -> &'s mut Conn {
        let index = self.index(name);
        if let Some(at) = sessions.iter().position(|(of, _)| *of == index) {
            return &mut sessions[at].1;
        }
        let root = self.sandbox.server(index).root_connection().await.expect("root's login");
        sessions.push((index, root));
        &mut sessions.last_mut().expect("just pushed").1
    }

    /// Until a check finds something with these words.
    pub(crate) async fn finds(&self, check: &str, says: &str) -> Finding {
        println!("{check}: {says}");
        let mut last = Vec::new();
        eventually(&format!("{check} finds \"{says}\""), async || {
            let findings = self.look().await.findings;
            let all: Vec<String> = findings.iter().map(|finding| finding.what.clone()).collect();
            if all != last {
                println!("  seen: {all:#?}");
                last = all;
            }
            let mut found = findings.into_iter().filter(|it| it.check == check);
            found.find(|finding| finding.what.contains(says))
        })
        .await
    }

    async fn suffer(&mut self, fault: &Fault) {
        let Fault { check, says, .. } = *fault;
        println!("{check}: {says}");
        for step in fault.make {
            self.run(*step).await;
        }
        if let Some((on, line)) = fault.configure {
            self.configure(on, line);
            self.restart(on).await;
        }
        let mut last = Vec::new();
        let found: Vec<Finding> = eventually(&format!("{check} finds \"{says}\""), async || {
            let verdict = self.look().await;
            let seen = || verdict.findings.iter().filter(|finding| finding.check == check);
            let all: Vec<String> =
                verdict.findings.iter().map(|finding| finding.what.clone()).collect();
            if all != last {
                println!("  seen: {all:#?}");
                last = all;
            }
            seen().any(|finding| finding.what.contains(says)).then(|| seen().cloned().collect())
        })
        .await;
        for finding in &found {
            assert!(!finding.why.is_empty() && !finding.servers.is_empty(), "{finding:?}");
        }
        for step in fault.by_hand {
            self.run(*step).await;
        }
        for finding in found {
            self.carry_out(&finding).await;
        }
        if !fault.stays {
            eventually(&format!("{check} (\"{says}\") is mended"), async || {
                let verdict = self.look().await;
                (!verdict.findings.iter().any(|finding| finding.check == check)).then_some(())
            })
            .await;
        }
        for step in fault.undo {
            self.run(*step).await;
        }
        self.await_health(&format!("after {check} (\"{says}\") was mended")).await;
    }
}

/// What is waited for on a server: a table, a row, an event that comes by replication.
async fn awaited(root: &mut Conn, what: &str) {
    let (kind, name) = what.split_once("('").expect("await_x('name')");
    let name = name.trim_end_matches("')");
    let question = match kind {
        "table" => format!("SELECT COUNT(*) >= 0 FROM {name}"),
        "rows" => format!("SELECT COUNT(*) > 0 FROM {name}"),
        "event" => format!(
            "SELECT COUNT(*) > 0 FROM information_schema.EVENTS WHERE EVENT_NAME = '{name}'"
        ),
        other => panic!("await_{other}"),
    };
    eventually(what, async || {
        let there: Option<u8> = root.query_first(&question).await.ok()?;
        (there == Some(1)).then_some(())
    })
    .await;
}

fn grave(verdict: &Verdict) -> Vec<String> {
    let grave = verdict.findings.iter().filter(|finding| finding.severity > Severity::Notice);
    grave.map(|finding| format!("{}: {}", finding.check, finding.what)).collect()
}

#[tokio::test]
async fn each_fault_is_found_and_mended_by_its_commands() {
    let mut pair = Checked::start(SandboxOptions::default()).await;
    let verdict = pair.look().await;
    assert_eq!(grave(&verdict), Vec::<String>::new(), "a healthy pair");
    // The certificate that a server has made for itself is told to encrypted connections only.
    let unseen =
        verdict.not_seen.iter().filter(|it| !["disks", "certificate"].contains(&&*it.what));
    assert_eq!(unseen.count(), 0, "{verdict:#?}");

    let flavor = pair.sandbox.binaries().flavor();
    let only = std::env::var("FAULT").unwrap_or_default();
    for fault in FAULTS
        .iter()
        .skip_while(|fault| !only.is_empty() && fault.check != only)
        .filter(|fault| fault.only.is_none_or(|only| only == flavor))
    {
        assert!(all().any(|check| check.name == fault.check), "{}", fault.check);
        pair.suffer(fault).await;
    }
}
