//! One connection through the proxy, with its two directions.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{Either, select};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::plan::{Ending, Made, Place};
use super::wire::{Message, Messages};
use super::{Shared, kind};

/// What the server sends when an answer is whole (`ReadyForQuery`).
const READY: u8 = b'Z';

/// What its two directions know of each other.
#[derive(Default)]
struct Answers {
    /// How many answers the client has asked for. The first is the one to its opening the connection.
    asked: usize,
    /// How many of them have come whole.
    answered: usize,
    /// A cut after the answer of this number.
    withheld: Option<(usize, Made)>,
}

/// A connection's directions, of which each ends when the connection shall.
struct Relay<'s> {
    shared: &'s Shared,
    generation: u64,
    answers: Mutex<Answers>,
}

/// Passes bytes on until either side closes, or a cut is made.
pub async fn relay(mut client: TcpStream, shared: Arc<Shared>, generation: u64) {
    shared.flows(generation).await;
    // A server that refuses is told to the client by a close.
    let Ok(mut server) = TcpStream::connect(shared.server).await else { return };
    for side in [&client, &server] {
        side.set_nodelay(true).expect("an option");
    }
    let ending = {
        let relay = Relay { shared: &shared, generation, answers: Mutex::default() };
        relay.both_ways(client.split(), server.split()).await.unwrap_or(Ending::Close)
    };
    if ending == Ending::Reset {
        for side in [&client, &server] {
            side.set_zero_linger().expect("an option");
        }
    }
}

impl Relay<'_> {
    async fn both_ways(
        &self,
        (from_client, mut to_client): (ReadHalf<'_>, WriteHalf<'_>),
        (from_server, mut to_server): (ReadHalf<'_>, WriteHalf<'_>),
    ) -> io::Result<Ending> {
        let (mut requests, mut answers) = (Messages::new(from_client), Messages::new(from_server));
        loop {
            let Some(opening) = requests.opening().await? else { return Ok(Ending::Close) };
            self.pass(&mut to_server, &opening.0).await?;
            if !opening.asks_for_encryption() {
                break;
            }
            let Some(answer) = answers.letter().await? else { return Ok(Ending::Close) };
            assert_eq!(answer, b'N', "a server with encryption cannot be tested through this proxy");
            self.pass(&mut to_client, &[answer]).await?;
        }
        self.answers(|answers| answers.asked = 1);
        let requests = pin!(self.requests(requests, to_server));
        let answers = pin!(self.answers_of(answers, to_client));
        match select(requests, answers).await {
            Either::Left((ending, _)) | Either::Right((ending, _)) => ending,
        }
    }

    /// From the client to the server.
    async fn requests(&self, mut messages: Messages<ReadHalf<'_>>, mut server: WriteHalf<'_>) -> io::Result<Ending> {
        while let Some(message) = messages.next().await? {
            self.shared.kinds().push(message.kind());
            let Some((place, cut)) = self.shared.cut_at(&message) else {
                self.request(&mut server, &message).await?;
                continue;
            };
            match place {
                Place::Before => return Ok(make(&cut)),
                Place::Within => self.pass(&mut server, &message.0[..message.0.len() / 2]).await?,
                Place::BeforeAnswer => self.pass(&mut server, &message.0).await?,
                Place::AfterAnswer => {
                    self.answers(|answers| {
                        let number = answers.asked + 1;
                        answers.withheld = Some((number, cut));
                    });
                    self.request(&mut server, &message).await?;
                    continue;
                }
            }
            return Ok(make(&cut));
        }
        Ok(Ending::Close)
    }

    /// From the server to the client.
    async fn answers_of(&self, mut messages: Messages<ReadHalf<'_>>, mut client: WriteHalf<'_>) -> io::Result<Ending> {
        while let Some(message) = messages.next().await? {
            let is_ready = message.kind() == READY;
            let (is_withheld, cut) = self.answers(|answers| {
                answers.answered += usize::from(is_ready);
                let number = answers.answered + usize::from(!is_ready);
                let is_withheld = answers.withheld.as_ref().is_some_and(|(withheld, _)| number >= *withheld);
                (is_withheld, if is_withheld && is_ready { answers.withheld.take() } else { None })
            });
            if let Some((_, cut)) = cut {
                return Ok(make(&cut));
            }
            if !is_withheld {
                self.pass(&mut client, &message.0).await?;
            }
        }
        Ok(Ending::Close)
    }

    /// Passes a message to the server, and counts the answer that it asks for.
    async fn request(&self, server: &mut WriteHalf<'_>, message: &Message) -> io::Result<()> {
        self.answers(|answers| answers.asked += usize::from(ends_a_request(message)));
        self.pass(server, &message.0).await
    }

    async fn pass(&self, to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
        self.shared.flows(self.generation).await;
        to.write_all(bytes).await
    }

    fn answers<T>(&self, change: impl FnOnce(&mut Answers) -> T) -> T {
        change(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells the test of the cut.
fn make(cut: &Made) -> Ending {
    cut.tell();
    cut.ending
}

/// Whether the server answers this message by telling that it is ready.
fn ends_a_request(message: &Message) -> bool {
    [kind::QUERY, kind::FUNCTION_CALL, kind::SYNC].contains(&message.kind())
}
