//! The service shuts down: whoever watches is told, and delays nothing.

use std::time::Instant;

use tonic::Code;
use wallet::server::Timeouts;

use super::{app, from, next_id, watch};
use crate::grpc::assert_status;
use crate::support::events::Events;

#[tokio::test(flavor = "multi_thread")]
async fn readers_end_with_the_service_and_do_not_delay_it() {
    let app = app(1).await;
    let mut entries = watch(&app, from("")).await.unwrap();
    assert_eq!(next_id(&mut entries).await.0, 1);
    let mut events = Events::open(app.http, "/api/v1/ledger/entries/stream", &[]).await.unwrap();
    assert_eq!(events.next().await.unwrap().id, "v1.1");
    let waiting = app.get("/api/v1/ledger/entries?after=now&wait=30");
    let begun = Instant::now();
    let stop = async {
        // The page waits by now, or is refused.
        tokio::task::yield_now().await;
        app.begin_stop();
    };
    let (page, ()) = tokio::join!(waiting, stop);
    assert!(matches!(page.status, 200 | 503), "{page:?}");
    if page.status == 200 {
        assert_eq!(page.text(), r#"{"success":true,"Entries":[],"Next":"v1.1"}"#);
    }
    assert_status(&entries.message().await.unwrap_err(), Code::Unavailable, "UNAVAILABLE", &[]);
    assert_eq!(events.next().await, None);
    drop(app.stop().await);
    assert!(begun.elapsed() < Timeouts::default().drain_timeout, "{:?}", begun.elapsed());
}
