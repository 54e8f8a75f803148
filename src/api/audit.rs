//! The audit log: each act of the operator and each refused attempt, as a line in a target of its own.
//!
//! Its target is `wallet.audit`. A line says who, what, from where, what became of it, and the request's id. Amounts
//! are logged nowhere else, and secrets nowhere at all.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::access::Attempt;
use crate::api::reason::{Problem, Reason};
use crate::ledger::{Action, Command, EventId, Kind, Outcome, UserId};
use crate::telemetry::{AUDIT, audit_lines_lost};

/// How often those attempts are reported that got no line of their own.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Callers and addresses whose attempts are counted apart in one interval; those of others are counted together.
const COUNTED_APART_MAX: usize = 1_024;

/// Attempts that got no line of their own since the last report: from whom and where, and for what reason.
static SUPPRESSED: Mutex<BTreeMap<Suppressed, u64>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Suppressed {
    caller: Option<String>,
    client: Option<IpAddr>,
    outcome: &'static str,
}

/// Who did it, and by which request.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The caller's name, if it had to say who it is.
    pub caller: Option<&'a str>,
    pub client: Option<IpAddr>,
    /// The path that was called.
    pub call: &'a str,
    pub request_id: &'a str,
}

/// What a command was to do.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    kind: Kind,
    user_id: UserId,
    event_id: EventId,
    /// In minor units; `None` if the command names none, or two.
    amount_minor: Option<i64>,
}

impl Act {
    /// What a command is to do.
    #[must_use]
    pub const fn of(command: &Command) -> Self {
        let amount_minor = match command.action {
            Action::Charge(amount) | Action::Win(amount) | Action::Deposit(amount) | Action::Withdraw(amount) => {
                Some(amount.minor())
            }
            Action::Open { opening, .. } => Some(opening.minor()),
            Action::Play { .. } | Action::Rollback | Action::WinRollback | Action::Freeze | Action::Unfreeze => None,
        };
        let Command { user_id, event_id, .. } = *command;
        Self { kind: command.action.kind(), user_id, event_id, amount_minor }
    }

    /// What a command of the operator's is to do; `None` for a game's.
    #[must_use]
    pub fn of_operator(command: &Command) -> Option<Self> {
        (!command.action.kind().is_of_game()).then(|| Self::of(command))
    }
}

/// Logs what became of an act of the operator's.
pub fn done<R>(source: Source<'_>, act: &Act, outcome: Result<&Outcome<R>, Reason>) {
    let outcome = match outcome {
        Ok(Outcome::Applied(_)) => "applied",
        Ok(Outcome::Replayed { .. }) => "replayed",
        Ok(Outcome::Refused(refusal)) => Problem::from(*refusal).reason.name(),
        Err(reason) => reason.name(),
    };
    tracing::info!(
        target: AUDIT,
        act = act.kind.name(),
        user_id = act.user_id.get(),
        event_id = act.event_id.get(),
        amount_minor = act.amount_minor,
        outcome,
        caller = source.caller,
        client = source.client.map(tracing::field::display),
        call = source.call,
        request_id = source.request_id,
        "done"
    );
}

/// Logs an attempt that was refused, and for what. One beyond the limit is counted, and reported within five seconds.
pub fn refused(source: Source<'_>, reason: Reason, why: &dyn Display, act: Option<&Act>, attempt: Attempt) {
    if attempt == Attempt::TooMany {
        return suppress(source, reason);
    }
    tracing::warn!(
        target: AUDIT,
        act = act.map(|act| act.kind.name()),
        user_id = act.map(|act| act.user_id.get()),
        event_id = act.map(|act| act.event_id.get()),
        amount_minor = act.and_then(|act| act.amount_minor),
        outcome = reason.name(),
        why = %why,
        caller = source.caller,
        client = source.client.map(tracing::field::display),
        call = source.call,
        request_id = source.request_id,
        "refused"
    );
}

fn suppress(source: Source<'_>, reason: Reason) {
    let Ok(mut suppressed) = SUPPRESSED.lock() else { return };
    let outcome = reason.name();
    let mut from = Suppressed { caller: source.caller.map(ToOwned::to_owned), client: source.client, outcome };
    if suppressed.len() >= COUNTED_APART_MAX && !suppressed.contains_key(&from) {
        from = Suppressed { outcome, ..Suppressed::default() };
    }
    *suppressed.entry(from).or_default() += 1;
}

/// Reports attempts that got no line of their own, every five seconds and when `shutdown` is cancelled.
pub async fn report(shutdown: &CancellationToken) {
    let mut lost_before = 0;
    loop {
        let is_over = shutdown.run_until_cancelled(time::sleep(REPORT_INTERVAL)).await.is_none();
        let suppressed = SUPPRESSED.lock().map(|mut suppressed| std::mem::take(&mut *suppressed)).unwrap_or_default();
        for (Suppressed { caller, client, outcome }, suppressed) in suppressed {
            let client = client.map(tracing::field::display);
            tracing::warn!(target: AUDIT, outcome, caller, client, suppressed, "refused, and not logged one by one");
        }
        let lost = audit_lines_lost();
        if lost > lost_before {
            // The entries in the ledger have the names of their callers all the same.
            tracing::error!(
                lines = lost - lost_before,
                "lines of the audit log were lost: nobody read them fast enough"
            );
            lost_before = lost;
        }
        if is_over {
            return;
        }
    }
}
