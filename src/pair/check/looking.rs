//! Reads the facts of all servers, and makes a verdict of them.
//!
//! Servers are read at the same time, but not at one moment: what differs between them may merely be on
//! its way. So a difference counts when a second look finds it again.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

use super::{Expectations, Lack, Silent, Verdict, check};
use crate::config::{Administrators, Config};
use crate::monitor::{Connection, ConnectionError, Dialer, missing_privileges};
use crate::pair::facts::{Facts, Wanted};
use crate::tls::MasterTls;
use crate::topology::{Server, ServerAddress};

/// Between the two looks: replication delivers what is on its way within this, or it is behind.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Looks at the servers of a configuration.
#[derive(Clone, Debug)]
pub struct Looker {
    config: Config,
    administrators: Administrators,
    tls: MasterTls,
    wanted: Wanted,
}

impl Looker {
    /// With the administrators' logins where they are given, and that of `[monitor]` elsewhere.
    #[must_use]
    pub fn new(
        config: Config,
        administrators: Administrators,
        tls: MasterTls,
        wanted: Wanted,
    ) -> Self {
        Self { config, administrators, tls, wanted }
    }

    /// Looks, and once more if something was found that may have been on its way.
    pub async fn verdict(&self) -> Verdict {
        let first = self.look().await;
        if !first.is_passing() {
            return first;
        }
        tokio::time::sleep(SECOND_LOOK).await;
        self.look().await.confirming(&first)
    }

    /// Looks once.
    pub async fn look(&self) -> Verdict {
        let mut expected = Expectations::of(&self.config, SystemTime::now());
        let looking = self.config.servers.iter().map(|server| self.look_at(server));
        let mut facts = Vec::new();
        for (server, seen) in self.config.servers.iter().zip(join_all(looking).await) {
            match seen.facts {
                Ok(seen) => facts.push(seen),
                Err(reason) => expected.silent.push(Silent { name: server.name.clone(), reason }),
            }
            expected.lacking.extend(seen.lacking);
            expected.locked_out.extend(seen.locked_out);
        }
        check(&facts, &expected)
    }

    /// How long a server may take to let us in.
    fn patience(&self) -> Duration {
        self.config.limits.connect_timeout
    }

    async fn look_at(&self, server: &Server) -> SeenServer {
        let monitor = Dialer::new(&self.config.monitor).with_tls(self.tls.clone());
        let login = self.administrators.of(server);
        let dialer = match &login {
            Some(login) => Dialer::for_login(login).with_tls(self.tls.clone()),
            None => monitor.clone(),
        };
        let name = server.name.as_str();
        let mut seen = SeenServer {
            facts: self
                .with(&dialer, &server.address, async |it| {
                    Facts::read(it, server, self.wanted).await
                })
                .await
                .map_err(|error| told(&error, dialer.user())),
            lacking: Vec::new(),
            locked_out: None,
        };
        if seen.facts.is_err() {
            return seen;
        }
        match self.with(&monitor, &server.address, missing).await {
            Ok(lacking) => {
                let of = |lack: Lack| Lack { server: name.to_owned(), ..lack };
                seen.lacking = lacking.into_iter().map(of).collect();
            }
            Err(error) => {
                let reason = told(&error, monitor.user());
                seen.locked_out = Some(Silent { name: name.to_owned(), reason });
            }
        }
        seen
    }

    async fn with<T>(
        &self,
        dialer: &Dialer,
        address: &ServerAddress,
        ask: impl AsyncFnOnce(&mut Connection) -> Result<T, ConnectionError>,
    ) -> Result<T, ConnectionError> {
        let mut connection = dialer.connect(address, self.patience()).await?;
        ask(&mut connection).await
    }
}

/// What became of the look at one server.
struct SeenServer {
    facts: Result<Facts, String>,
    lacking: Vec<Lack>,
    locked_out: Option<Silent>,
}

async fn missing(connection: &mut Connection) -> Result<Vec<Lack>, ConnectionError> {
    let lacking = missing_privileges(connection).await?;
    let lack = |(privilege, grant): (crate::topology::grants::Privilege, String)| Lack {
        server: String::new(),
        purpose: privilege.purpose().to_owned(),
        grant,
        optional: privilege.is_optional(),
    };
    Ok(lacking.into_iter().map(lack).collect())
}

/// After the server's name.
fn told(error: &ConnectionError, user: &str) -> String {
    match error {
        ConnectionError::Unreachable { kind, detail } => format!("{kind} ({detail})"),
        // ER_ACCESS_DENIED_ERROR and its relatives
        ConnectionError::Server { code: 1045 | 1130 | 1698 | 3118, message } => {
            format!("does not let {user} in: {message}")
        }
        ConnectionError::Server { code, message } => {
            format!("answers with error {code}: {message}")
        }
        // MySQL asks whomever it does not know for some plugin or other, so that he cannot tell.
        ConnectionError::Unintelligible(what) if what.contains("authentication plugin") => {
            format!("does not let {user} in, or by a plugin that Tandem does not speak: {what}")
        }
        ConnectionError::Unintelligible(what) => format!("is not understood: {what}"),
        ConnectionError::Exhausted(what) => {
            format!("was not asked: this machine is short of something ({what})")
        }
    }
}
