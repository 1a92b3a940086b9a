//! The command line: what was asked for, as data.
//!
//! Only parsing; `main.rs` carries the [`Command`] out. A command that this version does not have is
//! not listed either: clap's refusal of an unknown word is clearer than one that is known and does
//! nothing.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// How servers are checked.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Configuration file [default: proxy.toml, if there is one]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON, for machines: docs/check.md describes it
    #[arg(long)]
    pub json: bool,
    /// Prove it, too: insert rows on every master in turn, and see them on all servers
    ///
    /// In a table of its own in the schema `tandem`, which is dropped again. Standbys stay closed to
    /// applications, and a running proxy goes on.
    #[arg(long)]
    pub write_test: bool,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the proxy.
    Run {
        /// The file that `-c` names; `None` for `proxy.toml`, if there is one.
        config: Option<PathBuf>,
    },
    /// Show a failover of two real servers.
    Demo(DemoOptions),
    /// Hurt real servers under load, and measure.
    Drill(DrillOptions),
    /// Make the configured servers a pair.
    Setup(SetupOptions),
    /// Print the effective configuration.
    Config {
        /// As for [`Command::Run`].
        config: Option<PathBuf>,
    },
    /// Look whether the servers are what a pair should be.
    Check(CheckOptions),
    /// Ask a running proxy.
    Ask {
        /// As for [`Command::Run`]; of the file the section `[admin]` counts.
        config: Option<PathBuf>,
        /// What.
        errand: Errand,
    },
}

/// What a running proxy is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// How things are.
    Status,
    /// What happened.
    Events {
        /// Go on with what happens from now on.
        follow: bool,
        /// At most so many of the last ones.
        count: usize,
    },
    /// Make this master active, without an error at any client.
    Switchover {
        /// Its name.
        to: String,
        /// Break off sessions that do not let go.
        force: bool,
    },
    /// Make this master active although the present one may be gone.
    Failover {
        /// Its name.
        to: String,
        /// Whatever speaks against it.
        force: bool,
    },
}

/// How the demo runs.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DemoOptions {
    /// Leave the servers and the proxy running at the end, and print the DSN; Ctrl-C ends them
    #[arg(long)]
    pub stay: bool,
    /// Print plain lines without colour, as is done anyway when the output is no terminal
    #[arg(long)]
    pub plain: bool,
}

/// What is done to masters, one after the other.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[group(required = true, multiple = true)]
pub struct Drills {
    /// Switch over N times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub switchover: Option<u32>,
    /// Kill the active master (kill -9) N times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub crash: Option<u32>,
    /// Freeze the active master (SIGSTOP) N times, then N times with short probe intervals
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub freeze: Option<u32>,
    /// Shut the active master down N times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub stop: Option<u32>,
    /// Kill both masters, then start one again
    #[arg(long)]
    pub both_down: bool,
}

/// What servers are made.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetupOptions {
    /// Do it
    #[arg(long)]
    pub apply: bool,
    /// Copy the data of this server into those that hold none
    #[arg(long, value_name = "NAME")]
    pub copy_from: Option<String>,
    /// Have each commit wait until another master has received it
    #[arg(long)]
    pub semi_sync: bool,
    /// Who receives from whom, of three masters and more [default: what is there, else ring]
    #[arg(long, value_enum, value_name = "SHAPE")]
    pub shape: Option<SetupShape>,
    /// Leave room for N masters: auto_increment_increment is at least N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    pub room_for: Option<u16>,
    /// Configuration file [default: proxy.toml, if there is one]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Who receives from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SetupShape {
    /// Each from the one before it, the first from the last
    Ring,
    /// Each from every other one
    Mesh,
}

/// What a drill does, to which pair, under which load.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillOptions {
    /// What, and how often.
    #[command(flatten)]
    pub drills: Drills,
    /// Writes a second, of all writers together [default: as fast as they can; a real pair: 100]
    #[arg(long, value_name = "WRITES", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// How many clients write
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub writers: u16,
    /// Replicate asynchronously, not semi-synchronously
    #[arg(long = "async")]
    pub asynchronous: bool,
    /// Have every commit on disk before it is acknowledged
    #[arg(long)]
    pub durable: bool,
    /// `[failover] pace` of the proxy: "off" or a duration; each drill is done with each of several (off,100ms)
    #[arg(long, value_name = "PACE", value_delimiter = ',')]
    pub pace: Vec<Pace>,
    /// The server to start: a program, or a directory with one [default: TANDEM_SERVER, or the installed one]
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// Print JSON: an object for each run, and one with the distributions
    #[arg(long)]
    pub json: bool,
    /// Switch over a pair that is in use, by its running proxy; says what it would do
    #[arg(long, requires = "switchover", conflicts_with_all =
        ["crash", "freeze", "stop", "both_down", "asynchronous", "durable", "pace", "server"])]
    pub real_pair: bool,
    /// With --real-pair: do it
    #[arg(long, requires = "real_pair")]
    pub really: bool,
    /// With --real-pair: how the writers log in to the proxy [default: TANDEM_DRILL_DSN]
    #[arg(long, value_name = "URL", requires = "real_pair")]
    pub dsn: Option<String>,
    /// With --real-pair: the proxy's configuration file, for its console [default: proxy.toml]
    #[arg(short = 'c', long = "config", value_name = "FILE", requires = "real_pair")]
    pub config: Option<PathBuf>,
}

/// What `[failover] pace` may be: `None` for "off".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(pub Option<Duration>);

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Err("must be above zero, or \"off\"".to_owned()),
            Ok(pace) => Ok(Self(Some(pace))),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("off"),
            Some(pace) => humantime::format_duration(pace).fmt(f),
        }
    }
}

// Lines are broken here: clap wraps long texts only with another dependency.
const LONG_ABOUT: &str = "\
Tandem is a failover-aware proxy for MySQL and MariaDB. Two masters replicate to each other; an
application points its DSN at Tandem and never learns which of the two answers. When the active
master dies, Tandem lets the other one apply what it has received, makes it active and moves the
clients over: an idle client notices nothing, a statement waits, and an open transaction gets
error 1213, which frameworks know to retry.

Without a command, Tandem runs the proxy.";

const AFTER_HELP: &str = "\
Configuration:
  proxy.toml in the working directory, or the file that -c names. Every key can be set by an
  environment variable as well, which wins over the file: [monitor] interval is
  TANDEM_MONITOR__INTERVAL. Secrets can be read from files: password_file.

Exit status:
  0  done
  1  failed, with the reason on standard error; status: no master is active; switchover, failover:
     refused; check: something is wrong
  2  the command line was not understood, or there is no proxy, or no server, that could be asked

Examples:
  tandem demo                     see a failover, without any set-up
  tandem drill --switchover 100   measure the pause of a switchover on this machine
  tandem setup                    what would make the servers of proxy.toml a pair
  tandem setup --apply            do it
  tandem config -c proxy.toml     check a file, and see what is in effect
  tandem check                    check the servers, and see what to mend
  tandem -c /etc/tandem/proxy.toml
  tandem status                   who is active, and how the pair is
  tandem switchover m2            make m2 active; clients notice a pause
  tandem events --follow          what happens, as it happens";

#[derive(Debug, Parser)]
#[command(
    name = "tandem",
    version,
    about = "A failover-aware proxy for MySQL and MariaDB master-master pairs",
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Word>,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Run the proxy (the default)
    ///
    /// Listens for applications, watches the masters, and keeps running until SIGTERM or Ctrl-C. Starts
    /// even if no master can be reached, and serves as soon as one can. Logs go to standard error; an
    /// http address (127.0.0.1:6080) serves metrics, health and a status page.
    #[command(verbatim_doc_comment)]
    Run(ConfigFile),
    /// Show a failover: two real servers, a writer, kill -9, and what became of every row
    ///
    /// Starts two servers in a private directory (mariadbd or mysqld must be installed), makes them a
    /// pair, runs the proxy before them, writes through it, kills the active master and brings it back.
    /// Ends with a table of what was measured; exit status 0 only if no acknowledged row is missing and
    /// no key was handed out twice.
    #[command(verbatim_doc_comment)]
    Demo(DemoOptions),
    /// Switch over or hurt real servers under load, and print what clients noticed
    ///
    /// Starts two servers and a proxy as the demo does, has clients write rows and move money through
    /// it, and does what is asked for, N times. Prints times and counts as distributions: held, retried,
    /// failed, unknown, lost, duplicated. Exit status 0: all is as it must be. 1: it is not (a row lost or
    /// twice, money made or lost, an error at a client in a switchover). 2: there is no verdict.
    #[command(verbatim_doc_comment)]
    Drill(DrillOptions),
    /// Make the configured servers masters of each other, or print what that takes
    ///
    /// Without --apply it prints, server by server, the SQL with a reason for each statement, the lines for
    /// my.cnf, and which of them need a restart. Done twice, it changes nothing the second time. It logs in as
    /// an administrator: TANDEM_SETUP__USER and TANDEM_SETUP__PASSWORD (or ..._PASSWORD_FILE), or
    /// TANDEM_SETUP__M1__USER and so on where they differ; what is not given is asked for, and nothing stored.
    /// Exit status 0: printed, done, or nothing to do. 1: refused, with the reason and nothing changed; or
    /// stopped half-way, with what was done. 2: a server cannot be reached, or no login is given.
    #[command(verbatim_doc_comment)]
    Setup(SetupOptions),
    /// Look whether the servers are what a pair should be; each finding has the command that mends it
    ///
    /// Reads settings, replication, tables, accounts and more of every server, and changes nothing. It
    /// logs in as the administrator (TANDEM_SETUP__USER and TANDEM_SETUP__PASSWORD, or …_PASSWORD_FILE), or
    /// as the account of [monitor], which sees less: what was not seen is said. Exit status 0: well, or
    /// notices only. 1: errors or warnings. 2: nothing can be said.
    #[command(verbatim_doc_comment)]
    Check(CheckOptions),
    /// Print the effective configuration and what set each value, secrets masked
    ///
    /// Reads the configuration as `run` would, and reports every mistake in it at once.
    #[command(verbatim_doc_comment)]
    Config(ConfigFile),
    /// Ask a running proxy who is active, and how the pair is
    ///
    /// Exit status 0: a master is active. 1: nobody is, and the output says why. 2: no proxy could be
    /// asked. Like the commands below, it asks over the console: its address, user and password are
    /// [admin] of the configuration (TANDEM_ADMIN__CONSOLE, TANDEM_ADMIN__PASSWORD_FILE, …).
    #[command(verbatim_doc_comment)]
    Status(ConfigFile),
    /// Have a running proxy make another master active, without an error at any client
    ///
    /// Ends when it is done, with what it cost, or with the reason why everything is as it was. Leaving
    /// earlier (Ctrl-C) takes nothing back. Exit status 0: done. 1: refused. 2: no proxy could be asked.
    #[command(verbatim_doc_comment)]
    Switchover(Move),
    /// Have a running proxy make another master active although the present one may be gone
    ///
    /// For when Tandem does not decide by itself (failover.automatic = false), or holds and says why.
    /// Exit status as for switchover.
    #[command(verbatim_doc_comment)]
    Failover(Move),
    /// Show what a running proxy decided: each failover as a timeline
    ///
    /// Times are UTC. Those with a plus count from the first event of a group.
    #[command(verbatim_doc_comment)]
    Events(EventsOptions),
}

#[derive(Args, Debug)]
struct Move {
    /// The master that is to become active, as proxy.toml names it
    name: String,
    /// Whatever speaks against it; sessions that do not let go of the old master are broken off
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Args, Debug)]
struct EventsOptions {
    /// Go on with what happens, until Ctrl-C; a proxy that is restarted is waited for
    #[arg(short, long)]
    follow: bool,
    /// Show the last N
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 50)]
    count: usize,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// Configuration file [default: proxy.toml, if there is one]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Reads the command line of this process. Help, version and mistakes are answered here, and end the
/// process.
#[must_use]
pub fn parse() -> Command {
    Arguments::parse().into()
}

impl From<Arguments> for Command {
    fn from(arguments: Arguments) -> Self {
        match arguments.command.unwrap_or(Word::Run(arguments.file)) {
            Word::Run(file) => Self::Run { config: file.config },
            Word::Demo(options) => Self::Demo(options),
            Word::Drill(options) => Self::Drill(options),
            Word::Setup(options) => Self::Setup(options),
            Word::Check(options) => Self::Check(options),
            Word::Config(file) => Self::Config { config: file.config },
            Word::Status(file) => Self::ask(file, Errand::Status),
            Word::Switchover(Move { name: to, force, file }) => {
                Self::ask(file, Errand::Switchover { to, force })
            }
            Word::Failover(Move { name: to, force, file }) => {
                Self::ask(file, Errand::Failover { to, force })
            }
            Word::Events(EventsOptions { follow, count, file }) => {
                Self::ask(file, Errand::Events { follow, count })
            }
        }
    }
}

impl Command {
    fn ask(file: ConfigFile, errand: Errand) -> Self {
        Self::Ask { config: file.config, errand }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(Command::from)
    }

    #[test]
    fn a_line_becomes_a_command() {
        let file = || Some(PathBuf::from("p.toml"));
        let demo = DemoOptions { stay: true, plain: false };
        let none = Drills::default();
        let drill = || DrillOptions { writers: 16, ..DrillOptions::default() };
        let ask = |errand| Command::Ask { config: None, errand };
        for (line, command) in [
            ("tandem", Command::Run { config: None }),
            ("tandem -c p.toml", Command::Run { config: file() }),
            ("tandem run", Command::Run { config: None }),
            ("tandem run --config p.toml", Command::Run { config: file() }),
            ("tandem config -c p.toml", Command::Config { config: file() }),
            (
                "tandem check -c p.toml --json",
                Command::Check(CheckOptions { config: file(), json: true, write_test: false }),
            ),
            (
                "tandem check --write-test",
                Command::Check(CheckOptions { write_test: true, ..CheckOptions::default() }),
            ),
            ("tandem demo --stay", Command::Demo(demo)),
            ("tandem demo", Command::Demo(DemoOptions::default())),
            (
                "tandem drill --switchover 100",
                Command::Drill(DrillOptions {
                    drills: Drills { switchover: Some(100), ..none },
                    ..drill()
                }),
            ),
            (
                "tandem drill --crash 5 --freeze 2 --both-down --rate 800 --async --json",
                Command::Drill(DrillOptions {
                    drills: Drills { crash: Some(5), freeze: Some(2), both_down: true, ..none },
                    rate: Some(800),
                    asynchronous: true,
                    json: true,
                    ..drill()
                }),
            ),
            (
                "tandem drill --crash 6 --async --pace off,100ms",
                Command::Drill(DrillOptions {
                    drills: Drills { crash: Some(6), ..none },
                    asynchronous: true,
                    pace: vec![Pace(None), Pace(Some(Duration::from_millis(100)))],
                    ..drill()
                }),
            ),
            (
                "tandem drill --switchover 9 --real-pair --really -c p.toml",
                Command::Drill(DrillOptions {
                    drills: Drills { switchover: Some(9), ..none },
                    real_pair: true,
                    really: true,
                    config: file(),
                    ..drill()
                }),
            ),
            ("tandem setup", Command::Setup(SetupOptions::default())),
            (
                "tandem setup -c p.toml --apply --copy-from m1 --semi-sync --shape mesh --room-for 4",
                Command::Setup(SetupOptions {
                    apply: true,
                    copy_from: Some("m1".into()),
                    semi_sync: true,
                    shape: Some(SetupShape::Mesh),
                    room_for: Some(4),
                    config: file(),
                }),
            ),
            ("tandem status", Command::Ask { config: None, errand: Errand::Status }),
            ("tandem status -c p.toml", Command::Ask { config: file(), errand: Errand::Status }),
            ("tandem switchover m2", ask(Errand::Switchover { to: "m2".into(), force: false })),
            ("tandem failover --force m2", ask(Errand::Failover { to: "m2".into(), force: true })),
            ("tandem events", ask(Errand::Events { follow: false, count: 50 })),
            ("tandem events -f -n 5", ask(Errand::Events { follow: true, count: 5 })),
            ("tandem events --follow", ask(Errand::Events { follow: true, count: 50 })),
        ] {
            assert_eq!(parsed(line).expect(line), command);
        }
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for line in [
            "tandem setup --copy-from",
            "tandem setup --shape star",
            "tandem setup --room-for 1",
            "tandem drill",
            "tandem drill --switchover 0",
            "tandem drill --switchover 1 --writers 0",
            "tandem drill --rate 100",
            // A pair that is in use is not hurt.
            "tandem drill --real-pair",
            "tandem drill --crash 1 --real-pair --really",
            "tandem drill --switchover 1 --stop 1 --real-pair --really",
            "tandem drill --switchover 1 --pace 100ms --real-pair",
            "tandem drill --crash 1 --pace 0s",
            "tandem drill --crash 1 --pace slow",
            "tandem drill --switchover 1 --really",
            "tandem drill --switchover 1 -c p.toml",
            "tandem switchover",
            "tandem switchover m2 m1",
            "tandem events -n many",
            "tandem -x",
            "tandem -c",
            "tandem -c a.toml demo",
        ] {
            let error = parsed(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        assert_eq!(parsed("tandem --version").unwrap_err().exit_code(), 0);
    }

    #[test]
    fn clap_finds_no_mistake_in_the_definition() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
