//! Shut-down during everything: stopped at any moment, once or twice, the service finishes what it accepted.

use std::time::Duration;

use crate::support::ledger::TestLedger;
use crate::support::optional;
use crate::support::process::Process;
use crate::support::script::{callers, load, resend, resend_all};

/// The limit on how long the service may take to end.
const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_any_moment_it_ends_in_order_and_loses_nothing() {
    let rounds = optional::rounds("WALLET_STOP_ROUNDS", 6);
    let ledger = TestLedger::create();
    let process = Process::start(&ledger);
    let mut callers = callers(&process.client().await, 15).await;
    assert!(process.terminate().0.success());

    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let mut process = Process::start(&ledger);
        // It follows from the round, so that a failure is likely to happen again.
        let answers = usize::try_from(round * 7_919 % 613).unwrap();
        let begun = std::time::Instant::now();
        let stop = || {
            process.signal("TERM");
            if round % 2 == 1 {
                // A second signal changes nothing: what was accepted is finished.
                std::thread::sleep(Duration::from_millis(u64::try_from(round).unwrap() % 5));
                process.signal(if round % 4 == 1 { "TERM" } else { "INT" });
            }
        };
        callers = load(&process.client().await, callers, answers, stop).await;
        let status = tokio::task::block_in_place(|| process.wait());
        slowest = slowest.max(begun.elapsed());
        assert!(status.success(), "round {round}: {status}");
        ledger.audit();
        let process = Process::start(&ledger);
        callers = resend(&process.client().await, callers).await;
        assert!(process.terminate().0.success());
    }
    let process = Process::start(&ledger);
    let acknowledged = resend_all(&process.client().await, &callers).await;
    println!("{rounds} stops, {acknowledged} commands acknowledged: none lost, none twice; {slowest:?} at the most");
    assert!(slowest < LIMIT, "{slowest:?}");
}
