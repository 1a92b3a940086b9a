//! The effective configuration as text.

use std::path::Path;
use std::time::Duration;

use toml_edit::{Array, Value};

use super::sections::SENT;
use super::{
    CatchUpExpired, ClientCertificates, Compress, Config, Fencing, LogFormat, Place,
    ReturningMaster, Secret, ServerTlsMode, TlsMode,
};
use crate::topology::ServerAddress;
use crate::wire::Capabilities;

/// One key, its value and what set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The path: `monitor.interval`, `masters[0].name`.
    pub key: String,
    /// The value as TOML; `"***"` for a secret that is set.
    pub value: String,
    /// What set it.
    pub origin: Place,
}

/// Every key that this version acts on, in the order of the file, secrets masked.
#[must_use]
pub fn settings(config: &Config) -> Vec<Setting> {
    let Config {
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
    } = config;
    let mut rows = vec![("listen".to_owned(), list(listen))];
    let masters = servers.masters().enumerate().map(|server| ("masters", server));
    let replicas = servers.replicas().enumerate().map(|server| ("replicas", server));
    for (list, (index, server)) in masters.chain(replicas) {
        rows.push((format!("{list}[{index}].name"), server.name.as_str().into()));
        rows.push((format!("{list}[{index}].address"), server.address.to_string().into()));
    }
    let sections = [
        ("monitor.user", monitor.user.as_str().into()),
        ("monitor.password", secret(&monitor.password)),
        ("monitor.interval", duration(monitor.interval)),
        ("monitor.timeout", duration(monitor.timeout)),
        ("monitor.fall", i64::from(monitor.fall).into()),
        ("monitor.rise", i64::from(monitor.rise).into()),
        ("monitor.heartbeat", monitor.heartbeat.into()),
        ("failover.automatic", failover.automatic.into()),
        ("failover.fencing", name_of(failover.fencing, Fencing::NAMES)),
        ("failover.hold", duration(failover.hold)),
        ("failover.catch_up", duration(failover.catch_up)),
        ("failover.catch_up_expired", name_of(failover.catch_up_expired, CatchUpExpired::NAMES)),
        ("failover.returning_master", name_of(failover.returning_master, ReturningMaster::NAMES)),
        ("failover.failback", failover.failback.map_or_else(|| "manual".into(), duration)),
        ("failover.min_interval", duration(failover.min_interval)),
        ("failover.acknowledge_after", i64::from(failover.acknowledge_after).into()),
        ("failover.pace", failover.pace.map_or_else(|| "off".into(), duration)),
        ("switchover.drain", duration(switchover.drain)),
        ("reads.listen", list(&reads.listen)),
        ("reads.max_lag", duration(reads.max_lag)),
        ("reads.standbys", reads.standbys.into()),
        ("reads.active", reads.active.into()),
        ("reads.causal", reads.causal.into()),
        ("reads.split", reads.split.into()),
        ("check.interval", check.interval.map_or_else(|| "off".into(), duration)),
        ("tls.mode", name_of(tls.mode, TlsMode::NAMES)),
        ("tls.cert", path(tls.cert.as_deref())),
        ("tls.key", path(tls.key.as_deref())),
        ("tls.ca", path(tls.ca.as_deref())),
        ("tls.client_certificates", name_of(tls.client_certificates, ClientCertificates::NAMES)),
        ("server_tls.mode", name_of(server_tls.mode, ServerTlsMode::NAMES)),
        ("server_tls.ca", path(server_tls.ca.as_deref())),
        ("server_tls.cert", path(server_tls.cert.as_deref())),
        ("server_tls.key", path(server_tls.key.as_deref())),
        ("limits.max_connections", number(limits.max_connections)),
        ("limits.connect_timeout", duration(limits.connect_timeout)),
        ("proxy_protocol.accept_from", list(&proxy_protocol.accept_from)),
        ("proxy_protocol.send", name_of(proxy_protocol.send, SENT)),
        ("compression.clients", list(&offered(compression.clients))),
        ("compression.servers", name_of(compression.servers, Compress::ASKED_FOR)),
        ("admin.console", address_or_off(admin.console.as_ref())),
        ("admin.http", address_or_off(admin.http.as_ref())),
        ("admin.user", admin.user.as_str().into()),
        ("admin.password", secret(&admin.password)),
        ("log.format", name_of(log.format, LogFormat::NAMES)),
        ("log.level", log.level.as_str().into()),
        ("log.events", path(log.events.as_deref())),
    ];
    rows.extend(sections.map(|(key, value)| (key.to_owned(), value)));
    rows.into_iter()
        .map(|(key, value)| {
            // A secret may have come from its file.
            let file_key = format!("{key}_file");
            let origin = match origins.of(&key) {
                Place::Default => origins.of(&file_key).clone(),
                place => place.clone(),
            };
            Setting { key, value: value.to_string(), origin }
        })
        .collect()
}

/// The effective configuration as TOML, secrets masked, with a comment after each value that says
/// what set it.
#[must_use]
pub fn render(config: &Config) -> String {
    let settings = settings(config);
    let mut lines = Vec::new();
    let mut table = "";
    for Setting { key, value, origin } in &settings {
        let (of, name) = key.rsplit_once('.').unwrap_or(("", key));
        if of != table {
            table = of;
            let header = match of.split_once('[') {
                Some((list, _)) => format!("\n[[{list}]]"),
                None => format!("\n[{of}]"),
            };
            lines.push((header, None));
        }
        lines.push((format!("{name} = {value}"), Some(origin)));
    }
    let width = lines.iter().filter(|(_, origin)| origin.is_some()).map(|(line, _)| line.len());
    let width = width.max().unwrap_or_default().min(48);
    let mut text = String::new();
    for (line, origin) in lines {
        match origin {
            Some(origin) => text.push_str(&format!("{line:width$}  # {origin}\n")),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

fn offered(offered: Capabilities) -> Vec<&'static str> {
    let all = Compress::OFFERED.iter();
    all.filter(|(_, bit)| offered.has(*bit)).map(|(name, _)| *name).collect()
}

fn list(list: &[impl ToString]) -> Value {
    Value::Array(list.iter().map(ToString::to_string).collect::<Array>())
}

fn address_or_off(address: Option<&ServerAddress>) -> Value {
    address.map_or_else(|| "off".to_owned(), ToString::to_string).into()
}

fn path(path: Option<&Path>) -> Value {
    path.map_or_else(String::new, |path| path.display().to_string()).into()
}

fn duration(duration: Duration) -> Value {
    humantime::format_duration(duration).to_string().into()
}

fn number(number: usize) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn name_of<T: PartialEq>(value: T, names: &[(&'static str, T)]) -> Value {
    let name = names.iter().find(|(_, named)| *named == value).map(|(name, _)| *name);
    name.unwrap_or_default().into()
}

fn secret(secret: &Secret) -> Value {
    if secret.reveal().is_empty() { "" } else { "***" }.into()
}
