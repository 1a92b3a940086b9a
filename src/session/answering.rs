//! Answering what a master asks in a login: the plugins, from their server's side of the story.
//!
//! What is answered with was learnt from the client (`learning.rs`). A master that asks for what
//! the secret cannot give ends the attempt.

use super::backend::ConnectFailure;
use super::credential::{CACHING_SHA2, Credential};
use super::login::Login;
use crate::wire::{
    AuthSwitch, Capabilities, Compression, ErrorPacket, Greeting, HandshakeResponse, PacketStream,
    Salt, Stream, encrypt_with_pem,
};

/// Answers the greeting and everything that follows, until the OK, whose payload is returned.
pub(super) async fn log_in(
    packets: &mut PacketStream<Stream>,
    greeting: &Greeting,
    login: &Login,
) -> Result<Vec<u8>, ConnectFailure> {
    let promised = login.capabilities & Capabilities::SHAPING;
    if !greeting.capabilities.has(promised) {
        return Err(ConnectFailure::Unsupported(
            "the master offers less of the protocol than the client was promised".to_owned(),
        ));
    }
    let mut plugin = login.credential.plugin(&greeting.plugin).to_owned();
    let mut salt = greeting.salt;
    let mut capabilities = capabilities_towards(greeting, login);
    if packets.get_ref().is_tls() {
        capabilities = capabilities.with(Capabilities::SSL);
    }
    let response = HandshakeResponse {
        capabilities,
        max_packet: login.max_packet,
        collation: login.collation,
        user: login.user.clone(),
        token: login.credential.token(&plugin, &salt).unwrap_or_default(),
        schema: login.schema.clone(),
        plugin: Some(plugin.clone()),
        attributes: login.attributes.clone(),
        zstd_level: None,
    };
    packets.write(&response.to_payload()).await?;
    loop {
        let payload = packets.read().await?;
        match payload.first() {
            Some(0x00) => return Ok(payload),
            Some(0xFF) => return Err(ConnectFailure::Refused(payload)),
            Some(0xFE) => {
                let switch = AuthSwitch::parse(&payload)
                    .map_err(|error| ConnectFailure::Unsupported(error.to_string()))?;
                let token = login.credential.token(&switch.plugin, &switch.salt);
                let Some(token) = token else {
                    return Err(ConnectFailure::Unsupported(format!(
                        "the account authenticates with {}, which this version of Tandem cannot \
                         answer from what the client sent",
                        switch.plugin
                    )));
                };
                packets.write(&token).await?;
                (plugin, salt) = (switch.plugin, switch.salt);
            }
            Some(0x01) if plugin == CACHING_SHA2 => {
                sha2_goes_on(packets, &payload[1..], login, &salt).await?;
            }
            _ => {
                return Err(ConnectFailure::Unsupported(
                    "the master sent a packet that no login has".to_owned(),
                ));
            }
        }
    }
}

/// `01 03`: the token was enough. `01 04`: the password itself is wanted, encrypted with the key
/// that the master sends on request, or in clear where nobody can read along.
async fn sha2_goes_on(
    packets: &mut PacketStream<Stream>,
    data: &[u8],
    login: &Login,
    salt: &Salt,
) -> Result<(), ConnectFailure> {
    if data != [4] {
        return Ok(()); // 3: an OK follows
    }
    let Credential::Password(password) = &login.credential else {
        return Err(ConnectFailure::Refused(
            ErrorPacket {
                code: 1045,
                state: Some(*b"28000"),
                message: "Access denied: the password is not known to the proxy".into(),
            }
            .to_payload(),
        ));
    };
    if packets.get_ref().is_secure() {
        let mut clear = zeroize::Zeroizing::new(password.to_vec());
        clear.push(0);
        return Ok(packets.write(&clear).await?);
    }
    packets.write(&[2]).await?;
    let key = packets.read().await?;
    if key.first() == Some(&0xFF) {
        return Err(ConnectFailure::Refused(key));
    }
    let sealed = encrypt_with_pem(&key[1.min(key.len())..], password, salt)
        .map_err(|error| ConnectFailure::Unsupported(error.to_string()))?;
    Ok(packets.write(&sealed).await?)
}

/// What was configured, if the master can do it.
pub(super) fn agreed_compression(greeting: &Greeting, login: &Login) -> Option<Compression> {
    login.towards.compression.filter(|wanted| greeting.capabilities.has(wanted.capability()))
}

/// What the master is told: what the client can, each hop's own bits, session tracking, which Tandem
/// wants for itself, and attributes, of which it has its own.
pub(super) fn capabilities_towards(greeting: &Greeting, login: &Login) -> Capabilities {
    let own = Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::TRANSACTIONS
        | Capabilities::PLUGIN_AUTH
        | Capabilities::PLUGIN_AUTH_LENENC
        | Capabilities::SESSION_TRACK
        | Capabilities::CONNECT_ATTRS;
    let mut wanted = (login.capabilities | own).without(Capabilities::CONNECT_WITH_DB);
    if login.schema.is_some() {
        wanted = wanted | Capabilities::CONNECT_WITH_DB;
    }
    if let Some(compression) = agreed_compression(greeting, login) {
        wanted = wanted | compression.capability();
    }
    let mut agreed = wanted & greeting.capabilities;
    if greeting.capabilities.has(Capabilities::CLIENT_MYSQL) || !agreed.is_extended() {
        agreed = agreed | Capabilities::CLIENT_MYSQL;
    }
    agreed
}
