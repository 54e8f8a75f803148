//! The page of the API's description.

use serde_json::json;

use crate::support::app::App;
use crate::support::browser::Browser;

/// Waits for what `argument` selects, each time the page changes; returns how many there are.
const WAIT: &str = "
    const found = () => document.querySelectorAll(argument).length;
    if (!found()) await new Promise((resolve) => {
        const changes = { subtree: true, childList: true, attributes: true, characterData: true };
        new MutationObserver((_, observer) => {
            if (found()) { observer.disconnect(); resolve(); }
        }).observe(document, changes);
    });
    return found();";
const CLICK: &str = "document.querySelector(argument).click();";
const TEXT: &str = "return document.querySelector(argument).textContent;";

async fn click(browser: &Browser, selector: &str) {
    browser.run(WAIT, selector).await;
    browser.run(CLICK, selector).await;
}

#[tokio::test]
async fn the_page_works_under_its_policy() {
    let Some(browser) = Browser::start("the API's page in a browser", "MAP wallet.example 127.0.0.1").await else {
        return;
    };
    let app = App::spawn_with(|settings| settings.allowed_hosts = vec!["wallet.example".to_owned()]).await;
    app.create_user(123_123, "10.00").await;
    let operations: usize = app.get("/api/v1/openapi.json").await.json()["paths"]
        .as_object()
        .expect("paths")
        .values()
        .map(|path| path.as_object().expect("methods").len())
        .sum();
    for (host, replayed) in [("localhost", false), ("wallet.example", true)] {
        browser.open(&format!("http://{host}:{}/docs/", app.http.port())).await;
        assert_eq!(browser.run(WAIT, ".opblock").await, json!(operations), "{host}");
        let charge = "[id$='-charge'].opblock";
        click(&browser, &format!("{charge} .opblock-summary-control")).await;
        click(&browser, &format!("{charge} .try-out__btn")).await;
        click(&browser, &format!("{charge} .execute")).await;
        let answer = format!("{charge} .live-responses-table .response");
        browser.run(WAIT, answer.as_str()).await;
        let text = browser.run(TEXT, answer).await;
        let text = text.as_str().expect("text");
        assert!(text.starts_with("200") && text.contains(r#""AccountBalance":9.00"#), "{host}: {text}");
        assert_eq!(text.contains("idempotent-replayed: true"), replayed, "{host}: {text}");
        assert_eq!(browser.console().await, [""; 0], "{host}");
    }
    // What the policy forbids is not done, and the console says so.
    let inline = "
        const script = document.createElement('script');
        script.textContent = 'window.inline = true';
        document.body.append(script);
        const elsewhere = await fetch('http://127.0.0.2/').then(() => 'allowed', () => 'refused');
        return `${window.inline} ${elsewhere}`;";
    assert_eq!(browser.run(inline, ()).await, "undefined refused");
    let console = browser.console().await;
    for directive in ["script-src 'self'", "connect-src 'self'"] {
        assert!(console.iter().any(|line| line.contains(directive)), "{directive}: {console:?}");
    }
}
