//! What every fuzz target does with its input.
//!
//! Each module is one target: `run` takes the bytes that the fuzzer made up, gives them to a reader of
//! Tandem's and checks what must hold for any bytes. The fuzzer's programs (`fuzz/fuzz_targets`) and the
//! replay of the kept inputs (`tests/fuzz_corpus.rs`) share them.

#![allow(dead_code, unreachable_pub)] // each program uses one of them

#[path = "../../tests/fake_server/mod.rs"]
mod fake_server;
mod input;
mod pieces;

pub mod compressed;
pub mod handshake;
pub mod login;
pub mod ok_packet;
pub mod packets;
pub mod parameters;
pub mod proxy_header;
pub mod response;
pub mod session_state;
pub mod statement;

/// A target and the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Target; 10] = [
    ("compressed", compressed::run),
    ("handshake", handshake::run),
    ("login", login::run),
    ("ok_packet", ok_packet::run),
    ("packets", packets::run),
    ("parameters", parameters::run),
    ("proxy_header", proxy_header::run),
    ("response", response::run),
    ("session_state", session_state::run),
    ("statement", statement::run),
];
