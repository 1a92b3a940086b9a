//! Carries orders out, or hands them to those who can.
//!
//! An order is answered when it is carried out. Whoever gave it may leave meanwhile: that takes
//! nothing back. Every order and what became of it is logged, for it is what somebody did.

use tokio::sync::oneshot;
use tracing::info;

use super::Handles;
use super::answer::{Answer, Asker, Refusal};
use super::statement::{Order, Target};
use super::tables;
use crate::coordinator::Asked;
use crate::failover::{self, Request};
use crate::topology::ServerId;

/// What `order` came to.
pub(super) async fn carry_out(order: &Order, asker: &Asker, handles: &Handles) -> Answer {
    info!(?order, console = asker.connection_id, "ordered");
    match result(order, handles).await {
        Ok(done) => {
            info!(?order, console = asker.connection_id, done, "done");
            Answer::Table(tables::result(done))
        }
        Err(refusal) => {
            info!(?order, console = asker.connection_id, %refusal, "refused");
            Answer::Refused(refusal)
        }
    }
}

async fn result(order: &Order, handles: &Handles) -> Result<String, Refusal> {
    let request = match order {
        Order::Kill(id) => return kill(*id, handles),
        Order::Shutdown => {
            handles.shutdown.notify_one();
            return Ok("Tandem stops: nobody new comes in, and sessions end when their statement \
                       is answered"
                .to_owned());
        }
        Order::Switchover(target) => {
            Request::Switchover { to: master(target, handles)?, force: target.force }
        }
        Order::Failover(target) => {
            Request::Failover { to: master(target, handles)?, force: target.force }
        }
        Order::Release { name, how } => {
            let target = Target { name: name.clone(), force: false };
            Request::Release { server: master(&target, handles)?, how: *how }
        }
        Order::Pause => Request::Pause,
        Order::Resume => Request::Resume,
    };
    ask(request, handles).await
}

fn kill(id: u64, handles: &Handles) -> Result<String, Refusal> {
    if handles.sessions.kill(id) {
        Ok(format!("session {id} is being ended"))
    } else {
        Err(Refusal::UnknownSession(id))
    }
}

/// The master that is meant. Configured names differ by more than their case.
fn master(target: &Target, handles: &Handles) -> Result<ServerId, Refusal> {
    let servers = handles.routing.borrow().servers.clone();
    let named = servers.masters().find(|master| master.name.eq_ignore_ascii_case(&target.name));
    if let Some(master) = named {
        return Ok(master.id);
    }
    let known: Vec<&str> = servers.masters().map(|master| master.name.as_str()).collect();
    Err(Refusal::UnknownMaster { name: target.name.clone(), known: known.join(", ") })
}

async fn ask(request: Request, handles: &Handles) -> Result<String, Refusal> {
    let ended = || Refusal::NotDone("Tandem is stopping, and answers no more".to_owned());
    let (answer, answered) = oneshot::channel();
    handles.ask.send(Asked { request, answer }).await.map_err(|_| ended())?;
    match answered.await {
        Ok(failover::Answer::Done(done)) => Ok(done),
        Ok(failover::Answer::Refused(why)) => Err(Refusal::NotDone(why)),
        Err(_) => Err(ended()),
    }
}
