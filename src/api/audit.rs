//! The audit log: each act of the operator and each refused attempt, as a line in a target of its own.
//!
//! Its target is `wallet.audit`. A line says who, what, from where, what became of it, and the request's id. Amounts
//! are logged nowhere else, and secrets nowhere at all.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Mutex;

use crate::access::Attempt;
use crate::api::reason::{Problem, Reason};
use crate::ledger::{Action, Command, EventId, Kind, Outcome, UserId};
use crate::telemetry::{AUDIT, Throttle};

/// Lines about attempts beyond the limit that are logged in one interval of the throttle; the others are counted.
const LINES_MAX: u32 = 1;

static BEYOND_LIMIT: Mutex<Throttle> = Mutex::new(Throttle::new(LINES_MAX));

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
pub fn done<R>(source: Source<'_>, act: &Act, outcome: &Result<Outcome<R>, Problem>) {
    let outcome = match outcome {
        Ok(Outcome::Applied(_)) => "applied",
        Ok(Outcome::Replayed { .. }) => "replayed",
        Ok(Outcome::Refused(refusal)) => Problem::from(*refusal).reason.name(),
        Err(problem) => problem.reason.name(),
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

/// Logs an attempt that was refused, and for what; of those beyond the limit of their address only how many there were.
pub fn refused(source: Source<'_>, reason: Reason, why: &dyn Display, act: Option<&Act>, attempt: Attempt) {
    let suppressed = match attempt {
        Attempt::Within => 0,
        Attempt::TooMany => match BEYOND_LIMIT.lock().ok().and_then(|mut throttle| throttle.pass()) {
            Some(suppressed) => suppressed,
            None => return,
        },
    };
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
        suppressed,
        "refused"
    );
}
