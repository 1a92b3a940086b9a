//! `tandem status`: the whole at a glance, from the console's tables.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::layout::{Cell, Paint, Tone, aligned, cell};
use crate::console::Row;

/// The console's answers.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// `SHOW STATS`
    pub(super) stats: Vec<Row>,
    /// `SHOW MASTERS`
    pub(super) masters: Vec<Row>,
    /// `SHOW REPLICAS`
    pub(super) replicas: Vec<Row>,
    /// `SHOW READS`
    pub(super) reads: Vec<Row>,
    /// `SHOW SLAVE STATUS`
    pub(super) channels: Vec<Row>,
    /// `SHOW LOGINS`
    pub(super) logins: Vec<Row>,
    /// `SHOW LOST WRITES`
    pub(super) losses: Vec<Row>,
    /// `SHOW EVENTS LIMIT 1`
    pub(super) events: Vec<Row>,
}

impl Status {
    /// The name of the active master.
    pub(super) fn active(&self) -> Option<&str> {
        self.stat("active")
    }

    /// The text for people; `now` is the time on the wall.
    pub(super) fn render(&self, now: SystemTime, paint: Paint) -> String {
        let mut text = self.headline(now, paint);
        text.push('\n');
        text.push_str(&aligned(&self.servers(), paint));
        let problems = self.problems();
        if !problems.is_empty() {
            text.push('\n');
        }
        for (tone, problem) in problems {
            text.push_str(&format!("{} {problem}\n", paint.paint(tone, "!")));
        }
        text.push('\n');
        text.push_str(&aligned(&self.facts(), paint));
        text
    }

    fn stat(&self, name: &str) -> Option<&str> {
        self.stats.iter().find(|row| row.text("Name") == name)?.value("Value")
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(self.stat(name)?.parse().ok()?).ok()
    }

    /// How many findings the checks had; `None` before the first look.
    fn checks(&self) -> Option<String> {
        let counts: Vec<String> = ["error", "warning", "notice"]
            .into_iter()
            .filter_map(|severity| {
                let count =
                    self.stat(&format!("tandem_check_findings{{severity=\"{severity}\"}}"))?;
                let plural = if count == "1" { "" } else { "s" };
                Some(format!("{count} {severity}{plural}"))
            })
            .collect();
        let all_well = counts.iter().all(|count| count.starts_with("0 "));
        match counts.len() {
            0 => None,
            _ if all_well => Some("nothing found".to_owned()),
            _ => Some(format!("{} (SHOW CHECKS)", counts.join(", "))),
        }
    }

    fn headline(&self, now: SystemTime, paint: Paint) -> String {
        let term = self.stat("term").unwrap_or("0");
        let Some(active) = self.active() else {
            let reason = self.stat("held_because").unwrap_or("it is not known why");
            let held = self.seconds("held_seconds");
            let held = held.map_or_else(String::new, |held| format!(", for {}", span(held)));
            let nobody = paint.paint(Tone::Bad, "nobody is active");
            return format!("{nobody}{held}: {reason}\n");
        };
        let active = paint.paint(Tone::Good, &format!("{active} is active"));
        let since = self.seconds("tandem_failover_active_since_timestamp_seconds");
        let since = since.filter(|since| !since.is_zero()).map_or_else(String::new, |since| {
            let since = UNIX_EPOCH + since;
            let age = now.duration_since(since).unwrap_or_default();
            format!(" since {} ({})", utc(since), span(age))
        });
        format!("{active}{since}, by term {term}\n")
    }

    /// Every server.
    fn all(&self) -> impl Iterator<Item = &Row> {
        self.masters.iter().chain(&self.replicas)
    }

    /// Who serves reads, and who does not.
    fn reads(&self) -> Option<String> {
        let which = |serves: &str| -> Vec<&Row> {
            self.reads.iter().filter(|row| row.text("Serves") == serves).collect()
        };
        let names = |rows: &[&Row]| {
            rows.iter().map(|row| row.text("Server")).collect::<Vec<_>>().join(", ")
        };
        let (serving, unfit) = (which("Yes"), which("No"));
        let mut text = match (serving.as_slice(), unfit.as_slice()) {
            ([], []) => return None,
            ([], _) => "nobody serves them".to_owned(),
            (some, _) => format!("from {}", names(some)),
        };
        for row in unfit {
            text.push_str(&format!("; {} {}", row.text("Server"), row.text("Why_Not")));
        }
        Some(text)
    }

    fn servers(&self) -> Vec<Vec<Cell>> {
        let heading = ["NAME", "ADDRESS", "STATE", "WRITES", "RECEIVES"];
        let mut rows = vec![heading.map(|name| cell(Tone::Dim, name)).to_vec()];
        for master in self.all() {
            let name = master.text("Name");
            let state = match (master.value("Up"), master.text("State")) {
                (None, _) => cell(Tone::Warn, "not yet seen"),
                (Some("No"), _) => cell(Tone::Bad, "down"),
                (_, "active") => cell(Tone::Good, "active"),
                (_, other) => cell(Tone::Plain, other),
            };
            let known = master.value("Up") == Some("Yes");
            let writes = match master.value("Read_Only").filter(|_| known) {
                Some("No") => "taken",
                Some(_) => "refused",
                None => "?",
            };
            let channels: Vec<&Row> =
                self.channels.iter().filter(|row| row.text("Server") == name).collect();
            let mut receives = channels.iter().map(|channel| receives(channel, known));
            let first = receives.next().unwrap_or_else(|| cell(Tone::Warn, "from nobody"));
            let first = if known { first } else { cell(Tone::Dim, "?") };
            rows.push(vec![
                cell(Tone::Strong, name),
                cell(Tone::Plain, master.text("Address")),
                state,
                cell(Tone::Plain, writes),
                first,
            ]);
            for more in receives.filter(|_| known) {
                let empty = Cell::default;
                rows.push(vec![empty(), empty(), empty(), empty(), more]);
            }
        }
        rows
    }

    /// What somebody should look at, the worst first.
    fn problems(&self) -> Vec<(Tone, String)> {
        let mut problems = Vec::new();
        for master in self.all().filter(|row| row.text("Last_Probe") != "answers") {
            if let Some(probe) = master.value("Last_Probe") {
                problems.push((Tone::Bad, format!("{} {probe}", master.text("Name"))));
            }
        }
        for loss in self.losses.last().into_iter().filter(|row| row.text("Lost") != "0") {
            let (old, new) = (loss.text("Old_Master"), loss.text("New_Master"));
            let problem = match loss.value("Lost") {
                Some(lost) if Some(lost) == loss.value("Came_Back") => continue,
                Some(lost) => {
                    let since = match loss.text("Came_Back") {
                        "0" => String::new(),
                        some => format!(", {some} of which have come back"),
                    };
                    format!("{new} lacks {lost} writes that {old} acknowledged{since}")
                }
                None => {
                    let why = loss.text("Remark");
                    format!(
                        "it is not known which writes that {old} acknowledged {new} lacks: {why}"
                    )
                }
            };
            problems.push((Tone::Bad, problem));
        }
        for master in self.masters.iter().filter(|row| row.text("Semi_Sync") == "fell back") {
            if master.text("State") == "active" {
                let name = master.text("Name");
                let problem = format!("{name} acknowledges commits that no standby has received");
                problems.push((Tone::Bad, problem));
            }
        }
        for channel in self.channels.iter().filter(|row| row.text("Up") == "Yes") {
            for (thread, number, words) in [
                ("receiver", "Last_IO_Errno", "Last_IO_Error"),
                ("applier", "Last_SQL_Errno", "Last_SQL_Error"),
            ] {
                let code = channel.text(number);
                if !matches!(code, "" | "0") {
                    let (server, words) = (channel.text("Server"), channel.text(words));
                    let problem = format!("{server}'s {thread}: error {code}: {words}");
                    problems.push((Tone::Bad, problem));
                }
            }
        }
        for login in self.logins.iter().filter(|row| row.text("Accepted") == "No") {
            let (user, standby) = (login.text("User"), login.text("Standby"));
            let refusal = login.text("Refusal");
            let problem = format!("{standby} would not let `{user}` in: {refusal}");
            problems.push((Tone::Warn, problem));
        }
        problems
    }

    fn facts(&self) -> Vec<Vec<Cell>> {
        let fact = |name, text| vec![cell(Tone::Dim, name), cell(Tone::Plain, text)];
        let mut rows = Vec::new();
        if let Some(phase) = self.stat("phase").filter(|phase| *phase != "steady") {
            let since = self.seconds("phase_seconds").unwrap_or_default();
            rows.push(fact("phase", format!("{phase}, for {}", span(since))));
        }
        let open = self.stat("tandem_session_open").unwrap_or("?");
        let held = match self.stat("tandem_session_held_now").unwrap_or("?") {
            "0" => "no statement held".to_owned(),
            "1" => "1 statement held".to_owned(),
            held => format!("{held} statements held"),
        };
        rows.push(fact("sessions", format!("{open} open, {held}")));
        rows.extend(self.reads().map(|reads| fact("reads", reads)));
        for standby in &self.masters {
            let (name, at_risk) = (standby.text("Name"), standby.text("At_Risk"));
            if !matches!(at_risk, "" | "0") {
                let text = format!("{name} has not received {at_risk} acknowledged writes");
                rows.push(fact("at risk", text));
            }
        }
        if let Some(found) = self.checks() {
            rows.push(fact("checks", found));
        }
        for event in &self.events {
            let (from, to, reason) = (event.text("From"), event.text("To"), event.text("Reason"));
            let time = event.text("Time");
            rows.push(fact("last event", format!("{time} UTC, {from} → {to}: {reason}")));
        }
        rows
    }
}

/// What a master receives over a channel.
fn receives(channel: &Row, known: bool) -> Cell {
    let (io, sql) = (channel.text("Slave_IO_Running"), channel.text("Slave_SQL_Running"));
    let source = channel.value("Master").map_or_else(
        || format!("{}:{}", channel.text("Master_Host"), channel.text("Master_Port")),
        str::to_owned,
    );
    let behind = match channel.value("Seconds_Behind_Master") {
        Some(seconds) => format!(", {seconds} s behind"),
        None => String::new(),
    };
    let tone = match (io, sql) {
        _ if !known => Tone::Dim,
        ("Yes", "Yes") => Tone::Good,
        (_, "Yes") => Tone::Warn,
        _ => Tone::Bad,
    };
    cell(tone, format!("from {source}: IO {io}, SQL {sql}{behind}"))
}

fn utc(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// A length of time in its two largest units.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 => "less than a second".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}
