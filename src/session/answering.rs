//! Answering what a master asks in a login: the plugins, as a client has them.
//!
//! What is answered with was learnt from the client (`learning.rs`). Where the secret does not give
//! what the master asks for, a wrong answer goes out all the same: a master with alternatives goes
//! on to the next one, and one without ends the login itself, so that it does not count this host's
//! logins as broken off. Its refusal is then explained rather than passed on.
//!
//! A password leaves in clear only where nobody can read along.

use zeroize::Zeroizing;

use super::backend::ConnectFailure;
use super::credential::Credential;
use super::login::Login;
use super::plugin::{ADVICE, CACHING_SHA2, NATIVE, Plugin};
use crate::wire::{
    AuthRequest, Capabilities, ChangeUser, Compression, Greeting, HandshakeResponse, NONCE_LEN,
    Nonce, PacketStream, ParsecParameters, Salt, Stream, ed25519_signature, encrypt_with_pem,
    parsec_answer, with_nul,
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
    let plugin = login.credential.plugin(&greeting.plugin);
    let exchange = Exchange::new(packets, &login.credential, plugin, greeting.salt);
    let mut capabilities = capabilities_towards(greeting, login);
    if exchange.packets.get_ref().is_tls() {
        capabilities = capabilities.with(Capabilities::SSL);
    }
    let response = HandshakeResponse {
        capabilities,
        max_packet: login.max_packet,
        collation: first_collation(greeting, login),
        user: login.user.clone(),
        token: exchange.first_token(),
        schema: login.schema.clone(),
        plugin: Some(plugin.to_owned()),
        attributes: login.attributes.clone(),
        zstd_level: None,
    };
    exchange.packets.write(&response.to_payload()).await?;
    let ok = exchange.finish().await?;
    if u8::try_from(login.collation).is_ok() {
        return Ok(ok);
    }
    packets.restart();
    change_user(packets, login, capabilities_towards(greeting, login)).await
}

/// Makes a connection one of the user of `login`, until the OK, whose payload is returned.
/// `capabilities` are those that the connection began with.
pub(super) async fn change_user(
    packets: &mut PacketStream<Stream>,
    login: &Login,
    capabilities: Capabilities,
) -> Result<Vec<u8>, ConnectFailure> {
    let change = ChangeUser {
        user: login.user.clone(),
        schema: login.schema.clone(),
        collation: Some(login.collation),
        plugin: Some(NATIVE.to_owned()),
        attributes: login.attributes.clone(),
    };
    packets.write(&change.to_payload(capabilities)).await?;
    // The salt of the greeting is spent: both families ask with another.
    Exchange::new(packets, &login.credential, NATIVE, Salt::default()).finish().await
}

/// The collation for the first packet of a login, where those of one byte fit; COM_CHANGE_USER has
/// room for others.
pub(super) fn first_collation(greeting: &Greeting, login: &Login) -> u8 {
    u8::try_from(login.collation).unwrap_or(greeting.collation)
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

/// A login that goes on until the master has said yes or no.
struct Exchange<'a> {
    packets: &'a mut PacketStream<Stream>,
    credential: &'a Credential,
    /// The one that is being answered; `None` for one that Tandem does not know.
    plugin: Option<Plugin>,
    salt: Salt,
    /// The longer random bytes of the plugins that sign.
    nonce: Nonce,
    /// What the master asked for and was answered wrongly because nothing better was there.
    unanswered: Option<String>,
}

impl<'a> Exchange<'a> {
    fn new(
        packets: &'a mut PacketStream<Stream>,
        credential: &'a Credential,
        plugin: &str,
        salt: Salt,
    ) -> Self {
        let plugin = Plugin::named(plugin);
        Self { packets, credential, plugin, salt, nonce: [0; NONCE_LEN], unanswered: None }
    }

    /// What goes along with the answer to the greeting.
    fn first_token(&self) -> Vec<u8> {
        match self.plugin {
            Some(Plugin::CachingSha2) => self.credential.sha2_token(&self.salt),
            _ => self.credential.native_token(&self.salt),
        }
    }

    async fn finish(mut self) -> Result<Vec<u8>, ConnectFailure> {
        loop {
            let payload = self.packets.read().await?;
            match payload.first() {
                Some(0x00) => return Ok(payload),
                Some(0xFF) => {
                    return Err(match self.unanswered {
                        Some(reason) => ConnectFailure::Unsupported(reason),
                        None => ConnectFailure::Refused(payload),
                    });
                }
                Some(0xFE) => self.begin(&payload).await?,
                Some(0x02) => {
                    return Err(ConnectFailure::Unsupported(format!(
                        "its account asks for several factors; {ADVICE}"
                    )));
                }
                // What a plugin says has a byte in front only where it could be mistaken.
                Some(0x01) => self.go_on(&payload[1..]).await?,
                _ => self.go_on(&payload).await?,
            }
        }
    }

    /// The master asks for another plugin.
    async fn begin(&mut self, payload: &[u8]) -> Result<(), ConnectFailure> {
        let request = AuthRequest::parse(payload)
            .map_err(|error| ConnectFailure::Unsupported(error.to_string()))?;
        self.plugin = Plugin::named(request.plugin);
        self.salt = request.random();
        self.nonce = request.random();
        let password = self.credential.password();
        match (self.plugin, password) {
            (Some(Plugin::Native), _) => self.send(&self.credential.native_token(&self.salt)).await,
            (Some(Plugin::CachingSha2), _) => {
                self.send(&self.credential.sha2_token(&self.salt)).await
            }
            (Some(Plugin::Parsec), Some(_)) => self.send(&[]).await,
            (Some(Plugin::Ed25519), Some(password)) => {
                let signature = ed25519_signature(password, &self.nonce);
                self.send(&signature).await
            }
            (Some(Plugin::Sha256), Some([])) => self.send(&[0]).await,
            (Some(Plugin::Sha256), Some(_)) if !self.is_secure() => self.send(&[1]).await,
            (Some(Plugin::Sha256 | Plugin::Clear | Plugin::Dialog), Some(password)) => {
                self.send_clear(password, request.plugin).await
            }
            (Some(_), None) => self.lack_password(request.plugin).await,
            (None, _) => self.cannot_answer(not_known(request.plugin)).await,
        }
    }

    /// The plugin has more to say.
    async fn go_on(&mut self, data: &[u8]) -> Result<(), ConnectFailure> {
        match (self.plugin, self.credential.password()) {
            // The token was enough: an OK follows.
            (Some(Plugin::CachingSha2), _) if data == [3] => Ok(()),
            // It was not, after a restart for example: the password itself is wanted.
            (Some(Plugin::CachingSha2), Some(password)) if data == [4] => {
                if self.is_secure() {
                    return self.send(&with_nul(password)).await;
                }
                self.send(&[2]).await
            }
            (Some(Plugin::CachingSha2), None) if data == [4] => {
                self.lack_password(CACHING_SHA2).await
            }
            // The key that was asked for.
            (Some(Plugin::CachingSha2 | Plugin::Sha256), Some(password)) => {
                let sealed = encrypt_with_pem(data, password, &self.salt)
                    .map_err(|error| ConnectFailure::Unsupported(error.to_string()))?;
                self.send(&sealed).await
            }
            (Some(Plugin::Parsec), Some(password)) => {
                let parameters = ParsecParameters::parse(data)
                    .map_err(|error| ConnectFailure::Unsupported(error.to_string()))?;
                let answer = self.sign(password, parameters).await;
                self.send(&answer).await
            }
            (Some(Plugin::Dialog), _) => {
                let reason = format!(
                    "its account asks for more than a password, which a proxy could not give again \
                     after a failover; {ADVICE}"
                );
                self.cannot_answer(reason).await
            }
            _ => Err(ConnectFailure::Unsupported(
                "the master sent a packet that no login has".to_owned(),
            )),
        }
    }

    /// A signature of `parsec`, for which the password is stretched: other sessions of this thread do
    /// not wait for that.
    async fn sign(&self, password: &[u8], parameters: ParsecParameters) -> Vec<u8> {
        let (password, nonce) = (Zeroizing::new(password.to_vec()), self.nonce);
        let own: Nonce = super::learning::random();
        let signing = move || parsec_answer(&password, &parameters, &nonce, &own).to_vec();
        // It fails only when the process ends.
        tokio::task::spawn_blocking(signing).await.unwrap_or_default()
    }

    fn is_secure(&self) -> bool {
        self.packets.get_ref().is_secure()
    }

    async fn send_clear(&mut self, password: &[u8], plugin: &str) -> Result<(), ConnectFailure> {
        if self.is_secure() || password.is_empty() {
            return self.send(&with_nul(password)).await;
        }
        let reason = format!(
            "its account authenticates with {plugin}, which sends the password in clear, and the \
             connection from the proxy to the master is not encrypted; set server_tls.mode to \
             required"
        );
        self.cannot_answer(reason).await
    }

    async fn lack_password(&mut self, plugin: &str) -> Result<(), ConnectFailure> {
        match self.credential {
            // The client's answer was wrong, and the master's own words on that are the best.
            Credential::Wrong => self.send(&[0]).await,
            _ => self.cannot_answer(no_password(plugin)).await,
        }
    }

    /// Goes on with an answer that is certainly wrong.
    async fn cannot_answer(&mut self, reason: String) -> Result<(), ConnectFailure> {
        self.unanswered = self.unanswered.take().or(Some(reason));
        self.send(&[0]).await
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), ConnectFailure> {
        Ok(self.packets.write(payload).await?)
    }
}

fn no_password(plugin: &str) -> String {
    format!(
        "the master wants its password ({plugin}), and the client has shown only a token of \
         mysql_native_password; let it connect with --default-auth=caching_sha2_password or its like"
    )
}

fn not_known(plugin: &str) -> String {
    format!("its account authenticates with {plugin}, which Tandem does not know; {ADVICE}")
}

#[cfg(test)]
#[path = "answering_tests.rs"]
mod tests;
