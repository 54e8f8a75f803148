//! Many commands in one request, each decided on its own.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::time::{self, Instant};
use utoipa::ToSchema;

use super::body::{BatchBody, Field};
use super::error::Failure;
use super::openapi::declare_reasons;
use super::request::{ChargeRequest, PlayRequest, RollbackRequest, TransactionRequest, WinRequest};
use super::response::{self, BalanceAnswer, RollbackAnswer};
use super::{Amounts, SharedState};
use crate::api::actor::Actor;
use crate::api::group::Group;
use crate::api::reason::Problem;
use crate::engine::{EngineError, Ledger, Replies};
use crate::ledger::{Command, Currency, Outcome};

/// The most commands of one request.
const COMMANDS_MAX: usize = 1000;

declare_reasons! { BatchReasons: Command [] }

/// Many commands.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"Commands": [
    {"Charge": {"UserId": 123_123, "EventId": 321_125, "Amount": 1.00}},
    {"Win": {"UserId": 123_123, "WinningEventId": 312_123_323, "Amount": 10.00}}
]}))]
pub struct BatchRequest<'a> {
    /// The commands, in the order in which they are decided.
    #[serde(borrow, default)]
    #[schema(value_type = Vec<BatchCommand>, required = true, max_items = 1000)]
    commands: Field<'a>,
}

/// One command of many: exactly one of these fields is given.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(min_properties = 1)]
struct BatchCommand<'a> {
    #[serde(borrow, default)]
    #[schema(value_type = ChargeRequest, required = false)]
    charge: Field<'a>,
    #[serde(borrow, default)]
    #[schema(value_type = WinRequest, required = false)]
    win: Field<'a>,
    #[serde(borrow, default)]
    #[schema(value_type = PlayRequest, required = false)]
    play: Field<'a>,
    #[serde(borrow, default)]
    #[schema(value_type = RollbackRequest, required = false)]
    rollback: Field<'a>,
    #[serde(borrow, default)]
    #[schema(value_type = TransactionRequest, required = false)]
    deposit: Field<'a>,
    #[serde(borrow, default)]
    #[schema(value_type = TransactionRequest, required = false)]
    withdraw: Field<'a>,
}

/// What became of many commands, in their order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BatchAnswer {
    #[serde(rename = "success")]
    success: bool,
    results: Vec<ResultAnswer>,
}

impl BatchAnswer {
    pub fn new(results: impl Iterator<Item = Result<Outcome, Problem>>, currency: Currency) -> Self {
        Self { success: true, results: results.map(|result| ResultAnswer::new(result, currency)).collect() }
    }
}

/// What became of one command of many: what its own call would have answered.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum ResultAnswer {
    Rollback(RollbackAnswer),
    Balance(BalanceAnswer),
    Refused(RefusedAnswer),
}

impl ResultAnswer {
    fn new(result: Result<Outcome, Problem>, currency: Currency) -> Self {
        let problem = match result {
            Ok(Outcome::Applied(receipt) | Outcome::Replayed { receipt, .. }) => {
                return match receipt.entry.kind.undoes() {
                    Some(_) => Self::Rollback(RollbackAnswer::new(&receipt, currency)),
                    None => Self::Balance(BalanceAnswer::new(&receipt, currency)),
                };
            }
            Ok(Outcome::Refused(refusal)) => Problem::from(refusal),
            Err(problem) => problem,
        };
        Self::Refused(RefusedAnswer { success: false, error: problem.message, reason: problem.reason.name() })
    }
}

/// One command of many was not done.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"success": false, "error": "Account balance is too low", "Reason": "BALANCE_TOO_LOW"}))]
struct RefusedAnswer {
    success: bool,
    /// A message for a person to read.
    error: String,
    /// Why, for machines: what `Wallet-Reason` would have said.
    #[serde(rename = "Reason")]
    reason: &'static str,
}

/// Send many commands
///
/// Up to 1000 commands in one request, decided in their order, each on its own: what one is refused for does not stop
/// the others. The answer has for each what its own call would have answered; where that is an error, with its reason
/// in a field beside. If the request fails as a whole, send it again: what was done is replayed.
#[utoipa::path(
    post, path = "/api/v1/batch", tag = "game", operation_id = "batch", request_body = BatchRequest,
    responses((status = 200, description = "What became of each command.", body = BatchAnswer), BatchReasons),
)]
pub async fn batch(
    State(state): State<SharedState>,
    actor: Actor,
    BatchBody(body): BatchBody,
) -> Result<Response, Failure> {
    let request: BatchRequest<'_> = body.parse()?;
    let elements = request.commands.elements("Commands")?;
    if elements.len() > COMMANDS_MAX {
        return Err(Problem::invalid(format!("Commands must have at most {COMMANDS_MAX} elements")).into());
    }
    actor.recheck()?;
    let mut group = Group::with_capacity(elements.len());
    for element in elements {
        group.push(&actor, command(element, state.amounts()));
    }
    let Group { commands, places } = group;
    let submitted = submit(state.engine.ledger.clone(), commands, state.deadline());
    let outcomes = places.outcomes(&actor, submitted).await;
    let results = places.answers(outcomes);
    Ok(response::answer(StatusCode::OK, &BatchAnswer::new(results, state.engine.currency)))
}

/// The one command of an element.
fn command(element: Field<'_>, amounts: Amounts) -> Result<Command, Problem> {
    let BatchCommand { charge, win, play, rollback, deposit, withdraw } = element.object("A command")?;
    let given = [charge, win, play, rollback, deposit, withdraw].map(Field::is_given);
    match given {
        [true, false, false, false, false, false] => charge.object::<ChargeRequest<'_>>("Charge")?.command(amounts),
        [false, true, false, false, false, false] => win.object::<WinRequest<'_>>("Win")?.command(amounts),
        [false, false, true, false, false, false] => play.object::<PlayRequest<'_>>("Play")?.command(amounts),
        [false, false, false, true, false, false] => rollback.object::<RollbackRequest<'_>>("Rollback")?.command(),
        [false, false, false, false, true, false] => {
            deposit.object::<TransactionRequest<'_>>("Deposit")?.command(amounts, Command::deposit)
        }
        [false, false, false, false, false, true] => {
            withdraw.object::<TransactionRequest<'_>>("Withdraw")?.command(amounts, Command::withdraw)
        }
        [false, false, false, false, false, false] => {
            Err(Problem::missing("Charge, Win, Play, Rollback, Deposit or Withdraw"))
        }
        _ => Err(Problem::invalid("A command must be one of Charge, Win, Play, Rollback, Deposit and Withdraw")),
    }
}

/// Queues the commands in groups and waits for their outcomes. Like a stream it waits for room in the queue, but no
/// longer than its deadline.
async fn submit(
    ledger: Ledger,
    mut commands: Vec<Command>,
    deadline: Option<Instant>,
) -> Vec<Result<Outcome, EngineError>> {
    let (count, mut queued) = (commands.len(), Vec::new());
    let mut failure = None;
    while !commands.is_empty() {
        let rest = commands.split_off(commands.len().min(ledger.group_size_max()));
        match enqueue(&ledger, std::mem::replace(&mut commands, rest), deadline).await {
            Ok(replies) => queued.push(replies),
            // The commands behind must not overtake these.
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let mut outcomes = Vec::with_capacity(count);
    for replies in queued {
        outcomes.extend(replies.outcomes().await);
    }
    if let Some(error) = failure {
        outcomes.resize_with(count, || Err(error.clone()));
    }
    outcomes
}

async fn enqueue(ledger: &Ledger, commands: Vec<Command>, deadline: Option<Instant>) -> Result<Replies, EngineError> {
    let enqueued = ledger.enqueue(commands, deadline);
    match deadline {
        Some(deadline) => time::timeout_at(deadline, enqueued).await.unwrap_or(Err(EngineError::Deadline)),
        None => enqueued.await,
    }
}
