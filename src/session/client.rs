//! The client half of a login: the greeting, and hearing the client's answer out.
//!
//! What the answer reveals is `learning.rs`; whether the user may log in is the master's word.

use super::client_error::ClientError;
use super::credential::NATIVE;
use super::end::SessionEnd;
use super::learning::{Answer, LoginFailure, default_plugin, learn, random_salt};
use super::login::Login;
use super::shared::Shared;
use crate::topology::Identity;
use crate::wire::{
    Capabilities, Greeting, HandshakeResponse, PacketStream, Salt, StatusFlags, Stream, StreamError,
};

/// Greets a client and hears its login out, within `connect_timeout`.
pub(super) async fn hear_login(
    packets: &mut PacketStream<&mut Stream>,
    shared: &Shared,
    identity: &Identity,
    connection_id: u32,
) -> Result<Login, SessionEnd> {
    let hearing = async {
        let salt = random_salt();
        let greeting = greeting(identity, connection_id, salt);
        packets.write(&greeting.to_payload()).await?;
        let response = read_response(packets, greeting.capabilities).await?;
        let plugin = response.plugin.clone().unwrap_or_else(|| NATIVE.to_owned());
        let credential = {
            let first = Answer { plugin, token: &response.token, salt };
            learn(packets, shared, &response.user, first).await?
        };
        Ok(Login {
            credential,
            capabilities: response.capabilities & greeting.capabilities,
            user: response.user,
            collation: response.collation,
            max_packet: response.max_packet,
            schema: response.schema,
            attributes: response.attributes,
        })
    };
    let timeout = shared.connect_timeout;
    let heard: Result<Login, LoginFailure> = match tokio::time::timeout(timeout, hearing).await {
        Ok(heard) => heard,
        Err(_) => return Err(SessionEnd::HandshakeTimeout),
    };
    match heard {
        Ok(login) => Ok(login),
        Err(failure) => Err(failure.tell(packets).await),
    }
}

fn greeting(identity: &Identity, connection_id: u32, salt: Salt) -> Greeting {
    let mut capabilities = Capabilities(identity.capabilities) & Capabilities::RELAYED;
    capabilities = capabilities
        | Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH
        | Capabilities::PLUGIN_AUTH_LENENC;
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

async fn read_response(
    packets: &mut PacketStream<&mut Stream>,
    offered: Capabilities,
) -> Result<HandshakeResponse, LoginFailure> {
    let payload = packets.read().await?;
    if HandshakeResponse::is_ssl_request(&payload) && !offered.has(Capabilities::SSL) {
        let text = "this version of Tandem does not offer TLS".to_owned();
        return Err(LoginFailure::Told(ClientError::BadHandshake(text)));
    }
    HandshakeResponse::parse(&payload).map_err(|error| StreamError::from(error).into())
}
