//! Kill −9: what was acknowledged is there, once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::client::{Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::ledger::TestLedger;
use crate::support::optional;
use crate::support::process::Process;
use crate::support::script::{Caller, callers, load, resend, resend_all};
use crate::support::strace::Strace;

const CALLERS: i64 = 15;

/// Every system call that may carry an answer out.
const ANSWER: &str = "sendto,sendmsg,writev:signal=KILL:when=1";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_kill_9_and_happens_once() {
    let rounds = optional::rounds("WALLET_CRASH_ROUNDS", 8);
    let ledger = TestLedger::create();
    let process = Process::start(&ledger);
    let mut callers = callers(&process.client().await, CALLERS).await;
    process.kill();

    let (mut slowest, mut unknown) = (Duration::ZERO, 0);
    for round in 0..rounds {
        let answers = 150 + usize::try_from(round * 397 % 1_500).unwrap();
        let process = Process::start(&ledger);
        callers = load(&process.client().await, callers, answers, || process.signal("KILL")).await;
        drop(process);
        unknown += callers.iter().map(Caller::unknown).sum::<i64>();

        let process = Process::start(&ledger);
        slowest = slowest.max(process.started_in);
        callers = resend(&process.client().await, callers).await;
        process.kill();
        ledger.audit();
    }
    let process = Process::start(&ledger);
    let acknowledged = resend_all(&process.client().await, &callers).await;
    println!(
        "{rounds} kills, {acknowledged} commands acknowledged, {unknown} cut off: none lost, none twice; \
         start-up {slowest:?} at the most"
    );
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
}

/// A wallet with ten euros in a new ledger, served.
async fn with_ten_euros(ledger: &TestLedger) -> Process {
    let process = Process::start(ledger);
    process.client().await.create_wallet(1, 1_000).await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_commit_and_rest_answer_the_retry_is_a_replay() {
    let ledger = TestLedger::create();
    let mut process = with_ten_euros(&ledger).await;
    let mut caller = TcpStream::connect(process.http).unwrap();
    let Some(_strace) = Strace::attach("a kill before a REST answer", &process, ANSWER) else { return };
    let body = r#"{"UserId":1,"EventId":7,"Amount":1.00}"#;
    let length = body.len();
    let head = format!(
        "POST /api/v1/charge HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    caller.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = caller.read_to_end(&mut answer);
    assert_eq!(String::from_utf8_lossy(&answer), "", "it was killed as it began to answer");
    assert!(!process.wait().success());

    let process = Process::start(&ledger);
    let again = process.client().await.http.post("/api/v1/charge", body).await;
    assert_eq!(again.header("idempotent-replayed"), "true", "it was committed");
    assert_eq!(again.text(), r#"{"success":true,"UserId":1,"AccountBalance":9.00}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_commit_and_grpc_answer_the_retry_is_a_replay() {
    let ledger = TestLedger::create();
    let mut process = with_ten_euros(&ledger).await;
    let client = process.client().await;
    // With an answer behind it, the connection has nothing left to send but the next.
    let first = client.send(Protocol::Grpc, PlainCommand::charge(1, 6, 100)).await;
    assert_eq!(first, Reply::done(900));
    let Some(_strace) = Strace::attach("a kill before a gRPC answer", &process, ANSWER) else { return };
    let charge = PlainCommand::charge(1, 7, 100);
    assert_eq!(client.send(Protocol::Grpc, charge).await, Reply::Unanswered);
    assert!(!process.wait().success());

    let process = Process::start(&ledger);
    let again = process.client().await.send(Protocol::Grpc, charge).await;
    assert_eq!(again, Reply::replayed(800), "it was committed");
}
