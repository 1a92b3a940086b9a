//! Both masters gone, then one of them back.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::output::Output;
use super::report::{Measure, Report, Run};
use super::stage::{Kind, Stage};
use super::{DrillError, conclude, ms};

/// How long clients wait before they are told.
const HOLD: Duration = Duration::from_secs(3);

const TOLD: Measure = Measure { key: "told", name: "until a waiting client is told" };
const STARTED: Measure = Measure { key: "started", name: "until the first one answers again" };
const SERVED: Measure = Measure { key: "served", name: "from then to the client's next write" };

/// Once.
pub(super) async fn drill(
    kind: &Kind,
    found: &mut Option<Report>,
    out: &mut Output,
) -> Result<bool, DrillError> {
    let mut stage = Stage::set(kind, out, |config| config.failover.hold = HOLD).await?;
    let setting = vec![
        format!("both masters killed, hold {}", humantime::format_duration(HOLD)),
        stage.text(kind),
    ];
    let report = found.insert(Report::new("both-down", &[TOLD, STARTED, SERVED], setting));
    out.begin(report)?;
    out.doing("both are killed; a client waits…")?;
    let mut client = Conn::new(stage.proxy.opts.clone()).await?;
    for index in [1, 0] {
        stage.sandbox.server_mut(index).kill().await?;
    }
    let mut run = Run::default();
    let (asked, busy) = (Instant::now(), cpu_time());
    let answer = client.query_drop("SELECT 1").await;
    let waited = asked.elapsed();
    run.time(TOLD, ms(waited));
    match answer {
        Ok(()) => report.faults.push("a client got an answer, and nobody was there".to_owned()),
        Err(error) => report.remarks.push(format!("it was told: {error}")),
    }
    let share = (cpu_time() - busy).as_secs_f64() / waited.as_secs_f64();
    let share =
        format!("processor time meanwhile: {:.1} % of a core, client and all", share * 100.0);
    report.remarks.push(share);
    out.doing("starting m1 again…")?;
    let started = Instant::now();
    stage.sandbox.server_mut(0).restart().await?;
    let up = started.elapsed();
    run.time(STARTED, ms(up));
    match client.query_drop("CREATE TABLE after_all (a INT)").await {
        Ok(()) => run.time(SERVED, ms(started.elapsed() - up)),
        Err(error) => report.faults.push(format!("its next write came to nothing: {error}")),
    }
    out.figures(report, &run)?;
    report.add_times(&run);
    conclude(found, out)
}

/// utime + stime of this process: proc(5), fields 14 and 15 of `stat`, in ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks =
        after_name.split(' ').skip(12).take(2).filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
