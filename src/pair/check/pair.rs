//! What a check is given: the facts of all servers that answered, and what they should be.

use super::{Expectations, Mend};
use crate::pair::dialect;
use crate::pair::facts::{Facts, Following};
use crate::topology::{Flavor, ServerAddress};

/// The servers, seen together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) facts: &'a [Facts],
    pub(super) expected: &'a Expectations,
}

impl<'a> Pair<'a> {
    /// The masters that answered, in order of preference.
    pub(super) fn masters(self) -> impl Iterator<Item = &'a Facts> {
        self.facts.iter().filter(|facts| facts.is_master())
    }

    /// How many masters are configured.
    pub(super) fn master_count(self) -> u32 {
        u32::try_from(self.expected.servers.masters().count()).unwrap_or(u32::MAX)
    }

    /// The master that the highest term anywhere makes active; without one, the only one that is
    /// writable.
    pub(super) fn active(self) -> Option<&'a Facts> {
        let terms = self.facts.iter().filter_map(|facts| facts.term.as_ref().ok()?.as_ref());
        if let Some((_, name)) = terms.max_by_key(|(term, _)| *term) {
            return self.masters().find(|facts| facts.name == *name);
        }
        let mut writable = self.masters().filter(|facts| !facts.is_read_only());
        let first = writable.next();
        first.filter(|_| writable.next().is_none())
    }

    /// Each channel of each server, with the server that receives on it.
    pub(super) fn channels(self) -> impl Iterator<Item = (&'a Facts, &'a Following)> {
        self.facts.iter().flat_map(|facts| {
            facts.channels.iter().flatten().map(move |following| (facts, following))
        })
    }

    /// The configured server, of those that answered, that a channel comes from: by the server id
    /// that its source told, and before the first contact by its address.
    pub(super) fn source(self, following: &Following) -> Option<&'a Facts> {
        let channel = following.channel();
        let by_id = self.facts.iter().find(|facts| {
            channel.source_server_id != 0 && facts.server_id() == channel.source_server_id
        });
        by_id.or_else(|| {
            self.facts.iter().find(|facts| {
                matches!(&facts.address, ServerAddress::Tcp { host, port }
                    if *host == channel.source_host && *port == channel.source_port)
            })
        })
    }

    /// What the source of a channel is called: its name in the configuration, or its address.
    pub(super) fn source_name(self, following: &Following) -> String {
        let channel = following.channel();
        let at =
            ServerAddress::Tcp { host: channel.source_host.clone(), port: channel.source_port };
        let configured = self.expected.servers.iter().find(|server| server.address == at);
        match (self.source(following), configured) {
            (Some(facts), _) => facts.name.clone(),
            (None, Some(server)) => server.name.clone(),
            (None, None) => at.to_string(),
        }
    }
}

/// "m1", "m1 and m2", "m1, m2 and m3".
pub(super) fn listed(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The first few of many: "a, b, c and 7 more".
pub(super) fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len() {
        0..=4 => listed(names),
        count => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
    }
}

/// "1 table", "3 tables".
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// A name as a statement writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The statements that stop and start a channel, or both threads of the one without a name. `thread` is
/// empty, ` IO_THREAD` or ` SQL_THREAD`.
pub(super) fn stop_and_start(
    flavor: Flavor,
    following: &Following,
    thread: &str,
) -> (String, String) {
    let name = &following.channel().name;
    match flavor {
        Flavor::MariaDb if name.is_empty() => {
            (format!("STOP SLAVE{thread}"), format!("START SLAVE{thread}"))
        }
        Flavor::MariaDb => {
            let name = dialect::quoted(name);
            (format!("STOP SLAVE {name}{thread}"), format!("START SLAVE {name}{thread}"))
        }
        Flavor::MySql => {
            let channel = dialect::quoted(name);
            (
                format!("STOP REPLICA{thread} FOR CHANNEL {channel}"),
                format!("START REPLICA{thread} FOR CHANNEL {channel}"),
            )
        }
    }
}

/// Statements between a stop and a start of all appliers of a server.
pub(super) fn while_stopped(facts: &Facts, steps: Vec<Mend>) -> Vec<Mend> {
    let (stop, start) = match facts.flavor() {
        // It changes threads and duplicates only while every thread stands.
        Flavor::MariaDb => (dialect::stop(Flavor::MariaDb), dialect::start(Flavor::MariaDb)),
        Flavor::MySql => ("STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD"),
    };
    let mut all = vec![Mend::sql(&facts.name, stop)];
    all.extend(steps);
    all.push(Mend::sql(&facts.name, start));
    all
}

/// `CHANGE MASTER` of a channel that keeps everything but this.
pub(super) fn change(flavor: Flavor, following: &Following, what: &str) -> String {
    let name = &following.channel().name;
    let name_of = dialect::quoted(name);
    match flavor {
        Flavor::MariaDb if name.is_empty() => format!("CHANGE MASTER TO {what}"),
        Flavor::MariaDb => format!("CHANGE MASTER {name_of} TO {what}"),
        Flavor::MySql => format!("CHANGE REPLICATION SOURCE TO {what} FOR CHANNEL {name_of}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_told_by_the_first_few() {
        let names: Vec<String> = (1..=9).map(|number| format!("t{number}")).collect();
        assert_eq!(few(&names[..1]), "t1");
        assert_eq!(few(&names[..3]), "t1, t2 and t3");
        assert_eq!(few(&names), "t1, t2, t3 and 6 more");
        assert_eq!(listed(&[] as &[String]), "");
        assert_eq!(quoted("a`b"), "`a``b`");
    }
}
