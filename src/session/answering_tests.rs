//! The plugins against a scripted master, with and without somebody who could read along.

use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::*;
use crate::wire::{RsaKey, native_token_of_password, sha2_token};

const SALT: &Salt = b"ABCDEFGHIJKLMNOPQRST";
const NONCE: &Nonce = &[0xA5; NONCE_LEN];
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

async fn pair(secure: bool) -> (PacketStream<Stream>, PacketStream<Stream>) {
    if secure {
        let (near, far) = UnixStream::pair().expect("a pair");
        return (PacketStream::new(Stream::Unix(near)), PacketStream::new(Stream::Unix(far)));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("bound"));
    let (near, far) = tokio::join!(near, listener.accept());
    let far = Stream::Tcp(far.expect("accepted").0);
    (PacketStream::new(Stream::Tcp(near.expect("connected"))), PacketStream::new(far))
}

fn switch(plugin: &str, data: &[u8]) -> Vec<u8> {
    [b"\xFE", plugin.as_bytes(), b"\0", data, b"\0"].concat()
}

fn password() -> Credential {
    Credential::Password(Zeroizing::new(b"secret".to_vec()))
}

/// Says each packet and hears the answer to it, then OK.
async fn answers(credential: &Credential, secure: bool, said: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut near, mut far) = pair(secure).await;
    let exchange = Exchange::new(&mut near, credential, NATIVE, Salt::default()).finish();
    let script = async {
        let mut heard = Vec::new();
        for payload in said {
            far.write(payload).await.expect("said");
            heard.push(far.read().await.expect("answered"));
        }
        far.write(OK).await.expect("said");
        heard
    };
    let (ok, heard) = tokio::join!(exchange, script);
    assert_eq!(ok.expect("accepted"), OK);
    heard
}

#[tokio::test]
async fn a_password_answers_every_plugin() {
    let secret = || password();
    let salted = |plugin| switch(plugin, SALT);
    for secure in [true, false] {
        let heard = answers(&secret(), secure, &[salted(NATIVE)]).await;
        assert_eq!(heard, [native_token_of_password(b"secret", SALT)]);
        let heard = answers(&secret(), secure, &[switch("client_ed25519", NONCE)]).await;
        assert_eq!(heard, [ed25519_signature(b"secret", NONCE)]);
        let parameters = [&b"P\0"[..], &[7; 18]].concat();
        let heard =
            answers(&secret(), secure, &[switch("parsec", NONCE), parameters.clone()]).await;
        let own: Nonce = heard[1][..NONCE_LEN].try_into().expect("a nonce");
        let parameters = ParsecParameters::parse(&parameters).expect("parameters");
        assert_eq!(heard[0], b"");
        assert_eq!(heard[1], parsec_answer(b"secret", &parameters, NONCE, &own));
    }
    let heard = answers(&secret(), true, &[salted(CACHING_SHA2), vec![1, 4]]).await;
    assert_eq!(heard, [&sha2_token(b"secret", SALT)[..], b"secret\0"]);
    for plugin in ["sha256_password", "mysql_clear_password"] {
        assert_eq!(answers(&secret(), true, &[salted(plugin)]).await, [b"secret\0"]);
    }
    let question = [b"\xFEdialog\0\x04Password: ".to_vec()];
    assert_eq!(answers(&secret(), true, &question).await, [b"secret\0"]);
}

#[tokio::test]
async fn over_plain_tcp_a_password_is_encrypted_for_the_master() {
    let key = RsaKey::generate().expect("a key");
    let pem = [&[1], key.public_pem().as_bytes()].concat();
    let asked = [switch(CACHING_SHA2, SALT), vec![1, 4], pem.clone()];
    let heard = answers(&password(), false, &asked).await;
    assert_eq!(heard[1], [2]);
    assert_eq!(*key.decrypt(&heard[2], SALT).expect("for this key"), b"secret");
    let heard = answers(&password(), false, &[switch("sha256_password", SALT), pem]).await;
    assert_eq!(heard[0], [1]);
    assert_eq!(*key.decrypt(&heard[1], SALT).expect("for this key"), b"secret");
}

#[tokio::test]
async fn no_password_answers_every_plugin_too() {
    for secure in [true, false] {
        for (plugin, answer) in [
            (NATIVE, &b""[..]),
            (CACHING_SHA2, b""),
            ("sha256_password", b"\0"),
            ("mysql_clear_password", b"\0"),
            ("client_ed25519", &ed25519_signature(b"", SALT_AND_ZEROES)),
        ] {
            let heard = answers(&Credential::Empty, secure, &[switch(plugin, SALT)]).await;
            assert_eq!(heard, [answer], "{plugin}");
        }
    }
}

/// What is missing of a nonce is zeroes.
const SALT_AND_ZEROES: &Nonce = b"ABCDEFGHIJKLMNOPQRST\0\0\0\0\0\0\0\0\0\0\0\0";

#[tokio::test]
async fn a_second_question_cannot_be_answered() {
    let (mut near, mut far) = pair(true).await;
    let credential = password();
    let exchange = Exchange::new(&mut near, &credential, NATIVE, Salt::default()).finish();
    let script = async {
        for (said, heard) in
            [(&b"\xFEdialog\0\x04Password: "[..], &b"secret\0"[..]), (b"\x05Code: ", b"\0")]
        {
            far.write(said).await.expect("said");
            assert_eq!(far.read().await.expect("answered"), heard);
        }
        far.write(b"\xFF\x15\x04#28000denied").await.expect("said");
    };
    let (refused, ()) = tokio::join!(exchange, script);
    let Err(ConnectFailure::Unsupported(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("more than a password"), "{reason}");
}
