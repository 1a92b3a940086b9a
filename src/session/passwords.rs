//! The passwords that have logged in: in memory only, wiped when they are forgotten.
//!
//! A client of `caching_sha2_password` shows its password once and is recognised by its token from
//! then on, as before a server. Tandem keeps the password itself rather than its hash: the master
//! that a failover leads to may never have heard it, and asks for the whole.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::wire::{Salt, sha2_matches, sha2_stage2};

/// What is remembered; the oldest is forgotten first and asked for again.
const REMEMBERED: usize = 1000;

/// The passwords of all users.
#[derive(Debug, Default)]
pub(super) struct Passwords(Mutex<VecDeque<Known>>);

/// One that a master has accepted.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Known {
    user: Vec<u8>,
    stage2: [u8; 32],
    password: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    fn is(&self, user: &[u8], password: &[u8]) -> bool {
        self.user == user && *self.password == password
    }
}

impl Passwords {
    fn known(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The password whose token this is, if it has logged in before.
    pub(super) fn recognise(
        &self,
        user: &[u8],
        token: &[u8],
        salt: &Salt,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let fits = |known: &&Known| known.user == user && sha2_matches(token, salt, &known.stage2);
        self.known().iter().find(fits).map(|known| known.password.clone())
    }

    /// Remembers one that a master has accepted.
    pub(super) fn remember(&self, user: &[u8], password: &[u8]) {
        let mut known = self.known();
        if known.iter().any(|known| known.is(user, password)) {
            return;
        }
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back(Known {
            user: user.to_vec(),
            stage2: sha2_stage2(password),
            password: Zeroizing::new(password.to_vec()),
        });
    }

    /// Forgets one that a master has refused.
    pub(super) fn forget(&self, user: &[u8], password: &[u8]) {
        self.known().retain(|known| !known.is(user, password));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sha2_token;

    const SALT: Salt = *b"abcdefghijklmnopqrst";

    #[test]
    fn a_password_is_recognised_until_a_master_refuses_it() {
        let passwords = Passwords::default();
        let token = sha2_token(b"secret", &SALT);
        assert!(passwords.recognise(b"ann", &token, &SALT).is_none());
        passwords.remember(b"ann", b"secret");
        let found = passwords.recognise(b"ann", &token, &SALT);
        assert_eq!(found.as_deref().map(Vec::as_slice), Some(&b"secret"[..]));
        assert!(passwords.recognise(b"bob", &token, &SALT).is_none(), "it is not bob's");
        let other = sha2_token(b"another", &SALT);
        assert!(passwords.recognise(b"ann", &other, &SALT).is_none());
        passwords.forget(b"ann", b"another");
        assert!(passwords.recognise(b"ann", &token, &SALT).is_some());
        passwords.forget(b"ann", b"secret");
        assert!(passwords.recognise(b"ann", &token, &SALT).is_none());
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let passwords = Passwords::default();
        for number in 0..=REMEMBERED {
            passwords.remember(b"ann", number.to_string().as_bytes());
        }
        let knows = |password: &[u8]| {
            passwords.recognise(b"ann", &sha2_token(password, &SALT), &SALT).is_some()
        };
        assert!(!knows(b"0"));
        assert!(knows(b"1") && knows(REMEMBERED.to_string().as_bytes()));
    }
}
