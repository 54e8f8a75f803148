//! The cursor file: how far a relay is, for itself alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::feed::{Feed, Opening};
use super::process::{Relay, refused, relay};
use super::receiver::{Answer, Receiver};
use super::{assert_delivered, cursor_file, has_taken};

const SERVER: &str = "http://localhost:1";
const TO: &str = "http://localhost:2/wallet";

/// What a cursor file of the relay from `SERVER` to `TO` holds.
fn content(pending: &Value) -> Value {
    let route = json!({"server": SERVER, "to": TO, "user": null, "kinds": []});
    json!({"format": "wallet-relay/1", "route": route, "delivered": "c1", "pending": pending})
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[tokio::test]
async fn a_batch_that_was_posted_is_posted_again_as_it_was() {
    let (feed, receiver) = (Feed::start(3, |_| Opening::Follow).await, Receiver::start(|_| Answer::Close).await);
    let (_dir, file) = cursor_file();
    let command = |to: &str, size: &str| {
        let mut command = relay(&feed.url(), to, &file);
        command.args(["--batch-size", size]);
        command
    };
    let mut first = Relay::start(command(&receiver.url, "3"));
    let posts = first.until(receiver.wait(|posts| !posts.is_empty())).await;
    first.kill();
    let pending = read(&file);
    assert_eq!(pending["pending"], json!({"id": posts[0].id, "body": posts[0].body, "cursor": "c3"}));
    assert_eq!(pending["delivered"], "");
    feed.commit();

    // The operator knows that the receiver has moved, and says so.
    let moved = Receiver::start(|_| Answer::Taken).await;
    let edited = fs::read_to_string(&file).unwrap().replace(&receiver.url, &moved.url);
    fs::write(&file, edited).unwrap();
    let mut second = Relay::start(command(&moved.url, "1"));
    let again = second.until(moved.wait(|posts| has_taken(posts, 4))).await;
    assert_eq!((&again[0].id, &again[0].body), (&posts[0].id, &posts[0].body));
    assert_eq!(again[1].entry_ids(), [4]);
    assert_delivered(&again, 4);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_relay_goes_on_where_it_was_and_a_new_one_where_it_is_told() {
    let (feed, receiver) = (Feed::start(5, |_| Opening::Follow).await, Receiver::start(|_| Answer::Taken).await);
    let (_dir, file) = cursor_file();
    let command = || {
        let mut command = relay(&feed.url(), &receiver.url, &file);
        command.args(["--after", "c3"]);
        command
    };
    let mut first = Relay::start(command());
    first.until(receiver.wait(|posts| has_taken(posts, 5))).await;
    first.logged(|log| log.count("receiver", "working") == 1).await;
    first.terminate();
    assert_eq!(first.ended().await.1, Some(0));
    assert_eq!((&read(&file)["delivered"], &read(&file)["pending"]), (&json!("c5"), &Value::Null));
    feed.commit();
    let mut second = Relay::start(command());
    let posts = second.until(receiver.wait(|posts| has_taken(posts, 6))).await;
    let ids: Vec<i64> = posts.iter().flat_map(super::Post::entry_ids).collect();
    assert_eq!(ids, [4, 5, 6]);
}

#[tokio::test]
async fn a_link_to_the_file_is_followed_and_locks_what_it_leads_to() {
    let (feed, receiver) = (Feed::start(1, |_| Opening::Follow).await, Receiver::start(|_| Answer::Taken).await);
    let (dir, file) = cursor_file();
    let link = dir.path().join("link.json");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let mut first = Relay::start(relay(&feed.url(), &receiver.url, &link));
    first.until(receiver.wait(|posts| has_taken(posts, 1))).await;
    first.logged(|log| log.count("receiver", "working") == 1).await;
    assert!(link.is_symlink() && file.is_file());
    let (stderr, code) = refused(relay(&feed.url(), &receiver.url, &file));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("another relay uses the cursor file"), "{stderr}");
}

#[tokio::test]
async fn a_sign_of_life_moves_the_cursor() {
    let (feed, receiver) = (Feed::start(0, |_| Opening::Nothing("c0")).await, Receiver::start(|_| Answer::Close).await);
    let (_dir, file) = cursor_file();
    let mut relay = Relay::start(relay(&feed.url(), &receiver.url, &file));
    relay.until(feed.asked(1)).await;
    assert_eq!(feed.asked(1).await[0].request.after, None);
    feed.commit();
    relay.until(receiver.wait(|posts| !posts.is_empty())).await;
    assert_eq!(read(&file)["delivered"], "c0");
}

#[tokio::test]
async fn a_second_relay_with_the_same_file_is_refused() {
    let (feed, receiver) = (Feed::start(1, |_| Opening::Follow).await, Receiver::start(|_| Answer::Taken).await);
    let (_dir, file) = cursor_file();
    let mut first = Relay::start(relay(&feed.url(), &receiver.url, &file));
    first.until(receiver.wait(|posts| has_taken(posts, 1))).await;
    let (stderr, code) = refused(relay(&feed.url(), &receiver.url, &file));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("another relay uses the cursor file"), "{stderr}");
}

#[test]
fn a_file_that_is_broken_or_of_another_relay_is_refused_and_left_alone() {
    let (_dir, file) = cursor_file();
    let whole = content(&Value::Null);
    let with = |pointer: &str, value: Value| {
        let mut content = whole.clone();
        *content.pointer_mut(pointer).unwrap() = value;
        content.to_string()
    };
    let batch = json!({"id": "msg_00000000000000000000000000000000", "body": "{}", "cursor": "c2"});
    for (text, said) in [
        (String::new(), "is broken"),
        (whole.to_string()[..40].to_owned(), "is broken"),
        ("{}".to_owned(), "missing field `format`"),
        (with("/format", json!("wallet-relay/2")), "its format is not wallet-relay/1"),
        (with("/pending", batch), "the pending batch is not what its id was made from"),
        (with("/route/server", json!("http://elsewhere:1")), "server is http://elsewhere:1, not http://localhost:1;"),
        (with("/route/to", json!("http://localhost:2/other")), "receiver is another URL"),
        (with("/route/user", json!(7)), "filter by user and kind is another"),
        (with("/route/kinds", json!(["charge"])), "filter by user and kind is another"),
    ] {
        fs::write(&file, &text).unwrap();
        let (stderr, code) = refused(relay(SERVER, TO, &file));
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(said) && stderr.contains(file.to_str().unwrap()), "{said}: {stderr}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn a_file_that_cannot_be_made_is_refused_at_once() {
    let (dir, _) = cursor_file();
    let (stderr, code) = refused(relay(SERVER, TO, &dir.path().join("missing/relay.json")));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("the folder of the cursor file") && stderr.contains("does not exist"), "{stderr}");
    let (stderr, code) = refused(relay(SERVER, TO, dir.path()));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("cannot read the cursor file"), "{stderr}");
}
