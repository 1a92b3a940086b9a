//! RSA, as `caching_sha2_password` and `sha256_password` use it to carry a password over plain TCP.
//!
//! The client asks for the server's public key, XORs the password and its NUL with the salt, and
//! encrypts that with OAEP (SHA-1, MGF1 with SHA-1). A proxy is both: server with a key of its own
//! towards clients, client with the master's key (MySQL source, `sha2_password.cc`).

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::auth::Salt;

/// Why RSA did not work out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RsaError {
    /// The library could not make a key.
    #[error("no RSA key could be made")]
    Generate,
    /// What the server sent as its public key is none.
    #[error("the server's public key is not a PEM public key")]
    PublicKey,
    /// The password does not fit, or the library failed.
    #[error("the password could not be encrypted")]
    Encrypt,
    /// What the client sent was not made with this key.
    #[error("the password could not be decrypted")]
    Decrypt,
}

/// The proxy's own key pair.
#[derive(Debug)]
pub struct RsaKey {
    private: OaepPrivateDecryptingKey,
    public_pem: String,
}

impl RsaKey {
    /// Makes a key of 2048 bits, as mysqld does. Takes tens to hundreds of milliseconds.
    ///
    /// # Errors
    /// When the library fails.
    pub fn generate() -> Result<Self, RsaError> {
        let key =
            PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| RsaError::Generate)?;
        let der: PublicKeyX509Der<'_> =
            key.public_key().as_der().map_err(|_| RsaError::Generate)?;
        let public_pem = to_pem(der.as_ref());
        let private = OaepPrivateDecryptingKey::new(key).map_err(|_| RsaError::Generate)?;
        Ok(Self { private, public_pem })
    }

    /// The public key as clients want it.
    #[must_use]
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// The password that a client encrypted with the public key, without its NUL.
    ///
    /// # Errors
    /// When it was not made with this key.
    pub fn decrypt(&self, sealed: &[u8], salt: &Salt) -> Result<Zeroizing<Vec<u8>>, RsaError> {
        let mut room = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let open = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, sealed, &mut room, None)
            .map_err(|_| RsaError::Decrypt)?;
        let mut password = Zeroizing::new(open.to_vec());
        xor_with_salt(&mut password, salt);
        if password.pop() != Some(0) {
            return Err(RsaError::Decrypt);
        }
        Ok(password)
    }
}

/// Encrypts `password` for the server whose public key is `pem`.
///
/// # Errors
/// When `pem` is no public key, or the password too long for it.
pub fn encrypt_with_pem(pem: &[u8], password: &[u8], salt: &Salt) -> Result<Vec<u8>, RsaError> {
    let der = from_pem(pem).ok_or(RsaError::PublicKey)?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| RsaError::PublicKey)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| RsaError::PublicKey)?;
    let mut plain = with_nul(password);
    xor_with_salt(&mut plain, salt);
    let mut room = vec![0; key.ciphertext_size()];
    let sealed =
        key.encrypt(&OAEP_SHA1_MGF1SHA1, &plain, &mut room, None).map_err(|_| RsaError::Encrypt)?;
    Ok(sealed.to_vec())
}

/// A password and its NUL, in one piece of memory that is wiped.
#[must_use]
pub fn with_nul(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut both = Zeroizing::new(Vec::with_capacity(password.len() + 1));
    both.extend_from_slice(password);
    both.push(0);
    both
}

fn xor_with_salt(bytes: &mut [u8], salt: &Salt) {
    for (byte, salt) in bytes.iter_mut().zip(salt.iter().cycle()) {
        *byte ^= salt;
    }
}

fn to_pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|&b| char::from(b)));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}

fn from_pem(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let body = text.split_once("-----BEGIN PUBLIC KEY-----")?.1;
    let body = body.split_once("-----END PUBLIC KEY-----")?.0;
    let body: String = body.split_ascii_whitespace().collect();
    BASE64.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = *b"abcdefghijklmnopqrst";

    #[test]
    fn a_password_comes_through_whoever_encrypts_it() {
        let key = RsaKey::generate().expect("a key");
        for password in [&b""[..], b"secret", &[b'x'; 100]] {
            let ours = encrypt_with_pem(key.public_pem().as_bytes(), password, &SALT);
            assert_eq!(*key.decrypt(&ours.expect("fits"), &SALT).expect("ours"), password);
            let mut padded = password.to_vec();
            padded.push(0);
            xor_with_salt(&mut padded, &SALT);
            let theirs = mysql_common::crypto::encrypt(&padded, key.public_pem().as_bytes());
            assert_eq!(*key.decrypt(&theirs, &SALT).expect("mysql_common's"), password);
        }
    }

    #[test]
    fn rubbish_is_refused() {
        let key = RsaKey::generate().expect("a key");
        assert_eq!(key.decrypt(&[1; 256], &SALT), Err(RsaError::Decrypt));
        assert_eq!(key.decrypt(&[], &SALT), Err(RsaError::Decrypt));
        assert_eq!(encrypt_with_pem(b"no key", b"pw", &SALT), Err(RsaError::PublicKey));
        let long = encrypt_with_pem(key.public_pem().as_bytes(), &[b'x'; 300], &SALT);
        assert_eq!(long, Err(RsaError::Encrypt));
    }
}
