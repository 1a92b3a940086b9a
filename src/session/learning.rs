//! Learning from a client what logs in to a master.
//!
//! Nothing here decides whether the user may log in. A token that fits the stored hash of a
//! `mysql_native_password` account reveals the secret behind it; a `caching_sha2_password` client
//! is asked for its password, unless it has logged in with it before. What fits nothing is passed
//! on as wrong, so that the master refuses it in its own words.

use std::time::Duration;

use super::client_error::ClientError;
use super::credential::{CACHING_SHA2, Credential, NATIVE};
use super::end::SessionEnd;
use super::shared::Shared;
use crate::topology::{Account, AccountPlugin, Flavor};
use crate::wire::{
    AuthSwitch, NativeSecret, PacketStream, RsaKey, SALT_LEN, Salt, Stream, StreamError,
};

/// Learns what logs `user` in after COM_CHANGE_USER. The client is asked anew, with the connection's
/// own `salt`: libmariadb's native plugin answers that one, whatever it is sent
/// (plugins/auth/my_auth.c, `native_password_auth_client`), and servers reuse it, too.
pub(super) async fn learn_anew(
    packets: &mut PacketStream<&mut Stream>,
    shared: &Shared,
    user: &[u8],
    flavor: Flavor,
    salt: Salt,
) -> Result<Learnt, SessionEnd> {
    let asking = async {
        let accounts = accounts_of(shared, user).await?;
        let plugin = preferred_plugin(&accounts, default_plugin(flavor));
        let token = switch(packets, plugin, salt).await?;
        let answer = Answer { plugin: plugin.to_owned(), token: &token, salt };
        let credential = learn_from(packets, shared, user, &accounts, answer).await?;
        Ok(Learnt { credential, salt })
    };
    let asked: Result<Learnt, LoginFailure> =
        match tokio::time::timeout(shared.connect_timeout, asking).await {
            Ok(asked) => asked,
            Err(_) => return Err(SessionEnd::HandshakeTimeout),
        };
    match asked {
        Ok(learnt) => Ok(learnt),
        Err(failure) => Err(failure.tell(packets).await),
    }
}

/// What a client answered to a salt.
pub(super) struct Answer<'a> {
    pub(super) plugin: String,
    pub(super) token: &'a [u8],
    pub(super) salt: Salt,
}

/// What was learnt, and the salt that the client answered last.
pub(super) struct Learnt {
    pub(super) credential: Credential,
    pub(super) salt: Salt,
}

/// Why nothing was learnt.
pub(super) enum LoginFailure {
    Stream(StreamError),
    Told(ClientError),
}

impl From<StreamError> for LoginFailure {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Malformed(malformed) => {
                Self::Told(ClientError::BadHandshake(malformed.to_string()))
            }
            other => Self::Stream(other),
        }
    }
}

impl LoginFailure {
    /// Tells the client, and says how its session ends.
    pub(super) async fn tell(self, packets: &mut PacketStream<&mut Stream>) -> SessionEnd {
        match self {
            Self::Stream(error) => SessionEnd::ClientGone(error),
            Self::Told(error) => {
                let patience = Duration::from_secs(1);
                let payload = error.to_payload();
                let telling = packets.write(&payload);
                let _ = tokio::time::timeout(patience, telling).await;
                match error {
                    ClientError::BadHandshake(text) => SessionEnd::ClientMalformed(text),
                    other => SessionEnd::LoginRefused(other.to_string()),
                }
            }
        }
    }
}

/// What servers of the family greet with themselves, so that drivers behave as before them.
pub(super) fn default_plugin(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => CACHING_SHA2,
        Flavor::MariaDb => NATIVE,
    }
}

/// Random bytes without NUL and `$`, below 0x80: some clients treat a salt as text.
pub(super) fn random_salt() -> Salt {
    let mut salt = [0; SALT_LEN];
    if aws_lc_rs::rand::fill(&mut salt).is_err() {
        // The library documents no cause on Linux; a fixed salt must never be used in its place.
        tracing::error!("no randomness for a salt");
        std::process::abort();
    }
    for byte in &mut salt {
        *byte &= 0x7F;
        if matches!(*byte, 0 | b'$') {
            *byte += 1;
        }
    }
    salt
}

/// The rows of `user`. One that is not known may have been made a moment ago: they are read again.
async fn accounts_of(shared: &Shared, user: &[u8]) -> Result<Vec<Account>, LoginFailure> {
    let user = String::from_utf8_lossy(user);
    let (mut accounts, mut unreadable) = shared.accounts_of(&user);
    if accounts.is_empty() {
        shared.reread_accounts().await;
        (accounts, unreadable) = shared.accounts_of(&user);
    }
    match unreadable {
        Some(reason) if accounts.is_empty() => {
            Err(LoginFailure::Told(ClientError::CannotLogIn { user: user.into_owned(), reason }))
        }
        _ => Ok(accounts),
    }
}

/// The plugin to ask a client for: one that the user's accounts have, if Tandem can carry it.
fn preferred_plugin(accounts: &[Account], otherwise: &'static str) -> &'static str {
    let has = |wanted: fn(&AccountPlugin) -> bool| accounts.iter().any(|a| wanted(&a.plugin));
    let native = has(|plugin| matches!(plugin, AccountPlugin::Native(_)));
    let sha2 = has(|plugin| matches!(plugin, AccountPlugin::CachingSha2));
    match (native, sha2) {
        (true, false) => NATIVE,
        (false, true) => CACHING_SHA2,
        _ => otherwise,
    }
}

/// Learns from what a client answered to the greeting, and asks on where that is not enough.
pub(super) async fn learn(
    packets: &mut PacketStream<&mut Stream>,
    shared: &Shared,
    user: &[u8],
    first: Answer<'_>,
) -> Result<Learnt, LoginFailure> {
    let salt = first.salt;
    // A client without a password says so whatever the plugin.
    if first.token.is_empty() && matches!(first.plugin.as_str(), NATIVE | CACHING_SHA2) {
        return Ok(Learnt { credential: Credential::Empty, salt });
    }
    let accounts = accounts_of(shared, user).await?;
    let known = if first.plugin == CACHING_SHA2 { CACHING_SHA2 } else { NATIVE };
    let wanted = preferred_plugin(&accounts, known);
    if wanted == first.plugin {
        let credential = learn_from(packets, shared, user, &accounts, first).await?;
        return Ok(Learnt { credential, salt });
    }
    let token = switch(packets, wanted, salt).await?;
    let answer = Answer { plugin: wanted.to_owned(), token: &token, salt };
    let credential = learn_from(packets, shared, user, &accounts, answer).await?;
    Ok(Learnt { credential, salt })
}

/// Asks the client to answer with another plugin.
async fn switch(
    packets: &mut PacketStream<&mut Stream>,
    plugin: &str,
    salt: Salt,
) -> Result<Vec<u8>, LoginFailure> {
    packets.write(&AuthSwitch { plugin: plugin.to_owned(), salt }.to_payload()).await?;
    Ok(packets.read().await?)
}

async fn learn_from(
    packets: &mut PacketStream<&mut Stream>,
    shared: &Shared,
    user: &[u8],
    accounts: &[Account],
    answer: Answer<'_>,
) -> Result<Credential, LoginFailure> {
    if answer.token.is_empty() || answer.token == [0] {
        return Ok(Credential::Empty);
    }
    if answer.plugin == CACHING_SHA2 {
        return learn_sha2(packets, shared, user, answer).await;
    }
    if let Some(secret) = reveal(accounts, &answer) {
        return Ok(Credential::Native(secret));
    }
    let unusable = accounts.iter().find_map(|account| match &account.plugin {
        AccountPlugin::Other(plugin) => Some(plugin),
        _ => None,
    });
    if let (Some(plugin), false) = (unusable, accounts.iter().any(is_native)) {
        return Err(LoginFailure::Told(ClientError::CannotLogIn {
            user: String::from_utf8_lossy(user).into_owned(),
            reason: format!(
                "its account authenticates with {plugin}, which this version of Tandem cannot \
                 carry; use an account with {NATIVE} or {CACHING_SHA2}"
            ),
        }));
    }
    // The password may have been changed a moment ago.
    shared.reread_accounts().await;
    let (accounts, _) = shared.accounts_of(&String::from_utf8_lossy(user));
    Ok(reveal(&accounts, &answer).map_or(Credential::Wrong, Credential::Native))
}

fn is_native(account: &Account) -> bool {
    matches!(account.plugin, AccountPlugin::Native(_))
}

fn reveal(accounts: &[Account], answer: &Answer<'_>) -> Option<NativeSecret> {
    accounts.iter().find_map(|account| match &account.plugin {
        AccountPlugin::Native(Some(hash)) => NativeSecret::reveal(answer.token, &answer.salt, hash),
        _ => None,
    })
}

/// A password that logged in before is recognised by its token; any other is asked for, encrypted
/// with Tandem's own key unless nobody can read along.
async fn learn_sha2(
    packets: &mut PacketStream<&mut Stream>,
    shared: &Shared,
    user: &[u8],
    answer: Answer<'_>,
) -> Result<Credential, LoginFailure> {
    if let Some(password) = shared.known_password(user, answer.token, &answer.salt) {
        packets.write(&[1, 3]).await?;
        return Ok(Credential::Password(password));
    }
    packets.write(&[1, 4]).await?;
    let mut reply = zeroize::Zeroizing::new(packets.read().await?);
    if packets.get_ref().is_secure() {
        if reply.pop() != Some(0) {
            let text = "a password without its end".to_owned();
            return Err(LoginFailure::Told(ClientError::BadHandshake(text)));
        }
        return Ok(Credential::Password(reply));
    }
    let key = shared.rsa_key().await;
    if let ([2], Some(key)) = (reply.as_slice(), &key) {
        packets.write(&[&[1], key.public_pem().as_bytes()].concat()).await?;
        reply = zeroize::Zeroizing::new(packets.read().await?);
    } else if reply.len() != RsaKey::SEALED_LEN && reply.pop_if(|last| *last == 0).is_some() {
        // libmariadb shows the password to a server that offers no TLS, without asking for a key
        // (seen with 3.3.20). It is out already, and what a client may risk is its own affair.
        return Ok(Credential::Password(reply));
    }
    let password = key.and_then(|key| key.decrypt(&reply, &answer.salt).ok());
    Ok(password.map_or(Credential::Wrong, Credential::Password))
}
