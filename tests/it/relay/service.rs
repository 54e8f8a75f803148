//! The relay of a real service, which is killed as well.

use serde_json::value::RawValue;

use super::process::{Relay, refused, relay};
use super::receiver::{Answer, Post, Receiver};
use super::{any_answer, assert_delivered, cursor_file, has_taken};
use crate::support::app::App;
use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::ledger::TestLedger;
use crate::support::process::{Process, wallet};
use crate::support::seed::{Seeded, rounds, seeds};

const USER: i64 = 123_123;

/// The entries of an answer or a post, as they are written there.
fn texts(json: &str, entries: &str) -> Vec<String> {
    let mut part: Box<RawValue> = serde_json::from_str(json).unwrap();
    for name in entries.split('/') {
        let mut fields: std::collections::HashMap<String, Box<RawValue>> = serde_json::from_str(part.get()).unwrap();
        part = fields.remove(name).unwrap();
    }
    let entries: Vec<Box<RawValue>> = serde_json::from_str(part.get()).unwrap();
    entries.iter().map(|entry| entry.get().to_owned()).collect()
}

fn posted(posts: &[Post]) -> Vec<String> {
    posts.iter().flat_map(|post| texts(&post.body, "data/entries")).collect()
}

#[tokio::test]
async fn what_a_service_commits_is_posted_to_the_byte_and_what_is_filtered_out_is_not() {
    let app = App::spawn().await;
    app.create_user(7, "0.00").await;
    app.create_user(USER, "10.00").await;
    for (path, body) in [
        ("charge", r#"{"UserId":123123,"EventId":1,"Amount":1.10,"RoundId":77}"#),
        ("win", r#"{"UserId":123123,"WinningEventId":2,"Amount":0.05}"#),
        ("rollback", r#"{"UserId":123123,"EventId":1}"#),
        ("deposit", r#"{"UserId":7,"TransactionId":1,"Amount":3}"#),
        ("charge", r#"{"UserId":123123,"EventId":3,"Amount":2}"#),
    ] {
        assert_eq!(app.post(&format!("/api/v1/{path}"), body).await.status, 200);
    }
    let server = format!("http://{}", app.grpc);
    let page = app.get("/api/v1/users/123123/entries").await;
    let mut of_user = texts(page.text(), "Entries");
    of_user.reverse();
    let charges = [of_user[1].clone(), of_user[4].clone()];
    let of_ledger = texts(app.get("/api/v1/ledger/entries").await.text(), "Entries");
    assert_eq!((of_user.len(), of_ledger.len()), (5, 7));
    for (flags, expected) in [
        (&[][..], &of_ledger[..]),
        (&["--user", "123123"], &of_user),
        (&["--kind", "charge"], &charges),
        (&["--user", "123123", "--kind", "freeze,charge"], &charges),
    ] {
        let receiver = Receiver::start(|_| Answer::Taken).await;
        let (_dir, file) = cursor_file();
        let mut command = relay(&server, &receiver.url, &file);
        command.args(flags);
        let mut relay = Relay::start(command);
        let posts = relay.until(receiver.wait(|posts| posted(posts).len() >= expected.len())).await;
        assert_eq!(posted(&posts), expected, "{flags:?}");
    }
}

#[tokio::test]
async fn a_cursor_that_the_ledger_has_not_reached_ends_the_relay() {
    let (_dir, file) = cursor_file();
    let receiver = Receiver::start(|_| Answer::Taken).await;
    let ahead_ledger = TestLedger::create();
    let ahead = Process::start(&ahead_ledger);
    let grpc = ahead.grpc.to_string();
    ahead.client().await.create_wallet(1, 0).await;
    let server = format!("http://{grpc}");
    let mut first = Relay::start(relay(&server, &receiver.url, &file));
    first.until(receiver.wait(|posts| has_taken(posts, 1))).await;
    first.logged(|log| log.count("receiver", "working") == 1).await;
    first.terminate();
    assert_eq!(first.ended().await.1, Some(0));
    ahead.kill();
    // As after a restore: the same address, and a ledger that is behind.
    let behind_ledger = TestLedger::create();
    let _behind = Process::start_with(wallet(), &behind_ledger, &["--grpc-addr", &grpc]);
    let command = relay(&server, &receiver.url, &file);
    let (stderr, code) = tokio::task::spawn_blocking(|| refused(command)).await.unwrap();
    assert_eq!(code, Some(1));
    assert!(stderr.contains("refuses the cursor"), "{stderr}");
}

#[tokio::test]
async fn a_cursor_that_the_service_refuses_is_not_kept() {
    let (_dir, file) = cursor_file();
    let receiver = Receiver::start(|_| Answer::Taken).await;
    let ledger = TestLedger::create();
    let service = Process::start(&ledger);
    service.client().await.create_wallet(1, 0).await;
    let relay = |after: &str| {
        let mut relay = relay(&format!("http://{}", service.grpc), &receiver.url, &file);
        relay.args(["--after", after]);
        relay
    };
    let wrong = relay("bogus");
    let (stderr, code) = tokio::task::spawn_blocking(|| refused(wrong)).await.unwrap();
    assert_eq!(code, Some(1));
    assert!(stderr.contains("after is not a cursor that was given out"), "{stderr}");
    assert!(!file.exists());
    let mut right = Relay::start(relay("v1.0"));
    right.until(receiver.wait(|posts| has_taken(posts, 1))).await;
}

/// Pays so many prizes out, one after the other, each until it is answered.
async fn pay(client: Client, count: i64) {
    for event_id in 1..=count {
        let win = PlainCommand::win(USER, event_id, 1);
        loop {
            match client.send(Protocol::Grpc, win).await {
                Reply::Done { .. } => break,
                Reply::Unanswered | Reply::Unavailable => tokio::task::yield_now().await,
                refused @ Reply::Refused { .. } => panic!("{refused:?}"),
            }
        }
    }
}

#[tokio::test]
async fn every_entry_is_delivered_whoever_is_killed() {
    const PRIZES: i64 = 300;
    let len = usize::try_from(PRIZES).unwrap() + 1;
    for seed in seeds(rounds(2, 50)) {
        let mut random = Seeded::new(seed);
        let (_dir, file) = cursor_file();
        let ledger = TestLedger::create();
        let mut service = Process::start(&ledger);
        let (http, grpc) = (service.http.to_string(), service.grpc.to_string());
        let client = service.client().await;
        client.create_wallet(USER, 0).await;
        let paid = tokio::spawn(pay(client, PRIZES));
        let mut answers = random.clone();
        let receiver = Receiver::start(move |_| any_answer(&mut answers)).await;
        let server = format!("http://{grpc}");
        let mut follower = Relay::start(relay(&server, &receiver.url, &file));
        let (mut posts, mut kills) = (Vec::new(), 0);
        while !has_taken(&posts, len) {
            let enough = posts.len() + usize::try_from(random.of(1..12)).unwrap();
            let wanted = |posts: &[Post]| posts.len() >= enough || has_taken(posts, len);
            posts = follower.until(receiver.wait(wanted)).await;
            let (kill_service, kill_relay) = (random.percent(30), random.percent(50));
            if kill_service {
                service.kill();
                let flags = ["--http-addr", &http, "--grpc-addr", &grpc];
                service = Process::start_with(wallet(), &ledger, &flags);
            }
            if kill_relay {
                follower.kill();
                let mut command = relay(&server, &receiver.url, &file);
                command.args(["--batch-size", &random.of(1..50).to_string()]);
                follower = Relay::start(command);
            }
            kills += u8::from(kill_service) + u8::from(kill_relay);
        }
        paid.await.unwrap();
        println!("seed {seed}: {} posts, {kills} kills", posts.len());
        assert_delivered(&receiver.posts(), len);
    }
}
