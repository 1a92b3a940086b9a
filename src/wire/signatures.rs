//! MariaDB's two plugins that prove a password by a signature: `client_ed25519` and `parsec`.
//!
//! The signature is over the server's own random bytes, so that nothing of one login helps with
//! another: who wants to log in elsewhere needs the password.
//!
//! ```text
//! client_ed25519:  server: nonce(32)          client: signature(64)
//! parsec:          server: nonce(32)          client: nothing
//!                  server: 'P' factor(1) salt(18)
//!                  client: its own nonce(32) signature(64)
//! ```
//!
//! `client_ed25519` signs the nonce with the secret scalar and prefix that Ed25519 (RFC 8032, 5.1.5)
//! makes of a seed, but hashes the password where the seed would be. `parsec` signs both nonces with
//! the key whose seed is PBKDF2-HMAC-SHA512 of the password, `1024 << factor` rounds (MariaDB,
//! "Authentication Plugin - ed25519", "Authentication Plugin - PARSEC").

use std::num::NonZeroU32;

use aws_lc_rs::{digest, pbkdf2};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::Sha512;
use zeroize::{Zeroize as _, Zeroizing};

use super::codec::{Cursor, Malformed};

/// Bytes of a nonce of either plugin.
pub const NONCE_LEN: usize = 32;

/// The random bytes that are signed.
pub type Nonce = [u8; NONCE_LEN];

/// The answer of `client_ed25519` to `nonce`.
#[must_use]
pub fn ed25519_signature(password: &[u8], nonce: &Nonce) -> [u8; 64] {
    let hashed = digest::digest(&digest::SHA512, password);
    let mut wide = Zeroizing::new([0; 64]);
    wide.copy_from_slice(hashed.as_ref());
    let key = ExpandedSecretKey::from_bytes(&wide);
    raw_sign::<Sha512>(&key, nonce, &VerifyingKey::from(&key)).to_bytes()
}

/// What a `parsec` account makes of its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsecParameters {
    rounds: NonZeroU32,
    salt: [u8; 18],
}

impl ParsecParameters {
    /// The largest factor: a million rounds, about a second. The server's default is 0.
    const MAX_FACTOR: u8 = 10;

    /// Reads `'P' factor salt`.
    ///
    /// # Errors
    /// When it is something else, or would take too long.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(data);
        let (kind, factor, salt) = (cursor.u8()?, cursor.u8()?, cursor.array()?);
        if kind != b'P' || !cursor.is_empty() {
            return Err(Malformed("not the parameters of a parsec account"));
        }
        if factor > Self::MAX_FACTOR {
            return Err(Malformed("a parsec account with more than a million rounds"));
        }
        let rounds = NonZeroU32::new(1024 << factor);
        let rounds = rounds.ok_or(Malformed("a parsec account without rounds"))?;
        Ok(Self { rounds, salt })
    }
}

/// The answer of `parsec`: `nonce` is the server's, `own` is random. Takes a millisecond with the
/// least number of rounds.
#[must_use]
pub fn parsec_answer(
    password: &[u8],
    parameters: &ParsecParameters,
    nonce: &Nonce,
    own: &Nonce,
) -> [u8; 96] {
    let mut seed = Zeroizing::new([0; 32]);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
    pbkdf2::derive(algorithm, parameters.rounds, &parameters.salt, password, &mut *seed);
    let key = SigningKey::from_bytes(&seed);
    let mut both = [0; 2 * NONCE_LEN];
    both[..NONCE_LEN].copy_from_slice(nonce);
    both[NONCE_LEN..].copy_from_slice(own);
    let mut answer = [0; 96];
    answer[..NONCE_LEN].copy_from_slice(own);
    answer[NONCE_LEN..].copy_from_slice(&key.sign(&both).to_bytes());
    both.zeroize();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::scramble::{create_response_for_ed25519, create_response_for_parsec};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn an_ed25519_answer_is_that_of_mysql_common(nonce: Nonce, password in ".{0,80}") {
            let password = password.as_bytes();
            prop_assert_eq!(
                ed25519_signature(password, &nonce), create_response_for_ed25519(password, &nonce)
            );
        }

        #[test]
        fn a_parsec_answer_is_that_of_mysql_common(
            nonce: Nonce, salt: [u8; 18], password in ".{0,80}"
        ) {
            let password = password.as_bytes();
            let data = [&b"P\x01"[..], &salt].concat();
            let parameters = ParsecParameters::parse(&data).expect("parameters");
            let theirs = create_response_for_parsec(password, &nonce, 2048, &salt);
            let own: Nonce = theirs[..NONCE_LEN].try_into().expect("the client's nonce");
            prop_assert_eq!(parsec_answer(password, &parameters, &nonce, &own), theirs);
        }

        #[test]
        fn reading_parameters_never_panics(data: Vec<u8>) {
            let _ = ParsecParameters::parse(&data);
        }
    }

    #[test]
    fn only_bearable_parameters_are_taken() {
        let data = |kind: u8, factor: u8, len| [&[kind, factor][..], &vec![7; len]].concat();
        for factor in 0..=10 {
            let parameters = ParsecParameters::parse(&data(b'P', factor, 18)).expect("parameters");
            assert_eq!(parameters.rounds.get(), 1024 << factor);
        }
        for bad in [data(b'Q', 0, 18), data(b'P', 11, 18), data(b'P', 0, 17), data(b'P', 0, 19)] {
            assert!(ParsecParameters::parse(&bad).is_err());
        }
    }
}
