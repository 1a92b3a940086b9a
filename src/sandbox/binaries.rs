//! Finding a server program, and running it from where it lies.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::pair::dialect::{VersionError, dialect_of};
use crate::topology::Flavor;

/// Names the server to use: a program, or the root directory of a foreign distribution.
const VARIABLE: &str = "TANDEM_SERVER";

/// Where distributions put servers outside of `PATH`.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec"];

/// MariaDB first: where only MariaDB is installed, `mysqld` is another name for it.
const PROGRAMS: [&str; 2] = ["mariadbd", "mysqld"];

/// Why there is no server program.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    /// Nothing is installed, and nothing was named.
    #[error(
        "no mariadbd or mysqld in PATH, /usr/sbin, /usr/local/sbin or /usr/libexec. Install one \
         (Debian, Ubuntu: apt-get install mariadb-server; Fedora: dnf install mariadb-server), or \
         fetch one without installing it (scripts/fetch-server.sh mariadb-11.8), and name it in \
         TANDEM_SERVER"
    )]
    Missing,
    /// The named place holds no server.
    #[error("there is no mariadbd or mysqld at {0}, nor in usr/sbin, sbin or bin below it")]
    NotInDirectory(PathBuf),
    /// The foreign root has no loader for this machine's processor.
    #[error("{0} holds no loader (lib64/ld-linux-x86-64.so.2 or lib/ld-linux-aarch64.so.1)")]
    NoLoader(PathBuf),
    /// The program is there but does not run.
    #[error("{program} --version failed: {reason}")]
    NotRunnable {
        /// The program.
        program: PathBuf,
        /// What it, or the operating system, said.
        reason: String,
    },
    /// The program is of a version that Tandem does not speak.
    #[error("{program}: {source}")]
    Version {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        source: VersionError,
    },
}

/// A server program and the files that belong to it.
#[derive(Clone, Debug)]
pub struct ServerBinaries {
    /// What is executed, and what comes before the server's own arguments.
    command: Vec<OsString>,
    /// `/usr` of `/usr/sbin/mysqld`.
    prefix: PathBuf,
    flavor: Flavor,
    version: String,
}

impl ServerBinaries {
    /// The server that `TANDEM_SERVER` names, or else the installed one.
    ///
    /// # Errors
    /// When there is none, or it does not run.
    pub fn find() -> Result<Self, BinariesError> {
        if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
            return Self::at(Path::new(&named));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let directories: Vec<PathBuf> =
            env::split_paths(&path).chain(SYSTEM_DIRECTORIES.map(PathBuf::from)).collect();
        let program = PROGRAMS
            .iter()
            .flat_map(|name| directories.iter().map(move |directory| directory.join(name)))
            .find(|program| program.is_file())
            .ok_or(BinariesError::Missing)?;
        Self::of_program(&program)
    }

    /// The server at `path`: a program, an unpacked archive with `bin/mysqld`, or a root.
    ///
    /// # Errors
    /// When there is none, or it does not run.
    pub fn at(path: &Path) -> Result<Self, BinariesError> {
        if path.is_file() {
            return Self::of_program(path);
        }
        if program_in(&path.join("usr/sbin")).is_some() {
            return Self::in_root(path);
        }
        let program = program_in(&path.join("sbin")).or_else(|| program_in(&path.join("bin")));
        Self::of_program(&program.ok_or_else(|| BinariesError::NotInDirectory(path.to_owned()))?)
    }

    /// The server in the root directory of another distribution (one that `mmdebstrap` made, say):
    /// it runs with the libraries of that root, started by the loader of that root, and so needs
    /// neither chroot nor privileges.
    ///
    /// # Errors
    /// When there is none, or it does not run.
    pub fn in_root(root: &Path) -> Result<Self, BinariesError> {
        let root = absolute(root)?;
        let program = program_in(&root.join("usr/sbin"))
            .ok_or_else(|| BinariesError::NotInDirectory(root.clone()))?;
        let (loader, triplet) = [
            ("lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
            ("lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
        ]
        .into_iter()
        .map(|(loader, triplet)| (root.join(loader), triplet))
        .find(|(loader, _)| loader.is_file())
        .ok_or_else(|| BinariesError::NoLoader(root.clone()))?;
        let libraries = [root.join("usr/lib").join(triplet), root.join("usr/lib/mysql/private")];
        let libraries = libraries.map(PathBuf::into_os_string).join(":".as_ref());
        Self::asked(
            vec![loader.into(), "--library-path".into(), libraries, program.into()],
            root.join("usr"),
        )
    }

    /// Which family it is of.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Its version, as it says it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The directory above the one of the program: what servers call `basedir`.
    pub(super) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Where the error messages, character sets and (MariaDB) system tables lie.
    pub(super) fn share(&self) -> Option<PathBuf> {
        ["share/mysql", "share/mariadb", "share"]
            .map(|share| self.prefix.join(share))
            .into_iter()
            .find(|share| share.join("english").is_dir())
    }

    /// Where plugins lie, if there are any.
    pub(super) fn plugins(&self) -> Option<PathBuf> {
        ["lib/mysql/plugin", "lib/mariadb/plugin", "lib64/mysql/plugin", "lib/plugin"]
            .map(|plugins| self.prefix.join(plugins))
            .into_iter()
            .find(|plugins| plugins.is_dir())
    }

    /// A command that runs the server, still without arguments; behind `enter`, which is empty or
    /// itself a command that becomes the one it is given.
    pub(super) fn command(&self, enter: &[String]) -> Command {
        let words: Vec<&OsStr> =
            enter.iter().map(OsStr::new).chain(self.command.iter().map(OsStr::new)).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    }

    fn of_program(program: &Path) -> Result<Self, BinariesError> {
        let program = absolute(program)?;
        let prefix = program.ancestors().nth(2).unwrap_or_else(|| Path::new("/")).to_owned();
        Self::asked(vec![program.into()], prefix)
    }

    /// Asks the program who it is.
    fn asked(command: Vec<OsString>, prefix: PathBuf) -> Result<Self, BinariesError> {
        let program = PathBuf::from(command.last().cloned().unwrap_or_default());
        let answer = std::process::Command::new(&command[0])
            .args(&command[1..])
            .arg("--version")
            .output()
            .map_err(|error| BinariesError::NotRunnable {
                program: program.clone(),
                reason: error.to_string(),
            })?;
        if !answer.status.success() {
            let reason = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
            return Err(BinariesError::NotRunnable { program, reason });
        }
        let version = version_of(&String::from_utf8_lossy(&answer.stdout));
        let dialect =
            dialect_of(&version).map_err(|source| BinariesError::Version { program, source })?;
        let flavor = dialect.flavor;
        Ok(Self { command, prefix, flavor, version })
    }
}

/// Symbolic links are followed: the files that belong to a program lie beside the program.
fn absolute(path: &Path) -> Result<PathBuf, BinariesError> {
    path.canonicalize().map_err(|error: io::Error| BinariesError::NotRunnable {
        program: path.to_owned(),
        reason: error.to_string(),
    })
}

fn program_in(directory: &Path) -> Option<PathBuf> {
    PROGRAMS.map(|name| directory.join(name)).into_iter().find(|program| program.is_file())
}

/// `9.7.4-2` of `/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))`.
fn version_of(answer: &str) -> String {
    let version = answer.split_once("Ver ").map_or(answer, |(_, rest)| rest);
    version.split_whitespace().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_programs_own_words() {
        for (answer, version) in [
            ("/r/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))\n", "9.7.4-2"),
            (
                "/usr/sbin/mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64",
                "10.11.19-MariaDB-0+deb12u1",
            ),
        ] {
            assert_eq!(version_of(answer), version);
        }
    }

    #[test]
    fn what_is_no_server_is_refused_by_name() {
        let empty = tempfile::tempdir().unwrap();
        let refused = ServerBinaries::at(empty.path()).unwrap_err();
        assert!(matches!(&refused, BinariesError::NotInDirectory(path) if path == empty.path()));
        let refused = ServerBinaries::at(Path::new("/bin/cat")).unwrap_err();
        assert!(matches!(&refused, BinariesError::Version { .. }), "{refused}");
        let refused = ServerBinaries::at(Path::new("/bin/false")).unwrap_err();
        assert!(matches!(&refused, BinariesError::NotRunnable { .. }), "{refused}");
    }
}
