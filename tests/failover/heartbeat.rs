//! The heartbeat row: written on the active master, seen on the other, and what follows from it.

use std::time::Duration;

use tandem::topology::ServerId;

use crate::patience::within;
use crate::support::Stack;

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);

#[tokio::test]
async fn the_row_is_written_replicated_and_tells_the_lag() {
    let stack = Stack::start().await;
    let mut topology = stack.app.handles().topology.clone();
    let mut last = 0;
    // Three different rows of the active master, as its standby has executed them.
    for _ in 0..3 {
        let seen = topology.wait_for(|seen| {
            let beats = seen.facts(M2).and_then(|facts| facts.beats.as_ref());
            beats.and_then(|beats| beats.of(1)).is_some_and(|at| at > last)
        });
        let seen = within("another heartbeat on m2", seen).await.expect("the proxy runs");
        last = seen.facts(M2).and_then(|facts| facts.beats.as_ref()?.of(1)).expect("there");
    }
    let lag = topology.wait_for(|seen| seen.lag(M2, 1).is_some());
    let lag = within("a lag", lag).await.expect("the proxy runs").lag(M2, 1).expect("there");
    assert!(lag < Duration::from_secs(60), "{lag:?} behind, on a pair that does nothing");
    assert!(topology.borrow().lag(M1, 2).is_none(), "m2 is not active and writes none");
}
