//! The service shuts down: whoever watches is told, and delays nothing.

use std::time::Instant;

use tonic::Code;
use wallet::server::Timeouts;

use super::{app_with, from, next_id, watch};
use crate::grpc::assert_status;
use crate::support::events::Events;
use crate::support::http::HttpClient;

#[tokio::test(flavor = "multi_thread")]
async fn readers_end_with_the_service_and_do_not_delay_it() {
    let app = app_with(1, |settings| settings.watchers_max = 3).await;
    let mut entries = watch(&app, from("")).await.unwrap();
    assert_eq!(next_id(&mut entries).await.0, 1);
    let mut events = Events::open(app.http, "/api/v1/ledger/entries/stream", &[]).await.unwrap();
    assert_eq!(events.next().await.unwrap().id, "v1.1");
    let client = HttpClient::new(app.http);
    let ask = || {
        let client = client.clone();
        tokio::spawn(async move { client.get("/api/v1/ledger/entries?after=now&wait=30").await })
    };
    let mut waiting = ask();
    // It waits when it has taken the last place. Whoever looks for a place takes it for a moment, and has left it when
    // that is answered.
    while watch(&app, from("v1.2")).await.unwrap_err().code() != Code::ResourceExhausted {
        if waiting.is_finished() {
            waiting = ask();
        }
    }
    let begun = Instant::now();
    app.begin_stop();
    let page = waiting.await.unwrap();
    assert_eq!((page.status, page.text()), (200, r#"{"success":true,"Entries":[],"Next":"v1.1"}"#));
    assert_status(&entries.message().await.unwrap_err(), Code::Unavailable, "UNAVAILABLE", &[]);
    assert_eq!(events.next().await, None);
    drop(app.stop().await);
    assert!(begun.elapsed() < Timeouts::default().drain_timeout, "{:?}", begun.elapsed());
}
