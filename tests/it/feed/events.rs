//! The stream of Server-Sent Events, to the byte.

use std::time::Duration;

use serde_json::Value;

use super::{app, app_with, charge};
use crate::rest::assert_error;
use crate::support::events::{Event, Events};

const PATH: &str = "/api/v1/ledger/entries/stream";

#[tokio::test]
async fn an_event_is_an_entry_and_its_id_is_the_cursor_behind_it() {
    let app = app(1).await;
    let mut events = Events::open(app.http, PATH, &[]).await.unwrap();
    assert_eq!(events.status, 200);
    assert_eq!(
        (&events.headers["content-type"], &events.headers["cache-control"]),
        (&"text/event-stream".parse().unwrap(), &"no-store".parse().unwrap())
    );
    let Event { id, name, data } = events.next().await.unwrap();
    assert_eq!((id.as_str(), name.as_deref()), ("v1.1", Some("entry")));
    let page = app.get("/api/v1/ledger/entries").await;
    let data = data.unwrap();
    assert!(page.text().contains(&data), "the same as in a page: {data}");
    charge(&app, 1, 5).await;
    let event = events.next().await.unwrap();
    let entry: Value = serde_json::from_str(&event.data.unwrap()).unwrap();
    assert_eq!((event.id.as_str(), &entry["EventId"], &entry["Kind"]), ("v1.2", &5.into(), &"charge".into()));
    drop(events);

    charge(&app, 1, 6).await;
    for (path, header) in [
        (PATH.to_owned(), "v1.2"),
        // The address that a browser began with stays; the header says how far it came.
        (format!("{PATH}?after=now"), "v1.2"),
        // A client that has no id yet may send an empty one.
        (format!("{PATH}?after=v1.2"), ""),
    ] {
        let mut events = Events::open(app.http, &path, &[("last-event-id", header)]).await.unwrap();
        assert_eq!(events.next().await.unwrap().id, "v1.3", "{path}");
    }
}

#[tokio::test]
async fn a_sign_of_life_moves_the_id_and_is_no_event() {
    let app = app_with(2, |settings| settings.feed.sign_of_life_interval = Duration::from_millis(20)).await;
    let mut events = Events::open(app.http, &format!("{PATH}?user=9&kind=charge,win"), &[]).await.unwrap();
    let quiet = Event { id: "v1.2".to_owned(), name: None, data: None };
    assert_eq!(events.next().await.unwrap(), quiet);
    charge(&app, 1, 1).await;
    while events.next().await.unwrap().id != "v1.3" {}
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused_at_once() {
    let app = app(1).await;
    for (query, message) in [
        ("after=1", "after is not a cursor that was given out"),
        ("after=v1.2", "The cursor is beyond the end of the ledger"),
        ("user=-1", "user must be a whole number from 0 to 9223372036854775807"),
        ("limit=1", "`limit` is not a query parameter of this call"),
        ("wait=1", "`wait` is not a query parameter of this call"),
        ("after=now&after=now", "after is given more than once"),
    ] {
        assert_error(&app.get(&format!("{PATH}?{query}")).await, 400, "INVALID_REQUEST", message);
    }
    let reply = app.request("GET", PATH, &[("last-event-id", "x")], "").await;
    assert_error(&reply, 400, "INVALID_REQUEST", "Last-Event-ID is not a cursor that was given out");
    let twice = [("last-event-id", "v1.1"), ("last-event-id", "v1.0")];
    let reply = app.request("GET", PATH, &twice, "").await;
    assert_error(&reply, 400, "INVALID_REQUEST", "Last-Event-ID is given more than once");
}
