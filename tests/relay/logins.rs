//! Logins before masters that ask for more than one would think.

use tandem::topology::{Account, AccountPlugin};
use tandem::wire::{Salt, encrypt_with_pem, native_token_of_password, sha2_token};

use crate::fake_server::packets::{AUTOCOMMIT, err, ok};
use crate::fake_server::{CLIENT, FakeConnection, OFFERED, RawClient, Stage};

const SALT: &[u8; 20] = b"ABCDEFGHIJKLMNOPQRST";

/// `SHA1(SHA1("secret"))`
const STAGE2: [u8; 20] = [
    0x14, 0xE6, 0x55, 0x67, 0xAB, 0xDB, 0x51, 0x35, 0xD0, 0xCF, 0xD9, 0xA7, 0x0B, 0x30, 0x32, 0xC1,
    0x79, 0xA4, 0x9E, 0xE7,
];

fn ann(plugins: &[AccountPlugin]) -> Vec<(String, Account)> {
    let row = |plugin: &AccountPlugin| {
        ("ann".to_owned(), Account { host: "%".into(), plugin: plugin.clone() })
    };
    plugins.iter().map(row).collect()
}

fn switch(plugin: &str, data: &[u8]) -> Vec<u8> {
    [b"\xFE", plugin.as_bytes(), b"\0", data].concat()
}

fn denied() -> Vec<u8> {
    err(1045, "28000", "Access denied for user 'ann'@'proxy' (using password: YES)")
}

/// A client whose token is of the older plugin.
async fn with_token(stage: &mut Stage, password: &str) -> (RawClient, FakeConnection) {
    let (stream, _) = stage.dial().await;
    let mut client = RawClient::new(stream);
    let token = |salt: &Salt| native_token_of_password(password.as_bytes(), salt).to_vec();
    client.answer_greeting(CLIENT, "ann", |greeting| token(&greeting.salt)).await;
    let mut master = stage.meet(0).await;
    master.greet(OFFERED).await;
    (client, master)
}

/// A client that is asked for its password, and shows it.
async fn with_password(stage: &mut Stage, password: &str) -> (RawClient, FakeConnection) {
    let (stream, _) = stage.dial().await;
    let mut client = RawClient::new(stream);
    client.answer_greeting(CLIENT, "ann", |_| vec![1; 20]).await;
    let asked = client.expect_switch().await;
    assert_eq!(asked.plugin, "caching_sha2_password");
    client.reply(&sha2_token(password.as_bytes(), &asked.salt)).await;
    client.expect(&[1, 4]).await;
    client.reply(&[2]).await;
    let key = client.packet().await;
    let sealed = encrypt_with_pem(&key[1..], password.as_bytes(), &asked.salt).expect("sealed");
    client.reply(&sealed).await;
    let mut master = stage.meet(0).await;
    master.greet(OFFERED).await;
    (client, master)
}

#[tokio::test]
async fn a_master_with_alternatives_gets_to_the_one_that_fits() {
    let accounts = [AccountPlugin::Other("ed25519".into()), AccountPlugin::Native(Some(STAGE2))];
    let mut stage = Stage::with_accounts(ann(&accounts)).await;
    let (mut client, mut master) = with_token(&mut stage, "secret").await;
    master.say(&switch("client_ed25519", &[7; 32])).await;
    assert_eq!(master.packet().await, [0], "certainly wrong");
    master.say(&switch("mysql_native_password", &[&SALT[..], &[0]].concat())).await;
    assert_eq!(master.packet().await, native_token_of_password(b"secret", SALT));
    master.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
}

#[tokio::test]
async fn a_refusal_that_the_proxy_caused_is_explained() {
    let accounts = [AccountPlugin::Native(Some(STAGE2))];
    for (asked, why) in [
        (switch("client_ed25519", &[7; 32]), "client_ed25519"),
        (switch("caching_sha2_password", SALT), "caching_sha2_password"),
        (switch("somebodys_own", b""), "somebodys_own, which Tandem does not know"),
    ] {
        let mut stage = Stage::with_accounts(ann(&accounts)).await;
        let (mut client, mut master) = with_token(&mut stage, "secret").await;
        let goes_on = asked[1..].starts_with(b"caching");
        master.say(&asked).await;
        if goes_on {
            assert_eq!(master.packet().await.len(), 32);
            master.say(&[1, 4]).await;
        }
        assert_eq!(master.packet().await, [0]);
        master.say(&denied()).await;
        let words = client.expect_error(1045).await;
        assert!(words.contains(why), "{words}");
        client.expect_close().await;
    }
    let mut stage = Stage::with_accounts(ann(&accounts)).await;
    let (mut client, mut master) = with_token(&mut stage, "secret").await;
    master.say(&[2, b'x', 0]).await;
    assert!(client.expect_error(1045).await.contains("several factors"));
}

#[tokio::test]
async fn a_wrong_token_is_refused_in_the_masters_words_whatever_it_asks_for() {
    let mut stage = Stage::with_accounts(ann(&[AccountPlugin::Native(Some(STAGE2))])).await;
    let (mut client, mut master) = with_token(&mut stage, "wrong").await;
    master.say(&switch("client_ed25519", &[7; 32])).await;
    assert_eq!(master.packet().await, [0]);
    master.say(&denied()).await;
    client.expect(&denied()).await;
    client.expect_close().await;
}

#[tokio::test]
async fn no_password_goes_to_a_master_in_clear_where_others_can_read_along() {
    for asked in [switch("mysql_clear_password", b""), switch("dialog", b"\x04Password: ")] {
        let accounts = ann(&[AccountPlugin::Other("pam".into())]);
        let mut stage = Stage::with_accounts(accounts).await;
        let (mut client, mut master) = with_password(&mut stage, "secret").await;
        master.say(&asked).await;
        assert_eq!(master.packet().await, [0]);
        master.say(&denied()).await;
        let words = client.expect_error(1045).await;
        assert!(words.contains("in clear") && words.contains("server_tls.mode"), "{words}");
    }
}

#[tokio::test]
async fn a_password_that_is_refused_is_forgotten_and_asked_for_again() {
    let accounts = ann(&[AccountPlugin::Other("ed25519".into())]);
    let mut stage = Stage::with_accounts(accounts).await;
    for accepted in [true, false, true] {
        let (stream, _) = stage.dial().await;
        let mut client = RawClient::new(stream);
        client.answer_greeting(CLIENT, "ann", |_| vec![1; 20]).await;
        let asked = client.expect_switch().await;
        client.reply(&sha2_token(b"secret", &asked.salt)).await;
        let known = !accepted;
        if !known {
            client.expect(&[1, 4]).await;
            client.reply(&[2]).await;
            let key = client.packet().await;
            let sealed = encrypt_with_pem(&key[1..], b"secret", &asked.salt).expect("sealed");
            client.reply(&sealed).await;
        }
        let mut master = stage.meet(0).await;
        master.greet(OFFERED).await;
        if accepted {
            master.say(&ok(AUTOCOMMIT)).await;
            client.expect_ok().await;
        } else {
            master.say(&denied()).await;
            client.expect(&denied()).await;
        }
    }
}

#[tokio::test]
async fn clients_that_lie_about_a_password_are_refused_by_the_master() {
    let accounts = || ann(&[AccountPlugin::Other("ed25519".into())]);
    for garbage in [vec![], vec![2, 2], vec![9; 256], vec![9; 5000]] {
        let mut stage = Stage::with_accounts(accounts()).await;
        let (stream, _) = stage.dial().await;
        let mut client = RawClient::new(stream);
        client.answer_greeting(CLIENT, "ann", |_| vec![1; 20]).await;
        let asked = client.expect_switch().await;
        client.reply(&sha2_token(b"secret", &asked.salt)).await;
        client.expect(&[1, 4]).await;
        client.reply(&garbage).await;
        let mut master = stage.meet(0).await;
        master.greet(OFFERED).await;
        master.say(&denied()).await;
        client.expect(&denied()).await;
        client.expect_close().await;
    }
}

/// With a standby that is slow, closes, or never answers: the client's own login is over long since.
#[tokio::test]
async fn the_standby_is_asked_behind_the_clients_back_and_hears_a_goodbye() {
    let mut stage = Stage::with_accounts(ann(&[AccountPlugin::Native(Some(STAGE2))])).await;
    let looking = tokio::spawn(std::sync::Arc::clone(&stage.shared).look_after_standbys());
    let (mut client, mut m1) = with_token(&mut stage, "secret").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    client.expect_ok().await;
    let mut m2 = stage.meet(1).await;
    m2.greet(OFFERED).await;
    let login = m2.login.as_ref().expect("a login");
    assert_eq!(login.user, b"ann");
    assert_eq!(login.token, native_token_of_password(b"secret", b"abcdefghijklmnopqrst"));
    m2.say(&ok(AUTOCOMMIT)).await;
    assert_eq!(m2.packet().await, b"\x03SHOW GRANTS", "is there a fence for this user?");
    m2.say(&denied()).await;
    assert_eq!(m2.packet().await, [1], "COM_QUIT");
    let mut logins = stage.shared.standby_logins();
    let known = logins.wait_for(|logins| !logins.is_empty()).await.expect("published").clone();
    assert_eq!((known[0].user.as_str(), &known[0].refusal), ("ann", &None));
    // The same user again is known.
    let (mut again, mut m1) = with_token(&mut stage, "secret").await;
    m1.say(&ok(AUTOCOMMIT)).await;
    again.expect_ok().await;
    assert!(stage.is_unvisited(1));
    looking.abort();
}
