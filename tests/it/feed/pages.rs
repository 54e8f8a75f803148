//! Pages of the ledger: each entry in one of them, filtered, and waited for.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{app, app_with, charge, from, watch};
use crate::rest::{assert_error, assert_ok};
use crate::support::app::App;

const PATH: &str = "/api/v1/ledger/entries";

/// The entry ids and the cursor of a page.
async fn page(app: &App, query: &str) -> (Vec<i64>, String) {
    let reply = app.get(&format!("{PATH}?{query}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let page = reply.json();
    let ids = page["Entries"].as_array().unwrap().iter().map(|entry| entry["EntryId"].as_i64().unwrap());
    (ids.collect(), page["Next"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_ledger_is_paged_oldest_first() {
    let app = app(5).await;
    assert_eq!(page(&app, "limit=2").await, (vec![1, 2], "v1.2".to_owned()));
    assert_eq!(page(&app, "limit=2&after=v1.2").await, (vec![3, 4], "v1.4".to_owned()));
    assert_eq!(page(&app, "limit=2&after=v1.4").await, (vec![5], "v1.5".to_owned()));
    assert_eq!(page(&app, "after=v1.5").await, (vec![], "v1.5".to_owned()), "there is always a next");
    assert_eq!(page(&app, "after=now").await, (vec![], "v1.5".to_owned()));
    assert_eq!(page(&app, "after=").await.0, [1, 2, 3, 4, 5]);
    let first = app.get(&format!("{PATH}?limit=1")).await.json();
    let history = app.get("/api/v1/users/1/entries").await.json();
    assert_eq!(first["Entries"], history["Entries"], "an entry is written as in a wallet's history");
    let empty = App::spawn().await;
    assert_ok(&empty.get(PATH).await, r#"{"success":true,"Entries":[],"Next":"v1.0"}"#);
}

#[tokio::test]
async fn a_filtered_page_says_how_far_it_looked() {
    let app = app(3).await;
    charge(&app, 2, 1).await;
    charge(&app, 3, 1).await;
    assert_eq!(page(&app, "user=2").await, (vec![2, 4], "v1.5".to_owned()));
    assert_eq!(page(&app, "user=2&limit=1").await, (vec![2], "v1.2".to_owned()));
    assert_eq!(page(&app, "kind=charge").await, (vec![4, 5], "v1.5".to_owned()));
    assert_eq!(page(&app, "kind=open,charge&user=3").await, (vec![3, 5], "v1.5".to_owned()));
    assert_eq!(page(&app, "user=9").await, (vec![], "v1.5".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_waits_for_its_first_entry() {
    let app = app(2).await;
    assert_eq!(page(&app, "wait=30&limit=1").await.0, [1], "there is one already");
    let (waited, ()) = tokio::join!(page(&app, "wait=30&after=v1.2"), charge(&app, 1, 1));
    assert_eq!(waited, (vec![3], "v1.3".to_owned()));
    let (waited, ()) = tokio::join!(page(&app, "wait=30&after=now&user=2&kind=charge"), async {
        charge(&app, 1, 2).await;
        // The page may begin after the first of these.
        for event in 1..=100 {
            charge(&app, 2, event).await;
        }
    });
    assert!(waited.0[0] >= 5, "not the charge of another user: {waited:?}");
    let begun = Instant::now();
    let (nothing, next) = page(&app, "wait=1&after=now").await;
    assert!(nothing.is_empty() && begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(page(&app, "after=now").await.1, next);
}

#[tokio::test]
async fn pages_that_wait_count_as_watchers() {
    let app = app_with(1, |settings| settings.watchers_max = 1).await;
    let watcher = watch(&app, from("")).await.unwrap();
    assert_eq!(page(&app, "wait=1").await.0, [1], "it need not wait");
    let busy = "Wallet is busy and nothing was done, try again";
    assert_error(&app.get(&format!("{PATH}?wait=1&after=now")).await, 503, "BUSY", busy);
    assert_error(&app.get(&format!("{PATH}/stream")).await, 503, "BUSY", busy);
    drop(watcher);
    while app.get(&format!("{PATH}?wait=1&after=now")).await.status != 200 {}
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused() {
    let app = app(1).await;
    for (query, message) in [
        ("after=v1.2", "The cursor is beyond the end of the ledger"),
        ("after=1", "after is not a cursor that was given out"),
        ("limit=1001", "limit must be a whole number from 1 to 1000"),
        ("wait=31", "wait must be a whole number from 0 to 30"),
        ("page=1", "`page` is not a query parameter of this call"),
    ] {
        assert_error(&app.get(&format!("{PATH}?{query}")).await, 400, "INVALID_REQUEST", message);
    }
    let kind = app.get(&format!("{PATH}?kind=opening")).await;
    assert_eq!((kind.status, kind.json()["success"].clone()), (400, Value::from(false)));
}
