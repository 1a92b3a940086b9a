//! Shapes after a failover: the client sends and expects what it did before.

use mysql_async::prelude::Queryable as _;
use tandem::topology::Flavor;
use tandem::wire::Capabilities;

use crate::conversation::{Conversation, Execution, Step, flavor_of, greeting};
use crate::fake_server::CLIENT;
use crate::make_account;
use crate::support::{Stack, eventually};

/// The payload of each packet.
fn payloads(answer: &[u8]) -> Vec<&[u8]> {
    let (mut out, mut rest) = (Vec::new(), answer);
    while rest.len() >= 4 {
        let len = usize::from(rest[0]) | usize::from(rest[1]) << 8 | usize::from(rest[2]) << 16;
        out.push(&rest[4..4 + len]);
        rest = &rest[4 + len..];
    }
    out
}

fn execution(bound: bool) -> Step {
    let parameters = vec![Execution::number(7), Execution::text("seven")];
    Step::Execute(Execution { parameters, bound, flags: 0 })
}

async fn run(conversation: &mut Conversation, step: Step) -> Vec<u8> {
    let answer = conversation.run(&step).await;
    assert_ne!(answer.get(4), Some(&0xff), "{step:?}: {}", answer.escape_ascii());
    answer
}

#[tokio::test]
async fn executions_go_on_after_a_failover_as_they_were() {
    let soon = |config: &mut tandem::config::Config| {
        config.failover.min_interval = std::time::Duration::ZERO;
        config.failover.acknowledge_after = 0;
    };
    let mut stack = Stack::start_with(tandem::sandbox::SandboxOptions::default(), soon).await;
    make_account(&stack).await;
    let active = stack.app.handles().routes.borrow().active().expect("somebody is active").index();
    let greeted = greeting(stack.port()).await;
    let flavor = flavor_of(&greeted);
    let extended = Capabilities(CLIENT.0 & !1 | Capabilities::DEPRECATE_EOF.0);
    let capabilities = match flavor {
        Flavor::MariaDb => extended | Capabilities::CACHE_METADATA | Capabilities::STMT_BULK,
        Flavor::MySql => {
            CLIENT | Capabilities::QUERY_ATTRIBUTES | Capabilities::OPTIONAL_RESULTSET_METADATA
        }
    };
    assert!(greeted.capabilities.has(capabilities.without(CLIENT)), "not offered");
    let mut client = Conversation::begin(stack.port(), capabilities).await;
    let table = "CREATE TABLE moved (a BIGINT, b VARCHAR(20))";
    run(&mut client, Step::Query(table.to_owned())).await;
    if flavor == Flavor::MySql {
        run(&mut client, Step::Query("SET resultset_metadata = NONE".to_owned())).await;
    }
    run(&mut client, Step::Prepare("SELECT ? AS a, ? AS b".to_owned())).await;
    let first = run(&mut client, execution(false)).await;
    let second = run(&mut client, execution(true)).await;
    let row = |answer: &[u8]| {
        let payloads = payloads(answer);
        payloads[payloads.len() - 2].to_vec()
    };
    assert_eq!(row(&first), row(&second));

    // What the other master has not received when this one is killed is lost.
    eventually("the table on both masters", async || {
        let mut root = stack.sandbox.server(1 - active).root_connection().await.ok()?;
        root.query_drop("SELECT 1 FROM app.moved").await.ok()
    })
    .await;
    stack.sandbox.server_mut(active).kill().await.expect("killed");
    // Without types. The new server tells of the columns once more, and says that it does.
    let moved = run(&mut client, execution(true)).await;
    assert_eq!(row(&moved), row(&first));
    assert_eq!(payloads(&moved)[0], payloads(&first)[0], "definitions as with a first execution");
    assert_eq!(moved.len(), first.len());
    let again = run(&mut client, execution(true)).await;
    assert_eq!(again.len(), second.len(), "and not with the next");

    if flavor == Flavor::MariaDb {
        bulk_goes_on(&mut stack, &mut client, active).await;
    }
}

/// A bulk execution whose types went to the server before the last one. The other master, killed by
/// now, comes back first.
async fn bulk_goes_on(stack: &mut Stack, client: &mut Conversation, first: usize) {
    let values = b"\0\x01\0\0\0\0\0\0\0\0\x03one\0\x02\0\0\0\0\0\0\0\0\x03two";
    let bulk = |types: &[u8], flags: u8| {
        Step::Statement(0xfa, [&[flags, 0][..], types, &values[..]].concat())
    };
    run(client, Step::Prepare("INSERT INTO moved VALUES (?, ?)".to_owned())).await;
    run(client, bulk(b"\x08\0\xfd\0", 128)).await;
    stack.sandbox.server_mut(first).restart().await.expect("started");
    stack.sandbox.await_replication().await.expect("both threads say Yes");
    eventually("both rows on both masters", async || {
        let mut root = stack.sandbox.server(first).root_connection().await.ok()?;
        let rows: Option<u8> = root.query_first("SELECT COUNT(*) FROM app.moved").await.ok()?;
        (rows == Some(2)).then_some(())
    })
    .await;
    stack.sandbox.server_mut(1 - first).kill().await.expect("killed");
    run(client, bulk(b"", 0)).await;
    let sum = "SELECT CONCAT(COUNT(*), '-', SUM(a), '-', MAX(b)) FROM moved";
    let answer = run(client, Step::Query(sum.to_owned())).await;
    assert!(answer.windows(7).any(|window| window == b"4-6-two"), "{}", answer.escape_ascii());
}
