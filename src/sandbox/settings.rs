//! The configuration files of the sandbox's servers: those of a pair, and small.

use std::fmt::{Display, Write as _};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::ServerBinaries;
use crate::pair::Shape;
use crate::topology::Flavor;

/// What distinguishes one server of a sandbox from the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// 1 for the first master.
    pub(super) number: u32,
    /// How many masters there are.
    pub(super) masters: u32,
    /// Where it listens.
    pub(super) listen: SocketAddr,
}

impl Place {
    /// Whether it is a slave of the masters. Semi-synchronous replication waits for none of those.
    fn is_replica(self) -> bool {
        self.number > self.masters
    }
}

/// What all servers of a sandbox have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    /// Whether a commit is on disk before it is acknowledged.
    pub(super) durable: bool,
    /// Whether a commit is on the other master before it is acknowledged.
    pub(super) semi_sync: bool,
    /// Who receives from whom.
    pub(super) shape: Shape,
}

/// Makes a server's directory, with what its settings take for granted in it.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    std::fs::create_dir(directory)?;
    std::fs::create_dir(directory.join("tmp"))
}

/// For making the system tables: nothing of a pair, and no care for the disk.
pub(super) fn for_initialising(binaries: &ServerBinaries, directory: &Path) -> String {
    let mut file = base(binaries, directory);
    file.flag("skip_log_bin");
    file.set("innodb_flush_log_at_trx_commit", 0);
    file.text
}

/// For a server as somebody finds it who has just installed it: where it listens, and nothing of a pair.
pub(super) fn for_bare(binaries: &ServerBinaries, directory: &Path, listen: SocketAddr) -> String {
    let mut file = base(binaries, directory);
    place(&mut file, directory, listen);
    file.text
}

/// For a master of the pair, or for a replica, whose number is above those of the masters.
pub(super) fn for_server(
    binaries: &ServerBinaries,
    directory: &Path,
    place: Place,
    shared: Shared,
) -> String {
    let mut file = base(binaries, directory);
    self::place(&mut file, directory, place.listen);
    file.set("max_connections", 2000);
    file.set("max_allowed_packet", "1G");
    file.set("local_infile", "ON");
    // Tandem opens exactly one. MariaDB has no SET PERSIST, so this is where it must stand.
    file.set("read_only", "ON");

    file.set("server_id", place.number);
    file.set("log_bin", "binlog");
    file.set("relay_log", "relay");
    file.set("auto_increment_increment", place.masters);
    file.set("auto_increment_offset", place.number);
    let (binlog, redo) = if shared.durable { (1, 1) } else { (0, 0) };
    file.set("sync_binlog", binlog);
    file.set("innodb_flush_log_at_trx_commit", redo);
    match binaries.flavor() {
        Flavor::MariaDb => mariadb(&mut file, place, shared),
        Flavor::MySql => mysql(&mut file, place, shared),
    }
    file.text
}

fn place(file: &mut File, directory: &Path, listen: SocketAddr) {
    file.path("socket", &socket(directory));
    file.path("pid_file", &directory.join("mysqld.pid"));
    file.set("bind_address", listen.ip());
    file.set("port", listen.port());
    file.flag("skip_name_resolve");
}

/// The name of the socket in a server's directory.
pub(super) fn socket(directory: &Path) -> PathBuf {
    directory.join("mysqld.sock")
}

fn base(binaries: &ServerBinaries, directory: &Path) -> File {
    let mut file = File { text: "[mysqld]\n".to_owned() };
    if rustix::process::geteuid().is_root() {
        // A server that root starts wants to be told that this is no mistake.
        file.set("user", "root");
    }
    file.path("basedir", binaries.prefix());
    if let Some(share) = binaries.share() {
        file.path("lc_messages_dir", &share);
        file.path("character_sets_dir", &share.join("charsets"));
    }
    if let Some(plugins) = binaries.plugins() {
        file.path("plugin_dir", &plugins);
    }
    file.path("datadir", &directory.join("data"));
    file.path("log_error", &directory.join("error.log"));
    // Not the common one: a MariaDB that starts removes everybody's temporary tables from there.
    file.path("tmpdir", &directory.join("tmp"));
    file.set("innodb_buffer_pool_size", "64M");
    match binaries.flavor() {
        Flavor::MariaDb => {
            file.set("innodb_log_file_size", "32M");
            file.set("performance_schema", "OFF");
        }
        Flavor::MySql => {
            file.set("innodb_redo_log_capacity", "64M");
            // Its default is a directory that exists only where the package is installed.
            file.set("secure_file_priv", "NULL");
            file.set("mysqlx", "OFF");
        }
    }
    file
}

fn mariadb(file: &mut File, place: Place, shared: Shared) {
    file.set("binlog_format", "ROW");
    file.set("log_slave_updates", "ON");
    // A domain per master: the two streams have no common order. Strict mode demands one.
    file.set("gtid_domain_id", place.number);
    file.set("gtid_strict_mode", "OFF");
    if shared.shape == Shape::Mesh || place.is_replica() {
        // What one master writes comes from it and from all who pass it on; it is executed once.
        file.set("gtid_ignore_duplicates", "ON");
    }
    file.set("slave_parallel_threads", 4);
    file.set("slave_parallel_mode", "optimistic");
    if place.is_replica() {
        // Several channels share these threads, and none is to have all of them.
        file.set("slave_domain_parallel_threads", 2);
    }
    // Four heartbeats missed: the receiver connects again.
    file.set("slave_net_timeout", 4);
    if shared.semi_sync && !place.is_replica() {
        file.set("rpl_semi_sync_master_enabled", "ON");
        file.set("rpl_semi_sync_slave_enabled", "ON");
        file.set("rpl_semi_sync_master_wait_point", "AFTER_SYNC");
    }
}

/// MySQL logs rows and passes on what it receives by default, and waits for a semi-synchronous
/// acknowledgement at the right point.
fn mysql(file: &mut File, place: Place, shared: Shared) {
    file.set("gtid_mode", "ON");
    file.set("enforce_gtid_consistency", "ON");
    file.set("replica_parallel_workers", 4);
    file.set("replica_preserve_commit_order", "ON");
    file.set("replica_net_timeout", 4);
    // OFF is the default below 32 processors, and commits wait for a timer now and then.
    file.set("innodb_log_writer_threads", "ON");
    if shared.semi_sync && !place.is_replica() {
        file.set("plugin_load_add", "semisync_source.so");
        file.set("plugin_load_add", "semisync_replica.so");
        file.set("rpl_semi_sync_source_enabled", "ON");
        file.set("rpl_semi_sync_replica_enabled", "ON");
    }
}

struct File {
    text: String,
}

impl File {
    fn set(&mut self, name: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{name} = {value}");
    }

    fn flag(&mut self, name: &str) {
        let _ = writeln!(self.text, "{name}");
    }

    /// Quoted: a directory may have a `#` in its name, which begins a comment otherwise.
    fn path(&mut self, name: &str, path: &Path) {
        self.set(name, format_args!("\"{}\"", path.display()));
    }
}
