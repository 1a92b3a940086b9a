//! Learning from a client what logs in to a master.
//!
//! Nothing here decides whether the user may log in. A token that fits the stored hash of a
//! `mysql_native_password` account reveals the secret behind it; for every other account the client
//! is asked for its password, unless it has logged in with it before. What fits nothing is passed
//! on as wrong, so that the master refuses it in its own words.
//!
//! Which plugin a client is asked for follows from what the user's accounts want (`plugin.rs`), what
//! the client has begun with, and whether somebody could read along. A client is asked to switch
//! once at most: most of them take it for an error the second time.

use std::time::Duration;

use zeroize::Zeroizing;

use super::client_error::ClientError;
use super::credential::Credential;
use super::end::SessionEnd;
use super::plugin::{CACHING_SHA2, CLEAR, NATIVE, SHA256, Wanted, wanted};
use super::shared::Shared;
use crate::topology::{Account, AccountPlugin, Flavor};
use crate::wire::{AuthSwitch, NativeSecret, PacketStream, SALT_LEN, Salt, Stream, StreamError};

/// What a client answered to the connection's salt.
pub(super) struct Answer {
    pub(super) plugin: String,
    pub(super) token: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// A client without a password says so whatever the plugin. Some send a NUL, as if the password
    /// followed and were empty.
    fn is_empty(&self) -> bool {
        matches!(self.token.as_slice(), [] | [0])
    }
}

/// What was learnt.
pub(super) struct Learnt {
    pub(super) credential: Credential,
    /// The client was recognised by its token, and is told so before the OK (`01 03`).
    pub(super) recognised: bool,
}

impl From<Credential> for Learnt {
    fn from(credential: Credential) -> Self {
        Self { credential, recognised: false }
    }
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

/// Random bytes.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        // The library documents no cause on Linux; fixed bytes must never be used in their place.
        tracing::error!("no randomness for a login");
        std::process::abort();
    }
    bytes
}

/// Random bytes without NUL and `$`, below 0x80: some clients treat a salt as text.
pub(super) fn random_salt() -> Salt {
    let mut salt = random::<SALT_LEN>();
    for byte in &mut salt {
        *byte &= 0x7F;
        if matches!(*byte, 0 | b'$') {
            *byte += 1;
        }
    }
    salt
}

/// One client's login, as long as something is learnt from it.
pub(super) struct Lesson<'a, 's> {
    pub(super) packets: &'a mut PacketStream<&'s mut Stream>,
    pub(super) shared: &'a Shared,
    pub(super) user: &'a [u8],
    /// Of the masters: what the client was greeted as.
    pub(super) flavor: Flavor,
    /// The connection's only salt. libmariadb's native plugin answers this one, whatever comes with the
    /// request for another plugin (plugins/auth/my_auth.c, `native_password_auth_client`), and
    /// servers reuse it, too.
    pub(super) salt: Salt,
    /// Whether the client can still be asked for another plugin.
    pub(super) may_switch: bool,
}

impl Lesson<'_, '_> {
    /// Learns from what a client answered to the greeting, and asks on where that is not enough.
    pub(super) async fn learn(mut self, first: Answer) -> Result<Learnt, LoginFailure> {
        // With another plugin than it was greeted with, an empty answer asks for a salt.
        let asks = self.may_switch && first.plugin != default_plugin(self.flavor);
        let answers = matches!(first.plugin.as_str(), NATIVE | CACHING_SHA2 | SHA256 | CLEAR);
        if first.is_empty() && !asks && answers {
            return Ok(Credential::Empty.into());
        }
        let (accounts, unreadable) = self.accounts().await;
        if accounts.is_empty() {
            return self.learn_of_unknown(first, unreadable).await;
        }
        match wanted(&accounts) {
            Wanted::Impossible(reason) => Err(self.cannot_log_in(reason)),
            Wanted::Password => self.password(first).await,
            Wanted::Token if self.shows_password(&first) => self.password(first).await,
            Wanted::Token => self.token(first, accounts).await,
            Wanted::Either => match self.reveal(&accounts, &first) {
                Some(secret) => Ok(Credential::Native(secret).into()),
                None => self.password(first).await,
            },
        }
    }

    /// Learns what logs the user in after COM_CHANGE_USER. The client is asked anew.
    pub(super) async fn learn_anew(mut self, plugin: &str) -> Result<Learnt, LoginFailure> {
        let (accounts, unreadable) = self.accounts().await;
        let plugin = match wanted(&accounts) {
            _ if unreadable => CACHING_SHA2,
            _ if accounts.is_empty() => plugin,
            Wanted::Token => NATIVE,
            Wanted::Either if plugin == NATIVE => NATIVE,
            Wanted::Impossible(reason) => return Err(self.cannot_log_in(reason)),
            Wanted::Either | Wanted::Password => CACHING_SHA2,
        };
        let plugin = if plugin == NATIVE { NATIVE } else { CACHING_SHA2 };
        let answer = self.switch(plugin).await?;
        if answer.is_empty() {
            return Ok(Credential::Empty.into());
        }
        match plugin {
            NATIVE => self.token(answer, accounts).await,
            _ => self.password(answer).await,
        }
    }

    /// The rows of the user, or those of the nameless one, who is everybody that is nobody else; and
    /// whether there may be others that cannot be read.
    async fn accounts(&self) -> (Vec<Account>, bool) {
        let user = String::from_utf8_lossy(self.user);
        let known = self.shared.accounts_of(&user);
        if !known.is_empty() {
            return (known, false);
        }
        // It may have been made a moment ago.
        let read = self.shared.look_up(&user).await;
        (self.shared.accounts_of(&user), !read)
    }

    /// Nothing is known of the user. Where that is because nothing can be known, only the password
    /// helps; else the master is asked to refuse whatever the client has.
    async fn learn_of_unknown(
        &mut self,
        first: Answer,
        unreadable: bool,
    ) -> Result<Learnt, LoginFailure> {
        match first.plugin.as_str() {
            NATIVE if first.is_empty() => Ok(Credential::Empty.into()),
            NATIVE if !unreadable => Ok(Credential::Wrong.into()),
            _ => self.password(first).await,
        }
    }

    /// A client that would show its password need not switch before an account that would take a
    /// token: when nobody can read along; and when it has `caching_sha2_password` although the
    /// greeting did not ask for it, since then it has its reasons (`default-auth`, or a library
    /// without the older plugin).
    fn shows_password(&self, first: &Answer) -> bool {
        let secure = self.packets.get_ref().is_secure();
        match first.plugin.as_str() {
            CACHING_SHA2 => secure || self.flavor == Flavor::MariaDb,
            SHA256 | CLEAR => secure && !first.is_empty(),
            _ => false,
        }
    }

    /// Learns from a token of `mysql_native_password`.
    async fn token(
        &mut self,
        first: Answer,
        accounts: Vec<Account>,
    ) -> Result<Learnt, LoginFailure> {
        let answer = match first.plugin.as_str() {
            NATIVE if !first.is_empty() => first,
            _ => self.switch(NATIVE).await?,
        };
        if answer.is_empty() {
            return Ok(Credential::Empty.into());
        }
        if let Some(secret) = self.reveal(&accounts, &answer) {
            return Ok(Credential::Native(secret).into());
        }
        // The password may have been changed a moment ago, and what it is proved with as well.
        self.shared.look_up(&String::from_utf8_lossy(self.user)).await;
        let accounts = self.shared.accounts_of(&String::from_utf8_lossy(self.user));
        if let Some(secret) = self.reveal(&accounts, &answer) {
            return Ok(Credential::Native(secret).into());
        }
        let still = accounts.is_empty() || wanted(&accounts) == Wanted::Token;
        if still || !self.may_switch {
            Ok(Credential::Wrong.into())
        } else {
            self.password(answer).await
        }
    }

    /// Learns the password, by whichever plugin the client has that gives it away.
    async fn password(&mut self, first: Answer) -> Result<Learnt, LoginFailure> {
        let secure = self.packets.get_ref().is_secure();
        match first.plugin.as_str() {
            CACHING_SHA2 if !first.is_empty() => self.caching_sha2(first).await,
            SHA256 if !first.is_empty() => self.sha256(first).await,
            CLEAR if secure && !first.is_empty() => without_nul(first.token).map(Learnt::from),
            _ => {
                let answer = self.switch(CACHING_SHA2).await?;
                if answer.is_empty() {
                    return Ok(Credential::Empty.into());
                }
                self.caching_sha2(answer).await
            }
        }
    }

    /// Asks the client to answer with another plugin.
    async fn switch(&mut self, plugin: &'static str) -> Result<Answer, LoginFailure> {
        if !self.may_switch {
            return Err(LoginFailure::Told(ClientError::OldClient(self.flavor)));
        }
        self.may_switch = false;
        let request = AuthSwitch { plugin: plugin.to_owned(), salt: self.salt };
        self.packets.write(&request.to_payload()).await?;
        let token = Zeroizing::new(self.packets.read().await?);
        Ok(Answer { plugin: plugin.to_owned(), token })
    }

    /// A password that logged in before is recognised by its token; any other is asked for,
    /// encrypted with Tandem's own key unless nobody can read along.
    async fn caching_sha2(&mut self, answer: Answer) -> Result<Learnt, LoginFailure> {
        let known = self.shared.passwords().recognise(self.user, &answer.token, &self.salt);
        if let Some(password) = known {
            let credential = Credential::Password(password);
            return Ok(Learnt { credential, recognised: true });
        }
        self.packets.write(&[1, 4]).await?;
        let reply = Zeroizing::new(self.packets.read().await?);
        if self.packets.get_ref().is_secure() {
            return without_nul(reply).map(Learnt::from);
        }
        let asks_for_key = reply.as_slice() == [2];
        self.sealed(reply, asks_for_key).await
    }

    /// The same, in the order of the older plugin: the password comes at once, or `01` asks for the
    /// key.
    async fn sha256(&mut self, answer: Answer) -> Result<Learnt, LoginFailure> {
        if self.packets.get_ref().is_secure() {
            return without_nul(answer.token).map(Learnt::from);
        }
        let asks_for_key = answer.token.as_slice() == [1];
        self.sealed(answer.token, asks_for_key).await
    }

    /// Opens an encrypted password, which comes after the key if the client asked for it.
    async fn sealed(
        &mut self,
        mut reply: Zeroizing<Vec<u8>>,
        asks_for_key: bool,
    ) -> Result<Learnt, LoginFailure> {
        let Some(key) = self.shared.rsa_key().await else { return Ok(Credential::Wrong.into()) };
        if asks_for_key {
            self.packets.write(&[&[1], key.public_pem().as_bytes()].concat()).await?;
            reply = Zeroizing::new(self.packets.read().await?);
        }
        let password = key.decrypt(&reply, &self.salt).ok();
        Ok(password.map_or(Credential::Wrong, password_or_none).into())
    }

    fn reveal(&self, accounts: &[Account], answer: &Answer) -> Option<NativeSecret> {
        if answer.plugin != NATIVE {
            return None;
        }
        accounts.iter().find_map(|account| match &account.plugin {
            AccountPlugin::Native(Some(hash)) => {
                NativeSecret::reveal(&answer.token, &self.salt, hash)
            }
            _ => None,
        })
    }

    fn cannot_log_in(&self, reason: String) -> LoginFailure {
        let user = String::from_utf8_lossy(self.user).into_owned();
        LoginFailure::Told(ClientError::CannotLogIn { user, reason })
    }
}

/// A password as it travels where nobody can read along: with a NUL behind it.
fn without_nul(mut password: Zeroizing<Vec<u8>>) -> Result<Credential, LoginFailure> {
    if password.pop() == Some(0) {
        return Ok(password_or_none(password));
    }
    let text = "a password without its end".to_owned();
    Err(LoginFailure::Told(ClientError::BadHandshake(text)))
}

fn password_or_none(password: Zeroizing<Vec<u8>>) -> Credential {
    if password.is_empty() { Credential::Empty } else { Credential::Password(password) }
}
