//! Status variables: counters, and what a server says of semi-synchronous replication and of TLS.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{Seen, Unseen};
use crate::monitor::{Columns, Connection, ConnectionError};

/// Of the session where there is a difference: what the server says of its certificate, MariaDB tells
/// encrypted sessions only.
const QUESTION: &str = "SHOW STATUS WHERE Variable_name LIKE 'Rpl_semi_sync%' \
     OR Variable_name IN ('Uptime', 'Ssl_server_not_after', 'Ssl_cipher')";

/// By name, in lower case.
pub type Status = BTreeMap<String, String>;

pub(super) async fn read(connection: &mut Connection) -> Result<Seen<Status>, ConnectionError> {
    let answers = connection.ask(QUESTION).await?;
    if let Some((code, message)) = answers.error {
        return Ok(Err(Unseen::refused(code, message, || None)));
    }
    Ok(Ok(answers
        .sets
        .iter()
        .flatten()
        .map(|row| {
            let (name, value) = (&["Variable_name"], &["Value"]);
            let row = Columns(row);
            (row.text_or_empty(name).to_ascii_lowercase(), row.text_or_empty(value))
        })
        .collect()))
}

/// When the server's certificate expires; `None` when it has none.
pub(super) fn certificate(has_tls: bool, status: &Seen<Status>) -> Seen<Option<SystemTime>> {
    let status = status.as_ref().map_err(Clone::clone)?;
    let text = status.get("ssl_server_not_after").map_or("", String::as_str);
    match parse_asn1(text) {
        Some(when) => Ok(Some(when)),
        None if !has_tls => Ok(None),
        None => Err(Unseen::because("the server tells it to encrypted connections only")),
    }
}

/// `Nov 21 10:00:00 2036 GMT`, as OpenSSL prints a time.
fn parse_asn1(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_whitespace();
    let month = words.next()?;
    let month = 1 + MONTHS.iter().position(|name| *name == month)?;
    let day: u8 = words.next()?.parse().ok()?;
    let (time, year) = (words.next()?, words.next()?);
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day:02}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_certificate_is_read() {
        let when = parse_asn1("Nov  1 10:00:09 2036 GMT").expect("a time");
        assert_eq!(humantime::format_rfc3339(when).to_string(), "2036-11-01T10:00:09Z");
        for text in ["", "2036-11-01", "Foo 1 10:00:00 2036 GMT", "Nov 1"] {
            assert_eq!(parse_asn1(text), None, "{text}");
        }
    }

    #[test]
    fn no_certificate_is_not_an_unknown_one() {
        let none = || Ok(Status::new());
        assert_eq!(certificate(false, &none()), Ok(None));
        assert!(certificate(true, &none()).is_err());
    }
}
