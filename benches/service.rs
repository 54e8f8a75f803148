//! What the service does in a second, measured on real files and real sockets: `cargo bench --bench service`.
//!
//! Everything is measured in rounds within one run, each round every row, because a machine's neighbours move absolute
//! figures by a factor of two. The table shows medians with the least and the most; ratios are taken round by round.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wallet::config::Settings;
use wallet::engine::{Engine, SystemClock};
use wallet::ledger::{self, EventId, Outcome, UserId};
use wallet::store::Location;

const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_millis(1_500);
const WALLETS: i64 = 10_000;
const OPENING: i64 = 1_000_000_000;
const IN_FLIGHT: [usize; 4] = [1, 64, 256, 1024];
const CONNECTIONS: usize = 64;

/// One row's rounds, in operations a second.
#[derive(Default)]
struct Row {
    rounds: Vec<f64>,
}

impl Row {
    /// The least, the median and the most.
    fn spread(&self) -> (f64, f64, f64) {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
    }

    /// This row over another, round by round.
    fn over(&self, other: &Self) -> Self {
        Self { rounds: self.rounds.iter().zip(&other.rounds).map(|(this, that)| this / that).collect() }
    }

    fn print(&self, name: &str, decimals: usize) {
        let (least, median, most) = self.spread();
        println!("| {name} | {median:.decimals$} | {least:.decimals$} | {most:.decimals$} |");
    }
}

fn main() {
    // `cargo test --benches` asks for nothing to be measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let dir = TempDir::new().expect("a temporary folder");
    let ledger = Ledger::start(&dir).await;
    let service = Service::start(&dir).await;
    let mut in_flight: Vec<Row> = IN_FLIGHT.iter().map(|_| Row::default()).collect();
    let (mut charge, mut healthcheck) = (Row::default(), Row::default());
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for (row, callers) in in_flight.iter_mut().zip(IN_FLIGHT) {
            row.rounds.push(ledger.charges_a_second(callers).await);
        }
        healthcheck.rounds.push(service.requests_a_second(Request::Healthcheck).await);
        charge.rounds.push(service.requests_a_second(Request::Charge).await);
    }
    println!("| operations a second | median | least | most |\n|---|---|---|---|");
    for (row, callers) in in_flight.iter().zip(IN_FLIGHT) {
        row.print(&format!("ledger only, {callers} in flight"), 0);
    }
    healthcheck.print(&format!("REST healthcheck, {CONNECTIONS} connections"), 0);
    charge.print(&format!("REST charge, {CONNECTIONS} connections"), 0);
    println!("\n| ratio, round by round | median | least | most |\n|---|---|---|---|");
    for (row, callers) in in_flight.iter().zip(IN_FLIGHT).skip(1) {
        row.over(&in_flight[0]).print(&format!("ledger only, {callers} in flight / 1 in flight"), 1);
    }
    charge.over(&healthcheck).print("REST charge / REST healthcheck", 2);
    ledger.verify().await;
    service.verify();
}

/// The engine and its store, with no door before them.
struct Ledger {
    engine: Engine,
    location: Location,
    events: Arc<AtomicI64>,
}

impl Ledger {
    async fn start(dir: &TempDir) -> Self {
        let location = Location::Sqlite(dir.path().join("ledger.db"));
        let settings = Settings::defaults();
        let store = location.open(settings.currency).await.expect("a store");
        let (engine, _) = Engine::start(store, settings.currency, SystemClock, settings.engine());
        let mut openings = JoinSet::new();
        for number in 0..WALLETS {
            let engine = engine.clone();
            openings.spawn(async move {
                let user_id = UserId::new(number).expect("an id");
                let open = ledger::Command::open(user_id, engine.new_wallet_id(), OPENING).expect("an amount");
                engine.submit(open, None).await.expect("an outcome")
            });
        }
        openings.join_all().await;
        Self { engine, location, events: Arc::default() }
    }

    async fn charges_a_second(&self, callers: usize) -> f64 {
        let started = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..callers {
            let (engine, events) = (self.engine.clone(), Arc::clone(&self.events));
            running.spawn(async move {
                let mut done = 0_u32;
                while started.elapsed() < ROUND_TIME {
                    let number = events.fetch_add(1, Ordering::Relaxed);
                    let user_id = UserId::new(scattered(number)).expect("an id");
                    let event_id = EventId::new(number).expect("an id");
                    let charge = ledger::Command::charge(user_id, event_id, 1).expect("an amount");
                    let outcome = engine.submit(charge, None).await.expect("an outcome");
                    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
                    done += 1;
                }
                done
            });
        }
        let done: u32 = running.join_all().await.into_iter().sum();
        f64::from(done) / started.elapsed().as_secs_f64()
    }

    /// Every charge is there, and nothing else.
    async fn verify(self) {
        let head = self.engine.head().await.expect("the head");
        assert_eq!(head.last_entry_id.get(), WALLETS + self.events.load(Ordering::Relaxed));
        drop(self.engine);
        let report = self.location.audit().expect("it can be read").expect("it is right");
        eprintln!("ledger only: {report}");
    }
}

/// A wallet for an event: neighbours in time are strangers in the table.
const fn scattered(number: i64) -> i64 {
    number.wrapping_mul(7_919).rem_euclid(WALLETS)
}

#[derive(Clone, Copy)]
enum Request {
    Healthcheck,
    Charge,
}

/// The real program, as a process of its own.
struct Service {
    child: Child,
    http: SocketAddr,
    location: Location,
    events: Arc<AtomicI64>,
}

impl Service {
    async fn start(dir: &TempDir) -> Self {
        let database = dir.path().join("service.db");
        let mut child = Command::new(env!("CARGO_BIN_EXE_wallet"))
            .args([
                "--http-addr",
                "127.0.0.1:0",
                "--grpc-addr",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--database-url",
            ])
            .arg(format!("sqlite://{}", database.display()))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let logs = BufReader::new(child.stderr.take().expect("its standard error"));
        let http = logs
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
            .find_map(|line| line["http"].as_str().and_then(|addr| addr.parse().ok()))
            .expect("it says where it serves");
        let service = Self { child, http, location: Location::Sqlite(database), events: Arc::default() };
        let mut connection = Connection::open(service.http).await;
        for user_id in 0..WALLETS {
            let body = format!(r#"{{"UserId":{user_id},"AccountBalance":10000000.00}}"#);
            connection.post("/api/v1/users", &body).await;
        }
        service
    }

    async fn requests_a_second(&self, request: Request) -> f64 {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(self.http).await);
        }
        let started = Instant::now();
        let mut running = JoinSet::new();
        for mut connection in connections {
            let events = Arc::clone(&self.events);
            running.spawn(async move {
                let mut done = 0_u32;
                while started.elapsed() < ROUND_TIME {
                    match request {
                        Request::Healthcheck => connection.get("/api/v1/healthcheck").await,
                        Request::Charge => {
                            let event = events.fetch_add(1, Ordering::Relaxed);
                            let user = scattered(event);
                            let body = format!(r#"{{"UserId":{user},"EventId":{event},"Amount":0.01}}"#);
                            connection.post("/api/v1/charge", &body).await;
                        }
                    }
                    done += 1;
                }
                done
            });
        }
        let done: u32 = running.join_all().await.into_iter().sum();
        f64::from(done) / started.elapsed().as_secs_f64()
    }

    fn verify(&self) {
        let report = self.location.audit().expect("it can be read").expect("it is right");
        assert_eq!(report.head.last_entry_id.get(), WALLETS + self.events.load(Ordering::Relaxed));
        eprintln!("service: {report}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A keep-alive HTTP/1.1 connection, as lean as can be: the load generator shares the machine with what it measures.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("it accepts");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, buffer: Vec::with_capacity(1024) }
    }

    async fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: wallet\r\n\r\n")).await;
    }

    async fn post(&mut self, path: &str, body: &str) {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: wallet\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
    }

    /// Sends a request and reads its whole answer, which must be a success.
    async fn send(&mut self, request: &str) {
        self.stream.write_all(request.as_bytes()).await.expect("it reads");
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("it answers");
            assert_ne!(read, 0, "it hung up");
            let answer = std::str::from_utf8(&self.buffer).expect("text");
            let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.parse::<usize>().ok())
                .expect("a length");
            if body.len() >= length {
                assert!(head.starts_with("HTTP/1.1 20") && body.starts_with(r#"{"success":true"#), "{answer}");
                return;
            }
        }
    }
}
