//! Making servers slaves of a whole pair, for reads.
//!
//! Each receives from every master, over a channel of the master's name: so it goes on when one of them
//! dies, and there is nothing to be repointed when another becomes active. What one master wrote comes
//! from it and from all who pass it on, as in a mesh.

use super::making::{Connected, Member, Plan};
use super::{PairError, await_running};

/// Makes `replicas` slaves of all `masters`, which are a pair already.
///
/// # Errors
/// As [`make`](super::make).
pub async fn make_replicas(
    replicas: &[Member],
    masters: &[Member],
    plan: &Plan,
) -> Result<(), PairError> {
    let channels: Vec<_> = masters.iter().map(|master| (master.name.as_str(), master)).collect();
    for replica in replicas {
        let mut server = Connected::to(replica, plan.timeout).await?;
        server.create_accounts(plan).await?;
        server.follow(&channels, plan).await?;
    }
    await_running(replicas, plan.timeout).await
}
