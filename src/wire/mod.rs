//! The MySQL client/server protocol: packets, handshake, authentication arithmetic, and knowing
//! where a response ends.
//!
//! No policy and, but for [`Stream`] and what reads and writes one ([`PacketStream`],
//! [`Compressed`]), no sockets: everything here works on bytes it is given. A relay does not need to
//! understand rows, so nothing here decodes one. What it must know of a response is when it is over and what the server's last words about the session were
//! (status flags, session trackers); [`ResponseTracker`] finds that out from packet headers and
//! first bytes, and from the few small packets that matter.
//!
//! Sources of protocol facts are named where they are used: the MySQL source documentation
//! ("Client/Server Protocol"), MariaDB's protocol pages, and the servers' sources.

#![deny(clippy::disallowed_methods)]

mod auth;
mod capabilities;
mod codec;
mod command;
mod compressed;
mod compressed_numbers;
mod compression;
mod error_packet;
mod greeting;
mod handshake_response;
mod ok_packet;
mod packet;
mod packet_stream;
mod parameters;
mod proxy_header;
mod response_tracker;
mod rsa_key;
mod signatures;
mod stream;

pub use auth::{
    NativeSecret, SALT_LEN, Salt, certificate_proof, native_token, native_token_of_password,
    sha2_matches, sha2_stage2, sha2_token,
};
pub use capabilities::Capabilities;
pub use codec::{Cursor, Malformed, put_lenenc_bytes, put_lenenc_int};
pub use command::Command;
pub use compressed::Compressed;
pub use compressed_numbers::Peer;
pub use compression::{Compression, ZSTD_LEVEL};
pub use error_packet::{ErrorPacket, SqlState};
pub use greeting::Greeting;
pub use handshake_response::{AuthRequest, AuthSwitch, ChangeUser, HandshakeResponse};
pub use ok_packet::{
    OkPacket, SessionChange, SessionChanges, StatusFlags, retain_session_state,
    strip_session_state, with_certificate_proof,
};
pub use packet::{Header, MAX_PAYLOAD, put_packet};
pub use packet_stream::{PacketStream, StreamError};
pub use parameters::{ExecutedTypes, sql_offset};
pub use proxy_header::{
    ProxiedEnds, ProxyVersion, is_proxy_header, proxy_header, proxy_header_len, read_proxy_header,
};
pub use response_tracker::{Prepared, ResponseTracker, Step, Told};
pub use rsa_key::{RsaError, RsaKey, encrypt_with_pem, with_nul};
pub use signatures::{NONCE_LEN, Nonce, ParsecParameters, ed25519_signature, parsec_answer};
pub use stream::Stream;
