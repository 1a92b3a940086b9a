//! Merged values into sections, key by key; what cannot be read is noted, and its default goes on.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::keys::{self, SERVER_KEYS};
use super::load::Merged;
use super::sections::SENT;
use super::value::{
    Expected, address, address_or_off, addresses, addresses_if_any, algorithms, choice, count,
    describe, duration, log_filter, max_lag, networks, positive_duration, server_name, some_text,
    switch, text, word_or_duration,
};
use super::{
    Admin, CatchUpExpired, Check, ClientCertificates, Compress, Config, ConfigError, Failover,
    Fencing, Limits, Log, LogFormat, Monitor, Origins, Place, ProxyProtocol, Reads,
    ReturningMaster, Secret, ServerTls, ServerTlsMode, Switchover, Tls, TlsMode,
};
use crate::topology::{ServerAddress, Servers};

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
        let replicas = self.servers("replicas");
        let defaults = Config::new(Servers::new([], []));
        let listen = self.read("listen", defaults.listen, addresses);
        let monitor = self.monitor(defaults.monitor);
        let failover = self.failover(defaults.failover);
        let switchover = self.switchover(defaults.switchover);
        let reads = self.reads(defaults.reads);
        let check = self.check(defaults.check);
        let tls = self.tls(defaults.tls);
        let server_tls = self.server_tls(defaults.server_tls);
        let limits = self.limits(defaults.limits);
        let proxy_protocol = self.proxy_protocol(defaults.proxy_protocol);
        let compression = self.compression(defaults.compression);
        let admin = self.admin(defaults.admin);
        let log = self.log(defaults.log);
        let servers = Servers::new(masters?, replicas?);
        let origins = std::mem::take(&mut self.origins);
        Some(Config {
            listen,
            servers,
            monitor,
            failover,
            switchover,
            reads,
            check,
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

    fn reads(&mut self, default: Reads) -> Reads {
        Reads {
            listen: self.read("reads.listen", default.listen, addresses_if_any),
            max_lag: self.read("reads.max_lag", default.max_lag, max_lag),
            standbys: self.read("reads.standbys", default.standbys, switch),
            active: self.read("reads.active", default.active, switch),
            causal: self.read("reads.causal", default.causal, switch),
            split: self.read("reads.split", default.split, switch),
        }
    }

    fn check(&mut self, default: Check) -> Check {
        let interval = "check.interval";
        Check { interval: self.read(interval, default.interval, |it| word_or_duration("off", it)) }
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

    fn secret_file(&mut self, key: &str, path: PathBuf) -> Secret {
        Secret::read(&path).unwrap_or_else(|error| {
            let place = self.merged.place(key, key);
            let (key, reason) = (key.to_owned(), error.to_string());
            self.problems.push(ConfigError::SecretUnreadable { place, key, path, reason });
            Secret::default()
        })
    }

    /// `[[masters]]`; `None` if there are none or one of them is not readable.
    fn masters(&mut self, file: &Path) -> Option<Vec<(String, ServerAddress)>> {
        let masters = self.servers("masters")?;
        if masters.is_empty() {
            let (file, exists) = (file.to_owned(), file.exists());
            self.problems.push(ConfigError::NoMasters { file, exists });
            return None;
        }
        Some(masters)
    }

    /// The tables of `[[list]]`, of which there may be none; `None` if one of them is not readable.
    fn servers(&mut self, list: &str) -> Option<Vec<(String, ServerAddress)>> {
        let value = self.merged.value(list).unwrap_or_else(|| Value::Array(Vec::new()));
        let Value::Array(entries) = &value else {
            let place = self.merged.place(list, list);
            self.bad_value(place, list, format!("a list of tables, `[[{list}]]`"), &value);
            return None;
        };
        // Each is read even if one before it was not readable: all mistakes are reported at once.
        let servers: Vec<_> =
            (0..).zip(entries).map(|(index, entry)| self.server(list, index, entry)).collect();
        servers.into_iter().collect()
    }

    fn server(
        &mut self,
        list: &str,
        index: usize,
        entry: &Value,
    ) -> Option<(String, ServerAddress)> {
        let path = format!("{list}[{index}]");
        let Value::Object(fields) = entry else {
            let place = self.merged.place(list, &path);
            self.bad_value(place, &path, "a table with `name` and `address`".into(), entry);
            return None;
        };
        for key in fields.keys().filter(|key| !SERVER_KEYS.contains(&key.as_str())) {
            let known = SERVER_KEYS.iter().map(|known| (*known, *known));
            self.problems.push(ConfigError::UnknownKey {
                place: self.merged.place(list, &format!("{path}.{key}")),
                key: format!("{path}.{key}"),
                nearest: keys::most_alike(key, known).map(str::to_owned),
            });
        }
        let name = self.server_field(list, &path, "name", fields, server_name);
        let address = self.server_field(list, &path, "address", fields, address);
        Some((name?, address?))
    }

    fn server_field<T>(
        &mut self,
        list: &str,
        path: &str,
        key: &str,
        fields: &serde_json::Map<String, Value>,
        parse: impl FnOnce(&Value) -> Result<T, Expected>,
    ) -> Option<T> {
        let full = format!("{path}.{key}");
        let place = self.merged.place(list, &full);
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
