//! One value of the configuration: what makes it right, and what is said of one that is not.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use super::Compress;
use crate::topology::{AddressError, ServerAddress};
use crate::wire::Capabilities;

/// Nothing that Tandem waits for takes longer; it also keeps sums of times far from overflowing.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The shortest `reads.max_lag`.
const SHORTEST_MAX_LAG: Duration = Duration::from_millis(100);

/// What would have been right.
pub(super) type Expected = String;

/// A value as an error shows it.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn text(value: &Value) -> Result<String, Expected> {
    value.as_str().map(str::to_owned).ok_or_else(|| "a text in quotes".to_owned())
}

pub(super) fn some_text(value: &Value) -> Result<String, Expected> {
    match text(value)? {
        text if text.is_empty() => Err("a text that is not empty".to_owned()),
        text => Ok(text),
    }
}

/// Names are typed on the console and stored in `tandem.term`.
pub(super) fn server_name(value: &Value) -> Result<String, Expected> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text(value)? {
        name if (1..=64).contains(&name.len()) && name.chars().all(allowed) => Ok(name),
        _ => Err("1 to 64 letters, digits, `-`, `_` or `.`".to_owned()),
    }
}

pub(super) fn switch(value: &Value) -> Result<bool, Expected> {
    value.as_bool().ok_or_else(|| "true or false".to_owned())
}

pub(super) fn count<T: TryFrom<u64>>(value: &Value) -> Result<T, Expected> {
    match value.as_u64() {
        None | Some(0) => Err("a whole number of at least 1".to_owned()),
        Some(number) => T::try_from(number).map_err(|_| "a smaller number".to_owned()),
    }
}

pub(super) fn duration(value: &Value) -> Result<Duration, Expected> {
    value
        .as_str()
        .and_then(|text| humantime::parse_duration(text).ok())
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "a duration such as \"500ms\", \"10s\" or \"5m\"".to_owned())
}

pub(super) fn word_or_duration(word: &str, value: &Value) -> Result<Option<Duration>, Expected> {
    if value.as_str() == Some(word) {
        return Ok(None);
    }
    positive_duration(value).map(Some).map_err(|expected| format!("\"{word}\" or {expected}"))
}

pub(super) fn positive_duration(value: &Value) -> Result<Duration, Expected> {
    match duration(value)? {
        Duration::ZERO => Err("a duration above zero".to_owned()),
        duration => Ok(duration),
    }
}

/// Two probes and two heartbeats have to fit in.
pub(super) fn max_lag(value: &Value) -> Result<Duration, Expected> {
    match duration(value)? {
        short if short < SHORTEST_MAX_LAG => Err("a duration of at least 100ms".to_owned()),
        duration => Ok(duration),
    }
}

pub(super) fn choice<T: Copy>(value: &Value, names: &[(&str, T)]) -> Result<T, Expected> {
    let chosen = names.iter().find(|(name, _)| value.as_str() == Some(name));
    chosen.map(|(_, choice)| *choice).ok_or_else(|| {
        names.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(" or ")
    })
}

pub(super) fn address(value: &Value) -> Result<ServerAddress, Expected> {
    value.as_str().unwrap_or_default().parse().map_err(|error| match error {
        AddressError::Malformed(_) => "an address, \"host:port\" or \"unix:/path\"".to_owned(),
        AddressError::Port(_) => {
            "an address with a port from 1 to 65535 after the colon".to_owned()
        }
    })
}

pub(super) fn address_or_off(value: &Value) -> Result<Option<ServerAddress>, Expected> {
    match value.as_str() {
        Some("off") => Ok(None),
        _ => address(value).map(Some).map_err(|expected| format!("{expected}, or \"off\"")),
    }
}

/// One address, or a list of them.
pub(super) fn addresses(value: &Value) -> Result<Vec<ServerAddress>, Expected> {
    match value {
        Value::Array(list) if list.is_empty() => Err("at least one address".to_owned()),
        Value::Array(list) => list.iter().map(address).collect(),
        single => Ok(vec![address(single)?]),
    }
}

/// The same; none at all is a list too.
pub(super) fn addresses_if_any(value: &Value) -> Result<Vec<ServerAddress>, Expected> {
    match value {
        Value::Array(list) if list.is_empty() => Ok(Vec::new()),
        other => addresses(other),
    }
}

/// Networks, or single addresses; none at all is a list too.
pub(super) fn networks(value: &Value) -> Result<Vec<IpNet>, Expected> {
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
pub(super) fn algorithms(value: &Value) -> Result<Capabilities, Expected> {
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
pub(super) fn log_filter(value: &Value) -> Result<String, Expected> {
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
