//! Pages of other origins that try to move money.

use serde_json::json;

use super::recorder::{Exchange, Recorder};
use crate::support::app::App;
use crate::support::browser::Browser;

const ATTACK: &str = include_str!("attack.js");
const USER: i64 = 123_123;

/// What a page sends without asking first.
const SIMPLE: [&str; 4] = ["", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

async fn app(allowed_hosts: &[&str]) -> App {
    let hosts = allowed_hosts.iter().map(|&host| host.to_owned()).collect();
    let app = App::spawn_with(|settings| settings.allowed_hosts = hosts).await;
    app.create_user(USER, "10.00").await;
    app
}

/// How many entries the ledger has.
async fn entries(app: &App) -> usize {
    app.get("/api/v1/ledger/entries").await.json()["Entries"].as_array().expect("entries").len()
}

/// Loads the page at `origin`, and lets it send what it can to `target`: what reached the service.
async fn attack(browser: &Browser, origin: &str, target: &str, recorder: &Recorder) -> Vec<Exchange> {
    browser.open(&format!("{origin}/")).await;
    let argument = json!({ "target": target, "user": USER, "sameOrigin": origin == target });
    let sent = browser.run(ATTACK, argument).await.as_u64().expect("a number");
    let seen = recorder.seen(usize::try_from(sent).expect("few")).await;
    let told = seen.iter().flat_map(|exchange| exchange.answer.keys());
    assert_eq!(told.filter(|name| name.as_str().starts_with("access-control-")).count(), 0, "{seen:?}");
    seen
}

/// The media types of what would move something, in order, each once.
fn media_types(seen: &[Exchange]) -> Vec<&str> {
    let posts = seen.iter().filter(|exchange| exchange.method == "POST");
    let mut types: Vec<&str> = posts.map(Exchange::media_type).collect();
    types.sort_unstable();
    types.dedup();
    types
}

#[tokio::test]
async fn a_page_of_another_origin_moves_nothing() {
    let Some(browser) = Browser::start("an attack from a browser", "MAP evil.example 127.0.0.1").await else { return };
    let app = app(&[]).await;
    for (host, site) in [("127.0.0.1", "same-site"), ("localhost", "cross-site"), ("evil.example", "cross-site")] {
        let (page, service) = (Recorder::start(app.http).await, Recorder::start(app.http).await);
        let origin = format!("http://{host}:{}", page.port);
        let target = format!("http://127.0.0.1:{}", service.port);
        let seen = attack(&browser, &origin, &target, &service).await;
        assert_eq!(media_types(&seen), SIMPLE, "{host}");
        for exchange in &seen {
            assert_eq!((exchange.status, exchange.answer["wallet-reason"].as_bytes()), (403, &b"FORBIDDEN"[..]));
            // For a WebSocket, Chromium says the origin alone.
            let site = if exchange.header("upgrade") == "websocket" { "" } else { site };
            assert_eq!(exchange.header("sec-fetch-site"), site, "{exchange:?}");
            let origins = [&*origin, "null", ""];
            assert!(origins.contains(&exchange.header("origin")), "{exchange:?}");
        }
        let count = |method: &str| seen.iter().filter(|exchange| exchange.method == method).count();
        // JSON, another header and another method are asked for first, and a script or an image is only read.
        assert_eq!((count("POST"), count("OPTIONS"), count("GET")), (2 * 9, 2 * 4, 5), "{host}");
    }
    assert_eq!(entries(&app).await, 1, "the opening alone");
}

/// The name of the page is made to point at the service: a server at that name hands on all that the page sends, with
/// the page's own `Host`. So the browser takes page and service for one origin, and the service gets the same bytes as
/// if the name had changed its address in between.
#[tokio::test]
async fn a_page_whose_name_was_made_to_point_here_moves_nothing() {
    let Some(browser) = Browser::start("DNS rebinding", "MAP evil.example 127.0.0.1").await else { return };
    // The second service trusts the name: the same page moves money there.
    for (app, trusted) in [(app(&[]).await, false), (app(&["evil.example"]).await, true)] {
        let service = Recorder::start(app.http).await;
        let origin = format!("http://evil.example:{}", service.port);
        let seen = attack(&browser, &origin, &origin, &service).await;
        let json = ["", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
        assert_eq!(media_types(&seen), json);
        let host = origin.trim_start_matches("http://");
        for exchange in &seen {
            let is_json = exchange.method == "POST" && exchange.media_type() == "application/json";
            assert_eq!(exchange.header("host"), host);
            let expected = match (trusted, exchange.header("origin"), &*exchange.method, is_json) {
                (true, own, "POST", true) if own == origin => 200,
                (true, own, "POST", false) if own == origin => 415,
                (true, own, "PUT", _) if own == origin => 405,
                _ => 403,
            };
            assert_eq!(exchange.status, expected, "{exchange:?}");
        }
        let applied = seen.iter().filter(|exchange| exchange.status == 200).count();
        assert_eq!((applied, entries(&app).await), if trusted { (6, 7) } else { (0, 1) });
    }
}
