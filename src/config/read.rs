//! Merged values into sections, key by key; what cannot be read is noted, and its default goes on.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use super::keys::{self, MASTER_KEYS};
use super::load::Merged;
use super::sections::SENT;
use super::{
    Admin, CatchUpExpired, ClientCertificates, Compress, Config, ConfigError, Failover, Fencing,
    Limits, Log, LogFormat, Monitor, Origins, Place, ProxyProtocol, ReturningMaster, Secret,
    ServerTls, ServerTlsMode, Switchover, Tls, TlsMode,
};
use crate::topology::{AddressError, ServerAddress, Servers};
use crate::wire::Capabilities;

/// Nothing that Tandem waits for takes longer; it also keeps sums of times far from overflowing.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What would have been right.
type Expected = String;

/// Reads keys, and collects what is wrong with them.
pub(super) struct Reader<'a> {
    merged: &'a Merged,
    origins: Origins,
    problems: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(merged: &'a Merged) -> Self {
        Self { merged, origins: Origins::default(), problems: Vec::new() }
    }

    pub(super) fn into_problems(self) -> Vec<ConfigError> {
        self.problems
    }

    /// Everything; `None` if the masters are not readable, without which the rest cannot be judged.
    /// `file` is the one that was looked for.
    pub(super) fn config(&mut self, file: &Path) -> Option<Config> {
        let masters = self.masters(file);
        let defaults = Config::new(Servers::new([], []));
        let listen = self.read("listen", defaults.listen, addresses);
        let monitor = self.monitor(defaults.monitor);
        let failover = self.failover(defaults.failover);
        let switchover = self.switchover(defaults.switchover);
        let tls = self.tls(defaults.tls);
        let server_tls = self.server_tls(defaults.server_tls);
        let limits = self.limits(defaults.limits);
        let proxy_protocol = self.proxy_protocol(defaults.proxy_protocol);
        let compression = self.compression(defaults.compression);
        let admin = self.admin(defaults.admin);
        let log = self.log(defaults.log);
        let servers = Servers::new(masters?, []);
        let origins = std::mem::take(&mut self.origins);
        Some(Config {
            listen,
            servers,
            monitor,
            failover,
            switchover,
            tls,
            server_tls,
            limits,
            proxy_protocol,
            compression,
            admin,
            log,
            origins,
        })
    }

    fn monitor(&mut self, default: Monitor) -> Monitor {
        Monitor {
            user: self.read("monitor.user", default.user, some_text),
            password: self.secret("monitor.password"),
            interval: self.read("monitor.interval", default.interval, positive_duration),
            timeout: self.read("monitor.timeout", default.timeout, positive_duration),
            fall: self.read("monitor.fall", default.fall, count),
            rise: self.read("monitor.rise", default.rise, count),
            heartbeat: self.read("monitor.heartbeat", default.heartbeat, switch),
        }
    }

    fn failover(&mut self, default: Failover) -> Failover {
        Failover {
            automatic: self.read("failover.automatic", default.automatic, switch),
            fencing: self
                .read("failover.fencing", default.fencing, |value| choice(value, Fencing::NAMES)),
            hold: self.read("failover.hold", default.hold, duration),
            catch_up: self.read("failover.catch_up", default.catch_up, duration),
            catch_up_expired: self.read(
                "failover.catch_up_expired",
                default.catch_up_expired,
                |value| choice(value, CatchUpExpired::NAMES),
            ),
            returning_master: self.read(
                "failover.returning_master",
                default.returning_master,
                |value| choice(value, ReturningMaster::NAMES),
            ),
            failback: self.read("failover.failback", default.failback, |value| {
                word_or_duration("manual", value)
            }),
            min_interval: self.read("failover.min_interval", default.min_interval, duration),
            acknowledge_after: self.read(
                "failover.acknowledge_after",
                default.acknowledge_after,
                |value| if value.as_u64() == Some(0) { Ok(0) } else { count(value) },
            ),
            pace: self.read("failover.pace", default.pace, |value| word_or_duration("off", value)),
        }
    }

    fn switchover(&mut self, default: Switchover) -> Switchover {
        Switchover { drain: self.read("switchover.drain", default.drain, duration) }
    }

    fn tls(&mut self, default: Tls) -> Tls {
        let certificates = "tls.client_certificates";
        Tls {
            mode: self.read("tls.mode", default.mode, |value| choice(value, TlsMode::NAMES)),
            cert: self.path("tls.cert"),
            key: self.path("tls.key"),
            ca: self.path("tls.ca"),
            client_certificates: self.read(certificates, default.client_certificates, |value| {
                choice(value, ClientCertificates::NAMES)
            }),
        }
    }

    fn server_tls(&mut self, default: ServerTls) -> ServerTls {
        ServerTls {
            mode: self
                .read("server_tls.mode", default.mode, |value| choice(value, ServerTlsMode::NAMES)),
            ca: self.path("server_tls.ca"),
            cert: self.path("server_tls.cert"),
            key: self.path("server_tls.key"),
        }
    }

    fn limits(&mut self, default: Limits) -> Limits {
        Limits {
            max_connections: self.read("limits.max_connections", default.max_connections, count),
            connect_timeout: self.read(
                "limits.connect_timeout",
                default.connect_timeout,
                positive_duration,
            ),
        }
    }

    fn proxy_protocol(&mut self, default: ProxyProtocol) -> ProxyProtocol {
        ProxyProtocol {
            accept_from: self.read("proxy_protocol.accept_from", default.accept_from, networks),
            send: self.read("proxy_protocol.send", default.send, |value| choice(value, SENT)),
        }
    }

    fn compression(&mut self, default: Compress) -> Compress {
        Compress {
            clients: self.read("compression.clients", default.clients, algorithms),
            servers: self.read("compression.servers", default.servers, |value| {
                choice(value, Compress::ASKED_FOR)
            }),
        }
    }

    /// `[admin]`
    pub(super) fn admin(&mut self, default: Admin) -> Admin {
        Admin {
            console: self.read("admin.console", default.console, address_or_off),
            http: self.read("admin.http", default.http, address_or_off),
            user: self.read("admin.user", default.user, some_text),
            password: self.secret("admin.password"),
        }
    }

    fn log(&mut self, default: Log) -> Log {
        Log {
            format: self
                .read("log.format", default.format, |value| choice(value, LogFormat::NAMES)),
            level: self.read("log.level", default.level, log_filter),
            events: self.path("log.events"),
        }
    }

    fn read<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&Value) -> Result<T, Expected>,
    ) -> T {
        let Some(value) = self.merged.value(key) else {
            return default;
        };
        let place = self.merged.place(key, key);
        match parse(&value) {
            Ok(parsed) => {
                self.origins.insert(key, place);
                parsed
            }
            Err(expected) => {
                self.bad_value(place, key, expected, &value);
                default
            }
        }
    }

    fn bad_value(&mut self, place: Place, key: &str, expected: Expected, found: &Value) {
        let found = match found {
            // A secret of the wrong type is still a secret.
            Value::Number(_) if key.ends_with("password") => "a number".to_owned(),
            other => describe(other),
        };
        self.problems.push(ConfigError::BadValue { place, key: key.to_owned(), expected, found });
    }

    /// A file; an empty text is none.
    fn path(&mut self, key: &str) -> Option<PathBuf> {
        let written = self.read(key, String::new(), text);
        (!written.is_empty()).then(|| self.beside_the_file(key, written))
    }

    /// A file that is named in `proxy.toml` is looked for from there, wherever Tandem was started.
    fn beside_the_file(&self, key: &str, written: String) -> PathBuf {
        match self.merged.place(key, key) {
            Place::File { path, .. } => {
                path.parent().unwrap_or_else(|| Path::new("")).join(written)
            }
            Place::Default | Place::Variable(_) => PathBuf::from(written),
        }
    }

    /// `key`, or the content of the file that `key_file` names.
    fn secret(&mut self, key: &str) -> Secret {
        let file_key = format!("{key}_file");
        let file = self.read(&file_key, None, |value| some_text(value).map(Some));
        let secret = self.read(key, None, |value| text(value).map(Some));
        match (secret, file) {
            (Some(_), Some(_)) => {
                self.problems.push(ConfigError::SecretTwice {
                    first: self.merged.place(key, key),
                    second: self.merged.place(&file_key, &file_key),
                    key: key.to_owned(),
                });
                Secret::default()
            }
            (Some(secret), None) => Secret::new(secret),
            (None, Some(file)) => {
                let path = self.beside_the_file(&file_key, file);
                self.secret_file(&file_key, path)
            }
            (None, None) => Secret::default(),
        }
    }

    /// The content of a secret's file. Editors end a file with a newline, and nobody means it.
    fn secret_file(&mut self, key: &str, path: PathBuf) -> Secret {
        match std::fs::read_to_string(&path) {
            Ok(mut content) => {
                if content.ends_with('\n') {
                    content.pop();
                    if content.ends_with('\r') {
                        content.pop();
                    }
                }
                Secret::new(content)
            }
            Err(error) => {
                let place = self.merged.place(key, key);
                let (key, reason) = (key.to_owned(), error.to_string());
                self.problems.push(ConfigError::SecretUnreadable { place, key, path, reason });
                Secret::default()
            }
        }
    }

    /// `[[masters]]`; `None` if there are none or one of them is not readable.
    fn masters(&mut self, file: &Path) -> Option<Vec<(String, ServerAddress)>> {
        let value = self.merged.value("masters").unwrap_or_else(|| Value::Array(Vec::new()));
        let Value::Array(entries) = &value else {
            let place = self.merged.place("masters", "masters");
            self.bad_value(place, "masters", "a list of tables, `[[masters]]`".into(), &value);
            return None;
        };
        if entries.is_empty() {
            let (file, exists) = (file.to_owned(), file.exists());
            self.problems.push(ConfigError::NoMasters { file, exists });
            return None;
        }
        // Each is read even if one before it was not readable: all mistakes are reported at once.
        let masters: Vec<_> =
            (0..).zip(entries).map(|(index, entry)| self.master(index, entry)).collect();
        masters.into_iter().collect()
    }

    fn master(&mut self, index: usize, entry: &Value) -> Option<(String, ServerAddress)> {
        let path = format!("masters[{index}]");
        let Value::Object(fields) = entry else {
            let place = self.merged.place("masters", &path);
            self.bad_value(place, &path, "a table with `name` and `address`".into(), entry);
            return None;
        };
        for key in fields.keys().filter(|key| !MASTER_KEYS.contains(&key.as_str())) {
            let known = MASTER_KEYS.iter().map(|known| (*known, *known));
            self.problems.push(ConfigError::UnknownKey {
                place: self.merged.place("masters", &format!("{path}.{key}")),
                key: format!("{path}.{key}"),
                nearest: keys::most_alike(key, known).map(str::to_owned),
            });
        }
        let name = self.master_field(&path, "name", fields, server_name);
        let address = self.master_field(&path, "address", fields, address);
        Some((name?, address?))
    }

    fn master_field<T>(
        &mut self,
        path: &str,
        key: &str,
        fields: &serde_json::Map<String, Value>,
        parse: impl FnOnce(&Value) -> Result<T, Expected>,
    ) -> Option<T> {
        let full = format!("{path}.{key}");
        let place = self.merged.place("masters", &full);
        let Some(value) = fields.get(key) else {
            self.problems.push(ConfigError::Missing { place, key: full });
            return None;
        };
        match parse(value) {
            Ok(parsed) => {
                self.origins.insert(&full, place);
                Some(parsed)
            }
            Err(expected) => {
                self.bad_value(place, &full, expected, value);
                None
            }
        }
    }
}

/// A value as an error shows it.
fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        other => other.to_string(),
    }
}

fn text(value: &Value) -> Result<String, Expected> {
    value.as_str().map(str::to_owned).ok_or_else(|| "a text in quotes".to_owned())
}

fn some_text(value: &Value) -> Result<String, Expected> {
    match text(value)? {
        text if text.is_empty() => Err("a text that is not empty".to_owned()),
        text => Ok(text),
    }
}

/// Names are typed on the console and stored in `tandem.term`.
fn server_name(value: &Value) -> Result<String, Expected> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text(value)? {
        name if (1..=64).contains(&name.len()) && name.chars().all(allowed) => Ok(name),
        _ => Err("1 to 64 letters, digits, `-`, `_` or `.`".to_owned()),
    }
}

fn switch(value: &Value) -> Result<bool, Expected> {
    value.as_bool().ok_or_else(|| "true or false".to_owned())
}

fn count<T: TryFrom<u64>>(value: &Value) -> Result<T, Expected> {
    match value.as_u64() {
        None | Some(0) => Err("a whole number of at least 1".to_owned()),
        Some(number) => T::try_from(number).map_err(|_| "a smaller number".to_owned()),
    }
}

fn duration(value: &Value) -> Result<Duration, Expected> {
    value
        .as_str()
        .and_then(|text| humantime::parse_duration(text).ok())
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "a duration such as \"500ms\", \"10s\" or \"5m\"".to_owned())
}

fn word_or_duration(word: &str, value: &Value) -> Result<Option<Duration>, Expected> {
    if value.as_str() == Some(word) {
        return Ok(None);
    }
    positive_duration(value).map(Some).map_err(|expected| format!("\"{word}\" or {expected}"))
}

fn positive_duration(value: &Value) -> Result<Duration, Expected> {
    match duration(value)? {
        Duration::ZERO => Err("a duration above zero".to_owned()),
        duration => Ok(duration),
    }
}

fn choice<T: Copy>(value: &Value, names: &[(&str, T)]) -> Result<T, Expected> {
    let chosen = names.iter().find(|(name, _)| value.as_str() == Some(name));
    chosen.map(|(_, choice)| *choice).ok_or_else(|| {
        names.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(" or ")
    })
}

fn address(value: &Value) -> Result<ServerAddress, Expected> {
    value.as_str().unwrap_or_default().parse().map_err(|error| match error {
        AddressError::Malformed(_) => "an address, \"host:port\" or \"unix:/path\"".to_owned(),
        AddressError::Port(_) => {
            "an address with a port from 1 to 65535 after the colon".to_owned()
        }
    })
}

fn address_or_off(value: &Value) -> Result<Option<ServerAddress>, Expected> {
    match value.as_str() {
        Some("off") => Ok(None),
        _ => address(value).map(Some).map_err(|expected| format!("{expected}, or \"off\"")),
    }
}

/// One address, or a list of them.
fn addresses(value: &Value) -> Result<Vec<ServerAddress>, Expected> {
    match value {
        Value::Array(list) if list.is_empty() => Err("at least one address".to_owned()),
        Value::Array(list) => list.iter().map(address).collect(),
        single => Ok(vec![address(single)?]),
    }
}

/// Networks, or single addresses; none at all is a list too.
fn networks(value: &Value) -> Result<Vec<IpNet>, Expected> {
    let network = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        let single = |_| text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>()
            .or_else(single)
            .map_err(|_| "networks such as \"10.0.0.0/8\" or \"fd00::/8\", or addresses".to_owned())
    };
    match value {
        Value::Array(list) => list.iter().map(network).collect(),
        single => Ok(vec![network(single)?]),
    }
}

/// Algorithms to offer, one or several; none at all is a list too.
fn algorithms(value: &Value) -> Result<Capabilities, Expected> {
    let one = |value: &Value| choice(value, Compress::OFFERED);
    match value {
        Value::Array(list) => list.iter().try_fold(Capabilities::default(), |offered, value| {
            one(value).map(|algorithm| offered | algorithm)
        }),
        single => one(single),
    }
}

/// A filter as `tracing_subscriber` reads it. It takes any single word that is no level for the name
/// of a module, so that `inof` would log nothing at all; no operator means that.
fn log_filter(value: &Value) -> Result<String, Expected> {
    let expected = || {
        "a level (error, warn, info, debug, trace, off) or a filter such as \
         \"info,tandem::session=debug\""
            .to_owned()
    };
    let filter = some_text(value)?;
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let words_are_levels =
        filter.split(',').all(|part| part.contains(['=', '[', ':']) || is_level(part.trim()));
    if !words_are_levels || tracing_subscriber::EnvFilter::try_new(&filter).is_err() {
        return Err(expected());
    }
    Ok(filter)
}
