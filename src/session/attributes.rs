//! Connection attributes: the client's own, byte for byte, and where it came from.
//!
//! A server behind a proxy sees the proxy's address. In `performance_schema.session_connect_attrs` an
//! operator finds the client's beside its own attributes, and the id that it was greeted with, which
//! Tandem's log and console speak of. The names of the address are those of MySQL Router.
//!
//! Tandem's come last. A server keeps the first 512 bytes by default
//! (`performance_schema_session_connect_attrs_size`), and what a client is known by today must not
//! give way to what a proxy adds. Attributes of these names that come from the client are left out:
//! what is found under them is what Tandem saw.

use std::net::SocketAddr;

use crate::wire::{Cursor, put_lenenc_bytes};

const CLIENT_IP: &[u8] = b"_client_ip";
const CLIENT_PORT: &[u8] = b"_client_port";
const PROXY: &[u8] = b"_proxy";
const PROXY_ID: &[u8] = b"_proxy_connection_id";

/// A server refuses a login with more than 64 KiB of them (MySQL manual, "Performance Schema Connection
/// Attribute Tables").
const MOST: usize = 0xFFFF;

/// The attributes of a login to a master, without their total length.
pub(super) fn towards_server(own: &[u8], peer: Option<SocketAddr>, id: u32) -> Vec<u8> {
    let mut out = without_ours(own);
    let len = out.len();
    put(&mut out, PROXY, b"tandem");
    put(&mut out, PROXY_ID, id.to_string().as_bytes());
    if let Some(peer) = peer {
        put(&mut out, CLIENT_IP, peer.ip().to_canonical().to_string().as_bytes());
        put(&mut out, CLIENT_PORT, peer.port().to_string().as_bytes());
    }
    if out.len() > MOST {
        out.truncate(len); // the login matters more
    }
    out
}

fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put_lenenc_bytes(out, name);
    put_lenenc_bytes(out, value);
}

/// What cannot be read as pairs is passed on as it is; the server will say what it thinks of it.
fn without_ours(own: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(own.len() + 128);
    let mut cursor = Cursor::new(own);
    while !cursor.is_empty() {
        let start = own.len() - cursor.rest().len();
        let (Ok(name), Ok(_)) = (cursor.lenenc_bytes(), cursor.lenenc_bytes()) else {
            return own.to_vec();
        };
        if ![CLIENT_IP, CLIENT_PORT, PROXY, PROXY_ID].contains(&name) {
            out.extend_from_slice(&own[start..own.len() - cursor.rest().len()]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
        let mut cursor = Cursor::new(bytes);
        let mut pairs = Vec::new();
        while !cursor.is_empty() {
            let mut text = || {
                let bytes = cursor.lenenc_bytes().expect("readable");
                String::from_utf8_lossy(bytes).into_owned()
            };
            pairs.push((text(), text()));
        }
        pairs
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_clients_own_come_first_and_as_they_were() {
        let own = b"\x03_os\x05Linux\x04_pid\x0242";
        let peer = "[::ffff:192.0.2.7]:5000".parse().expect("an address");
        let all = towards_server(own, Some(peer), 1_073_741_831);
        assert!(all.starts_with(own));
        let expected = [
            pair("_os", "Linux"),
            pair("_pid", "42"),
            pair("_proxy", "tandem"),
            pair("_proxy_connection_id", "1073741831"),
            pair("_client_ip", "192.0.2.7"),
            pair("_client_port", "5000"),
        ];
        assert_eq!(pairs(&all), expected);
        assert!(all.len() < 160, "Tandem's own take {} bytes", all.len() - own.len());
    }

    #[test]
    fn nobody_else_says_where_a_client_came_from() {
        let own = b"\x0a_client_ip\x0810.9.9.9\x03_os\x05Linux\x06_proxy\x00";
        let all = pairs(&towards_server(own, None, 7));
        let expected =
            [pair("_os", "Linux"), pair("_proxy", "tandem"), pair("_proxy_connection_id", "7")];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_cannot_be_read_or_added_to_is_left_as_it_is() {
        let odd = b"\x03_os\x09Linux";
        assert!(towards_server(odd, None, 7).starts_with(odd));
        let mut full = Vec::new();
        put(&mut full, b"k", &[b'v'; MOST - 20]);
        assert_eq!(towards_server(&full, None, 7), full);
    }
}
