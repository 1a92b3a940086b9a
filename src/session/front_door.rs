//! The admin console's front door: the client half of a login whose server is in this process.
//!
//! The console's own library can do one plugin that current MySQL clients no longer have. So the
//! login is heard here, as before a master, and the console gets a stream that is through with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio_rustls::rustls::ServerConfig;

use super::client_error::ClientError;
use super::greeting::{Greeted, greet};
use super::learning::random_salt;
use super::plugin::{CACHING_SHA2, NATIVE};
use crate::wire::{
    AuthSwitch, Capabilities, Greeting, HandshakeResponse, PacketStream, Salt, Stream, StreamError,
    native_token_of_password, sha2_matches, sha2_stage2,
};

/// A client that has shown that it may come in. It still waits for its OK.
#[derive(Debug)]
pub struct Admitted {
    /// Its connection.
    pub stream: Stream,
    /// What it said; the token is of no more use.
    pub response: HandshakeResponse,
    /// The sequence number of the OK.
    pub seq: u8,
}

/// Why a client was not let in.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// The connection broke, or carried something else than a login.
    #[error("{0}")]
    Stream(#[from] StreamError),
    /// It asked for TLS, and the handshake failed.
    #[error("TLS handshake: {0}")]
    Tls(std::io::Error),
    /// It took too long.
    #[error("no login within {0:?}")]
    Timeout(Duration),
    /// Wrong user or password.
    #[error("access denied for user `{0}`")]
    Denied(String),
}

/// Greets a client of the console in place of `inner`, the console's own greeting, and lets it in as
/// `user` with `password`. It may encrypt, if there is `tls`.
///
/// # Errors
/// When it does not get that far within `timeout`.
pub async fn admit(
    stream: Stream,
    inner: &Greeting,
    user: &str,
    password: &str,
    tls: Option<Arc<ServerConfig>>,
    timeout: Duration,
) -> Result<Admitted, NotAdmitted> {
    let salt = random_salt();
    let tls = tls.filter(|_| !stream.is_secure());
    let mut capabilities = inner.capabilities & Capabilities::RELAYED | own();
    if tls.is_some() {
        capabilities = capabilities.with(Capabilities::SSL);
    }
    let plugin = CACHING_SHA2.to_owned();
    let greeting = Greeting { salt, capabilities, plugin, ..inner.clone() };
    let hearing = async {
        let Greeted { packets, payload } =
            greet(stream, &greeting, tls.as_ref()).await.map_err(NotAdmitted::Tls)?;
        let seq = packets.next_seq();
        let (mut stream, ahead) = packets.into_parts();
        let mut packets = PacketStream::resume(&mut stream, ahead);
        packets.set_seq(seq);
        let heard = hear(&mut packets, &payload?, salt, user, password).await;
        let seq = packets.next_seq();
        match heard {
            Ok(response) => Ok(Admitted { stream, response, seq }),
            Err(error) => {
                let _ = stream.shutdown().await;
                Err(error)
            }
        }
    };
    let heard = tokio::time::timeout(timeout, hearing).await;
    heard.map_err(|_| NotAdmitted::Timeout(timeout)).and_then(|heard| heard)
}

/// Hears the login that begins with `payload`.
async fn hear(
    packets: &mut PacketStream<&mut Stream>,
    payload: &[u8],
    salt: Salt,
    user: &str,
    password: &str,
) -> Result<HandshakeResponse, NotAdmitted> {
    let response = HandshakeResponse::parse(payload).map_err(StreamError::from)?;
    let answered = answer(packets, &response, salt).await?;
    if response.user != user.as_bytes() || !answered.is_right(password) {
        let name = String::from_utf8_lossy(&response.user).into_owned();
        let reason = "the console's user and password are admin.user and admin.password of \
                      proxy.toml"
            .to_owned();
        let error = ClientError::CannotLogIn { user: name.clone(), reason };
        packets.write(&error.to_payload()).await?;
        return Err(NotAdmitted::Denied(name));
    }
    if answered.plugin == CACHING_SHA2 && !answered.token.is_empty() {
        packets.write(&[1, 3]).await?;
    }
    Ok(response)
}

fn own() -> Capabilities {
    Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH
        | Capabilities::PLUGIN_AUTH_LENENC
}

/// A plugin's answer.
struct Answered {
    plugin: String,
    token: Vec<u8>,
    salt: Salt,
}

impl Answered {
    fn is_right(&self, password: &str) -> bool {
        if self.token.is_empty() || password.is_empty() {
            return self.token.is_empty() && password.is_empty();
        }
        let password = password.as_bytes();
        match self.plugin.as_str() {
            CACHING_SHA2 => sha2_matches(&self.token, &self.salt, &sha2_stage2(password)),
            _ => self.token == native_token_of_password(password, &self.salt),
        }
    }
}

/// The client's answer with a plugin that both sides have.
async fn answer(
    packets: &mut PacketStream<&mut Stream>,
    response: &HandshakeResponse,
    salt: Salt,
) -> Result<Answered, StreamError> {
    let plugin = response.plugin.as_deref().unwrap_or(NATIVE);
    if matches!(plugin, NATIVE | CACHING_SHA2) {
        let token = response.token.strip_suffix(&[0]).filter(|rest| rest.is_empty());
        let token = token.unwrap_or(&response.token).to_vec();
        return Ok(Answered { plugin: plugin.to_owned(), token, salt });
    }
    let salt = random_salt();
    packets.write(&AuthSwitch { plugin: CACHING_SHA2.to_owned(), salt }.to_payload()).await?;
    let token = packets.read().await?;
    Ok(Answered { plugin: CACHING_SHA2.to_owned(), token, salt })
}
