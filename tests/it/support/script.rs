//! A load of scripted commands. Each follows from its number, and so does the balance that it must leave: whatever
//! becomes of a service under load, every answer can be checked, and everything can be sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use tokio_stream::wrappers::ReceiverStream;
use wallet::api::grpc::proto::TransactRequest;
use wallet::api::reason::Reason;

use super::client::{Client, Protocol, Reply};
use super::command::{Message, PlainCommand};

/// Commands that a stream sends ahead of their answers.
const WINDOW: usize = 16;

/// How long a caller who has another service waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits until it sends the same command again, or the next one.
const PAUSE: Duration = Duration::from_millis(10);

/// The opening balance of each caller's wallet: enough for every script.
const OPENING: i64 = 1_000_000;

/// One command of a caller's script.
#[derive(Clone, Copy, Debug)]
struct Step {
    user: i64,
    number: i64,
}

impl Step {
    /// A charge, a win, a deposit, a withdrawal, the rollbacks of that charge and of that win, a play; and again.
    const fn command(self) -> PlainCommand {
        let Self { user, number } = self;
        match number % 7 {
            0 => PlainCommand::charge(user, number, 1),
            1 => PlainCommand::win(user, number, 2),
            2 => PlainCommand::deposit(user, number, 3),
            3 => PlainCommand::withdraw(user, number, 1),
            4 => PlainCommand::rollback(user, number - 4),
            5 => PlainCommand::rollback_win(user, number - 4),
            _ => PlainCommand::play(user, (number, 3), (number, 4)),
        }
    }

    /// The balance that it leaves: of everything before it, and itself, done once.
    fn balance(self) -> i64 {
        let Self { number, .. } = self;
        OPENING + number / 7 * 3 + [-1, 1, 4, 3, 4, 2, 3][usize::try_from(number % 7).unwrap()]
    }

    /// Whether it is a charge or a win that a later step rolled back: sent again after that, it is refused.
    const fn is_rolled_back_by(self, sent: i64) -> bool {
        self.number % 7 < 2 && self.number + 4 < sent
    }
}

/// A caller with a wallet of its own, which sends its script in order.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    user: i64,
    protocol: Protocol,
    /// How many commands were resent in earlier rounds.
    resent: i64,
    /// How many commands were answered.
    pub acknowledged: i64,
    /// How many commands were sent: the outcome of the last of these may be unknown.
    sent: i64,
}

/// So many callers, by REST, by gRPC and by stream in turn, each with a wallet.
pub async fn callers(client: &Client, count: i64) -> Vec<Caller> {
    let mut callers = Vec::new();
    for user in 0..count {
        client.create_wallet(user, OPENING).await;
        let protocol = [Protocol::Rest, Protocol::Grpc, Protocol::Stream][usize::try_from(user % 3).unwrap()];
        callers.push(Caller { user, protocol, resent: 0, acknowledged: 0, sent: 0 });
    }
    callers
}

impl Caller {
    /// The balance after everything that was answered.
    pub fn acknowledged_balance(&self) -> i64 {
        if self.acknowledged == 0 { OPENING } else { Step { user: self.user, number: self.acknowledged - 1 }.balance() }
    }

    /// How many of its commands were sent and not answered.
    pub const fn unknown(&self) -> i64 {
        self.sent - self.acknowledged
    }

    /// Sends command after command, and calls `answered` for each answer, until one has no outcome.
    async fn play(&mut self, client: &Client, answered: impl Fn()) {
        match self.protocol {
            Protocol::Rest | Protocol::Grpc => {
                while self.step(client).await {
                    answered();
                }
            }
            Protocol::Stream => self.stream(client, answered).await,
        }
    }

    async fn step(&mut self, client: &Client) -> bool {
        let step = Step { user: self.user, number: self.sent };
        self.sent += 1;
        let reply = client.send(self.protocol, step.command()).await;
        if reply.has_no_outcome() {
            return false;
        }
        assert_eq!(reply, Reply::done(step.balance()), "{step:?}");
        self.acknowledged += 1;
        true
    }

    /// Sends command after command until the load is ended, each again and again until it has an outcome: by the other
    /// services in turn, if the caller's own does not answer.
    async fn persist(&mut self, clients: &[Client], answered: impl Fn(usize), is_ended: &AtomicBool) {
        let home = usize::try_from(self.user).unwrap() % clients.len();
        while !is_ended.load(Ordering::Relaxed) {
            let mut service = home;
            let step = Step { user: self.user, number: self.sent };
            self.sent += 1;
            let mut is_first = true;
            loop {
                let sending = clients[service].send(self.protocol, step.command());
                let reply = time::timeout(PATIENCE, sending).await.unwrap_or(Reply::Unanswered);
                if let Reply::Done { balance, replayed, applied } = reply {
                    assert_eq!((balance, applied), (step.balance(), true), "{step:?}");
                    assert!(!(replayed && is_first), "{step:?} was sent once");
                    break;
                }
                assert!(reply.has_no_outcome(), "{step:?}: {reply:?}");
                is_first = false;
                service = (service + 1) % clients.len();
                time::sleep(PAUSE).await;
            }
            self.acknowledged += 1;
            answered(service);
            time::sleep(PAUSE).await;
        }
    }

    async fn stream(&mut self, client: &Client, answered: impl Fn()) {
        let (sender, requests) = mpsc::channel(WINDOW);
        for _ in 0..WINDOW {
            self.send_next(&sender).await;
        }
        let Some(mut replies) = client.transact(ReceiverStream::new(requests)).await else { return };
        while let Some(reply) = replies.next().await {
            // The store failed: later commands may be done, but out of order.
            if reply.has_no_outcome() {
                return;
            }
            let step = Step { user: self.user, number: self.acknowledged };
            assert_eq!(reply, Reply::done(step.balance()), "{step:?}");
            self.acknowledged += 1;
            answered();
            if !self.send_next(&sender).await {
                return;
            }
        }
    }

    /// Sends the next command of a stream; false if the stream has ended.
    async fn send_next(&mut self, sender: &mpsc::Sender<TransactRequest>) -> bool {
        let step = Step { user: self.user, number: self.sent };
        let Message::Command(command) = step.command().encode().message else { panic!("{step:?} opens a wallet") };
        let sent = sender.send(TransactRequest { command: Some(command) }).await.is_ok();
        self.sent += i64::from(sent);
        sent
    }

    /// Sends everything since the last time again. An answered command must be a replay with the first answer, an
    /// unanswered one may be; nothing moves twice.
    async fn resend(&mut self, client: &Client) {
        self.resend_from(client, self.resent).await;
        self.acknowledged = self.sent;
        self.resent = self.sent;
    }

    async fn resend_from(&self, client: &Client, from: i64) {
        // One at a time, so a stream would bring nothing.
        let protocol = if self.protocol == Protocol::Rest { Protocol::Rest } else { Protocol::Grpc };
        for number in from..self.sent {
            let step = Step { user: self.user, number };
            let reply = client.send(protocol, step.command()).await;
            let rolled_back = reply.reason() == Some(Reason::RolledBack);
            if step.is_rolled_back_by(self.acknowledged) {
                assert!(rolled_back, "{step:?}: {reply:?}");
            } else if !(rolled_back && step.is_rolled_back_by(self.sent)) {
                let Reply::Done { balance, replayed, applied } = reply else { panic!("{step:?}: {reply:?}") };
                assert_eq!((balance, applied), (step.balance(), true), "{step:?}");
                assert!(replayed || number >= self.acknowledged, "{step:?} was acknowledged, and is lost");
            }
        }
        let balance = Self { acknowledged: self.sent, ..*self }.acknowledged_balance();
        assert_eq!(client.balance(self.user).await, balance, "user {}", self.user);
    }
}

/// Lets every caller play until one of its commands has no outcome, and calls `then` after so many answers.
pub async fn load(client: &Client, callers: Vec<Caller>, answers: usize, then: impl FnOnce()) -> Vec<Caller> {
    let (answered, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = callers.len();
    let mut playing = JoinSet::new();
    for mut caller in callers {
        let (client, answered, ended) = (client.clone(), Arc::clone(&answered), Arc::clone(&ended));
        playing.spawn(async move {
            let count = || {
                answered.fetch_add(1, Ordering::Relaxed);
            };
            caller.play(&client, count).await;
            ended.fetch_add(1, Ordering::Relaxed);
            caller
        });
    }
    while answered.load(Ordering::Relaxed) < answers && ended.load(Ordering::Relaxed) < count {
        time::sleep(Duration::from_millis(1)).await;
    }
    tokio::task::block_in_place(then);
    playing.join_all().await
}

/// Lets every caller play by any of these services until the load is ended, and calls `answered` with the number of the
/// service for each answer. Then no outcome is unknown.
pub async fn persist(
    clients: Vec<Client>,
    callers: Vec<Caller>,
    answered: impl Fn(usize) + Send + Sync + 'static,
    is_ended: Arc<AtomicBool>,
) -> Vec<Caller> {
    let (clients, answered) = (Arc::new(clients), Arc::new(answered));
    let mut playing = JoinSet::new();
    for mut caller in callers {
        let (clients, answered, is_ended) = (Arc::clone(&clients), Arc::clone(&answered), Arc::clone(&is_ended));
        playing.spawn(async move {
            caller.persist(&clients, |service| answered(service), &is_ended).await;
            caller
        });
    }
    playing.join_all().await
}

/// Resends what each caller sent since the last time: whatever was unknown is known then.
pub async fn resend(client: &Client, callers: Vec<Caller>) -> Vec<Caller> {
    let mut resending = JoinSet::new();
    for mut caller in callers {
        let client = client.clone();
        resending.spawn(async move {
            caller.resend(&client).await;
            caller
        });
    }
    resending.join_all().await
}

/// Resends to each of these services what each caller sent since the last time. All of it was answered, so all of it
/// must be a replay.
pub async fn resend_to_each(clients: &[Client], callers: &mut [Caller]) {
    for client in clients {
        futures::future::join_all(callers.iter().map(|caller| caller.resend_from(client, caller.resent))).await;
    }
    for caller in callers {
        caller.resent = caller.sent;
    }
}

/// Resends all that was ever sent; how many commands that is.
pub async fn resend_all(client: &Client, callers: &[Caller]) -> i64 {
    futures::future::join_all(callers.iter().map(|caller| caller.resend_from(client, 0))).await;
    callers.iter().map(|caller| caller.acknowledged).sum()
}
