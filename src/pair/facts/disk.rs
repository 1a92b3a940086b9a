//! How full a server's disks are, where that can be known.
//!
//! Servers do not tell. MariaDB does with the plugin `DISKS`; and where a server runs on this
//! machine, the file system can be asked.

use std::path::Path;

use super::{Seen, Unseen, Variables};
use crate::monitor::{Columns, Connection, ConnectionError};
use crate::topology::Flavor;

/// A file system with data of the server on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where it is mounted, or the server's directory on it.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What is left for ordinary users, in bytes.
    pub free: u64,
}

/// <https://mariadb.com/kb/en/information-schema-disks-table/>: kilobytes.
const PLUGIN: &str = "SELECT Path, Total, Available FROM information_schema.DISKS WHERE Total > 0";

pub(super) async fn read(
    connection: &mut Connection,
    variables: &Variables,
) -> Result<Seen<Vec<Disk>>, ConnectionError> {
    if let Some(disks) = here(variables) {
        return Ok(Ok(disks));
    }
    if connection.dialect().flavor == Flavor::MySql {
        return Ok(Err(Unseen::because("MySQL does not tell, and it runs on another machine")));
    }
    let answers = connection.ask(PLUGIN).await?;
    if answers.error.is_some() {
        let why = "the server tells it with its plugin DISKS only (INSTALL SONAME 'disks'), \
                   and with the privilege FILE";
        return Ok(Err(Unseen::because(why)));
    }
    let disk = |row: Columns<'_>| {
        let bytes = |name| row.number::<u64>(&[name]).map(|kilobytes| kilobytes * 1024);
        Ok(Disk { path: row.text(&["Path"])?, size: bytes("Total")?, free: bytes("Available")? })
    };
    let disks: Result<Vec<Disk>, ConnectionError> =
        answers.sets.iter().flatten().map(|row| disk(Columns(row))).collect();
    disks.map(Ok)
}

/// What this machine's own kernel says, if the server runs on it: its machine has the same name, and its
/// process file is here.
fn here(variables: &Variables) -> Option<Vec<Disk>> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    if name.trim() != variables.text("hostname")?
        || !Path::new(variables.text("pid_file")?).exists()
    {
        return None;
    }
    let path = variables.text("datadir")?;
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    let (size, free) = (bytes(stat.f_blocks), bytes(stat.f_bavail));
    Some(vec![Disk { path: path.to_owned(), size, free }])
}
