//! The command itself: its exit status and its output.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tandem::sandbox::{Sandbox, SandboxOptions, SandboxServer};
use tandem::topology::Flavor;

use crate::injecting::{ADMINISTRATOR, with_administrator};

pub(crate) fn configuration(sandbox: &Sandbox) -> PathBuf {
    configuration_of(sandbox, &sandbox.servers().iter().collect::<Vec<_>>())
}

/// Of these servers alone, with the login of `sandbox`'s monitor.
pub(crate) fn configuration_of(sandbox: &Sandbox, servers: &[&SandboxServer]) -> PathBuf {
    let masters = servers.iter().map(|server| {
        let list = if server.name().starts_with('r') { "replicas" } else { "masters" };
        format!("[[{list}]]\nname = \"{}\"\naddress = \"{}\"\n", server.name(), server.address())
    });
    let monitor = sandbox.monitor();
    let text = format!(
        "{}[monitor]\nuser = \"{}\"\npassword = \"{}\"\n",
        masters.collect::<String>(),
        monitor.user,
        monitor.password.reveal()
    );
    let file = sandbox.directory().join("proxy.toml");
    std::fs::write(&file, text).expect("written");
    file
}

pub(crate) async fn check(file: &Path, arguments: &[&str], login: &[(&str, &str)]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_tandem"))
        .arg("check")
        .arg("-c")
        .arg(file)
        .args(arguments)
        .envs(login.iter().copied())
        .output()
        .await
        .expect("started")
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn the_exit_status_says_how_it_is() {
    let mut sandbox = with_administrator(SandboxOptions::default()).await;
    let file = configuration(&sandbox);
    let flavor = sandbox.binaries().flavor();

    // A disk of this machine may really be full: that is not the pair's fault.
    let well = check(&file, &["--json"], &ADMINISTRATOR).await;
    let verdict: Value = serde_json::from_slice(&well.stdout).expect("JSON");
    let findings = verdict["findings"].as_array().expect("a list");
    let grave = findings.iter().any(|finding| finding["severity"] != "notice");
    assert!(
        findings.iter().all(|it| it["severity"] == "notice" || it["check"] == "disk"),
        "{verdict:#}"
    );
    assert_eq!(well.status.code(), Some(i32::from(grave)), "{verdict:#}");
    assert_eq!(verdict["servers"], serde_json::json!(["m1", "m2"]));

    // As the monitor's account: it sees all but what its GRANTs leave out, and says so.
    let seen = text(&check(&file, &[], &[]).await);
    if flavor == Flavor::MySql {
        assert!(seen.contains("events of m1 and m2"), "{seen}");
        assert!(seen.contains("GRANT EVENT ON *.* TO 'tandem'@'%';"), "{seen}");
    }
    for part in ["tables of", "grants of", "accounts of"] {
        assert!(!seen.contains(part), "{seen}");
    }

    sandbox.server(1).execute(&["SET GLOBAL auto_increment_offset = 1"]).await.expect("set");
    let found = check(&file, &[], &ADMINISTRATOR).await;
    let said = text(&found);
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains("auto_increment_offset = 2"), "{said}");
    assert!(!said.contains('\u{1b}'), "colour goes to terminals: {said}");

    sandbox.server_mut(1).kill().await.expect("killed");
    let half = check(&file, &[], &ADMINISTRATOR).await;
    assert_eq!(half.status.code(), Some(1));
    assert!(text(&half).contains("m2 refuses connections"), "{}", text(&half));

    let wrong = [("TANDEM_SETUP__USER", "dba"), ("TANDEM_SETUP__PASSWORD", "wrong")];
    let nobody = check(&file, &[], &wrong).await;
    assert_eq!(nobody.status.code(), Some(2));
    assert!(text(&nobody).contains("m1 does not let dba in"), "{}", text(&nobody));

    let none = check(Path::new("/nowhere/proxy.toml"), &[], &ADMINISTRATOR).await;
    assert_eq!(none.status.code(), Some(2));
}
