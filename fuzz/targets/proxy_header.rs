//! The PROXY protocol's header.
//!
//! Input: what a connection begins with. What must hold: however much of it has come, nothing is said that
//! more would take back; and what was read is read again from what is written of it.

use tandem::wire::{
    ProxyVersion, is_proxy_header, proxy_header, proxy_header_len, read_proxy_header,
};

pub fn run(data: &[u8]) {
    let whole = proxy_header_len(data);
    for len in 0..=data.len().min(600) {
        match (proxy_header_len(&data[..len]), whole) {
            (Ok(None), _) => {}
            (Ok(Some(end)), _) => {
                assert!(end <= len);
                assert_eq!(whole, Ok(Some(end)), "after {len} bytes");
            }
            (Err(error), _) => assert_eq!(whole, Err(error), "after {len} bytes"),
        }
    }
    let Ok(Some(end)) = whole else { return };
    if let Some(front) = data.first_chunk() {
        assert!(is_proxy_header(*front));
    }
    let Ok(Some(ends)) = read_proxy_header(&data[..end]) else { return };
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let again = proxy_header(version, Some(ends));
        assert_eq!(proxy_header_len(&again), Ok(Some(again.len())));
        assert_eq!(read_proxy_header(&again), Ok(Some(ends)), "{version:?}");
    }
}
