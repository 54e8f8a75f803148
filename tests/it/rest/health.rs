//! The answers for probes.

use super::{USER, assert_error, assert_ok};
use crate::support::app::App;

#[tokio::test]
async fn probes_tell_a_process_that_answers_from_one_that_can_serve() {
    let app = App::spawn_with(|settings| settings.lock_timeout_ms = 50).await;
    app.create_user(USER, "10").await;
    let live = r#"{"success":true,"message":"Process is running"}"#;
    let ready = r#"{"success":true,"message":"System is up and running"}"#;
    assert_ok(&app.get("/livez").await, live);
    assert_ok(&app.get("/readyz").await, ready);
    for path in ["/livez", "/readyz"] {
        let head = app.request("HEAD", path, &[], "").await;
        assert_eq!((head.status, head.body.len(), head.header("content-type")), (200, 0, "application/json"));
        let post = app.post(path, "{}").await;
        assert_error(&post, 405, "METHOD_NOT_ALLOWED", "Method is not allowed for this path");
        assert_eq!(app.get(&format!("{path}?verbose=1")).await.status, 200, "a probe's parameters are ignored");
    }

    let lock = app.hold_write_lock();
    let refused = app.post("/api/v1/deposit", r#"{"UserId":123123,"TransactionId":1,"Amount":1}"#).await;
    assert_eq!(refused.status, 503);
    let down = "Wallet is unavailable, try again with the same ids";
    for path in ["/readyz", "/api/v1/healthcheck"] {
        assert_error(&app.get(path).await, 503, "UNAVAILABLE", down);
    }
    let head = app.request("HEAD", "/readyz", &[], "").await;
    assert_eq!((head.status, head.header("retry-after")), (503, "1"));
    assert_ok(&app.get("/livez").await, live);

    drop(lock);
    assert_eq!(app.post("/api/v1/deposit", r#"{"UserId":123123,"TransactionId":1,"Amount":1}"#).await.status, 200);
    assert_ok(&app.get("/readyz").await, ready);
}
