//! The rules that span several keys.

use std::net::IpAddr;

use super::{ClientCertificates, Config, ConfigError, Place, ServerTlsMode};
use crate::topology::{Server, ServerAddress};

/// Everything that is wrong between keys that are each right.
pub(super) fn check(config: &Config) -> Vec<ConfigError> {
    let mut problems = check_servers(config);
    problems.extend(check_addresses(config));
    problems.extend(check_password(config));
    problems.extend(check_tls(config));
    problems.extend(check_hold(config));
    problems.extend(check_reads(config));
    problems
}

fn check_servers(config: &Config) -> Vec<ConfigError> {
    let mut problems = Vec::new();
    let masters: Vec<_> = config.servers.masters().collect();
    let place = |key: &str| config.origins.of(&format!("{key}.name")).clone();
    if let [only] = masters.as_slice() {
        problems
            .push(ConfigError::OneMaster { place: place("masters[0]"), name: only.name.clone() });
    }
    let servers: Vec<_> = with_keys(config).collect();
    for (index, (key, server)) in servers.iter().enumerate() {
        // Names are compared as operators type them and as a case-insensitive column stores them.
        let earlier = servers[..index]
            .iter()
            .find(|(_, earlier)| earlier.name.eq_ignore_ascii_case(&server.name));
        if let Some((earlier, _)) = earlier {
            problems.push(ConfigError::NameTwice {
                place: place(key),
                first: place(earlier),
                name: server.name.clone(),
            });
        }
    }
    problems
}

/// Every server with its key: `masters[0]`.
fn with_keys(config: &Config) -> impl Iterator<Item = (String, &Server)> {
    let masters = config.servers.masters().enumerate();
    let replicas = config.servers.replicas().enumerate();
    masters
        .map(|(index, master)| (format!("masters[{index}]"), master))
        .chain(replicas.map(|(index, replica)| (format!("replicas[{index}]"), replica)))
}

/// Every address in the configuration is one endpoint: no two of them may be equal.
fn check_addresses(config: &Config) -> Vec<ConfigError> {
    let mut addresses: Vec<(String, String, &ServerAddress)> = with_keys(config)
        .map(|(key, server)| (format!("{key}.address"), server.name.clone(), &server.address))
        .collect();
    let reads = config.reads.listen.iter().map(|address| ("reads.listen", Some(address)));
    let ours = config.listen.iter().map(|address| ("listen", Some(address))).chain(reads);
    let admin = [
        ("admin.console", config.admin.console.as_ref()),
        ("admin.http", config.admin.http.as_ref()),
    ];
    addresses.extend(ours.chain(admin).filter_map(|(key, address)| {
        address.map(|address| (key.to_owned(), key.to_owned(), address))
    }));
    let mut problems = Vec::new();
    for (index, (key, name, address)) in addresses.iter().enumerate() {
        if let Some((first, other, _)) = addresses[..index].iter().find(|(.., a)| a == address) {
            problems.push(ConfigError::AddressTwice {
                place: config.origins.of(key).clone(),
                first: config.origins.of(first).clone(),
                key: name.clone(),
                other: other.clone(),
                address: Box::new((*address).clone()),
            });
        }
    }
    problems
}

fn check_password(config: &Config) -> Option<ConfigError> {
    if !config.admin.password.reveal().is_empty() {
        return None;
    }
    let addresses = [("admin.console", &config.admin.console), ("admin.http", &config.admin.http)];
    addresses.into_iter().find_map(|(key, address)| {
        let address = address.as_ref().filter(|address| !is_local(address))?;
        Some(ConfigError::PasswordRequired {
            place: config.origins.of(key).clone(),
            key: key.to_owned(),
            address: address.clone(),
        })
    })
}

/// Half a setting would be taken for protection that is not there.
fn check_tls(config: &Config) -> impl Iterator<Item = ConfigError> {
    let (clients, masters) = (&config.tls, &config.server_tls);
    let asks = clients.client_certificates != ClientCertificates::None;
    let verifies = masters.mode >= ServerTlsMode::VerifyCa;
    let rules = [
        ("tls.cert", clients.cert.is_some(), "tls.key", clients.key.is_some()),
        ("tls.key", clients.key.is_some(), "tls.cert", clients.cert.is_some()),
        ("tls.ca", clients.ca.is_some(), "tls.client_certificates", asks),
        ("tls.client_certificates", asks, "tls.ca", clients.ca.is_some()),
        ("server_tls.cert", masters.cert.is_some(), "server_tls.key", masters.key.is_some()),
        ("server_tls.key", masters.key.is_some(), "server_tls.cert", masters.cert.is_some()),
        ("server_tls.ca", masters.ca.is_some(), "server_tls.mode = \"verify_ca\"", verifies),
        ("server_tls.mode", verifies, "server_tls.ca", masters.ca.is_some()),
    ];
    rules.into_iter().filter(|(_, is, _, has)| *is && !has).map(|(key, _, needs, _)| {
        let place = config.origins.of(key).clone();
        ConfigError::Needs { place, key: key.to_owned(), needs: needs.to_owned() }
    })
}

/// A switchover costs no client an error, whatever it waits for.
fn check_hold(config: &Config) -> Option<ConfigError> {
    let (hold, drain) = (config.failover.hold, config.switchover.drain);
    let written = ["failover.hold", "switchover.drain"].map(|key| config.origins.of(key));
    let place = written.into_iter().find(|place| **place != Place::Default);
    let place = place.cloned().unwrap_or(Place::Default);
    (hold <= drain).then_some(ConfigError::HoldTooShort { place, hold, drain })
}

/// Half a setting, as above; and somebody has to serve.
fn check_reads(config: &Config) -> Option<ConfigError> {
    let reads = &config.reads;
    let replicas = config.servers.replicas().next().is_some();
    let (key, needs) = match reads.listen.is_empty() {
        // The active master would read from itself.
        _ if reads.split && !(replicas || reads.standbys) => ("reads.split", "[[replicas]]"),
        true if reads.causal => ("reads.causal", "reads.listen"),
        false if !(replicas || reads.standbys || reads.active) => ("reads.listen", "[[replicas]]"),
        _ => return None,
    };
    let (key, needs) = (key.to_owned(), needs.to_owned());
    Some(ConfigError::Needs { place: config.origins.of(&key).clone(), key, needs })
}

/// Whether only this machine can reach the address.
fn is_local(address: &ServerAddress) -> bool {
    match address {
        ServerAddress::Unix(_) => true,
        ServerAddress::Tcp { host, .. } => {
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
    }
}
