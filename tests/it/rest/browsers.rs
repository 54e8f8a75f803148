//! What a page can make a browser send, header by header. `tests/it/browser/` has a real browser send it.

use axum::http::{self, HeaderMap};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use wallet::api::grpc::proto::DepositRequest;

use super::{CHARGE, USER, app, assert_error, assert_ok, balance, exchange};
use crate::support::app::App;
use crate::support::http::HttpReply;

const OTHER_SITE: &str = "A page of another origin may not do this: Sec-Fetch-Site is neither same-origin nor none";
const OTHER_ORIGIN: &str = "A page of another origin may not do this: Origin is not the Host of the request";
const OTHER_NAME: &str =
    "A page may not do this under this Host: it is no IP address, not localhost, and not in WALLET_ALLOWED_HOSTS";

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Sends JSON, as nobody but an engine or the service's own page can.
async fn post_json(app: &App, path: &str, headers: Headers<'_>, json: &str) -> HttpReply {
    let json_type = ("content-type", "application/json");
    app.request("POST", path, &[headers, &[json_type]].concat(), json.to_owned()).await
}

/// How many entries the user has.
async fn entries(app: &App) -> usize {
    app.get("/api/v1/users/123123/entries").await.json()["Entries"].as_array().expect("entries").len()
}

/// Asserts that no page of another origin is told anything (Fetch, section 3.3).
#[track_caller]
fn assert_no_permission(headers: &HeaderMap) {
    let named = headers.keys().any(|name| name.as_str().starts_with("access-control-"));
    assert!(!named, "{headers:?}");
}

#[tokio::test]
async fn a_page_of_another_origin_moves_nothing() {
    let app = app().await;
    let own = format!("http://{}", app.http);
    let other_port = format!("http://127.0.0.1:{}", app.http.port() ^ 1);
    let localhost = format!("http://localhost:{}", app.http.port());
    for (headers, message) in [
        (&[("sec-fetch-site", "cross-site")][..], OTHER_SITE),
        (&[("sec-fetch-site", "same-site")], OTHER_SITE),
        (&[("sec-fetch-site", "")], OTHER_SITE),
        (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], OTHER_SITE),
        (&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], OTHER_SITE),
        (&[("sec-fetch-site", "cross-site"), ("origin", &own)], OTHER_SITE),
        (&[("origin", "null")], OTHER_ORIGIN),
        (&[("origin", "http://evil.example")], OTHER_ORIGIN),
        (&[("origin", &other_port)], OTHER_ORIGIN),
        (&[("origin", &localhost)], OTHER_ORIGIN),
        (&[("origin", &own), ("origin", &own)], OTHER_ORIGIN),
        (&[("origin", "null"), ("sec-fetch-site", "same-origin")], OTHER_ORIGIN),
    ] {
        for call in
            ["charge", "win", "play", "rollback", "deposit", "withdraw", "users", "batch", "users/123123/freeze"]
        {
            let reply = post_json(&app, &format!("/api/v1/{call}"), headers, CHARGE).await;
            assert_error(&reply, 403, "FORBIDDEN", message);
            assert_no_permission(&reply.headers);
        }
        // What a page could call so is refused before anybody looks whether there is such a call.
        for method in ["PUT", "PATCH", "DELETE"] {
            let reply = app.request(method, "/api/v1/users/123123", headers, "").await;
            assert_error(&reply, 403, "FORBIDDEN", message);
        }
    }
    assert_eq!((balance(&app).await.as_str(), entries(&app).await), ("10.00", 1));
}

#[tokio::test]
async fn the_services_own_page_may() {
    let app = app().await;
    let port = app.http.port();
    let mut event_id = 0;
    for host in ["127.0.0.1", "localhost", "wallet.localhost", "[::1]"] {
        let (host, origin) = (format!("{host}:{port}"), format!("http://{host}:{port}"));
        for site in ["same-origin", "none"] {
            event_id += 1;
            let charge = format!(r#"{{"UserId":123123,"EventId":{event_id},"Amount":1.00}}"#);
            let headers = [("host", &*host), ("origin", &*origin), ("sec-fetch-site", site)];
            assert_eq!(post_json(&app, "/api/v1/charge", &headers, &charge).await.status, 200, "{host} {site}");
        }
    }
    assert_eq!(balance(&app).await, "2.00");
}

#[tokio::test]
async fn an_engine_notices_nothing_whatever_its_host_is() {
    let app = app().await;
    for host in ["wallet", "wallet.internal.example:5000", "evil.example", "10.0.0.7", ""] {
        // As the HTTP client of Node.js sends it.
        let headers = [("host", host), ("sec-fetch-mode", "cors"), ("user-agent", "node")];
        let reply = post_json(&app, "/api/v1/charge", &headers, CHARGE).await;
        assert_ok(&reply, r#"{"success":true,"UserId":123123,"AccountBalance":9.00}"#);
    }
    let bare =
        format!("POST /api/v1/charge HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}", CHARGE.len());
    let answer = exchange(app.http, &format!("{bare}\r\n\r\n{CHARGE}")).await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
}

#[tokio::test]
async fn a_page_whose_name_was_made_to_point_here_moves_nothing() {
    let app = App::spawn_with(|settings| settings.allowed_hosts = vec!["wallet.example.com".to_owned()]).await;
    app.create_user(USER, "10.00").await;
    for host in
        ["evil.example", "evil.example:5000", "wallet.example", "x.wallet.example.com", "localhost.evil.example"]
    {
        let origin = format!("http://{host}");
        for more in [&[][..], &[("sec-fetch-site", "same-origin")], &[("authorization", "Bearer x")]] {
            let headers = [&[("host", host), ("origin", &*origin)], more].concat();
            assert_error(&post_json(&app, "/api/v1/charge", &headers, CHARGE).await, 403, "FORBIDDEN", OTHER_NAME);
        }
    }
    assert_eq!(balance(&app).await, "10.00");
    for (host, origin) in [
        ("wallet.example.com", "https://wallet.example.com"),
        ("WALLET.example.com:443", "https://wallet.example.com"),
        ("wallet.example.com:5000", "http://wallet.example.com:5000"),
    ] {
        let reply = post_json(&app, "/api/v1/charge", &[("host", host), ("origin", origin)], CHARGE).await;
        assert_eq!(reply.status, 200, "{host}");
    }
    assert_eq!(balance(&app).await, "9.00");
}

/// Older browsers send no `Sec-Fetch-Site`, and none sends it to an address without TLS. The media type alone stops a
/// form, `no-cors` and a beacon.
#[tokio::test]
async fn what_is_sent_without_asking_first_is_no_json() {
    let app = app().await;
    let unsupported = "Content-Type must be application/json";
    for media_type in [
        "text/plain",
        "text/plain;charset=UTF-8",
        "text/plain; x=application/json",
        "text/plain, application/json",
        "application/json, text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "application/octet-stream",
        "text/json",
        "json",
        "",
    ] {
        for path in ["charge", "deposit", "users", "batch"] {
            let headers = [("content-type", media_type)];
            let reply = app.request("POST", &format!("/api/v1/{path}"), &headers, CHARGE).await;
            assert_error(&reply, 415, "UNSUPPORTED_MEDIA_TYPE", unsupported);
        }
    }
    let none = app.request("POST", "/api/v1/charge", &[], CHARGE).await;
    assert_error(&none, 415, "UNSUPPORTED_MEDIA_TYPE", unsupported);
    for other in ["text/plain", "application/json"] {
        for types in [[other, "application/json"], ["application/json", other]] {
            let headers = types.map(|media_type| ("content-type", media_type));
            let reply = app.request("POST", "/api/v1/charge", &headers, CHARGE).await;
            assert_error(&reply, 400, "INVALID_REQUEST", "Content-Type is given more than once");
        }
    }
    assert_eq!((balance(&app).await.as_str(), entries(&app).await), ("10.00", 1));
}

#[tokio::test]
async fn a_page_of_another_origin_may_have_a_link_and_reads_nothing() {
    let app = app().await;
    let port = app.http.port();
    let origin = ("origin", "http://evil.example");
    let paths = ["/api/v1/users/123123", "/api/v1/ledger/entries/stream", "/api/v1/charge", "/docs/swagger-ui.css"];
    for path in paths {
        for site in ["cross-site", "same-site"] {
            // An image or a script; `fetch`; a WebSocket.
            for mode in ["no-cors", "cors", "websocket"] {
                let headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode)];
                assert_error(&app.request("GET", path, &headers, "").await, 403, "FORBIDDEN", OTHER_SITE);
            }
        }
        let upgrade = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), origin];
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let reply = app.request("GET", path, &[&upgrade[..], &[key]].concat(), "").await;
        assert_error(&reply, 403, "FORBIDDEN", OTHER_ORIGIN);
        assert_no_permission(&reply.headers);
    }
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    for path in ["/docs/", "/api/v1/users/123123"] {
        let reply = app.request("GET", path, &link, "").await;
        assert_eq!(reply.status, 200, "{path}");
        assert_no_permission(&reply.headers);
    }
    // The page may be read under any name: only what moves something needs one that is known.
    let named = format!("wallet:{port}");
    let page = app.request("GET", "/docs/", &[("host", &named), ("sec-fetch-site", "none")], "").await;
    assert_eq!(page.status, 200);
}

#[tokio::test]
async fn a_preflight_gets_no_permission() {
    let app = app().await;
    let asked = [("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")];
    let private = ("access-control-request-private-network", "true");
    for (origin, status) in [("http://evil.example".to_owned(), 403), (format!("http://{}", app.http), 405)] {
        for path in ["/api/v1/charge", "/api/v1/users/123123", "/docs/"] {
            let headers = [&asked[..], &[("origin", &*origin), private]].concat();
            let reply = app.request("OPTIONS", path, &headers, "").await;
            assert_eq!(reply.status, status, "{origin} {path}");
            assert_no_permission(&reply.headers);
        }
    }
}

#[tokio::test]
async fn the_grpc_door_takes_nothing_from_a_browser() {
    let app = app().await;
    let deposit =
        DepositRequest { user_id: Some(USER), transaction_id: Some(1), amount_minor: Some(100), ..Default::default() };
    let message = deposit.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = Bytes::from([&[0][..], &length, &message].concat());
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let send = async |method: &str, media_type: Option<&str>| {
        let request = http::Request::builder().method(method);
        let request = request.uri(format!("http://{}/wallet.v1.WalletService/Deposit", app.grpc));
        let request = request.header("origin", "http://evil.example").header("access-control-request-method", "POST");
        let request = media_type.into_iter().fold(request, |request, value| request.header("content-type", value));
        http.request(request.body(Full::new(body.clone())).unwrap()).await.unwrap()
    };
    for media_type in [
        None,
        Some(""),
        Some("text/plain"),
        Some("text/plain; x=application/grpc"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=application/grpc"),
        Some("application/json"),
        Some("application/grpc-web"),
        Some("application/grpc-web-text"),
    ] {
        let answer = send("POST", media_type).await;
        assert_eq!(answer.status(), 415, "{media_type:?}");
        assert_no_permission(answer.headers());
    }
    // Another media type must be asked for first, and is not granted.
    let preflight = send("OPTIONS", None).await;
    assert!(!preflight.status().is_success(), "{preflight:?}");
    assert_no_permission(preflight.headers());
    // Without TLS, a browser speaks HTTP/1.1.
    let head = "POST /wallet.v1.WalletService/Deposit HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n";
    let answer = exchange(app.grpc, &format!("{head}content-length: 0\r\n\r\n")).await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    assert_eq!(balance(&app).await, "10.00");
    // The same message from an engine counts.
    assert_eq!(send("POST", Some("application/grpc")).await.headers().get("grpc-status"), None);
    assert_eq!(balance(&app).await, "11.00");
}

#[tokio::test]
async fn a_page_has_a_strict_policy() {
    let app = app().await;
    let page = app.get("/docs/").await;
    let policy = page.header("content-security-policy");
    let directives: Vec<&str> = policy.split("; ").collect();
    for directive in ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"] {
        assert!(directives.contains(&directive), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("//"), "{policy}");
    assert!(directives.contains(&"script-src 'self'"), "{policy}");
    let files = ["swagger-ui.css", "swagger-ui-bundle.js", "initializer.js", "favicon-32x32.png", "none"];
    let paths = files.map(|file| format!("/docs/{file}")).into_iter();
    for path in paths.chain(["/docs", "/docs/", "/docs/index.html", "/api/v1/openapi.json"].map(str::to_owned)) {
        let reply = app.get(&path).await;
        assert_eq!(reply.header("content-security-policy"), policy, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(reply.header(name), value, "{path}");
        }
    }
    // A charge's answer is no page, and every byte of it costs.
    let charged = app.post("/api/v1/charge", CHARGE).await;
    for name in page.headers.keys().filter(|name| !["content-type", "content-length"].contains(&name.as_str())) {
        let common = ["x-request-id", "date"].contains(&name.as_str());
        assert_eq!(charged.headers.contains_key(name), common, "{name}");
    }
}
