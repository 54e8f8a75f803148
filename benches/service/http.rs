//! Callers of the REST API. They do little work, because they share the machine with what is measured.

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wallet::ledger::Timestamp;

use super::load::Caller;
use super::wallets::{HOT, OPENING, Share};

/// Where requests go, and the token that they carry, if any.
#[derive(Clone)]
pub struct Target {
    pub addr: SocketAddr,
    /// Whole lines that the head of every request has.
    headers: Arc<str>,
}

impl Target {
    pub fn new(addr: SocketAddr, token: Option<&str>) -> Self {
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        Self { addr, headers: format!("host: wallet\r\n{token}").into() }
    }
}

/// An HTTP/1.1 connection, kept alive if the server allows it.
pub struct Connection {
    target: Target,
    /// `None` when the server has closed it after its last answer.
    stream: Option<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    pub async fn open(target: &Target) -> Self {
        let stream = Some(connect(target.addr).await);
        Self { target: target.clone(), stream, request: Vec::with_capacity(512), answer: Vec::with_capacity(1024) }
    }

    /// Opens `count` connections.
    pub async fn open_all(target: &Target, count: usize) -> Vec<Self> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Self::open(target).await);
        }
        connections
    }

    /// The body that answers a read.
    pub async fn get(&mut self, path: &str) -> &str {
        let Self { request, target, .. } = self;
        request.clear();
        write!(request, "GET {path} HTTP/1.1\r\n{}\r\n", target.headers).expect("memory");
        self.exchange().await.expect("a read is never refused")
    }

    /// The balance of a wallet.
    pub async fn balance(&mut self, user: i64) -> i64 {
        balance(self.get(&format!("/api/v1/users/{user}")).await)
    }

    /// The balance that a charge of 1 minor unit left.
    pub async fn charge(&mut self, user: i64, event: i64) -> i64 {
        self.write_post("/api/v1/charge", format_args!(r#"{{"UserId":{user},"EventId":{event},"Amount":0.01}}"#));
        self.command().await
    }

    /// The balance of a wallet that was opened.
    pub async fn open_wallet(&mut self, user: i64, opening: i64) -> i64 {
        let (whole, minor) = (opening / 100, opening % 100);
        self.write_post("/api/v1/users", format_args!(r#"{{"UserId":{user},"AccountBalance":{whole}.{minor:02}}}"#));
        self.command().await
    }

    /// Makes the request of a command.
    fn write_post(&mut self, path: &str, body: fmt::Arguments<'_>) {
        let Self { request, target, .. } = self;
        request.clear();
        let headers = &target.headers;
        write!(request, "POST {path} HTTP/1.1\r\n{headers}content-type: application/json\r\n").expect("memory");
        // The length stands before the body but is known after it: three digits are kept free for it.
        request.extend_from_slice(b"content-length: ");
        let digits = request.len()..request.len() + 3;
        request.extend_from_slice(b"000\r\n\r\n");
        let head = request.len();
        request.write_fmt(body).expect("memory");
        let length = request.len() - head;
        write!(&mut request[digits], "{length:03}").expect("fewer than 1000 bytes");
    }

    /// The balance that the command left. While the service answers `BUSY`, the command is sent again, at once.
    async fn command(&mut self) -> i64 {
        loop {
            if let Some(body) = self.exchange().await {
                return balance(body);
            }
        }
    }

    /// The body that answers the request, which must have succeeded. `None` if the service was `BUSY`.
    async fn exchange(&mut self) -> Option<&str> {
        let Self { target, stream, request, answer } = self;
        let open = match stream {
            Some(open) => open,
            None => stream.insert(connect(target.addr).await),
        };
        open.write_all(request).await.expect("it reads");
        answer.clear();
        let (body, keep) = loop {
            assert_ne!(open.read_buf(answer).await.expect("it answers"), 0, "it hung up");
            if let Some(found) = whole(answer) {
                break found;
            }
        };
        if !keep {
            *stream = None;
        }
        let text = std::str::from_utf8(answer).expect("text");
        if text.starts_with("HTTP/1.1 503") && text.contains("\r\nwallet-reason: BUSY\r\n") {
            return None;
        }
        assert!(text.starts_with("HTTP/1.1 20"), "{text}");
        Some(&text[body..])
    }
}

async fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).await.expect("it accepts");
    stream.set_nodelay(true).expect("a socket option");
    stream
}

/// Where the body begins, if all of it is there, and whether the connection is kept.
fn whole(answer: &[u8]) -> Option<(usize, bool)> {
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..body]).expect("text");
    let (mut length, mut keep) = (None, true);
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            keep = !value.eq_ignore_ascii_case("close");
        }
    }
    (answer.len() >= body + length.expect("a length")).then_some((body, keep))
}

/// The `AccountBalance` of an answer, in minor units.
fn balance(body: &str) -> i64 {
    let parse = || {
        let (_, number) = body.split_once(r#""AccountBalance":"#)?;
        let (number, _) = number.split_once(['}', ','])?;
        let (whole, decimals) = number.trim().split_once('.')?;
        // Not every server writes the zeros at the end.
        let minor: i64 = format!("{decimals:0<2}").parse().ok().filter(|_| decimals.len() <= 2)?;
        Some(whole.parse::<i64>().ok()? * 100 + minor)
    };
    parse().unwrap_or_else(|| panic!("no balance: {body}"))
}

/// Reads one wallet as it was at random moments.
pub struct PastCaller {
    connection: Connection,
    history: Range<i64>,
    /// The state of a generator of random numbers.
    random: u64,
}

impl PastCaller {
    /// So many callers, each with its own connection, for moments in `history` (microseconds since 1970).
    pub async fn connect_all(target: &Target, callers: usize, history: &Range<i64>) -> Vec<Self> {
        let connections = Connection::open_all(target, callers).await;
        let caller = |(random, connection)| Self { connection, history: history.clone(), random };
        (1..).zip(connections).map(caller).collect()
    }
}

impl Caller for PastCaller {
    async fn call(&mut self) {
        // Knuth's MMIX generator, whose high bits are random enough.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = (self.history.end - self.history.start).unsigned_abs();
        let past = i64::try_from((self.random >> 33) % length).expect("within the history");
        let moment = Timestamp::from_microseconds(self.history.start + past);
        let found = balance(self.connection.get(&format!("/api/v1/users/{HOT}?at={moment}")).await);
        assert!((0..=OPENING).contains(&found), "{found}");
    }
}

pub struct HealthCaller(Connection);

impl HealthCaller {
    pub async fn connect_all(target: &Target, callers: usize) -> Vec<Self> {
        Connection::open_all(target, callers).await.into_iter().map(Self).collect()
    }
}

impl Caller for HealthCaller {
    async fn call(&mut self) {
        let body = self.0.get("/api/v1/healthcheck").await;
        assert!(body.starts_with(r#"{"success":true"#), "{body}");
    }
}

pub struct ChargeCaller {
    connection: Connection,
    share: Share,
}

impl ChargeCaller {
    /// A caller for each share, each with its own connection.
    pub async fn connect_all(target: &Target, shares: Vec<Share>) -> Vec<Self> {
        let connections = Connection::open_all(target, shares.len()).await;
        shares.into_iter().zip(connections).map(|(share, connection)| Self { connection, share }).collect()
    }
}

impl Caller for ChargeCaller {
    async fn call(&mut self) {
        let charge = self.share.charge();
        let balance = self.connection.charge(charge.user, charge.event).await;
        self.share.check(&charge, balance);
    }
}

/// Reads wallets, which others may be charging.
pub struct ReadCaller {
    connection: Connection,
    share: Share,
}

impl ReadCaller {
    /// A caller for each share, each with its own connection.
    pub async fn connect_all(target: &Target, shares: Vec<Share>) -> Vec<Self> {
        let connections = Connection::open_all(target, shares.len()).await;
        shares.into_iter().zip(connections).map(|(share, connection)| Self { connection, share }).collect()
    }
}

impl Caller for ReadCaller {
    async fn call(&mut self) {
        let user = self.share.user();
        let before = self.share.wallets.balance(user);
        let found = self.connection.balance(user).await;
        let possible = self.share.wallets.readable(user, before);
        assert!(possible.contains(&found), "user {user} has {found}, not one of {possible:?}");
    }
}
