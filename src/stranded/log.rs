//! Reading the returned master's binary log as a replica would: from what the active one has, to the
//! end.
//!
//! MySQL is told what is not wanted and leaves it out itself (`COM_BINLOG_DUMP_GTID`). MariaDB is told
//! a position in each domain by variables of the session (`@slave_connect_state`, and
//! `@mariadb_slave_capability`, without which it would not send its own events:
//! <https://mariadb.com/kb/en/gtid/>), and finds the place in its logs by itself. Either ends the
//! stream at the end of the log, because it is asked not to wait for more.
//!
//! The server ends another dump that has the same server id; it takes it for the same replica, which
//! has connected again. So the id is one that nobody has, and is random: two proxies may read at
//! once.

use aws_lc_rs::rand;
use futures_util::StreamExt as _;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn};
use mysql_common::packets::{GnoInterval, Sid, Tag};

use super::assembly::{Assembly, Bounds, Collected};
use super::error::InspectError;
use super::event::{LogEvent, read};
use crate::topology::{Flavor, GtidSet};

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) flavor: Flavor,
    pub(super) stranded: &'a GtidSet,
    /// What the returned master has executed.
    pub(super) executed: &'a GtidSet,
    /// MariaDB's positions of the active master, as its text: each the last of its domain, with the
    /// server that wrote it, by which the returned master finds it.
    pub(super) active_position: &'a str,
}

/// Events in a row that cannot even be taken apart, after which the log is given up.
const BROKEN_EVENTS: usize = 100;

/// The wanted transactions.
pub(super) async fn read_log(
    conn: Conn,
    wanted: Wanted<'_>,
    bounds: Bounds,
) -> Result<Collected, InspectError> {
    let mut assembly = Assembly::new(wanted.stranded.clone(), bounds);
    each_event(open(conn, wanted).await?, |event, size| assembly.take(event, size)).await?;
    Ok(assembly.finish())
}

/// Hands over every event from the beginning of `file` to the end of the log, whoever wrote it.
pub(super) async fn read_all(
    mut conn: Conn,
    flavor: Flavor,
    file: &str,
    mut take: impl FnMut(LogEvent),
) -> Result<(), InspectError> {
    if flavor == Flavor::MariaDb {
        conn.query_drop("SET @mariadb_slave_capability=4").await?;
    }
    let request = BinlogStreamRequest::new(unused_id()).with_filename(file.as_bytes()).with_pos(4);
    let stream = conn.get_binlog_stream(request.with_non_blocking()).await?;
    each_event(stream, |event, _| take(event)).await
}

async fn each_event(
    mut stream: BinlogStream,
    mut take: impl FnMut(LogEvent, u32),
) -> Result<(), InspectError> {
    let mut broken = 0;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                broken = 0;
                let size = event.header().event_size();
                take(read(&event, |id| stream.get_tme(id)), size);
            }
            // The driver's decoder, and not the connection.
            Err(mysql_async::Error::Io(mysql_async::IoError::Io(error)))
                if broken < BROKEN_EVENTS && is_of_decoder(&error) =>
            {
                broken += 1;
                take(LogEvent::Unreadable(error.to_string()), 0);
            }
            Err(error) => return Err(error.into()),
        }
    }
    // The connection's last task is done; how it ends concerns nobody.
    let _ = stream.close().await;
    Ok(())
}

fn is_of_decoder(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(error.kind(), K::InvalidData | K::Other)
}

async fn open(mut conn: Conn, wanted: Wanted<'_>) -> Result<BinlogStream, InspectError> {
    let id = unused_id();
    let request = match wanted.flavor {
        Flavor::MySql => {
            let known = wanted.executed.subtract(wanted.stranded);
            BinlogStreamRequest::new(id).with_gtid().with_gtid_set(sids(&known))
        }
        Flavor::MariaDb => {
            let own: Option<String> = conn.query_first("SELECT @@GLOBAL.gtid_binlog_pos").await?;
            let own = own.unwrap_or_default();
            let state = connect_state(wanted.active_position, &own, wanted.stranded);
            let quoted = state.replace('\'', "");
            conn.query_drop(format!(
                "SET @mariadb_slave_capability=4, @slave_connect_state='{quoted}', \
                 @slave_gtid_strict_mode=0, @slave_gtid_ignore_duplicates=0"
            ))
            .await?;
            BinlogStreamRequest::new(id)
        }
    };
    Ok(conn.get_binlog_stream(request.with_non_blocking()).await?)
}

/// An id from the upper half of those that there are, which people do not give to servers.
fn unused_id() -> u32 {
    let mut bytes = [0; 4];
    // Without random numbers any id will do: that two proxies read at once is rare enough.
    let _ = rand::fill(&mut bytes);
    u32::from_le_bytes(bytes) | 1 << 31
}

/// The transactions of `known` in the driver's form, whose intervals are open at their end.
fn sids(known: &GtidSet) -> Vec<Sid<'static>> {
    let sid = |(uuid, tag, intervals): (u128, &str, Vec<(u64, u64)>)| {
        let intervals =
            intervals.into_iter().map(|(first, last)| GnoInterval::new(first, last + 1)).collect();
        let sid = Sid::new(uuid.to_be_bytes()).with_intervals(intervals);
        match Tag::new(tag.to_owned()) {
            Ok(tag) => sid.with_tag(tag),
            Err(_) => sid,
        }
    };
    known.sources().map(sid).collect()
}

/// Where to begin in each domain: behind what the active master has, where something is stranded; at
/// the end everywhere else. A domain in which the active master has nothing begins at its beginning.
fn connect_state(active: &str, returned: &str, stranded: &GtidSet) -> String {
    let has_stranded = |gtid: &&str| {
        let domain = gtid.split('-').next().and_then(|domain| domain.parse().ok());
        stranded.domains().any(|stranded| Some(stranded) == domain)
    };
    let of = |text: &str, wanted: bool| -> Vec<String> {
        text.split(',')
            .map(str::trim)
            .filter(|gtid| !gtid.is_empty() && has_stranded(gtid) == wanted)
            .map(str::to_owned)
            .collect()
    };
    [of(active, true), of(returned, false)].concat().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_behind_what_the_active_one_has() {
        let stranded = GtidSet::parse(Flavor::MariaDb, "1-1-106..110,3-1-1").expect("a set");
        assert_eq!(
            connect_state("1-1-105,2-2-90", "1-1-110,2-2-80,3-1-1", &stranded),
            "1-1-105,2-2-80"
        );
        assert_eq!(connect_state("", "1-1-110", &stranded), "");
    }

    #[test]
    fn known_transactions_are_passed_on_with_open_ends() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let text = format!("{uuid}:1-5:tag:7");
        let known = GtidSet::parse(Flavor::MySql, &text).expect("a set");
        let sids = sids(&known);
        let seen: Vec<_> = sids
            .iter()
            .map(|sid| {
                let of = |interval: &GnoInterval| (interval.start(), interval.end());
                (sid.tag().map(ToString::to_string), sid.intervals().iter().map(of).collect())
            })
            .collect::<Vec<(_, Vec<_>)>>();
        assert_eq!(seen, [(None, vec![(1, 6)]), (Some("tag".to_owned()), vec![(7, 8)])]);
        assert_eq!(sids[0].uuid()[..2], [0x3e, 0x11]);
    }
}
