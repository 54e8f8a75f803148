//! A running program that serves one ledger.

use std::io::{BufRead, BufReader};
use std::iter::StepBy;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, block_in_place};
use wallet::engine::{Clock as _, SystemClock};

use super::http::{self, Connection};
use super::process::{LedgerUrl, Process, Program};
use super::sample::Window;
use super::tokens::Tokens;
use super::usage::memory_mib;
use super::wallets::{HOT, OPENING, Share, Wallets};
use super::{database, grpc};

/// How many connections open and read all wallets.
const CONNECTIONS: usize = 64;

/// The entries of the wallet whose past is read.
const HISTORY: i64 = 1_000_000;
const HISTORY_IN_FLIGHT: usize = 1_000;

pub struct Service {
    program: Program,
    process: Process,
    /// The REST API, as the engine calls it.
    pub http: http::Target,
    /// The gRPC service, as the engine calls it.
    pub grpc: grpc::Target,
    ledger: LedgerUrl,
    /// `None` if everybody may call.
    tokens: Option<Tokens>,
    pub wallets: Arc<Wallets>,
    /// From the start of the program until it served.
    pub start_up: Duration,
    /// Its memory before the first request.
    pub idle_mib: f64,
    /// When the hot wallet was given its history, in microseconds since 1970.
    pub history: Option<Range<i64>>,
}

impl Service {
    /// Starts the program on any free ports, and returns when it serves. If there are `tokens`, callers need one.
    pub fn start(program: Program, ledger: LedgerUrl, wallets: &Arc<Wallets>, tokens: Option<Tokens>) -> Self {
        let started = Instant::now();
        let mut command = program.command("serve", &ledger);
        command.args(["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--log-format", "json"]);
        if let Some(tokens) = &tokens {
            command.arg("--tokens-file").arg(&tokens.file);
        }
        let child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut process = Process(child);
        let stderr = process.0.stderr.take().expect("its standard error");
        let mut logs = BufReader::new(stderr).lines().map_while(Result::ok);
        let (http, grpc) = logs.find_map(|line| addresses(&line)).expect("it says where it serves");
        let start_up = started.elapsed();
        // The pipe must be read on, or the program would block when it is full. Warnings are worth printing.
        let warnings = logs.filter(|line| !line.contains(r#""level":"INFO""#));
        thread::spawn(move || warnings.for_each(|line| eprintln!("{line}")));
        let idle_mib = memory_mib(process.0.id(), "VmRSS:");
        let engine = tokens.as_ref().map(|tokens| tokens.engine.as_str());
        let (http, grpc) = (http::Target::new(http, engine), grpc::Target::new(grpc, engine));
        let wallets = Arc::clone(wallets);
        Self { program, process, http, grpc, ledger, tokens, wallets, start_up, idle_mib, history: None }
    }

    /// Starts the program on a new database, and opens every wallet through its REST API. The program makes its own
    /// tables, so an older build can be measured too.
    pub async fn start_new(program: Program, ledger: LedgerUrl, tokens: Option<Tokens>) -> Self {
        let service = Self::start(program, ledger.clone(), &Arc::new(Wallets::new()), tokens);
        let open = |mut connection: Connection, users: Users| async move {
            for user in users {
                assert_eq!(connection.open_wallet(user, OPENING).await, OPENING, "user {user}");
            }
        };
        let operator = service.tokens.as_ref().map(|tokens| tokens.operator.as_str());
        for_all_users(&http::Target::new(service.http.addr, operator), open).await;
        if let LedgerUrl::Sqlite(path) = &ledger {
            database::grow_log(path);
        }
        service
    }

    /// Gives the hot wallet a million entries.
    pub async fn make_history(&mut self) {
        let now = || SystemClock.now().microseconds();
        let begun = now();
        while OPENING - self.wallets.balance(HOT) < HISTORY {
            let share = Share::hot(&self.wallets, 1).pop().expect("one share");
            let window = Window::of(Duration::from_secs(1));
            let channel = grpc::connect(self.grpc.addr).await;
            grpc::transact(&self.grpc, channel, share, HISTORY_IN_FLIGHT, window).await;
        }
        self.history = Some(begun..now());
    }

    pub const fn ledger(&self) -> &LedgerUrl {
        &self.ledger
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Ends the program, and nothing else: another one serves the same ledger.
    pub fn end(mut self) {
        self.process.end();
    }

    /// Ends the program and proves that its ledger holds what it answered. Returns how long `wallet verify` took.
    ///
    /// Every balance is read through the program's own REST API, and its own `verify` checks the ledger. The tables are
    /// compared too if the program is the present build, whose tables are known here. If callers sent tokens, every
    /// entry must name its caller.
    pub async fn finish(mut self) -> Duration {
        let wallets = Arc::clone(&self.wallets);
        let check = move |mut connection: Connection, users: Users| {
            let wallets = Arc::clone(&wallets);
            async move {
                for user in users {
                    assert_eq!(connection.balance(user).await, wallets.balance(user), "the balance of user {user}");
                }
            }
        };
        for_all_users(&self.http, check).await;
        block_in_place(|| {
            self.process.end();
            let LedgerUrl::Sqlite(path) = &self.ledger else {
                let started = Instant::now();
                assert_eq!(
                    self.program.verified_entries(&self.ledger),
                    self.wallets.entries(),
                    "every charge is there"
                );
                return started.elapsed();
            };
            if self.tokens.is_some() {
                database::check_callers(path, &self.wallets);
            }
            match self.program {
                Program::Present => database::verify(path, &self.wallets),
                Program::Old(_) => self.program.verify(&self.ledger),
            }
        })
    }
}

/// Where the program serves, if this line of its log says so.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let addr = |name: &str| line[name].as_str().and_then(|addr| addr.parse().ok());
    addr("http").zip(addr("grpc"))
}

/// Every `CONNECTIONS`th user.
type Users = StepBy<RangeInclusive<i64>>;

/// Does `work` for all users, divided among several connections.
async fn for_all_users<W, F>(target: &http::Target, work: W)
where
    W: Fn(Connection, Users) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    for (first, connection) in (0..).zip(Connection::open_all(target, CONNECTIONS).await) {
        running.spawn(work(connection, (first..=HOT).step_by(CONNECTIONS)));
    }
    running.join_all().await;
}
