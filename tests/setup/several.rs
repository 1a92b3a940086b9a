//! Three masters, and replicas.

use tandem::pair::Shape;
use tandem::pair::setup::{Ended, Wishes};

use crate::bare::{Bare, apply};

const TABLE: [&str; 3] = [
    "CREATE DATABASE app",
    "CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
    "INSERT INTO app.t (v) VALUES (1), (2)",
];

/// Sets up; a second time; then m1's writes are everywhere.
async fn become_one(bare: &mut Bare, wishes: &Wishes) {
    let said = bare.set_up_whole(wishes).await;
    assert_eq!(said.ended, Ended::Done, "{}", said.text);
    let before = bare.everything().await;
    // Without naming the shape: it is seen.
    let again = bare.setup(&apply()).await;
    assert!(again.text.contains("\nNothing to do: "), "{}", again.text);
    assert_eq!(bare.everything().await, before);
    assert_eq!(bare.faults().await, [] as [String; 0]);
    bare.server(0).execute(&TABLE).await.unwrap();
    bare.everywhere("app.t", 2).await;
}

async fn names(bare: &Bare, index: usize) -> Vec<(String, u16)> {
    bare.channels(index).await.into_iter().map(|(name, port, _)| (name, port)).collect()
}

async fn write(bare: &Bare, index: usize) {
    bare.server(index)
        .execute(&["SET GLOBAL read_only = OFF", "INSERT INTO app.t (v) VALUES (3)"])
        .await
        .unwrap();
}

#[tokio::test]
async fn three_masters_become_a_ring() {
    let mut bare = Bare::start(3, 0).await;
    become_one(&mut bare, &apply()).await;
    for (index, source) in [(0, 2), (1, 0), (2, 1)] {
        assert_eq!(names(&bare, index).await, [(String::new(), bare.server(source).port())]);
        assert_eq!(bare.value(index, "auto_increment_increment").await, "3");
        assert_eq!(bare.value(index, "auto_increment_offset").await, (index + 1).to_string());
    }
    // What the second writes goes round.
    write(&bare, 1).await;
    bare.everywhere("app.t", 3).await;
    assert_eq!(bare.rows::<u32>(0, "SELECT MAX(id) FROM app.t").await, [5], "the next of 2, 5, 8");
}

#[tokio::test]
async fn three_masters_become_a_mesh() {
    let mut bare = Bare::start(3, 0).await;
    let wishes = Wishes { shape: Some(Shape::Mesh), room_for: Some(5), ..apply() };
    become_one(&mut bare, &wishes).await;
    for (index, others) in [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])] {
        let wanted =
            others.map(|other| (bare.server(other).name().to_owned(), bare.server(other).port()));
        assert_eq!(names(&bare, index).await, wanted);
        assert_eq!(bare.value(index, "auto_increment_increment").await, "5");
    }
    // Without one of them the others still receive from each other.
    bare.sandbox.server_mut(0).kill().await.unwrap();
    write(&bare, 2).await;
    bare.everywhere("app.t", 3).await;
}

#[tokio::test]
async fn replicas_receive_from_every_master() {
    let mut bare = Bare::start(2, 2).await;
    become_one(&mut bare, &apply()).await;
    for replica in [2, 3] {
        let wanted = [0, 1].map(|at| (bare.server(at).name().to_owned(), bare.server(at).port()));
        assert_eq!(names(&bare, replica).await, wanted);
        assert!(bare.is_closed(replica).await);
    }
    // They go on receiving after a failover.
    bare.sandbox.server_mut(0).kill().await.unwrap();
    write(&bare, 1).await;
    bare.everywhere("app.t", 3).await;
}
