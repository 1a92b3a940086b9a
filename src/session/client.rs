//! The client half of a login: the greeting, and hearing the client's answer out.
//!
//! What the answer reveals is `learning.rs`; whether the user may log in is the master's word.

use zeroize::Zeroizing;

use super::client_error::ClientError;
use super::end::SessionEnd;
use super::greeting::{Greeted, LONGEST_LOGIN, greet};
use super::learning::{Answer, Learnt, Lesson, LoginFailure, default_plugin, random_salt};
use super::login::{Login, Towards};
use super::plugin::NATIVE;
use super::shared::Shared;
use crate::topology::{Flavor, Identity};
use crate::wire::{
    Capabilities, Compression, Greeting, HandshakeResponse, PacketStream, Salt, StatusFlags,
    Stream, StreamError,
};

/// No server has longer names: MariaDB's have 128 characters, MySQL's 32.
const LONGEST_NAME: usize = 512;

/// A client whose login has been heard; whether it may come in is not decided.
pub(super) struct Heard {
    pub(super) stream: Stream,
    /// What it sent behind its login.
    pub(super) ahead: Vec<u8>,
    /// The sequence number of the answer.
    pub(super) seq: u8,
    pub(super) login: Login,
    /// The salt that it was greeted with.
    pub(super) salt: Salt,
    /// It waits to be told that its token was enough.
    pub(super) recognised: bool,
    /// SHA-256 of the certificate that it was shown.
    pub(super) shown: Option<[u8; 32]>,
    /// How this hop is compressed once the client is in.
    pub(super) compression: Option<Compression>,
}

/// Greets a client and hears its login out, within `connect_timeout`.
pub(super) async fn hear_login(
    stream: Stream,
    shared: &Shared,
    identity: &Identity,
    connection_id: u32,
) -> Result<Heard, SessionEnd> {
    let hearing = hear(stream, shared, identity, connection_id);
    match tokio::time::timeout(shared.connect_timeout, hearing).await {
        Ok(heard) => heard,
        Err(_) => Err(SessionEnd::HandshakeTimeout),
    }
}

async fn hear(
    stream: Stream,
    shared: &Shared,
    identity: &Identity,
    connection_id: u32,
) -> Result<Heard, SessionEnd> {
    let salt = random_salt();
    let offer = shared.offer(&stream);
    let mut greeting = greeting(identity, connection_id, salt, shared.compression.clients);
    if offer.is_some() {
        greeting.capabilities = greeting.capabilities.with(Capabilities::SSL);
    }
    let tls = offer.as_ref().map(|offer| &offer.clients);
    let Greeted { packets, payload } = greet(stream, &greeting, tls)
        .await
        .map_err(|error| SessionEnd::TlsFailed(error.to_string()))?;
    let seq = packets.next_seq();
    let (mut stream, ahead) = packets.into_parts();
    let shown = offer.as_ref().filter(|_| stream.is_tls()).map(|offer| offer.fingerprint);
    let insecure = offer.is_some_and(|offer| offer.required) && !stream.is_secure();
    let mut packets = PacketStream::resume(&mut stream, ahead).with_longest(LONGEST_LOGIN);
    packets.set_seq(seq);
    let learning = async {
        let payload = Zeroizing::new(payload?);
        let mut response = parse(&payload, greeting.capabilities, identity.flavor)?;
        if insecure {
            return Err(LoginFailure::Told(ClientError::InsecureTransport));
        }
        let first = Answer {
            // Without plugins it can only be the one that SECURE_CONNECTION stands for.
            plugin: response.plugin.clone().unwrap_or_else(|| NATIVE.to_owned()),
            token: Zeroizing::new(std::mem::take(&mut response.token)),
        };
        let lesson = Lesson {
            packets: &mut packets,
            shared,
            user: &response.user,
            flavor: identity.flavor,
            salt,
            may_switch: response.capabilities.has(Capabilities::PLUGIN_AUTH),
        };
        let learnt = lesson.learn(first).await?;
        Ok((response, learnt))
    };
    let (response, Learnt { credential, recognised }) = match learning.await {
        Ok(learnt) => learnt,
        Err(failure) => return Err(failure.tell(&mut packets).await),
    };
    let seq = packets.next_seq();
    let (_, ahead) = packets.into_parts();
    let agreed = response.capabilities & greeting.capabilities;
    let compression = Compression::agreed(agreed, response.zstd_level);
    let login = Login {
        credential,
        // TLS and compression are each hop's own.
        capabilities: agreed.without(Capabilities::SSL.with(Capabilities::COMPRESSION)),
        user: response.user,
        collation: u16::from(response.collation),
        max_packet: response.max_packet,
        schema: response.schema,
        attributes: response.attributes,
        towards: Towards::default(),
    };
    Ok(Heard { stream, ahead, seq, login, salt, recognised, shown, compression })
}

fn greeting(
    identity: &Identity,
    connection_id: u32,
    salt: Salt,
    compression: Capabilities,
) -> Greeting {
    let mut capabilities = Capabilities(identity.capabilities) & Capabilities::RELAYED;
    capabilities = capabilities
        | Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH
        | Capabilities::PLUGIN_AUTH_LENENC
        | compression;
    Greeting {
        version: identity.version.clone(),
        connection_id,
        salt,
        capabilities,
        collation: identity.collation,
        status: StatusFlags::AUTOCOMMIT,
        plugin: default_plugin(identity.flavor).to_owned(),
    }
}

fn parse(
    payload: &[u8],
    offered: Capabilities,
    flavor: Flavor,
) -> Result<HandshakeResponse, LoginFailure> {
    if HandshakeResponse::is_ssl_request(payload) {
        let text = match offered.has(Capabilities::SSL) {
            true => "TLS inside TLS".to_owned(),
            false => "TLS was not offered".to_owned(),
        };
        return Err(LoginFailure::Told(ClientError::BadHandshake(text)));
    }
    let response = HandshakeResponse::parse(payload).map_err(StreamError::from)?;
    if !response.capabilities.has(Capabilities::SECURE_CONNECTION) {
        return Err(LoginFailure::Told(ClientError::OldClient(flavor)));
    }
    if response.user.len() > LONGEST_NAME {
        let reason = format!("no account has a name of {} bytes", response.user.len());
        let user = format!("{}…", String::from_utf8_lossy(&response.user[..32]));
        return Err(LoginFailure::Told(ClientError::CannotLogIn { user, reason }));
    }
    Ok(response)
}
