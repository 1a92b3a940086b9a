//! An empty server becomes a copy of one with data, while that is written to.

use tandem::pair::setup::{Ended, Wishes};

use crate::bare::{Bare, apply};

#[tokio::test]
async fn an_empty_server_joins_one_with_data() {
    let mut bare = Bare::start(2, 0).await;
    bare.server(0)
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100))",
            "INSERT INTO app.t (v) VALUES ('ä'), ('it''s'), ('\\\\')",
            "CREATE VIEW app.w AS SELECT * FROM app.t",
            "CREATE EVENT app.e ON SCHEDULE EVERY 1 YEAR STARTS CURRENT_TIMESTAMP + INTERVAL 1 YEAR \
             DO INSERT INTO app.t (v) VALUES ('event')",
            "CREATE USER 'shop'@'%' IDENTIFIED BY 'shop'",
            "GRANT SELECT, INSERT ON app.* TO 'shop'@'%'",
        ])
        .await
        .unwrap();
    // The lines first, so that both log.
    let refused = bare.set_up_whole(&apply()).await;
    assert_eq!(refused.ended, Ended::Failed);
    let words = "m1 holds data (2 tables in app), and m2 holds none";
    assert!(refused.text.contains(words), "{}", refused.text);
    let before = bare.everything().await;
    for (from, words) in [
        ("m2", "--copy-from m2: it holds no data, and m1 does"),
        ("m3", "--copy-from m3: the configuration has no server of this name"),
    ] {
        let refused = bare.setup(&Wishes { copy_from: Some(from.into()), ..apply() }).await;
        assert_eq!(refused.ended, Ended::Failed);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    assert_eq!(bare.everything().await, before, "nothing is changed");

    let wishes = Wishes { copy_from: Some("m1".into()), ..apply() };
    let said = bare.set_up_whole(&wishes).await;
    assert_eq!(said.ended, Ended::Done, "{}", said.text);
    assert!(said.text.contains(" m1"), "{}", said.text);
    bare.arrives(1, "app.t", 3).await;
    let rows: Vec<String> = bare.rows(1, "SELECT v FROM app.w ORDER BY id").await;
    assert_eq!(rows, ["ä", "it's", "\\"]);
    let account =
        "SELECT COUNT(*) FROM mysql.user WHERE User = 'shop' AND authentication_string <> ''";
    assert_eq!(bare.rows::<u32>(1, account).await, [1]);
    let event = "SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME = 'e'";
    assert_ne!(bare.rows::<String>(1, event).await, ["ENABLED"], "it runs on m1");

    let before = bare.everything().await;
    let again = bare.setup(&wishes).await;
    assert!(again.text.contains("\nNothing to do: "), "{}", again.text);
    assert_eq!(bare.everything().await, before);

    bare.server(0).execute(&["INSERT INTO app.t (v) VALUES ('more')"]).await.unwrap();
    bare.arrives(1, "app.t", 4).await;
    assert!(bare.is_closed(1).await);
}
