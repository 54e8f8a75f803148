//! What a relay does when its receiver or its service fails, refuses, or is told to stop.

use std::time::Duration;

use tonic::Status;

use super::feed::{Feed, Opening};
use super::process::{Relay, refused, relay};
use super::receiver::{Answer, Receiver};
use super::{assert_delivered, cursor_file, has_taken};

#[tokio::test]
async fn an_outage_is_one_line_when_it_begins_and_one_when_it_ends() {
    let answer = |post| if (1..8).contains(&post) { Answer::Status(503) } else { Answer::Taken };
    let opening = |opening| if opening < 5 { Opening::Refuse(Status::unavailable("")) } else { Opening::Follow };
    let (feed, receiver) = (Feed::start(1, opening).await, Receiver::start(answer).await);
    let (_dir, file) = cursor_file();
    let mut relay = Relay::start(relay(&feed.url(), &receiver.url, &file));
    relay.until(receiver.wait(|posts| has_taken(posts, 1))).await;
    feed.commit();
    relay.until(receiver.wait(|posts| has_taken(posts, 2))).await;
    relay.logged(|log| log.count("receiver", "working again") == 1).await;
    relay.terminate();
    let (log, code) = relay.ended().await;
    assert_eq!(code, Some(0), "{log:?}");
    let failing = "failing; trying again until it succeeds";
    assert_eq!((log.count("service", failing), log.count("service", "working again")), (1, 1), "{log:?}");
    assert_eq!((log.count("receiver", "working"), log.count("receiver", failing)), (1, 1), "{log:?}");
    assert!(log.lines.iter().any(|line| line.contains("it answered 503 Service Unavailable")), "{log:?}");
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it() {
    let answer = |post| if post == 0 { Answer::TooMany("1") } else { Answer::Taken };
    let (feed, receiver) = (Feed::start(1, |_| Opening::Follow).await, Receiver::start(answer).await);
    let (_dir, file) = cursor_file();
    let mut relay = Relay::start(relay(&feed.url(), &receiver.url, &file));
    let posts = relay.until(receiver.wait(|posts| has_taken(posts, 1))).await;
    assert!(posts[1].at - posts[0].at >= Duration::from_secs(1), "{posts:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer = |post| if post < 2 { Answer::Status(307) } else { Answer::Taken };
    let (feed, receiver) = (Feed::start(1, |_| Opening::Follow).await, Receiver::start(answer).await);
    let (_dir, file) = cursor_file();
    let mut relay = Relay::start(relay(&feed.url(), &receiver.url, &file));
    // A post to the other place would not be sound.
    let posts = relay.until(receiver.wait(|posts| has_taken(posts, 1))).await;
    assert_eq!(posts.len(), 3);
}

#[tokio::test]
async fn a_receiver_that_is_gone_ends_the_relay_and_nothing_is_skipped() {
    let answer = |post| if post == 0 { Answer::Status(410) } else { Answer::Taken };
    let (feed, receiver) = (Feed::start(3, |_| Opening::Follow).await, Receiver::start(answer).await);
    let (_dir, file) = cursor_file();
    let (stderr, code) = tokio::task::spawn_blocking({
        let command = relay(&feed.url(), &receiver.url, &file);
        || refused(command)
    })
    .await
    .unwrap();
    assert_eq!(code, Some(1));
    assert!(stderr.contains("410 Gone") && !stderr.contains("/wallet"), "{stderr}");
    let mut relay = Relay::start(relay(&feed.url(), &receiver.url, &file));
    let posts = relay.until(receiver.wait(|posts| has_taken(posts, 3))).await;
    assert_delivered(&posts, 3);
    assert_eq!((&posts[0].id, &posts[0].body), (&posts[1].id, &posts[1].body));
}

#[tokio::test]
async fn a_relay_that_is_told_to_stop_finishes_its_post() {
    let (feed, receiver) = (Feed::start(1, |_| Opening::Follow).await, Receiver::start(|_| Answer::Silence).await);
    let (_dir, file) = cursor_file();
    let mut relay = Relay::start(relay(&feed.url(), &receiver.url, &file));
    relay.until(receiver.wait(|posts| posts.len() == 1)).await;
    relay.terminate();
    let (log, code) = relay.ended().await;
    assert_eq!(code, Some(0), "{log:?}");
    assert_eq!(
        log.count("receiver", "failing; trying again until it succeeds"),
        1,
        "it waited for the answer: {log:?}"
    );
    let content: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(content["pending"]["id"].as_str(), Some(&*receiver.posts()[0].id));
}

#[tokio::test]
async fn a_feed_goes_on_where_it_broke() {
    let opening = |opening| match opening {
        0 => Opening::End(2),
        1 => Opening::Fail(2, Status::resource_exhausted("too slow")),
        2 => Opening::Nothing("c5"),
        _ => panic!("it does not break again"),
    };
    let (feed, receiver) = (Feed::start(5, opening).await, Receiver::start(|_| Answer::Taken).await);
    let (_dir, file) = cursor_file();
    let mut relay = Relay::start(relay(&feed.url(), &receiver.url, &file));
    let posts = relay.until(receiver.wait(|posts| has_taken(posts, 5))).await;
    assert_delivered(&posts, 5);
    let after: Vec<Option<String>> = feed.asked(3).await.into_iter().map(|asked| asked.request.after).collect();
    assert_eq!(after, [None, Some("c2".to_owned()), Some("c4".to_owned())]);
}

#[tokio::test]
async fn what_another_attempt_would_not_change_ends_the_relay() {
    for (opening, said) in [
        (Opening::Refuse(Status::invalid_argument("no such cursor")), "no such cursor"),
        (Opening::Refuse(Status::unauthenticated("who is that")), "WALLET_TOKEN: who is that"),
        (Opening::Refuse(Status::permission_denied("not you")), "WALLET_TOKEN: not you"),
        (Opening::NoCurrency, "does not tell its currency"),
    ] {
        let feed = Feed::start(1, move |_| opening.clone()).await;
        let (_dir, file) = cursor_file();
        let command = relay(&feed.url(), "http://localhost:1/", &file);
        let (stderr, code) = tokio::task::spawn_blocking(|| refused(command)).await.unwrap();
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}
