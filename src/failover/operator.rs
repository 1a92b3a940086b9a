//! What an operator asks for: carried out or refused according to what the machine is at.

use super::context::Context;
use super::paused::Paused;
use super::phase::{Phase, decide};
use super::request::{Answer, Request, RequestId};
use super::switchover::Switchover;
use super::takeover::Takeover;
use crate::routing::Writer;
use crate::topology::{Role, ServerId};

/// Leads `phase` on by `request`. What is refused changes nothing.
pub(super) fn carry_out(phase: Phase, cx: &mut Context, id: RequestId, request: &Request) -> Phase {
    let led = match request {
        Request::Switchover { to, force } => switch_over(&phase, cx, id, *to, *force),
        Request::Failover { to, force } => fail_over(&phase, cx, id, *to, *force),
        Request::Pause => pause(&phase, cx, id),
        Request::Resume => resume(&phase, cx, id),
        Request::Release { server, how } => {
            cx.release(id, *server, *how);
            Ok(None)
        }
    };
    match led {
        Ok(Some(next)) => next,
        Ok(None) => phase,
        Err(reason) => {
            cx.answer(id, Answer::Refused(reason));
            phase
        }
    }
}

/// The next phase, if there is another one; or why the request is refused.
type Led = Result<Option<Phase>, String>;

fn switch_over(phase: &Phase, cx: &mut Context, id: RequestId, to: ServerId, force: bool) -> Led {
    must_be_a_master(cx, to)?;
    let Phase::Steady(steady) = phase else {
        return Err(format!("no switchover to {} now: {}", cx.name(to), at_present(phase, cx)));
    };
    if steady.active == to {
        let done = format!("{} is active by term {} already", cx.name(to), cx.term());
        cx.answer(id, Answer::Done(done));
        return Ok(None);
    }
    Ok(Some(Switchover::begin(cx, steady.active, to, force, Some(id))))
}

fn fail_over(phase: &Phase, cx: &mut Context, id: RequestId, to: ServerId, force: bool) -> Led {
    must_be_a_master(cx, to)?;
    match phase {
        Phase::Steady(_)
        | Phase::Suspect(_)
        | Phase::Held(_)
        | Phase::Waiting(_)
        | Phase::Yielding(_) => Takeover::ordered(cx, to, force, id).map(Some),
        _ => Err(format!("no failover to {} now: {}", cx.name(to), at_present(phase, cx))),
    }
}

fn pause(phase: &Phase, cx: &mut Context, id: RequestId) -> Led {
    match phase {
        _ if cx.paused => {
            cx.answer(id, Answer::Done("paused already".to_owned()));
            Ok(None)
        }
        Phase::Steady(_)
        | Phase::Suspect(_)
        | Phase::Held(_)
        | Phase::Waiting(_)
        | Phase::Yielding(_) => {
            cx.paused = true;
            let next = Paused::enter(cx);
            cx.answer(id, Answer::Done("paused: new statements wait, until RESUME".to_owned()));
            Ok(Some(next))
        }
        _ => Err(format!("not paused: {}", at_present(phase, cx))),
    }
}

fn resume(phase: &Phase, cx: &mut Context, id: RequestId) -> Led {
    let damped = cx.damping.forbids(cx.now).is_some();
    cx.damping.acknowledge();
    if !cx.paused {
        let done = if damped { "automatic failover is on again" } else { "nothing was paused" };
        cx.answer(id, Answer::Done(done.to_owned()));
        return Ok(matches!(phase, Phase::Held(_)).then(|| decide(cx)));
    }
    cx.paused = false;
    // What another proxy waits for is held on.
    let next = if let Phase::Yielding(_) = phase { phase.clone() } else { decide(cx) };
    cx.answer(id, Answer::Done("resumed".to_owned()));
    Ok(Some(next))
}

fn must_be_a_master(cx: &Context, server: ServerId) -> Result<(), String> {
    if server.index() < cx.servers.len() && cx.servers.get(server).role == Role::Master {
        return Ok(());
    }
    Err("only a master can be made active".to_owned())
}

/// What the machine is at, for one who wanted something else.
fn at_present(phase: &Phase, cx: &Context) -> String {
    match &cx.table.writer {
        Writer::Held { reason, .. } => format!("{} ({reason})", phase.name()),
        Writer::Active(active) => format!("{} ({} is active)", phase.name(), cx.name(*active)),
    }
}
