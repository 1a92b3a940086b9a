//! Users whom the fence does not stop.
//!
//! `read_only` of MariaDB lets those write who may set it: `READ_ONLY ADMIN`, which came with `SUPER`
//! before 10.11.0 and comes with `ALL PRIVILEGES ON *.*` always. An application that logs in as such a user
//! can be written to two masters at once, whatever Tandem does, so it is said aloud. The user
//! is asked, not the tables of privileges: `SHOW GRANTS` tells what its role gives it as well
//! (<https://mariadb.com/kb/en/read_only/>, <https://mariadb.com/kb/en/grant/#read_only-admin>,
//! <https://mariadb.com/kb/en/show-grants/>). MySQL is fenced with `super_read_only`, which stops everybody.

use crate::topology::{Flavor, Identity};
use crate::wire::{Capabilities, Cursor, PacketStream, StreamError};

use super::backend::Backend;

/// Why a user's writes go past `read_only`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfenced {
    /// The privilege that lets it: `READ_ONLY ADMIN`, `SUPER` or `ALL PRIVILEGES`.
    pub privilege: &'static str,
    /// The statement that takes it away.
    pub mend: String,
}

/// Asks a server whether the user that is logged in there is stopped by its fence. `None` where it is,
/// or where the server does not say.
pub(super) async fn unfenced(backend: &mut Backend, identity: &Identity) -> Option<Unfenced> {
    if identity.flavor != Flavor::MariaDb {
        return None;
    }
    let ahead = std::mem::take(&mut backend.carry);
    let old_eof = !backend.capabilities.has(Capabilities::DEPRECATE_EOF);
    let mut packets = PacketStream::resume(&mut backend.stream, ahead);
    let grants = show_grants(&mut packets, old_eof).await.ok()?;
    let with_super = version(&identity.version) < (10, 11);
    grants.iter().find_map(|grant| read_grant(grant, with_super))
}

/// The rows of `SHOW GRANTS`: one column each.
async fn show_grants<S>(
    packets: &mut PacketStream<S>,
    old_eof: bool,
) -> Result<Vec<String>, StreamError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    packets.restart();
    packets.write(b"\x03SHOW GRANTS").await?;
    let mut grants = Vec::new();
    // The number of columns, the one column, and an EOF for those who still want one.
    for _ in 0..if old_eof { 3 } else { 2 } {
        if packets.read().await?.first() == Some(&0xFF) {
            return Ok(grants);
        }
    }
    loop {
        let payload = packets.read().await?;
        // An OK or EOF. A row that begins so would be 16 MiB long.
        if matches!(payload.first(), None | Some(0xFE | 0xFF)) {
            return Ok(grants);
        }
        let grant = Cursor::new(&payload).lenenc_bytes()?;
        grants.push(String::from_utf8_lossy(grant).into_owned());
    }
}

/// `10.11` of `5.5.5-10.11.19-MariaDB-log`.
fn version(text: &str) -> (u16, u16) {
    let own = text.strip_prefix("5.5.5-").unwrap_or(text);
    let mut numbers = own.split('.').map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// ``GRANT READ_ONLY ADMIN, … ON *.* TO `user`@`host` IDENTIFIED …``
fn read_grant(grant: &str, with_super: bool) -> Option<Unfenced> {
    let (privileges, rest) = grant.strip_prefix("GRANT ")?.split_once(" ON *.* TO ")?;
    let lets_past = ["READ_ONLY ADMIN", "ALL PRIVILEGES", "SUPER"];
    let privilege = privileges.split(", ").find_map(|held| {
        let known = lets_past.into_iter().find(|name| *name == held)?;
        (known != "SUPER" || with_super).then_some(known)
    })?;
    let account = rest.split(" IDENTIFIED ").next()?.split(" REQUIRE ").next()?;
    let account = account.trim_end_matches(" WITH GRANT OPTION");
    let taken = if privilege == "SUPER" { "SUPER" } else { "READ_ONLY ADMIN" };
    Some(Unfenced { privilege, mend: format!("REVOKE {taken} ON *.* FROM {account}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_privileges_that_matter_are_found_and_their_end_is_named() {
        let found = |grant| read_grant(grant, false).map(|found| (found.privilege, found.mend));
        let of = |privilege, mend: &str| Some((privilege, mend.to_owned()));
        assert_eq!(
            found("GRANT SELECT, READ_ONLY ADMIN ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*1'"),
            of("READ_ONLY ADMIN", "REVOKE READ_ONLY ADMIN ON *.* FROM `app`@`%`")
        );
        assert_eq!(
            found("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"),
            of("ALL PRIVILEGES", "REVOKE READ_ONLY ADMIN ON *.* FROM `root`@`localhost`")
        );
        assert_eq!(
            found("GRANT READ_ONLY ADMIN ON *.* TO `operators`"),
            of("READ_ONLY ADMIN", "REVOKE READ_ONLY ADMIN ON *.* FROM `operators`")
        );
        assert_eq!(found("GRANT SUPER ON *.* TO `app`@`%`"), None);
        assert_eq!(found("GRANT ALL PRIVILEGES ON `app`.* TO `app`@`%`"), None);
        assert_eq!(found("GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*1'"), None);
        assert_eq!(
            found("GRANT BINLOG ADMIN, READ_ONLY ADMIN ON *.* TO `a`@`%` REQUIRE SSL"),
            of("READ_ONLY ADMIN", "REVOKE READ_ONLY ADMIN ON *.* FROM `a`@`%`")
        );
        let old = read_grant("GRANT SUPER ON *.* TO `app`@`%`", true).expect("found");
        assert_eq!(old.mend, "REVOKE SUPER ON *.* FROM `app`@`%`");
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(version("5.5.5-10.11.19-MariaDB-log"), (10, 11));
        assert_eq!(version("11.8.9-MariaDB"), (11, 8));
        assert_eq!(version(""), (0, 0));
    }
}
