//! Far more than it can do, and thousands who do nothing: the excess is refused, memory is bounded, money is right.

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{CreateWalletRequest, GetWalletRequest, WinRequest};

use crate::support::app::Rest;
use crate::support::optional;
use crate::support::process::{Process, wallet};

const USERS: usize = 64;
/// Commands that may wait, and so the most that can be asked at once with nothing refused.
const QUEUE: usize = 32;

/// What came of a time under load.
struct Tally {
    /// Wins of one cent that were accepted, by user.
    accepted: Vec<AtomicI64>,
    busy: AtomicU64,
}

impl Tally {
    fn new() -> Self {
        Self { accepted: (0..USERS).map(|_| AtomicI64::new(0)).collect(), busy: AtomicU64::new(0) }
    }

    fn accepted(&self) -> i64 {
        self.accepted.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// One caller: a door, and where its event numbers begin.
#[derive(Clone)]
enum Caller {
    Rest(Rest),
    Grpc(WalletServiceClient<Channel>),
}

impl Caller {
    /// Whether a win was accepted; it may be refused as `BUSY`, in the documented shape, and as nothing else.
    async fn win(&mut self, user_id: i64, winning_event_id: i64) -> bool {
        match self {
            Self::Rest(rest) => {
                let body = format!(r#"{{"UserId":{user_id},"WinningEventId":{winning_event_id},"Amount":0.01}}"#);
                let reply = rest.post("/api/v1/win", &body).await;
                if reply.status == 200 {
                    return true;
                }
                assert_eq!((reply.status, reply.header("wallet-reason")), (503, "BUSY"), "{}", reply.text());
                assert!(!reply.header("retry-after").is_empty());
                assert!(reply.text().starts_with(r#"{"success":false,"#), "{}", reply.text());
            }
            Self::Grpc(grpc) => {
                let Err(status) = grpc.win(WinRequest { user_id, winning_event_id, amount_minor: 1 }).await else {
                    return true;
                };
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                assert_eq!(status.get_details_error_info().unwrap().reason, "BUSY");
                assert!(status.get_details_retry_info().is_some());
            }
        }
        false
    }
}

async fn channel(process: &Process) -> WalletServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", process.grpc)).unwrap();
    WalletServiceClient::new(endpoint.connect().await.unwrap())
}

/// Lets so many callers by both doors win without a pause; how many a second were accepted, and the slowest hundredth.
async fn load(
    process: &Process,
    callers: usize,
    first_event: i64,
    time: Duration,
    tally: &Arc<Tally>,
) -> (f64, Duration) {
    let channels = join_all((0..4).map(|_| channel(process))).await;
    let rest = Rest::at(process.http);
    let (before, begun) = (tally.accepted(), Instant::now());
    let mut playing = JoinSet::new();
    for number in 0..callers {
        let by_grpc = Caller::Grpc(channels[number / 2 % channels.len()].clone());
        let mut caller = if number % 2 == 0 { Caller::Rest(rest.clone()) } else { by_grpc };
        let tally = Arc::clone(tally);
        playing.spawn(async move {
            let (user, mut waits) = (number % USERS, Vec::new());
            let first = first_event + i64::try_from(number).unwrap() * 1_000_000;
            for event in first.. {
                let sent = Instant::now();
                if sent.duration_since(begun) > time {
                    break;
                }
                if caller.win(i64::try_from(user).unwrap(), event).await {
                    waits.push(sent.elapsed());
                    tally.accepted[user].fetch_add(1, Ordering::Relaxed);
                } else {
                    tally.busy.fetch_add(1, Ordering::Relaxed);
                }
            }
            waits
        });
    }
    let mut waits = playing.join_all().await.concat();
    waits.sort_unstable();
    let seconds = begun.elapsed().as_secs_f64();
    let accepted = u32::try_from(tally.accepted() - before).unwrap();
    (f64::from(accepted) / seconds, waits[waits.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_too_much_is_refused_and_what_is_accepted_is_right() {
    let dir = tempfile::tempdir().unwrap();
    // A small queue, and small commits: so that this machine can ask for far more than the service can do.
    let flags = ["--queue-capacity", &QUEUE.to_string(), "--batch-size-max", "4"];
    let process = Process::start_with(wallet(), &dir.path().join("wallet.db"), &flags);
    let mut grpc = channel(&process).await;
    for user in 0..USERS {
        let request = CreateWalletRequest { user_id: i64::try_from(user).unwrap(), opening_balance_minor: 0 };
        grpc.create_wallet(request).await.unwrap();
    }
    let (tally, time) = (Arc::new(Tally::new()), Duration::from_secs(2));
    let (top, top_p99) = load(&process, QUEUE, 0, time, &tally).await;
    assert_eq!(tally.busy.load(Ordering::Relaxed), 0, "what the queue holds is not refused");
    let memory_before = process.memory_mib();
    let (over, over_p99) = load(&process, 10 * QUEUE, 1_000_000_000_000, time, &tally).await;
    let (memory, busy) = (process.memory_mib(), tally.busy.load(Ordering::Relaxed));
    println!(
        "at the top {top:.0}/s, p99 {top_p99:?}; ten times as many callers: {over:.0}/s, p99 {over_p99:?}, {busy} BUSY; memory {memory_before} to {memory} MiB"
    );
    assert!(busy > 0, "the excess is refused");
    assert!(memory < memory_before + 200, "memory is bounded: {memory_before} to {memory} MiB");
    for user in 0..USERS {
        let request = GetWalletRequest { user_id: i64::try_from(user).unwrap(), at: None };
        let balance = grpc.get_wallet(request).await.unwrap().into_inner().balance_minor;
        assert_eq!(balance, tally.accepted[user].load(Ordering::Relaxed), "user {user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_leave_room_for_the_others() {
    const IDLE: usize = 10_000;
    let test = "ten thousand idle connections";
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    if limit < 10_500 {
        return optional::skip(test, &format!("needs more open files than {limit}"));
    }
    let dir = tempfile::tempdir().unwrap();
    // As most systems start a service: with a limit that it must raise.
    let mut program = Command::new("sh");
    program.args(["-c", r#"ulimit -S -n 1024; exec "$0" "$@""#, env!("CARGO_BIN_EXE_wallet")]);
    let process = Process::start_with(program, &dir.path().join("wallet.db"), &[]);
    let memory_before = process.memory_mib();
    let doors = [process.http, process.grpc];
    let idle: Vec<TcpStream> = tokio::task::block_in_place(|| {
        (0..IDLE).map(|number| TcpStream::connect(doors[number % 2]).unwrap()).collect()
    });
    let begun = Instant::now();
    let mut grpc = channel(&process).await;
    grpc.create_wallet(CreateWalletRequest { user_id: 1, opening_balance_minor: 0 }).await.unwrap();
    for event in 0..100 {
        let mut callers = [Caller::Rest(Rest::at(process.http)), Caller::Grpc(channel(&process).await)];
        for (number, caller) in (0..).zip(&mut callers) {
            assert!(caller.win(1, 2 * event + number).await);
        }
    }
    let (took, memory) = (begun.elapsed() / 200, process.memory_mib());
    println!(
        "{} idle connections: 200 calls on new ones, {took:?} each; memory {memory_before} to {memory} MiB",
        idle.len()
    );
    assert!(memory < memory_before + 400, "{memory} MiB");
}
