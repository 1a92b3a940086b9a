//! The command lines that people have, before accounts that are not of their default plugin.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::Stack;
use crate::{is_mariadb, make, missing};

async fn run(mut command: Command) -> Output {
    let ran = tokio::task::spawn_blocking(move || command.output());
    ran.await.expect("it ran").expect("it can be run")
}

/// The `mysql` of MySQL 9, which has no `mysql_native_password`, through the loader of its own root.
fn mysql_9() -> Option<Command> {
    let named = std::env::var_os("TANDEM_MYSQL_ROOT").map(PathBuf::from);
    let root = named
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/servers/mysql-9"));
    if !root.join("usr/bin/mysql").is_file() {
        return None;
    }
    let libraries =
        format!("{0}/usr/lib/x86_64-linux-gnu:{0}/usr/lib/mysql/private", root.display());
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(libraries).arg(root.join("usr/bin/mysql"));
    command.arg("--no-defaults");
    Some(command)
}

async fn logs_in(mut command: Command, stack: &Stack, user: &str) {
    command.args(["--protocol=TCP", "-h127.0.0.1", "-N", &format!("-P{}", stack.port())]);
    command.args([&format!("-u{user}"), "--password=a secret", "app"]);
    command.args(["-e", "SELECT CONCAT(CURRENT_USER(), '!')"]);
    let line = format!("{command:?}");
    let output = run(command).await;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains(&format!("{user}@%!")), "{line}: {said}");
}

#[tokio::test]
async fn command_lines_log_in_to_accounts_of_every_plugin() {
    let stack = Stack::start().await;
    let mut users = vec!["usual"];
    make(&stack, &[("usual@'%'", "IDENTIFIED BY 'a secret'")]).await;
    if !is_mariadb(&stack) {
        make(&stack, &[("old@'%'", "IDENTIFIED WITH sha256_password BY 'a secret'")]).await;
        users.push("old");
    } else if crate::kinds::has_plugin(&stack, "auth_ed25519").await {
        make(&stack, &[("ed@'%'", "IDENTIFIED VIA ed25519 USING PASSWORD('a secret')")]).await;
        users.push("ed");
    }
    for user in users {
        if Command::new("mariadb").arg("--version").output().is_ok() {
            for more in ["--ssl", "--skip-ssl"] {
                let mut mariadb = Command::new("mariadb");
                mariadb.args(["--no-defaults", more]);
                logs_in(mariadb, &stack, user).await;
            }
        } else {
            missing("the `mariadb` command line");
        }
        for more in [
            &["--ssl-mode=REQUIRED"][..],
            &["--ssl-mode=DISABLED", "--get-server-public-key"],
            &[
                "--ssl-mode=DISABLED",
                "--get-server-public-key",
                "--default-auth=caching_sha2_password",
            ],
        ] {
            let Some(mut mysql) = mysql_9() else {
                return missing("MySQL 9 (TANDEM_MYSQL_ROOT or .cache/servers/mysql-9)");
            };
            mysql.args(more);
            logs_in(mysql, &stack, user).await;
        }
    }
}
