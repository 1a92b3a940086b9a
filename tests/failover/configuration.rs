//! Configurations that are wrong, or that become right while the proxy runs.

use mysql_async::prelude::*;
use tandem::sandbox::Sandbox;

use crate::patience::{eventually, within};
use crate::process::{Process, master, run_to_its_end};

fn pair() -> String {
    master("m1", "127.0.0.1:1") + &master("m2", "127.0.0.1:2")
}

#[tokio::test]
async fn mistakes_in_the_file_are_named_with_their_place() {
    let quiet = "[admin]\nconsole = \"off\"\nhttp = \"off\"\n";
    for (file, words) in [
        (
            format!("{}[failover]\nhodl = \"1s\"\n", pair()),
            &["proxy.toml", "unknown key", "hodl", "`failover.hold`"][..],
        ),
        (
            format!("{}{}{quiet}", master("m1", "127.0.0.1:1"), master("m1", "127.0.0.1:2")),
            &["proxy.toml", "the name `m1` is taken already"][..],
        ),
        (
            format!("listen = [\"no-such-host.invalid:3306\"]\n{}{quiet}", pair()),
            &["listen", "no-such-host.invalid:3306 cannot be resolved"][..],
        ),
    ] {
        let ended = run_to_its_end(&file).await;
        assert!(!ended.status.success(), "{ended:?}");
        for word in words {
            assert!(ended.said.contains(word), "{word:?} is missing in {}", ended.said);
        }
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let quiet = "[admin]\nconsole = \"off\"\nhttp = \"off\"\n";
    let ended = run_to_its_end(&format!("listen = [\"{address}\"]\n{}{quiet}", pair())).await;
    assert!(!ended.status.success(), "{ended:?}");
    let words = format!("listen: {address} is already in use: another process listens there");
    assert!(ended.said.contains(&words), "{}", ended.said);
}

#[tokio::test]
async fn a_master_whose_name_does_not_resolve_is_said_to_be_so() {
    let proxy =
        Process::start(&(master("m1", "no-such-host.invalid:3306") + &master("m2", "127.0.0.1:1")));
    let log = proxy.await_log("no-such-host.invalid").await;
    let (_, line) = log.split_once("no-such-host.invalid").expect("it is there");
    println!("{line}");
    assert!(log.contains("m1"), "{log}");
}

#[tokio::test]
async fn a_missing_privilege_is_named_and_granting_it_is_enough() {
    let sandbox = Sandbox::start(Default::default()).await.expect("a pair");
    let mariadb = sandbox.binaries().flavor() == tandem::topology::Flavor::MariaDb;
    let privilege = if mariadb { "READ_ONLY ADMIN" } else { "SYSTEM_VARIABLES_ADMIN" };
    let user = &sandbox.monitor().user;
    for server in sandbox.servers() {
        let revoke = format!("REVOKE {privilege} ON *.* FROM '{user}'@'%'");
        server.execute(&["SET SESSION sql_log_bin=0", &revoke]).await.expect("revoked");
    }
    let grant = format!("GRANT {privilege} ON *.* TO '{user}'@'%'");
    let proxy = Process::before(&sandbox, "hold = \"60s\"");
    proxy.await_log(&grant).await;
    for server in sandbox.servers() {
        server.execute(&["SET SESSION sql_log_bin=0", &grant]).await.expect("granted");
    }
    let mut client = within("a login", proxy.connect()).await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("written");
    eventually("no more refusals", async || {
        proxy.log().contains("is active by term").then_some(())
    })
    .await;
}
