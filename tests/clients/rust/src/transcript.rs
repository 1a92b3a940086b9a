//! What the Rust clients share: where to log in, and how a line of output looks.

#![allow(dead_code)] // each client uses its own part of it

use std::io::Write as _;

pub(crate) const IDENTITY: &str = "SELECT CURRENT_USER(), DATABASE(), @@character_set_client, \
     @@collation_connection, @@autocommit, @@sql_mode, @@version";

pub(crate) const SURVIVED: &str = "CREATE TABLE IF NOT EXISTS survived \
     (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)";

pub(crate) fn env(name: &str) -> String {
    std::env::var(format!("CLIENT_{name}")).unwrap_or_default()
}

pub(crate) fn port() -> u16 {
    env("PORT").parse().expect("CLIENT_PORT")
}

pub(crate) fn is_failover() -> bool {
    std::env::args().nth(1).as_deref() == Some("failover")
}

pub(crate) fn shared(name: &str) -> String {
    format!("{}/{name}", env("SHARED"))
}

/// The statements of a file, one a line.
pub(crate) fn statements(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(shared(name)).expect("a readable file");
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

pub(crate) fn check(name: &str, value: String) {
    println!("check {name}: {value}");
}

pub(crate) fn md5_of(bytes: &[u8]) -> String {
    format!("{:x}", md5::compute(bytes))
}

/// Bytes as text, as hex, or as length and hash.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        _ if bytes.len() > 200 => format!("{} bytes, md5 {}", bytes.len(), md5_of(bytes)),
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("hex {bytes:02x?}"),
    }
}

/// Says that everything is ready for the failover, and waits until it has happened.
pub(crate) fn go() {
    println!("ready");
    std::io::stdout().flush().expect("an output");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("an input");
    assert_eq!(line, "go\n");
}
