//! The sections of `proxy.toml` and their defaults.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{Origins, Secret};
use crate::topology::{ServerAddress, Servers};
use crate::wire::{Capabilities, Compression, ProxyVersion, ZSTD_LEVEL};

/// Everything that `proxy.toml` and the environment say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses for applications.
    pub listen: Vec<ServerAddress>,
    /// The masters in order of preference, then the replicas.
    pub servers: Servers,
    /// `[monitor]`
    pub monitor: Monitor,
    /// `[failover]`
    pub failover: Failover,
    /// `[switchover]`
    pub switchover: Switchover,
    /// `[reads]`
    pub reads: Reads,
    /// `[check]`
    pub check: Check,
    /// `[tls]`
    pub tls: Tls,
    /// `[server_tls]`
    pub server_tls: ServerTls,
    /// `[limits]`
    pub limits: Limits,
    /// `[proxy_protocol]`
    pub proxy_protocol: ProxyProtocol,
    /// `[compression]`
    pub compression: Compress,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
    /// What set each key that is not at its default.
    pub origins: Origins,
}

impl Config {
    /// Every key at its default, for these servers.
    #[must_use]
    pub fn new(servers: Servers) -> Self {
        Self {
            listen: vec![loopback(3306)],
            servers,
            monitor: Monitor::default(),
            failover: Failover::default(),
            switchover: Switchover::default(),
            reads: Reads::default(),
            check: Check::default(),
            tls: Tls::default(),
            server_tls: ServerTls::default(),
            limits: Limits::default(),
            proxy_protocol: ProxyProtocol::default(),
            compression: Compress::default(),
            admin: Admin::default(),
            log: Log::default(),
            origins: Origins::default(),
        }
    }
}

fn loopback(port: u16) -> ServerAddress {
    ServerAddress::Tcp { host: "127.0.0.1".into(), port }
}

/// `[check]`: how often a running proxy looks whether the servers are what a pair should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Between two looks; `None` for none at all.
    pub interval: Option<Duration>,
}

impl Default for Check {
    fn default() -> Self {
        Self { interval: Some(Duration::from_secs(300)) }
    }
}

/// `[monitor]`: health checks and the account that they, and Tandem's orders, use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// The account.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Between two probes of a server.
    pub interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// Failed probes before a master counts as down.
    pub fall: u32,
    /// Answered probes before a master that was down counts as up.
    pub rise: u32,
    /// Whether a row of `tandem.heartbeat` is written on the active master at `interval`.
    pub heartbeat: bool,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            user: "tandem".into(),
            password: Secret::default(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            fall: 2,
            rise: 3,
            heartbeat: true,
        }
    }
}

/// Whether the old active master is made to refuse writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// By `read_only` (MySQL: `super_read_only`).
    ReadOnly,
    /// Not at all: only the auto_increment offsets keep two writers apart.
    None,
}

impl Fencing {
    /// Every value with its name in the file.
    pub(super) const NAMES: &[(&'static str, Self)] =
        &[("read_only", Self::ReadOnly), ("none", Self::None)];
}

/// What happens when the standby has not applied in time what it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUpExpired {
    /// It is not made active; it goes on applying.
    Stay,
    /// It is made active; what it has received and not applied is thrown away.
    Promote,
}

impl CatchUpExpired {
    /// Every value with its name in the file.
    pub(super) const NAMES: &[(&'static str, Self)] =
        &[("stay", Self::Stay), ("promote", Self::Promote)];
}

/// What becomes of a master that returns with what the active one never received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturningMaster {
    /// It stays out of service until an operator has looked at it.
    Quarantine,
    /// Replication delivers it.
    Merge,
}

impl ReturningMaster {
    /// Every value with its name in the file.
    pub(super) const NAMES: &[(&'static str, Self)] =
        &[("quarantine", Self::Quarantine), ("merge", Self::Merge)];
}

/// `[failover]`: the policy of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// Whether Tandem decides by itself.
    pub automatic: bool,
    /// How the old master is fenced.
    pub fencing: Fencing,
    /// How long a statement may wait for an active master.
    pub hold: Duration,
    /// How long the standby may take to execute what it received.
    pub catch_up: Duration,
    /// What happens when it takes longer.
    pub catch_up_expired: CatchUpExpired,
    /// What becomes of a master that returns with what the active one never received.
    pub returning_master: ReturningMaster,
    /// For how long the preferred master must have been well before Tandem switches back to it by
    /// itself; `None`: never.
    pub failback: Option<Duration>,
    /// Between two failovers; twice that after the second one within an hour, and so on.
    pub min_interval: Duration,
    /// So many failovers within an hour, and the next one waits for `RESUME` on the console; 0 for
    /// never.
    pub acknowledge_after: u32,
    /// Writers are slowed down while the standby is further behind than this; `None`: never.
    pub pace: Option<Duration>,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            automatic: true,
            fencing: Fencing::ReadOnly,
            hold: Duration::from_secs(10),
            catch_up: Duration::from_secs(30),
            catch_up_expired: CatchUpExpired::Stay,
            returning_master: ReturningMaster::Quarantine,
            failback: None,
            min_interval: Duration::from_secs(60),
            acknowledge_after: 3,
            pace: None,
        }
    }
}

/// `[switchover]`: a change of the active master that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switchover {
    /// How long sessions may take to finish what they have open on the old master.
    pub drain: Duration,
}

impl Default for Switchover {
    fn default() -> Self {
        Self { drain: Duration::from_secs(5) }
    }
}

/// `[reads]`: a listener whose sessions only read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reads {
    /// Addresses for applications; none switches it off.
    pub listen: Vec<ServerAddress>,
    /// No read is older than this.
    pub max_lag: Duration,
    /// Whether standby masters serve when no replica can.
    pub standbys: bool,
    /// Whether the active master serves when nobody else can.
    pub active: bool,
    /// Whether a read finds what this proxy told clients before that it is committed.
    pub causal: bool,
    /// Whether reads of the main port go where the reads listener's go.
    pub split: bool,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            max_lag: Duration::from_secs(2),
            standbys: true,
            active: true,
            causal: false,
            split: false,
        }
    }
}

/// Whether clients may, or must, encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// TLS is not offered.
    Disabled,
    /// It is offered, and up to the client.
    Optional,
    /// Who comes over TCP without it is refused.
    Required,
}

impl TlsMode {
    /// Every value with its name in the file.
    pub(super) const NAMES: &[(&'static str, Self)] =
        &[("disabled", Self::Disabled), ("optional", Self::Optional), ("required", Self::Required)];
}

/// Whether clients may, or must, show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Nobody asks for one.
    None,
    /// A certificate that is shown has to be right.
    Optional,
    /// There has to be one, and with it TLS.
    Required,
}

impl ClientCertificates {
    /// Every value with its name in the file.
    pub(super) const NAMES: &[(&'static str, Self)] =
        &[("none", Self::None), ("optional", Self::Optional), ("required", Self::Required)];
}

/// `[tls]`: towards clients. Files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whether clients may, or must, encrypt.
    pub mode: TlsMode,
    /// The certificate, with those between it and its root. Without it one is made at start.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The roots of clients' certificates.
    pub ca: Option<PathBuf>,
    /// Whether clients may, or must, show a certificate.
    pub client_certificates: ClientCertificates,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            mode: TlsMode::Optional,
            cert: None,
            key: None,
            ca: None,
            client_certificates: ClientCertificates::None,
        }
    }
}

impl Tls {
    /// Whether a client that comes over TCP without TLS is refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.mode == TlsMode::Required || self.client_certificates == ClientCertificates::Required
    }
}

/// How connections to masters are encrypted, and what is checked; the words are those of the
/// `mysql` client's `--ssl-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerTlsMode {
    /// Never.
    Disabled,
    /// If the master offers it; its certificate is not checked.
    Preferred,
    /// Always; its certificate is not checked.
    Required,
    /// Always; its certificate has to come from one of the roots.
    VerifyCa,
    /// That, and it has to be for the host that is connected to.
    VerifyIdentity,
}

impl ServerTlsMode {
    /// Every value with its name in the file.
    pub(super) const NAMES: &[(&'static str, Self)] = &[
        ("disabled", Self::Disabled),
        ("preferred", Self::Preferred),
        ("required", Self::Required),
        ("verify_ca", Self::VerifyCa),
        ("verify_identity", Self::VerifyIdentity),
    ];

    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

/// `[server_tls]`: towards masters. Files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Whether to encrypt, and what to check.
    pub mode: ServerTlsMode,
    /// The roots of the masters' certificates.
    pub ca: Option<PathBuf>,
    /// A certificate to show to them.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl Default for ServerTls {
    fn default() -> Self {
        Self { mode: ServerTlsMode::Preferred, ca: None, cert: None, key: None }
    }
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients at once.
    pub max_connections: usize,
    /// For a client to finish its handshake, and for Tandem to log in to a master.
    pub connect_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_connections: 10_000, connect_timeout: Duration::from_secs(10) }
    }
}

/// `[proxy_protocol]`: clients that come through a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Connections from these networks begin with a header, of either version; from others none is
    /// taken.
    pub accept_from: Vec<IpNet>,
    /// The header that connections to the masters begin with; `None` (`"off"`) for none.
    pub send: Option<ProxyVersion>,
}

/// Every value of `proxy_protocol.send` with its name in the file.
pub(super) const SENT: &[(&str, Option<ProxyVersion>)] =
    &[("off", None), ("v1", Some(ProxyVersion::V1)), ("v2", Some(ProxyVersion::V2))];

/// `[compression]`: of each hop by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compress {
    /// What clients are offered; compressed is the connection of those that ask for it.
    pub clients: Capabilities,
    /// What masters are asked for. One that does not offer it is spoken to without.
    pub servers: Option<Compression>,
}

impl Default for Compress {
    fn default() -> Self {
        Self { clients: Capabilities::COMPRESSION, servers: None }
    }
}

impl Compress {
    /// Every algorithm that clients can be offered, with its name in the file.
    pub(super) const OFFERED: &[(&str, Capabilities)] =
        &[("zlib", Capabilities::COMPRESS), ("zstd", Capabilities::ZSTD)];

    /// Every value of `servers` with its name in the file.
    pub(super) const ASKED_FOR: &[(&str, Option<Compression>)] = &[
        ("off", None),
        ("zlib", Some(Compression::Zlib)),
        ("zstd", Some(Compression::Zstd(ZSTD_LEVEL))),
    ];
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where the console listens; `None` (`"off"`) switches it off.
    pub console: Option<ServerAddress>,
    /// Where metrics, health and status are served; `None` (`"off"`) switches it off.
    pub http: Option<ServerAddress>,
    /// The console's user.
    pub user: String,
    /// Its password; may be empty only while both addresses are loopback.
    pub password: Secret,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            console: Some(loopback(6032)),
            http: Some(loopback(6080)),
            user: "admin".into(),
            password: Secret::default(),
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Text for people or JSON for machines.
    pub format: LogFormat,
    /// A level, or a filter in the form of `tracing_subscriber::EnvFilter`.
    pub level: String,
    /// The file that events are appended to, as JSON lines.
    pub events: Option<PathBuf>,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into(), events: None }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Every value with its name in the file.
    pub(super) const NAMES: &[(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
