//! A real browser: Chromium without a window, told what to do by `WebDriver` (W3C).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::HttpClient;
use super::optional;

/// A browser with one page. When it is dropped, it ends.
pub struct Browser {
    driver: Child,
    addr: SocketAddr,
    client: HttpClient,
    /// The path of the session's commands.
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser. It takes the host names that `resolver_rules` say for those of addresses on this machine.
    ///
    /// `None`, after saying so, if it is not here.
    pub async fn start(test: &str, resolver_rules: &str) -> Option<Self> {
        let [chromium, driver] = optional::programs(test, ["chromium", "chromedriver"])?;
        let profile = tempfile::tempdir().expect("a temporary folder");
        let driver = Command::new(driver).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = driver.expect("the driver starts");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port(&mut driver)));
        let args = [
            "--headless".to_owned(),
            // Chromium does not start as root without it.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            format!("--host-resolver-rules={resolver_rules}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let options = json!({ "binary": chromium, "args": args });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let client = HttpClient::new(addr);
        let mut browser = Self { driver, addr, client, session: String::new(), _profile: profile };
        let session = browser.command("/session", json!({ "capabilities": { "alwaysMatch": wanted } })).await;
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("a session"));
        Some(browser)
    }

    /// Loads a page.
    pub async fn open(&self, url: &str) {
        self.command(&format!("{}/url", self.session), json!({ "url": url })).await;
    }

    /// Runs the body of an `async` function in the page, and returns what it returns.
    pub async fn run(&self, script: &str, argument: impl Into<Value>) -> Value {
        let script = format!(
            "const [argument, done] = arguments;
            const run = async () => {{ {script} }};
            run().then((value) => done({{ value }}), (error) => done({{ error: `${{error}}` }}));"
        );
        let body = json!({ "script": script, "args": [argument.into()] });
        let answer = self.command(&format!("{}/execute/async", self.session), body).await;
        assert_eq!(answer["error"], Value::Null, "the script failed");
        answer["value"].clone()
    }

    /// What the console of the page has said since this was asked last.
    pub async fn console(&self) -> Vec<String> {
        let lines = self.command(&format!("{}/se/log", self.session), json!({ "type": "browser" })).await;
        let lines = lines.as_array().expect("lines").iter();
        lines.map(|line| line["message"].as_str().expect("a message").to_owned()).collect()
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        let reply = self.client.post(path, &body.to_string()).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()["value"].clone()
    }
}

/// Where a driver listens, which it says itself.
fn port(driver: &mut Child) -> u16 {
    let mut said = BufReader::new(driver.stdout.take().expect("its output"));
    let mut line = String::new();
    while said.read_line(&mut line).expect("a line") > 0 {
        if let Some((_, port)) = line.rsplit_once("started successfully on port ") {
            return port.trim().trim_end_matches('.').parse().expect("a port");
        }
        line.clear();
    }
    panic!("the driver does not listen");
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with the session, and answers when it has.
        if let Ok(mut stream) = TcpStream::connect(self.addr)
            && !self.session.is_empty()
        {
            let request = format!("DELETE {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", self.session);
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read(&mut [0; 1]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
