//! One short method per rpc.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::proto::wallet_service_server::WalletService;
use super::proto::{
    ChargeRequest, ChargeResponse, Checkpoint, CreateWalletRequest, DepositRequest, DepositResponse, Entry, Event,
    FreezeWalletRequest, GetCheckpointRequest, GetEventRequest, GetWalletRequest, ListEntriesRequest,
    ListEntriesResponse, PlayRequest, PlayResponse, RollbackRequest, RollbackResponse, TransactRequest,
    TransactResponse, UnfreezeWalletRequest, Wallet, WatchEntriesRequest, WatchEntriesResponse, WinRequest,
    WinResponse, WithdrawRequest, WithdrawResponse,
};
use super::transact::{self, Sender};
use super::{GrpcOptions, WALLET_CURRENCY, convert, deadline, watch};
use crate::access::{self, Access, Right};
use crate::api::actor::Actor;
use crate::api::event;
use crate::api::reason::{Problem, Reason};
use crate::engine::{Engine, Page};
use crate::ledger::{Command, EntryId, Outcome};

/// The service of the contract.
pub struct Service {
    engine: Engine,
    access: Access,
    options: GrpcOptions,
    shutdown: CancellationToken,
    /// One for each stream that may be open.
    stream_permits: Arc<Semaphore>,
}

impl Service {
    pub fn new(engine: Engine, access: Access, options: GrpcOptions, shutdown: CancellationToken) -> Self {
        Self { engine, access, options, shutdown, stream_permits: Arc::new(Semaphore::new(options.streams_max)) }
    }

    /// Who sent a request.
    fn identified<R>(&self, request: &Request<R>) -> Result<Arc<Actor>, Problem> {
        match request.extensions().get() {
            Some(actor) => Ok(Arc::clone(actor)),
            None => Actor::identify(&self.access, request.metadata().as_ref()).map(Arc::new),
        }
    }

    /// Who sent a request, if the caller has this right.
    fn permitted<R>(&self, request: &Request<R>, right: Right) -> Result<Arc<Actor>, Problem> {
        match request.extensions().get::<Arc<Actor>>() {
            Some(actor) => actor.demand(right).map(|()| Arc::clone(actor)),
            None => Actor::permitted(&self.access, request.metadata().as_ref(), right).map(Arc::new),
        }
    }

    /// Submits a request's command, and answers with its outcome as `answer` shows it.
    async fn submit<R, A>(
        &self,
        request: Request<R>,
        right: Right,
        answer: fn(&Outcome) -> Result<A, Problem>,
    ) -> Answered<A>
    where
        Command: TryFrom<R, Error = Problem>,
    {
        let actor = self.permitted(&request, right)?;
        let (command, deadline) = command(request)?;
        let outcome = actor.submit(&self.engine.ledger, command, deadline).await?;
        Ok(Response::new(answer(&outcome)?))
    }

    /// Submits a request's command that is answered by the wallet.
    async fn submit_for_wallet<R>(&self, request: Request<R>) -> Answered<Wallet>
    where
        Command: TryFrom<R, Error = Problem>,
    {
        let actor = self.permitted(&request, Right::Operate)?;
        let (command, deadline) = command(request)?;
        let outcome = actor.submit_for_wallet(&self.engine.ledger, command, deadline).await?;
        Ok(Response::new(convert::wallet(&outcome)?))
    }
}

/// The answer to a call.
type Answered<A> = Result<Response<A>, Status>;

/// The command that a request asks for, and when it must be decided.
fn command<R>(request: Request<R>) -> Result<(Command, Option<Instant>), Status>
where
    Command: TryFrom<R, Error = Problem>,
{
    let deadline = deadline::of(request.metadata())?;
    Ok((Command::try_from(request.into_inner())?, deadline))
}

fn unknown_user() -> Problem {
    Reason::UnknownUser.into()
}

#[tonic::async_trait]
impl WalletService for Service {
    async fn charge(&self, request: Request<ChargeRequest>) -> Answered<ChargeResponse> {
        self.submit(request, Right::Play, convert::response).await
    }

    async fn win(&self, request: Request<WinRequest>) -> Answered<WinResponse> {
        self.submit(request, Right::Play, convert::response).await
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Answered<RollbackResponse> {
        self.submit(request, Right::Play, convert::response).await
    }

    async fn play(&self, request: Request<PlayRequest>) -> Answered<PlayResponse> {
        self.submit(request, Right::Play, convert::played).await
    }

    async fn deposit(&self, request: Request<DepositRequest>) -> Answered<DepositResponse> {
        self.submit(request, Right::Operate, convert::response).await
    }

    async fn withdraw(&self, request: Request<WithdrawRequest>) -> Answered<WithdrawResponse> {
        self.submit(request, Right::Operate, convert::response).await
    }

    async fn create_wallet(&self, request: Request<CreateWalletRequest>) -> Answered<Wallet> {
        self.submit_for_wallet(request).await
    }

    async fn freeze_wallet(&self, request: Request<FreezeWalletRequest>) -> Answered<Wallet> {
        self.submit_for_wallet(request).await
    }

    async fn unfreeze_wallet(&self, request: Request<UnfreezeWalletRequest>) -> Answered<Wallet> {
        self.submit_for_wallet(request).await
    }

    async fn get_event(&self, request: Request<GetEventRequest>) -> Answered<Event> {
        self.permitted(&request, Right::LookUp)?;
        let GetEventRequest { user_id, event_id } = *request.get_ref();
        let event = convert::event_key(user_id, event_id)?;
        let found = self.engine.queries.event(event, deadline::of(request.metadata())?).await.map_err(Problem::from)?;
        let event = event::known(found).map_err(Problem::from)?;
        Ok(Response::new((&event).into()))
    }

    async fn get_wallet(&self, request: Request<GetWalletRequest>) -> Answered<Wallet> {
        self.permitted(&request, Right::LookUp)?;
        let GetWalletRequest { user_id, at } = *request.get_ref();
        let (user_id, at) = (convert::user(user_id)?, at.map(convert::timestamp).transpose()?);
        let deadline = deadline::of(request.metadata())?;
        let wallet = self.engine.queries.wallet(user_id, at, deadline).await.map_err(Problem::from)?;
        Ok(Response::new(wallet.ok_or_else(unknown_user)?.into()))
    }

    async fn list_entries(&self, request: Request<ListEntriesRequest>) -> Answered<ListEntriesResponse> {
        self.permitted(&request, Right::ReadLedger)?;
        let ListEntriesRequest { user_id, page_size, page_token } = request.get_ref();
        let (user_id, size, before) =
            (convert::user(*user_id)?, parse_size(*page_size)?, parse_token(page_token.as_deref())?);
        let deadline = deadline::of(request.metadata())?;
        let page = self.engine.queries.entries(user_id, before, size, deadline).await.map_err(Problem::from)?;
        let Page { entries, next_before } = page.ok_or_else(unknown_user)?;
        let next_page_token = next_before.map(|before| before.to_string()).unwrap_or_default();
        Ok(Response::new(ListEntriesResponse { entries: entries.iter().map(Entry::from).collect(), next_page_token }))
    }

    type TransactStream = Pin<Box<dyn Stream<Item = Result<TransactResponse, Status>> + Send>>;

    async fn transact(&self, request: Request<Streaming<TransactRequest>>) -> Answered<Self::TransactStream> {
        let (actor, deadline) = (self.identified(&request)?, deadline::of(request.metadata())?);
        let share = actor.share(access::Stream::Transact)?;
        let permit = Arc::clone(&self.stream_permits).try_acquire_owned().map_err(|_| Problem::from(Reason::Busy))?;
        let sender = Sender { actor, ledger: self.engine.ledger.clone(), deadline };
        let in_flight_max = self.options.stream_in_flight_max;
        let answers = transact::answers(sender, request.into_inner(), in_flight_max, self.shutdown.clone());
        // The stream keeps its permit for as long as its client may read answers.
        let answers = answers.inspect(move |_| _ = (&permit, &share));
        Ok(Response::new(Box::pin(answers)))
    }

    type WatchEntriesStream = Pin<Box<dyn Stream<Item = Result<WatchEntriesResponse, Status>> + Send>>;

    async fn watch_entries(&self, request: Request<WatchEntriesRequest>) -> Answered<Self::WatchEntriesStream> {
        let actor = self.permitted(&request, Right::ReadLedger)?;
        let deadline = deadline::of(request.metadata())?;
        let entries = watch::entries(&self.engine.feed, request.into_inner(), deadline, self.options.feed).await?;
        let entries = Actor::clone(&actor).while_admitted(entries)?.map_err(Status::from);
        let entries: Self::WatchEntriesStream = Box::pin(entries);
        let mut response = Response::new(entries);
        let currency = MetadataValue::from_static(self.engine.currency.code());
        response.metadata_mut().insert(WALLET_CURRENCY, currency);
        Ok(response)
    }

    async fn get_checkpoint(&self, request: Request<GetCheckpointRequest>) -> Answered<Checkpoint> {
        self.permitted(&request, Right::ReadLedger)?;
        let heads = self.engine.queries.heads(deadline::of(request.metadata())?).await.map_err(Problem::from)?;
        Ok(Response::new(heads.into()))
    }
}

/// The size of a page: what is 0 or left out means the default, as usual in gRPC (<https://google.aip.dev/158>).
fn parse_size(page_size: Option<i32>) -> Result<usize, Problem> {
    match page_size {
        None | Some(0) => Ok(Page::SIZE_DEFAULT),
        Some(size) => Page::size(size.into()).ok_or_else(|| Problem::out_of_range("page_size", 0, Page::SIZE_MAX)),
    }
}

/// Reads a page token: the entry that the page comes before.
fn parse_token(page_token: Option<&str>) -> Result<Option<EntryId>, Problem> {
    let Some(token) = page_token.filter(|token| !token.is_empty()) else { return Ok(None) };
    let before = token.parse().ok().and_then(EntryId::new).filter(|before| before.to_string() == token);
    before.map(Some).ok_or_else(|| Problem::invalid("page_token is not one that was given out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_is_what_was_given_out() {
        assert_eq!((parse_token(None), parse_token(Some(""))), (Ok(None), Ok(None)));
        assert_eq!(parse_token(Some("17")), Ok(EntryId::new(17)));
        for token in ["-1", "+1", "01", "1 ", "x", "9223372036854775808"] {
            assert!(parse_token(Some(token)).is_err(), "{token:?}");
        }
    }

    #[test]
    fn a_page_has_a_size_from_1_to_1000() {
        assert_eq!((parse_size(None), parse_size(Some(0))), (Ok(50), Ok(50)));
        assert_eq!((parse_size(Some(1)), parse_size(Some(1000))), (Ok(1), Ok(1000)));
        for size in [-1, 1001, i32::MIN, i32::MAX] {
            assert_eq!(parse_size(Some(size)).unwrap_err().message, "page_size must be a whole number from 0 to 1000");
        }
    }
}
