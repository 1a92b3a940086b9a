//! Both masters gone, then one of them back.

use std::time::{Duration, Instant};

use mysql_async::prelude::*;

use super::stage::{Kind, Stage, ms};

/// How long clients wait before they are told.
const HOLD: Duration = Duration::from_secs(3);

/// Once.
pub(super) async fn drill(kind: Kind) -> bool {
    println!("\n== both masters killed, hold {}", humantime::format_duration(HOLD));
    let mut stage = Stage::set(kind, |config| config.failover.hold = HOLD).await;
    let mut client = stage.connect().await;
    for index in [1, 0] {
        stage.sandbox.server_mut(index).kill().await.expect("killed");
    }
    let (asked, busy) = (Instant::now(), cpu_time());
    let answer = client.query_drop("SELECT 1").await;
    let waited = asked.elapsed();
    println!("answered after {:.0} ms: {}", ms(waited), answer.expect_err("nobody is there"));
    let share = (cpu_time() - busy).as_secs_f64() / waited.as_secs_f64();
    println!("processor time meanwhile: {:.1} % of a core (proxy and client)", share * 100.0);
    let started = Instant::now();
    stage.sandbox.server_mut(0).restart().await.expect("started again");
    let up = started.elapsed();
    let served = client.query_drop("CREATE TABLE after_all (a INT)").await;
    println!(
        "m1 started in {:.0} ms; the same connection wrote {:.0} ms after that: {served:?}",
        ms(up),
        ms(started.elapsed() - up)
    );
    served.is_ok()
}

/// utime + stime of this process: proc(5), fields 14 and 15 of `stat`, in ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks =
        after_name.split(' ').skip(12).take(2).filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
