//! `wallet relay`: every entry is posted, in order, signed, at least once, whatever fails and whatever is killed.

mod cursor;
mod feed;
mod outage;
mod process;
mod python;
mod receiver;
mod server;
mod service;
mod settings;
mod tls;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use tonic::Status;

use self::feed::{Feed, Opening};
use self::process::{Relay, relay};
use self::receiver::{Answer, Post, Receiver};
use crate::support::seed::{Seeded, rounds, seeds};

/// A folder of its own for a relay's cursor file.
fn cursor_file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.json");
    (dir, file)
}

/// Whether the entries up to `len` were taken.
fn has_taken(posts: &[Post], len: usize) -> bool {
    let last = i64::try_from(len).unwrap();
    posts.iter().rev().filter(|post| post.is_taken()).any(|post| post.entry_ids().contains(&last))
}

/// Checks what a receiver was promised: all entries up to `len`, in order if repeats are dropped by their number; and
/// the same id for the same body, and for no other.
fn assert_delivered(posts: &[Post], len: usize) {
    let mut seen = Vec::new();
    for post in posts.iter().filter(|post| post.is_taken()) {
        for id in post.entry_ids() {
            if seen.last().is_none_or(|last| id > *last) {
                seen.push(id);
            }
        }
    }
    assert_eq!(seen, (1..=i64::try_from(len).unwrap()).collect::<Vec<_>>());
    let (mut bodies, mut ids) = (HashMap::new(), HashMap::new());
    for post in posts {
        assert_eq!(*bodies.entry(&post.id).or_insert(&post.body), &post.body, "two bodies of one id");
        assert_eq!(*ids.entry(&post.body).or_insert(&post.id), &post.id, "two ids of one body");
    }
}

/// How a receiver answers that fails at random.
fn any_answer(random: &mut Seeded) -> Answer {
    match random.of(0..100) {
        0..8 => Answer::Status(500),
        8..12 => Answer::Status(302),
        12..20 => Answer::Close,
        20..28 => Answer::TakenUnheard,
        28..34 => Answer::TooMany("0"),
        34..36 => Answer::Silence,
        _ => Answer::Taken,
    }
}

#[tokio::test]
async fn entries_come_in_order_as_rest_writes_them() {
    let (feed, receiver) = (Feed::start(250, |_| Opening::Follow).await, Receiver::start(|_| Answer::Taken).await);
    let (_dir, file) = cursor_file();
    let mut relay = Relay::start(relay(&feed.url(), &receiver.url, &file));
    let posts = relay.until(receiver.wait(|posts| has_taken(posts, 250))).await;
    assert_delivered(&posts, 250);
    assert!(posts.iter().all(|post| post.entry_ids().len() <= 100) && posts[0].entry_ids().len() == 100);
    let entry = json!({
        "EntryId": 1, "UserId": 123_123, "Sequence": 1, "Kind": "win", "EventId": 1, "Amount": 1, "BalanceAfter": 1,
        "RoundId": null, "Note": null, "Caller": null, "CreatedAt": "2026-01-02T03:04:05.000006Z",
    });
    assert_eq!(posts[0].entries()[0], entry, "yen have no decimals");
    let json = posts[0].json();
    let fields: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["type", "timestamp", "data"]);
    assert_eq!((&json["type"], &json["timestamp"]), (&json!("wallet.entries"), &entry["CreatedAt"]));
    assert_eq!(json["data"]["cursor"], "c100");

    feed.commit();
    let posts = relay.until(receiver.wait(|posts| has_taken(posts, 251))).await;
    assert_eq!(posts.last().unwrap().entry_ids(), [251], "an entry comes when it is committed");
}

#[tokio::test]
async fn every_entry_is_delivered_whatever_fails_and_the_relay_is_killed() {
    const ENTRIES: usize = 400;
    for seed in seeds(rounds(3, 100)) {
        let random = Arc::new(Mutex::new(Seeded::new(seed)));
        let (breaks, answers) = (random.clone(), random.clone());
        let feed = Feed::start(ENTRIES, move |_| {
            let mut random = breaks.lock().unwrap();
            let len = usize::try_from(random.of(0..60)).unwrap();
            match random.of(0..4) {
                0 => Opening::End(len),
                1 => Opening::Fail(len, Status::resource_exhausted("too slow")),
                2 => Opening::Refuse(Status::unavailable("it stops")),
                _ => Opening::Follow,
            }
        });
        let feed = feed.await;
        let receiver = Receiver::start(move |_| any_answer(&mut answers.lock().unwrap())).await;
        let (_dir, file) = cursor_file();
        let mut posts = Vec::new();
        while !has_taken(&posts, ENTRIES) {
            let (size, more) = {
                let mut random = random.lock().unwrap();
                (random.of(1..40), usize::try_from(random.of(0..20)).unwrap())
            };
            // Cut differently each time, and killed at any moment: after so many posts.
            let mut command = relay(&feed.url(), &receiver.url, &file);
            command.args(["--batch-size", &size.to_string()]);
            let mut relay = Relay::start(command);
            let enough = posts.len() + more;
            let wanted = |posts: &[Post]| posts.len() >= enough || has_taken(posts, ENTRIES);
            posts = relay.until(receiver.wait(wanted)).await;
            relay.kill();
        }
        println!("seed {seed}: {} posts", posts.len());
        assert_delivered(&receiver.posts(), ENTRIES);
    }
}
