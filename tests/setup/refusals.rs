//! What is refused, with what to do about it and nothing changed.

use std::process::Command;

use tandem::config::Config;
use tandem::pair::setup::{Ended, Wishes};
use tandem::sandbox::{Sandbox, SandboxOptions, ServerBinaries};
use tandem::topology::{Flavor, ServerAddress, Servers};

use crate::bare::{Bare, Said, administrators, apply, set_up};

#[track_caller]
fn refused(said: &Said, ended: Ended, words: &[&str]) {
    assert_eq!(said.ended, ended, "{}", said.text);
    for words in words.iter().chain(&["Nothing was changed."]) {
        assert!(said.text.contains(words), "`{words}` is not said in\n{}", said.text);
    }
}

fn at(host: &str, port: u16) -> ServerAddress {
    ServerAddress::Tcp { host: host.to_owned(), port }
}

/// The same accounts and settings for other servers.
fn configured(bare: &Bare, masters: Vec<(&str, ServerAddress)>) -> Config {
    let masters = masters.into_iter().map(|(name, address)| (name.to_owned(), address));
    Config { servers: Servers::new(masters, []), ..bare.config.clone() }
}

#[tokio::test]
async fn what_cannot_be_joined_is_refused_and_nothing_is_changed() {
    let bare = Bare::start(2, 0).await;
    let ports = [bare.server(0).port(), bare.server(1).port()];
    other_logins(&bare).await;

    let before = bare.everything().await;
    let twice = configured(
        &bare,
        vec![("m1", at("127.0.0.1", ports[0])), ("m2", at("localhost", ports[0]))],
    );
    let said = set_up(&apply(), &twice, &bare.administrators()).await;
    refused(&said, Ended::Failed, &["one and the same server"]);

    let socket = ServerAddress::Unix(bare.server(1).socket());
    let local = configured(&bare, vec![("m1", at("127.0.0.1", ports[0])), ("m2", socket)]);
    let logins = administrators(
        &local,
        "admin",
        "admin",
        &[("TANDEM_SETUP__M2__USER", "root"), ("TANDEM_SETUP__M2__PASSWORD", "")],
    );
    let said = set_up(&apply(), &local, &logins).await;
    refused(&said, Ended::Failed, &["the other servers cannot reach it"]);

    let gone =
        configured(&bare, vec![("m1", at("127.0.0.1", ports[0])), ("m2", at("127.0.0.1", 1))]);
    let said = set_up(&apply(), &gone, &bare.administrators()).await;
    refused(&said, Ended::Unreached, &["m2: nobody answers at 127.0.0.1:1"]);

    let mut open = bare.config.clone();
    open.monitor.password = tandem::config::Secret::default();
    let said = set_up(&apply(), &open, &bare.administrators()).await;
    refused(&said, Ended::Failed, &["[monitor] has no password", "password_file"]);
    assert_eq!(bare.everything().await, before);

    other_data(&bare).await;
    another_source(&bare).await;
}

async fn other_logins(bare: &Bare) {
    let before = bare.everything().await;
    let wrong = administrators(&bare.config, "admin", "wrong", &[]);
    let said = set_up(&apply(), &bare.config, &wrong).await;
    refused(
        &said,
        Ended::Failed,
        &["m1 refuses the administrator admin", "m2 refuses", "TANDEM_SETUP__PASSWORD"],
    );
    assert_eq!(bare.everything().await, before);

    for index in 0..2 {
        bare.server(index)
            .execute(&[
                "SET SESSION sql_log_bin = 0",
                "CREATE USER 'dba'@'%' IDENTIFIED BY 'dba'",
                "GRANT SELECT, INSERT, UPDATE, CREATE, PROCESS ON *.* TO 'dba'@'%'",
            ])
            .await
            .unwrap();
    }
    let before = bare.everything().await;
    let weak = administrators(&bare.config, "dba", "dba", &[]);
    let said = set_up(&apply(), &bare.config, &weak).await;
    let grant = "GRANT ALL PRIVILEGES ON *.* TO 'dba'@'%' WITH GRANT OPTION";
    refused(&said, Ended::Failed, &["the administrator dba@% lacks", "CREATE USER", grant]);
    assert_eq!(bare.everything().await, before);
}

async fn other_data(bare: &Bare) {
    for (index, values) in [(0, "(1), (2), (3)"), (1, "(1), (2), (4)")] {
        bare.server(index)
            .execute(&[
                "SET SESSION sql_log_bin = 0",
                "CREATE DATABASE app",
                "CREATE TABLE app.same (id INT PRIMARY KEY)",
                "CREATE TABLE app.other (id INT PRIMARY KEY)",
                "INSERT INTO app.same VALUES (1)",
                &format!("INSERT INTO app.other VALUES {values}"),
                &format!("CREATE TABLE app.only{} (id INT PRIMARY KEY)", index + 1),
            ])
            .await
            .unwrap();
    }
    let before = bare.everything().await;
    let said = bare.setup(&apply()).await;
    let differences = [
        "m1 and m2 hold different data",
        "table app.only1: only on m1",
        "table app.only2: only on m2",
        "table app.other: 3 rows on both, with other content",
        "--copy-from m1",
    ];
    refused(&said, Ended::Failed, &differences);
    assert!(!said.text.contains("app.same"), "{}", said.text);
    let said = bare.setup(&Wishes { copy_from: Some("m1".to_owned()), ..apply() }).await;
    refused(&said, Ended::Failed, &["m1 and m2 hold different data"]);
    assert_eq!(bare.everything().await, before);
}

async fn another_source(bare: &Bare) {
    let follow = match bare.flavor() {
        Flavor::MariaDb => {
            "CHANGE MASTER TO MASTER_HOST='10.9.8.7', MASTER_PORT=3307, MASTER_USER='x'"
        }
        Flavor::MySql => {
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='10.9.8.7', SOURCE_PORT=3307, SOURCE_USER='x'"
        }
    };
    if bare.flavor() == Flavor::MariaDb {
        // It has no id of its own, and could not follow anybody.
        bare.server(1).execute(&["SET GLOBAL server_id = 2"]).await.unwrap();
    }
    bare.server(1).execute(&[follow]).await.unwrap();
    let before = bare.everything().await;
    let said = bare.setup(&apply()).await;
    let words = ["m2 receives from 10.9.8.7:3307", "none of the configured servers", "RESET"];
    refused(&said, Ended::Failed, &words);
    assert_eq!(bare.everything().await, before);
}

#[tokio::test]
async fn servers_of_two_families_are_refused() {
    let bare = Bare::start(1, 0).await;
    if bare.flavor() == Flavor::MariaDb {
        println!("NOT TESTED: needs MySQL beside MariaDB, which the suite mysql-9 has");
        return;
    }
    let Some(mariadb) = ["/usr/sbin/mariadbd", "/usr/sbin/mysqld"].into_iter().find_map(|path| {
        let binaries = ServerBinaries::at(path.as_ref()).ok()?;
        (binaries.flavor() == Flavor::MariaDb).then_some(binaries)
    }) else {
        println!("NOT TESTED: there is no MariaDB installed here");
        return;
    };
    let options = SandboxOptions {
        masters: 1,
        bare: true,
        binaries: Some(mariadb),
        ..SandboxOptions::default()
    };
    let other = Sandbox::start(options).await.expect("servers start");
    let both = vec![("m1", bare.server(0).address()), ("m2", other.server(0).address())];
    let before = bare.everything().await;
    let said = set_up(&apply(), &configured(&bare, both), &bare.administrators()).await;
    refused(&said, Ended::Failed, &["servers of two families", "m1 is MySQL", "m2 is MariaDB"]);
    assert_eq!(bare.everything().await, before);
}

/// The exit status and the words of the program itself.
#[test]
fn the_command_says_what_it_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let text = "[[masters]]\nname = \"m1\"\naddress = \"127.0.0.1:1\"\n\
                [[masters]]\nname = \"m2\"\naddress = \"127.0.0.1:2\"\n";
    std::fs::write(&file, text).unwrap();
    let run = |variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tandem"))
            .args(["setup", "--apply", "-c"])
            .arg(&file)
            .envs(variables.iter().copied())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (status, said) = run(&[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("TANDEM_SETUP__USER is not set"), "{said}");
    let (status, said) = run(&[("TANDEM_SETUP__USER", "root"), ("TANDEM_SETUP__PASSWORD", "x")]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("m1: nobody answers at 127.0.0.1:1"), "{said}");
    assert!(said.contains("m2: nobody answers"), "{said}");
    let (status, said) = run(&[("TANDEM_SETUP__USR", "root")]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("did you mean `TANDEM_SETUP__USER`?"), "{said}");
}
