//! The PROXY protocol: what a load balancer sends before anything else on a connection, so that
//! whoever is behind it learns the client's own address.
//!
//! ```text
//! v1   PROXY TCP4 192.0.2.7 10.0.0.1 51234 3306\r\n     or TCP6; PROXY UNKNOWN\r\n; at most 107 bytes
//! v2   0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A   version and command (21 proxied, 20 local)
//!      family (11 TCP over IPv4, 21 over IPv6)   length(2, big endian)   addresses, then TLVs
//! ```
//!
//! Source: HAProxy, "The PROXY protocol, versions 1 & 2" (doc/proxy-protocol.txt). The crate
//! `proxy-header` reads and writes the addresses; where a header ends, while it is still coming in,
//! is found out here, because nothing behind it may be read.

use std::net::{IpAddr, SocketAddr};

use proxy_header::{ParseConfig, Protocol, ProxiedAddress};

use super::codec::Malformed;

/// A version of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Both ends of a client's connection, as the first proxy on its way saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxiedEnds {
    /// The client.
    pub client: SocketAddr,
    /// Where it connected to.
    pub server: SocketAddr,
}

/// How a v2 header begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// How a v1 header begins.
const WORD: &[u8] = b"PROXY ";
/// The longest v1 header.
const LONGEST_V1: usize = 107;
/// Of a v2 header, up to where its length stands.
const FIXED_V2: usize = 16;
/// The longest v2 header that is read: addresses, and more TLVs than any load balancer sends.
const LONGEST_V2: usize = 4096;

/// Where the header ends that `bytes` begin with: `None` while all of them belong to it and more has
/// to come.
///
/// # Errors
/// As soon as they cannot be the beginning of a header.
pub fn proxy_header_len(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if begins(bytes, SIGNATURE) {
        let Some(fixed) = bytes.first_chunk::<FIXED_V2>() else { return Ok(None) };
        let total = FIXED_V2 + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if total > LONGEST_V2 {
            return Err(Malformed("the PROXY protocol header is longer than 4 KiB"));
        }
        return Ok((bytes.len() >= total).then_some(total));
    }
    if begins(bytes, WORD) {
        let line = &bytes[..bytes.len().min(LONGEST_V1)];
        let end = line.iter().position(|byte| *byte == b'\n');
        if end.is_none() && line.len() == LONGEST_V1 {
            return Err(Malformed("the PROXY protocol header has no end"));
        }
        return Ok(end.map(|end| end + 1));
    }
    Err(Malformed("a PROXY protocol header was expected from this address"))
}

/// Whether `bytes` and `text` are the same as far as both go.
fn begins(bytes: &[u8], text: &[u8]) -> bool {
    let len = bytes.len().min(text.len());
    bytes[..len] == text[..len]
}

/// Whether a packet's header is in truth the beginning of a PROXY protocol header.
#[must_use]
pub fn is_proxy_header(packet_header: [u8; 4]) -> bool {
    SIGNATURE.starts_with(&packet_header) || WORD.starts_with(&packet_header)
}

/// Reads a whole header. `None` when it tells no address: a health check of the load balancer's own
/// (LOCAL), or a client that has none (UNKNOWN, a Unix socket).
///
/// # Errors
/// When it is not of the protocol, or speaks of something else than TCP.
pub fn read_proxy_header(header: &[u8]) -> Result<Option<ProxiedEnds>, Malformed> {
    if header.starts_with(SIGNATURE) && header.get(SIGNATURE.len()) == Some(&0x20) {
        return Ok(None); // whatever addresses a LOCAL header has are to be skipped
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, _) = proxy_header::ProxyHeader::parse(header, config)
        .map_err(|_| Malformed("the PROXY protocol header cannot be read"))?;
    let Some(address) = parsed.proxied_address() else { return Ok(None) };
    if address.protocol != Protocol::Stream {
        return Err(Malformed("the PROXY protocol header speaks of datagrams"));
    }
    Ok(Some(ProxiedEnds {
        client: canonical(address.source),
        server: canonical(address.destination),
    }))
}

/// An IPv4 address that was written as an IPv6 one becomes what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A header that tells `ends`, or that there is no client to tell of.
#[must_use]
pub fn proxy_header(version: ProxyVersion, ends: Option<ProxiedEnds>) -> Vec<u8> {
    let header = match ends.map(of_one_family) {
        Some(ends) => proxy_header::ProxyHeader::with_address(ProxiedAddress::stream(
            ends.client,
            ends.server,
        )),
        None => proxy_header::ProxyHeader::with_local(),
    };
    let mut out = Vec::with_capacity(LONGEST_V1);
    // Both fail for addresses of two families, for datagrams and TLVs: there are none.
    let _ = match version {
        ProxyVersion::V1 => header.encode_v1(&mut out),
        ProxyVersion::V2 => header.encode_v2(&mut out),
    };
    out
}

/// A header has two addresses of one family.
fn of_one_family(ends: ProxiedEnds) -> ProxiedEnds {
    let (client, server) = (canonical(ends.client), canonical(ends.server));
    if client.is_ipv4() == server.is_ipv4() {
        return ProxiedEnds { client, server };
    }
    let widened = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    ProxiedEnds { client: widened(client), server: widened(server) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(client: &str, server: &str) -> ProxiedEnds {
        let parse = |text: &str| text.parse().expect("an address");
        ProxiedEnds { client: parse(client), server: parse(server) }
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        let four = ends("192.0.2.7:51234", "10.0.0.1:3306");
        assert_eq!(
            proxy_header(ProxyVersion::V1, Some(four)),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 3306\r\n"
        );
        assert_eq!(proxy_header(ProxyVersion::V1, None), b"PROXY UNKNOWN\r\n");
        let mut binary = SIGNATURE.to_vec();
        binary.extend_from_slice(&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 200, 34, 12, 234]);
        assert_eq!(proxy_header(ProxyVersion::V2, Some(four)), binary);
        let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
        assert_eq!(proxy_header(ProxyVersion::V2, None), local);
    }

    #[test]
    fn what_is_written_is_read_byte_by_byte_and_not_one_further() {
        let all = [
            Some(ends("192.0.2.7:51234", "10.0.0.1:3306")),
            Some(ends("[2001:db8::7]:51234", "[2001:db8::1]:3306")),
            None,
        ];
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            for told in all {
                let mut bytes = proxy_header(version, told);
                let len = bytes.len();
                bytes.extend_from_slice(b"PROXY behind it\n");
                for part in 0..len {
                    assert_eq!(proxy_header_len(&bytes[..part]), Ok(None), "{version:?}, {part}");
                }
                assert_eq!(proxy_header_len(&bytes), Ok(Some(len)));
                assert_eq!(read_proxy_header(&bytes[..len]), Ok(told));
            }
        }
    }

    #[test]
    fn addresses_of_two_families_become_one() {
        let mixed = ends("192.0.2.7:51234", "[2001:db8::1]:3306");
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let header = proxy_header(version, Some(mixed));
            assert_eq!(read_proxy_header(&header), Ok(Some(mixed)), "{version:?}");
        }
    }

    #[test]
    fn a_local_header_may_have_anything_behind_it() {
        let header = [SIGNATURE, &[0x20, 0x77, 0, 3, 1, 2, 3]].concat();
        assert_eq!(proxy_header_len(&header), Ok(Some(header.len())));
        assert_eq!(read_proxy_header(&header), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_seen_at_once() {
        for bytes in [&b"G"[..], b"PROXX", b"\r\n\r\r", b"\x50\x00\x00\x01"] {
            assert!(proxy_header_len(bytes).is_err(), "{bytes:?}");
        }
        assert!(proxy_header_len(&[b"PROXY ", &[b'x'; 200][..]].concat()).is_err());
        let endless = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        assert!(proxy_header_len(&endless).is_err());
        for line in
            [&b"PROXY TCP4 1.2.3.4 5.6.7.8 1 x\r\n"[..], b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n"]
        {
            assert!(read_proxy_header(line).is_err(), "{line:?}");
        }
        let datagram = [SIGNATURE, &[0x21, 0x12, 0, 12][..], &[1; 12]].concat();
        assert!(read_proxy_header(&datagram).is_err());
        let short = [SIGNATURE, &[0x21, 0x11, 0, 3, 1, 1, 1]].concat();
        assert!(read_proxy_header(&short).is_err());
    }

    #[test]
    fn a_packet_header_that_is_none_is_known() {
        assert!(is_proxy_header(*b"PROX") && is_proxy_header(*b"\r\n\r\n"));
        assert!(!is_proxy_header([0x50, 0, 0, 1]));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>, version in 0u8..2) {
            let begin = if version == 0 { WORD } else { SIGNATURE };
            let bytes = [begin, &bytes].concat();
            if let Ok(Some(len)) = proxy_header_len(&bytes) {
                prop_assert!(len <= bytes.len());
                let _ = read_proxy_header(&bytes[..len]);
            }
            let _ = read_proxy_header(&bytes);
        }
    }
}
