//! The arithmetic of password authentication, from both sides.
//!
//! `mysql_native_password`: `token = SHA1(pw) XOR SHA1(salt || SHA1(SHA1(pw)))`. The server stores
//! `SHA1(SHA1(pw))`; who knows it and sees a token learns `SHA1(pw)`, which logs in anywhere. That
//! is how a proxy without a user list logs in to a master on a client's behalf (MySQL source,
//! `sql/auth/password.cc`; MariaDB, "Authentication Plugin - mysql_native_password").
//!
//! `caching_sha2_password`: `token = SHA256(pw) XOR SHA256(SHA256(SHA256(pw)) || salt)` (MySQL
//! source, `sha2_password_common.cc`, "Generate_scramble").

use aws_lc_rs::digest;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a salt.
pub const SALT_LEN: usize = 20;

/// The random bytes that a password is scrambled with.
pub type Salt = [u8; SALT_LEN];

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, parts)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    hash(&digest::SHA256, parts)
}

fn hash<const N: usize>(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> [u8; N] {
    let mut context = digest::Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; N];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn xor<const N: usize>(mut a: [u8; N], b: [u8; N]) -> [u8; N] {
    for (a, b) in a.iter_mut().zip(b) {
        *a ^= b;
    }
    a
}

/// What logs in to a `mysql_native_password` account: as good as its password.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct NativeSecret {
    /// `SHA1(pw)`
    stage1: [u8; 20],
}

impl NativeSecret {
    /// What `token`, made with `salt`, reveals to one who knows the stored hash `stage2`; `None`
    /// when it was made from another password.
    #[must_use]
    pub fn reveal(token: &[u8], salt: &Salt, stage2: &[u8; 20]) -> Option<Self> {
        let token: [u8; 20] = token.try_into().ok()?;
        let stage1 = xor(token, sha1(&[salt, stage2]));
        (sha1(&[&stage1]) == *stage2).then_some(Self { stage1 })
    }
}

/// What MariaDB's clients from 11.4 on look for in the first OK packet when nothing else makes them
/// trust the server's certificate: `01` and, in capital hex,
/// `SHA256( SHA1(SHA1(pw)) || salt || SHA256(certificate) )`. Only who knows the stored hash can say
/// it, and somebody in between has another certificate (MariaDB Connector/C, `my_auth.c`,
/// `run_plugin_auth`; the salt is the one that the client has answered).
#[must_use]
pub fn certificate_proof(
    secret: &NativeSecret,
    salt: &Salt,
    fingerprint: &[u8; 32],
) -> [u8; PROOF_LEN] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut proof = [PROOF_MARK; PROOF_LEN];
    let digest = sha256(&[&sha1(&[&secret.stage1]), salt, fingerprint]);
    for (byte, pair) in digest.iter().zip(proof[1..].chunks_exact_mut(2)) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 0xF)];
    }
    proof
}

/// What a [`certificate_proof`] begins with.
const PROOF_MARK: u8 = 1;

/// Bytes of a [`certificate_proof`].
const PROOF_LEN: usize = 65;

/// Whether an OK packet's info is such a proof, about whatever certificate.
pub(super) fn is_certificate_proof(info: &[u8]) -> bool {
    info.len() == PROOF_LEN && info[0] == PROOF_MARK
}

/// The token for a `mysql_native_password` login with `salt`.
#[must_use]
pub fn native_token(secret: &NativeSecret, salt: &Salt) -> [u8; 20] {
    xor(secret.stage1, sha1(&[salt, &sha1(&[&secret.stage1])]))
}

/// The same, from the password itself.
#[must_use]
pub fn native_token_of_password(password: &[u8], salt: &Salt) -> [u8; 20] {
    native_token(&NativeSecret { stage1: sha1(&[password]) }, salt)
}

/// `SHA256(SHA256(pw))`: recognises a later token of the same password.
#[must_use]
pub fn sha2_stage2(password: &[u8]) -> [u8; 32] {
    sha256(&[&sha256(&[password])])
}

/// The token for a `caching_sha2_password` login with `salt`.
#[must_use]
pub fn sha2_token(password: &[u8], salt: &Salt) -> [u8; 32] {
    xor(sha256(&[password]), sha256(&[&sha2_stage2(password), salt]))
}

/// Whether `token`, made with `salt`, comes from the password whose stage 2 is `stage2`.
#[must_use]
pub fn sha2_matches(token: &[u8], salt: &Salt, stage2: &[u8; 32]) -> bool {
    let Ok(token) = <[u8; 32]>::try_from(token) else { return false };
    let stage1 = xor(token, sha256(&[stage2, salt]));
    sha256(&[&stage1]) == *stage2
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::scramble::{scramble_native, scramble_sha256};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_are_those_of_mysql_common(salt: [u8; 20], password in "[^\0]{1,40}") {
            let password = password.as_bytes();
            prop_assert_eq!(
                Some(native_token_of_password(password, &salt)), scramble_native(&salt, password)
            );
            prop_assert_eq!(Some(sha2_token(password, &salt)), scramble_sha256(&salt, password));
        }

        #[test]
        fn a_native_token_reveals_what_logs_in_elsewhere(
            here: [u8; 20], there: [u8; 20], password in ".{1,40}", other in ".{1,40}"
        ) {
            let stage2 = sha1(&[&sha1(&[password.as_bytes()])]);
            let token = native_token_of_password(password.as_bytes(), &here);
            let secret = NativeSecret::reveal(&token, &here, &stage2).expect("the right password");
            prop_assert_eq!(
                native_token(&secret, &there), native_token_of_password(password.as_bytes(), &there)
            );
            if other != password {
                let wrong = native_token_of_password(other.as_bytes(), &here);
                prop_assert!(NativeSecret::reveal(&wrong, &here, &stage2).is_none());
            }
        }

        #[test]
        fn a_proof_names_password_salt_and_certificate(
            salt: [u8; 20], fingerprint: [u8; 32], password in ".{1,40}"
        ) {
            let secret = NativeSecret { stage1: sha1(&[password.as_bytes()]) };
            let proof = certificate_proof(&secret, &salt, &fingerprint);
            prop_assert!(is_certificate_proof(&proof));
            let said = String::from_utf8(proof[1..].to_vec()).expect("hex");
            let stage2 = sha1(&[&sha1(&[password.as_bytes()])]);
            let expected = sha256(&[&[&stage2[..], &salt, &fingerprint].concat()]);
            prop_assert_eq!(said, expected.map(|byte| format!("{byte:02X}")).concat());
        }

        #[test]
        fn a_sha2_token_is_recognised(salt: [u8; 20], password in ".{1,40}", other in ".{1,40}") {
            let token = sha2_token(password.as_bytes(), &salt);
            prop_assert!(sha2_matches(&token, &salt, &sha2_stage2(password.as_bytes())));
            if other != password {
                prop_assert!(!sha2_matches(&token, &salt, &sha2_stage2(other.as_bytes())));
            }
        }
    }
}
