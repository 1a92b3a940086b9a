//! What is around the servers: clocks, certificates, disks.

use std::time::{Duration, SystemTime};

use super::list::Check;
use super::pair::Pair;
use super::{Finding, Mend, Severity};
use crate::pair::facts::{Disk, Facts, Part};
use crate::topology::Flavor;

pub(super) const CHECKS: &[Check] = &[
    Check::new("clock-skew", Severity::Warning, "clocks that are a second or more apart", clocks)
        .needs(&[Part::Clock]),
    Check::new(
        "certificate",
        Severity::Error,
        "a server's certificate that has expired, or will within 30 days",
        certificates,
    )
    .needs(&[Part::Certificate]),
    Check::new(
        "disk",
        Severity::Error,
        "a disk with less than 10 % and 20 GB left (an error: 3 % and 5 GB)",
        disks,
    )
    .needs(&[Part::Disks]),
];

fn clocks(pair: Pair<'_>) -> Vec<Finding> {
    const APART: i64 = 1_000_000;
    let seen: Vec<_> =
        pair.facts.iter().filter_map(|facts| Some((facts, facts.clock.as_ref().ok()?))).collect();
    let earliest = seen.iter().min_by_key(|(_, clock)| clock.ahead);
    let latest = seen.iter().max_by_key(|(_, clock)| clock.ahead);
    let (Some((slow, behind)), Some((fast, ahead))) = (earliest, latest) else { return Vec::new() };
    let unsure = i64::try_from((behind.uncertain + ahead.uncertain).as_micros()).unwrap_or(0);
    let apart = ahead.ahead - behind.ahead;
    if apart - unsure < APART {
        return Vec::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let seconds = apart as f64 / 1e6;
    let what = format!("the clock of {} is {seconds:.1} s ahead of {}'s", fast.name, slow.name);
    let why = "After a failover NOW() jumps: rows get times in the wrong order, and what expires by the clock \
               expires early or late. Seconds_Behind_Master is off by as much.";
    let mend = Mend::advice(format!(
        "synchronise both machines, {} and {}: timedatectl set-ntp true",
        fast.hostname(),
        slow.hostname()
    ));
    let names = [&fast.name, &slow.name];
    vec![Finding::new(Severity::Warning, names, what, why).mended_by([mend])]
}

fn certificates(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |facts: &Facts| {
        let expires = (*facts.certificate.as_ref().ok()?)?;
        certificate(facts, expires, pair.expected.now)
    };
    pair.facts.iter().filter_map(finding).collect()
}

fn certificate(facts: &Facts, expires: SystemTime, now: SystemTime) -> Option<Finding> {
    const DAY: Duration = Duration::from_hours(24);
    let left = expires.duration_since(now);
    let severity = match &left {
        Ok(left) if *left > 30 * DAY => return None,
        Ok(left) if *left > 7 * DAY => Severity::Warning,
        _ => Severity::Error,
    };
    let day = humantime::format_rfc3339_seconds(expires).to_string();
    let what = match left {
        Ok(left) => format!(
            "the certificate of {} expires in {} days, on {day}",
            facts.name,
            left.as_secs() / DAY.as_secs()
        ),
        Err(_) => format!("the certificate of {} expired on {day}", facts.name),
    };
    let why = "From then on receivers, Tandem and clients that look at it are refused, on every master whose \
               certificate is as old: no failover helps.";
    let reload = match facts.flavor() {
        Flavor::MySql => "ALTER INSTANCE RELOAD TLS",
        Flavor::MariaDb => "FLUSH SSL",
    };
    let file = facts.variables.text("ssl_cert").unwrap_or("its ssl_cert");
    let mend = [
        Mend::advice(format!("put a new certificate at {file} on {}", facts.hostname())),
        Mend::sql(&facts.name, reload),
    ];
    Some(Finding::new(severity, [&facts.name], what, why).mended_by(mend))
}

const GIGABYTE: u64 = 1_000_000_000;

fn disks(pair: Pair<'_>) -> Vec<Finding> {
    let finding = |facts: &Facts| {
        let of = |disk: &Disk| {
            let free = u128::from(disk.free) * 100 / u128::from(disk.size.max(1));
            // A hundredth of a large disk is room enough for a long time.
            let severity = match free {
                0..3 if disk.free < 5 * GIGABYTE => Severity::Error,
                0..10 if disk.free < 20 * GIGABYTE => Severity::Warning,
                _ => return None,
            };
            let what = format!(
                "{} has {free} % left on {} ({} of {})",
                facts.name,
                disk.path,
                size(disk.free),
                size(disk.size)
            );
            let why = "A master whose disk is full hangs with its clients before anybody calls it dead; a \
                       standby in its state is no way out.";
            let mend = [
                Mend::advice(
                    "make room; if it is the binary log that fills it, and all others run:",
                ),
                Mend::sql(&facts.name, "PURGE BINARY LOGS BEFORE NOW() - INTERVAL 1 DAY"),
            ];
            Some(Finding::new(severity, [&facts.name], what, why).mended_by(mend))
        };
        facts.disks.iter().flatten().filter_map(of).collect::<Vec<_>>()
    };
    pair.facts.iter().flat_map(finding).collect()
}

/// "3.2 GB"
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bytes = bytes as f64;
    for (unit, name) in [(1e12, "TB"), (1e9, "GB"), (1e6, "MB")] {
        if bytes >= unit {
            return format!("{:.1} {name}", bytes / unit);
        }
    }
    format!("{:.0} kB", bytes / 1e3)
}
