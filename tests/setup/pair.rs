//! From two empty servers to a pair.

use tandem::pair::setup::{Ended, Wishes};
use tandem::topology::Flavor;

use crate::bare::{Bare, apply};
use crate::support::eventually;

#[tokio::test]
async fn two_empty_servers_become_a_pair() {
    let mut bare = Bare::start(2, 0).await;
    if bare.flavor() == Flavor::MySql {
        // As it was by default for long.
        for index in 0..2 {
            let off = "gtid_mode = OFF\nenforce_gtid_consistency = OFF";
            bare.server(index).add_settings(off).unwrap();
            bare.sandbox.server_mut(index).restart().await.unwrap();
        }
    }
    let before = bare.everything().await;
    let planned = bare.setup(&Wishes::default()).await;
    assert_eq!(planned.ended, Ended::Planned);
    assert_eq!(bare.everything().await, before, "without --apply nothing is changed");

    let said = bare.set_up_whole(&apply()).await;
    assert_eq!(said.ended, Ended::Done, "{}", said.text);
    is_a_pair(&bare).await;

    // Again: nothing.
    let before = bare.everything().await;
    let again = bare.setup(&apply()).await;
    assert_eq!(again.ended, Ended::Done);
    assert!(again.text.contains("\nNothing to do: m1 and m2"), "{}", again.text);
    assert_eq!(bare.everything().await, before, "the second run changes nothing");

    assert_eq!(bare.faults().await, [] as [String; 0]);

    keys_are_interleaved(&bare).await;
    it_lasts(&mut bare).await;
    semi_synchronous_on_request(&bare).await;
}

async fn is_a_pair(bare: &Bare) {
    let ports = [bare.server(1).port(), bare.server(0).port()];
    for (index, port) in ports.into_iter().enumerate() {
        assert_eq!(bare.channels(index).await, [(String::new(), port, true)]);
        assert_eq!(bare.value(index, "auto_increment_increment").await, "2");
        assert_eq!(bare.value(index, "auto_increment_offset").await, (index + 1).to_string());
        assert_eq!(bare.value(index, "binlog_format").await, "ROW");
    }
    assert_ne!(bare.value(0, "server_id").await, bare.value(1, "server_id").await);
    // MariaDB's had to be restarted, with read_only in my.cnf: then it is Tandem that opens the first one.
    let closed = [bare.is_closed(0).await, bare.is_closed(1).await];
    assert_eq!(closed, [bare.flavor() == Flavor::MariaDb, true]);
    // Nobody has written anything that the other would have to execute.
    for index in 0..2 {
        let executed = match bare.flavor() {
            Flavor::MariaDb => "gtid_current_pos",
            Flavor::MySql => "gtid_executed",
        };
        assert_eq!(bare.value(index, executed).await, "");
        let tables =
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'tandem'";
        assert_eq!(bare.rows::<String>(index, tables).await.len(), 2);
    }
}

async fn keys_are_interleaved(bare: &Bare) {
    bare.server(0)
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
            "INSERT INTO app.t (v) VALUES (1), (2), (3)",
        ])
        .await
        .unwrap();
    bare.everywhere("app.t", 3).await;
    let keys: Vec<u32> = bare.rows(1, "SELECT id FROM app.t ORDER BY id").await;
    assert_eq!(keys, [1, 3, 5]);
}

/// A setting that somebody changed is mended, alone; and after a restart all is as it was.
async fn it_lasts(bare: &mut Bare) {
    bare.server(1).execute(&["SET GLOBAL auto_increment_increment = 1"]).await.unwrap();
    let mended = bare.setup(&apply()).await;
    assert_eq!(mended.ended, Ended::Done, "{}", mended.text);
    let done: Vec<&str> = mended.text.lines().filter(|line| line.starts_with("m2: ")).collect();
    assert_eq!(done.len(), 1, "{}", mended.text);
    assert!(done[0].contains("auto_increment_increment = 2"), "{}", mended.text);
    assert!(!mended.text.contains("m1: "), "{}", mended.text);

    bare.add_lines(&mended.text);
    for index in 0..2 {
        bare.sandbox.server_mut(index).restart().await.unwrap();
    }
    eventually("both receive again", async || {
        for index in 0..2 {
            let channels = bare.sandbox.replication(bare.server(index)).await.ok()?;
            if !channels.iter().all(tandem::pair::Replication::runs) {
                return None;
            }
        }
        Some(())
    })
    .await;
    let after = bare.setup(&Wishes::default()).await;
    assert!(after.text.ends_with("Nothing to do.\n"), "{}", after.text);
    assert!(!after.text.contains("my.cnf"), "all of it lasts: {}", after.text);
    assert!(bare.is_closed(0).await, "and nobody is open until Tandem opens one");
}

async fn semi_synchronous_on_request(bare: &Bare) {
    let wishes = Wishes { semi_sync: true, ..apply() };
    let said = bare.setup(&wishes).await;
    assert_eq!(said.ended, Ended::Done, "{}", said.text);
    for index in 0..2 {
        // A receiver says that it will acknowledge a moment after it runs.
        eventually("each has somebody who acknowledges", async || {
            let status: Vec<(String, String)> =
                bare.rows(index, "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_%_clients'").await;
            assert_eq!(status.len(), 1, "{status:?}");
            (status[0].1 == "1").then_some(())
        })
        .await;
    }
    let before = bare.everything().await;
    let again = bare.setup(&wishes).await;
    assert!(again.text.contains("Nothing to do: "), "{}", again.text);
    assert_eq!(bare.everything().await, before);
}
