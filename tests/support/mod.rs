//! A pair of real servers with a proxy in front, for the suites that need one.

#![allow(dead_code, unreachable_pub)] // each suite uses its own part of it

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use tandem::app::App;
use tandem::config::Config;
use tandem::coordinator::Journal;
use tandem::sandbox::{Sandbox, SandboxOptions};
use tandem::topology::{Flavor, GtidSet, ServerAddress};

/// Servers and proxy. Dropping it ends both.
pub struct Stack {
    pub app: App,
    pub sandbox: Sandbox,
    _decided: Decided,
}

/// What the proxy decided, said by a test that fails.
struct Decided(Arc<Journal>);

impl Drop for Decided {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for row in self.0.rows_after(0) {
                let decided = &row.transition;
                let (from, to) = (decided.from, decided.to);
                eprintln!("{:?} {from} -> {to}: {}", row.since_start, decided.reason);
            }
        }
    }
}

/// For what must happen; it bounds a failing test and nothing else.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that cannot be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

impl Stack {
    /// A pair with the default settings.
    pub async fn start() -> Self {
        Self::start_with(SandboxOptions::default(), |_| {}).await
    }

    /// A pair of this kind, and a proxy with these settings.
    pub async fn start_with(options: SandboxOptions, set: impl FnOnce(&mut Config)) -> Self {
        // Another stack of this process may have done it.
        let _ = tandem::logging::init_if_asked();
        let sandbox = Sandbox::start(options).await.expect("a pair of servers");
        let mut config = config_for(&sandbox);
        set(&mut config);
        let app = App::start(config).expect("a proxy");
        let stack = Self::of(app, sandbox);
        stack.await_active(None).await;
        stack
    }

    /// A proxy that was started before a pair.
    pub fn of(app: App, sandbox: Sandbox) -> Self {
        let decided = Decided(Arc::clone(&app.handles().journal));
        Self { app, sandbox, _decided: decided }
    }

    /// The port for applications.
    pub fn port(&self) -> u16 {
        match &self.app.listening()[0] {
            ServerAddress::Tcp { port, .. } => *port,
            ServerAddress::Unix(_) => panic!("not TCP"),
        }
    }

    /// The application's options for mysql_async, through the proxy.
    pub fn opts(&self) -> mysql_async::Opts {
        mysql_async::Opts::from_url(&self.sandbox.url(self.port())).expect("a URL")
    }

    /// A connection of the application's, through the proxy.
    pub async fn connect(&self) -> mysql_async::Conn {
        mysql_async::Conn::new(self.opts()).await.expect("a login")
    }

    /// An operator's connection to the console.
    pub async fn console(&self) -> mysql_async::Conn {
        let Some(ServerAddress::Tcp { host, port }) = self.app.console() else {
            panic!("a console on TCP")
        };
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname(host.clone())
            .tcp_port(*port)
            .user(Some("admin"))
            .prefer_socket(false);
        mysql_async::Conn::new(opts).await.expect("the console's login")
    }

    /// Waits until all others that are up have executed what this master has executed by now.
    pub async fn await_replicated(&self, from: usize) {
        await_replicated(&self.sandbox, from).await;
    }

    /// Waits until every receiver runs. What is found to be stranded meanwhile is released, as an operator
    /// would: until then nobody receives from its server.
    pub async fn await_released(&self) {
        tokio::select! {
            running = self.sandbox.await_replication() => running.expect("every channel runs"),
            () = self.release_what_is_stranded() => {}
        }
    }

    /// Never ends.
    async fn release_what_is_stranded(&self) {
        let mut console = self.console().await;
        loop {
            let stranded: Vec<mysql_async::Row> =
                console.query("SHOW STRANDED").await.expect("shown");
            if let Some(row) = stranded.first() {
                let server: String = row.get("Server").expect("a name");
                // It may have ended by itself just now.
                println!(
                    "{:?}",
                    console.query_first::<String, _>(format!("RELEASE {server}")).await
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until somebody, or the one with this name, is active.
    pub async fn await_active(&self, name: Option<&str>) {
        let mut routes = self.app.handles().routes.clone();
        let waiting = routes.wait_for(|table| {
            table
                .active()
                .is_some_and(|active| name.is_none_or(|name| table.servers.name(active) == name))
        });
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("{name:?} did not become active within {PATIENCE:?}"))
            .expect("the proxy runs");
    }
}

/// What a server has executed by now.
pub async fn executed(sandbox: &Sandbox, index: usize) -> GtidSet {
    let flavor = sandbox.binaries().flavor();
    let question = match flavor {
        Flavor::MariaDb => "SELECT @@GLOBAL.gtid_current_pos",
        Flavor::MySql => "SELECT @@GLOBAL.gtid_executed",
    };
    let mut root = sandbox.server(index).root_connection().await.expect("root's login");
    let text: Option<String> = root.query_first(question).await.expect("asked");
    GtidSet::parse(flavor, &text.expect("a row")).expect("a set")
}

/// Waits until all others that are up have executed what this server has executed by now.
///
/// Replication is asynchronous: what the others have not received when a server is killed is rightly lost.
/// A test whose subject is not that loss, and that relies on what was written, waits here first.
pub async fn await_replicated(sandbox: &Sandbox, from: usize) {
    let all = executed(sandbox, from).await;
    for (index, server) in sandbox.servers().iter().enumerate() {
        if index == from || server.pid().is_none() {
            continue;
        }
        let what = format!("{} has executed {all}", server.name());
        eventually(&what, async || executed(sandbox, index).await.contains(&all).then_some(()))
            .await;
    }
}

/// A configuration for a proxy before this sandbox, on free ports.
pub fn config_for(sandbox: &Sandbox) -> Config {
    sandbox.proxy_config()
}
