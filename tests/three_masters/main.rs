//! Three masters, in a ring and in a mesh: the failovers and switchovers of a pair, and those that only
//! a third one makes possible.
//!
//! One set of servers for all steps of a shape: each step ends with everybody up, and with every
//! acknowledged write on all three, once.

mod checking;
#[path = "../partitions/ledger.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod ledger;
mod mixed_keys;
#[path = "../failover/patience.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod patience;
mod proving;
#[path = "../support/mod.rs"]
mod support;
mod trio;

use std::time::Instant;

use tandem::pair::Shape;
use tandem::topology::ServerId;
use trio::Trio;

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);
const M3: ServerId = ServerId(2);

#[tokio::test]
async fn mesh() {
    let mut trio = Trio::start(Shape::Mesh).await;
    a_standby_dies(&mut trio).await;
    switchovers(&trio).await;
    the_active_dies(&mut trio).await;
    // m3 receives from everybody: whoever of the others dies.
    the_active_dies_after_the_second(&mut trio, M2, M1).await;
    trio.end().await;
}

#[tokio::test]
async fn ring() {
    let mut trio = Trio::start(Shape::Ring).await;
    a_standby_dies(&mut trio).await;
    switchovers(&trio).await;
    the_active_dies(&mut trio).await;
    // m3 receives from m2 alone.
    the_active_dies_after_the_second(&mut trio, M1, M2).await;
    nobody_has_what_the_active_wrote(&mut trio).await;
    a_ring_is_closed_around_one_that_is_down(&mut trio).await;
    trio.end().await;
}

/// That is no event for a client, whichever it is.
async fn a_standby_dies(trio: &mut Trio) {
    for standby in [M3, M2] {
        let (start, term, told) = (Instant::now(), trio.term(), trio.last_event());
        trio.kill(standby).await;
        trio.clients_go_on().await;
        if trio.shape == Shape::Ring {
            // The one behind it gets nothing any more.
            let words = match standby {
                M3 => "m1 does not get what m2 writes: it comes by way of m3",
                _ => "m3 does not get what m1 writes: it comes by way of m2",
            };
            trio.told(told, words).await;
        }
        trio.restart(standby).await;
        trio.whole().await;
        trio.no_errors(start);
        assert_eq!((trio.active(), trio.term()), (Some(M1), term), "nothing was decided");
    }
}

/// To each of the others, and back.
async fn switchovers(trio: &Trio) {
    for to in [M3, M2, M1] {
        let start = Instant::now();
        trio.switch_over(to).await;
        trio.clients_go_on().await;
        trio.whole().await;
        trio.no_errors(start);
        trio.only_open(to).await;
    }
}

/// The next in order takes over, with everything that any of the others has received.
async fn the_active_dies(trio: &mut Trio) {
    let told = trio.last_event();
    trio.kill(M1).await;
    trio.follows(M2).await;
    trio.clients_go_on().await;
    match trio.shape {
        Shape::Mesh => trio.same_on(&[M2, M3]).await,
        Shape::Ring => {
            trio.told(told, "m2 does not get what m3 writes: it comes by way of m1").await;
            // The other way is there.
            trio.same_on(&[M2, M3]).await;
        }
    }
    trio.restart(M1).await;
    trio.whole().await;
    trio.only_open(M2).await;
    trio.switch_over(M1).await;
    trio.whole().await;
}

/// `second` is down already when `active` dies: m3 is the last one, and goes on alone.
async fn the_active_dies_after_the_second(trio: &mut Trio, second: ServerId, active: ServerId) {
    if trio.active() != Some(active) {
        trio.switch_over(active).await;
    }
    trio.kill(second).await;
    trio.clients_go_on().await;
    trio.kill(active).await;
    trio.follows(M3).await;
    trio.clients_go_on().await;
    trio.restart(second).await;
    trio.restart(active).await;
    trio.whole().await;
    trio.only_open(M3).await;
    trio.switch_over(M1).await;
    trio.whole().await;
}

/// In the ring m3 has m1's writes by way of m2. Without m2 it lacks them, and is not made active when m1
/// dies; m1 goes on when it is back.
async fn nobody_has_what_the_active_wrote(trio: &mut Trio) {
    let term = trio.term();
    let told = trio.last_event();
    trio.kill(M2).await;
    trio.told(told, "m3 does not get what m1 writes: it comes by way of m2").await;
    trio.clients_go_on().await;
    trio.kill(M1).await;
    trio.held("m3").await;
    trio.restart(M1).await;
    trio.follows(M1).await;
    trio.clients_go_on().await;
    trio.restart(M2).await;
    trio.whole().await;
    assert_eq!(trio.term(), term, "nothing was decided");
}

/// What is told of a ring that is broken has the statements that close it, and those that open it again:
/// they are carried out as they stand.
async fn a_ring_is_closed_around_one_that_is_down(trio: &mut Trio) {
    let told = trio.last_event();
    trio.kill(M2).await;
    let reason = trio.told(told, "m3 does not get what m1 writes: it comes by way of m2").await;
    let (_, rest) = reason.split_once("until m2 is back, on m3: ").expect("what closes it");
    let (around, back) =
        rest.split_once("; when it has caught up, on m3: ").expect("what opens it");
    trio.run_on(M3, around).await;
    trio.told(told, "get each other's writes again").await;
    trio.clients_go_on().await;
    trio.same_on(&[M1, M3]).await;
    // As a pair: m3 takes over, and m1 is let in again.
    trio.switch_over(M3).await;
    trio.clients_go_on().await;
    trio.same_on(&[M1, M3]).await;
    trio.switch_over(M1).await;
    trio.restart(M2).await;
    // MariaDB's m2 refuses a follower that has more than itself: it is only just back.
    trio.receives_after(M3, back.trim_end_matches(';')).await;
    trio.whole().await;
    trio.only_open(M1).await;
    switchovers(trio).await;
}
