//! Data directories: made once, then copied.
//!
//! Once for a sandbox; or once for all that run while `TANDEM_SANDBOX_TEMPLATES` names a directory.
//! Making one is half of what it takes to start a pair of MySQL, and a suite of tests starts dozens. The
//! directory is for one run of a suite: nothing in it notices that a server was replaced by another
//! of the same version.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use super::{SandboxError, ServerBinaries, settings};
use crate::topology::Flavor;

/// MariaDB's scripts, in order, without their prefix (`mysql_` until 10.x, `mariadb_` since 11).
/// `mariadb-install-db` runs the same and four more, for help texts, the sys schema, performance
/// schema and a test database, which take most of its time and which nobody misses here. It cannot
/// be used itself: it is a shell script around programs that must be installed.
const SYSTEM_TABLES: [&str; 2] = ["system_tables.sql", "system_tables_data.sql"];

/// Names the directory of the data directories that sandboxes share.
const TEMPLATES: &str = "TANDEM_SANDBOX_TEMPLATES";

/// A data directory to copy.
#[derive(Debug)]
pub(super) enum Template {
    /// This sandbox's own.
    Own(PathBuf),
    /// For the others as well.
    Shared(PathBuf),
}

impl Template {
    pub(super) fn place(&self) -> &Path {
        match self {
            Self::Own(place) | Self::Shared(place) => place,
        }
    }

    /// Removes it, unless others want it.
    pub(super) fn done_with(self) -> io::Result<()> {
        match self {
            Self::Own(place) => std::fs::remove_dir_all(place),
            Self::Shared(_) => Ok(()),
        }
    }
}

/// A template for the sandbox in `directory`: the shared one, or a new one, which is shared if that is
/// asked for.
pub(super) async fn template(
    binaries: &ServerBinaries,
    directory: &Path,
) -> Result<Template, SandboxError> {
    let name = format!("{:?}-{}", binaries.flavor(), binaries.version().replace('/', "-"));
    let shared = env::var_os(TEMPLATES).map(|templates| Path::new(&templates).join(name));
    if let Some(shared) = shared.as_ref().filter(|shared| shared.is_dir()) {
        return Ok(Template::Shared(shared.clone()));
    }
    let own = directory.join("template");
    initialise(binaries, &own).await?;
    match shared {
        // It fails where another sandbox was faster, or the directory is on another file system.
        Some(shared) if std::fs::rename(&own, &shared).is_ok() => Ok(Template::Shared(shared)),
        _ => Ok(Template::Own(own)),
    }
}

/// Makes a data directory in `directory`, with `root@localhost` as its only user, without password.
async fn initialise(binaries: &ServerBinaries, directory: &Path) -> Result<(), SandboxError> {
    let io = |doing: &str| SandboxError::io(format!("{doing} in {}", directory.display()));
    settings::make_directory(directory).map_err(io("make a directory"))?;
    let configuration = directory.join("my.cnf");
    std::fs::write(&configuration, settings::for_initialising(binaries, directory))
        .map_err(io("write my.cnf"))?;
    let log = std::fs::File::create(directory.join("error.log")).map_err(io("make a log"))?;

    let mut command = binaries.command(&[]);
    command
        .arg(defaults_file(&configuration))
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log);
    let script = match binaries.flavor() {
        Flavor::MariaDb => {
            std::fs::create_dir(directory.join("data")).map_err(io("make a data directory"))?;
            command.args(["--bootstrap", "--log-warnings=0"]);
            bootstrap_script(binaries)?
        }
        Flavor::MySql => {
            command.arg("--initialize-insecure");
            String::new()
        }
    };
    let mut server = command.spawn().map_err(SandboxError::io("start the server"))?;
    if let Some(mut input) = server.stdin.take() {
        // A server that ends early breaks the pipe; its exit status and its log tell more.
        let _ = input.write_all(script.as_bytes()).await;
    }
    let status = server.wait().await.map_err(SandboxError::io("wait for the server"))?;
    if !status.success() {
        return Err(SandboxError::Initialise { log: log_of(directory) });
    }
    Ok(())
}

/// The argument by which a server finds its settings, and the watchdog the server.
pub(super) fn defaults_file(configuration: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from("--defaults-file=");
    argument.push(configuration);
    argument
}

/// The data directory of `template`, again in `directory`.
pub(super) fn copy(template: &Path, directory: &Path) -> io::Result<()> {
    copy_tree(&template.join("data"), &directory.join("data"))?;
    // MySQL's name for this one server among all; it makes another when there is none.
    match std::fs::remove_file(directory.join("data/auto.cnf")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What the server in `directory` said last.
pub(super) fn log_of(directory: &Path) -> String {
    const LINES: usize = 20;
    let log = std::fs::read(directory.join("error.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// What `mariadb-install-db --auth-root-authentication-method=normal` says to the server.
fn bootstrap_script(binaries: &ServerBinaries) -> Result<String, SandboxError> {
    let share = binaries.share().unwrap_or_else(|| binaries.prefix().join("share"));
    let mut script =
        "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n".to_owned();
    for name in SYSTEM_TABLES {
        let file: PathBuf = ["mariadb_", "mysql_"]
            .map(|prefix| share.join(format!("{prefix}{name}")))
            .into_iter()
            .find(|file| file.is_file())
            .unwrap_or_else(|| share.join(name));
        let text = std::fs::read_to_string(&file)
            .map_err(SandboxError::io(format!("read {}", file.display())))?;
        script.push_str(&text);
    }
    // `localhost` is the Unix socket, which lies in a directory of its owner's alone. The others
    // would be root without a password for everybody on this machine.
    script
        .push_str("\nDELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';\n");
    Ok(script)
}
