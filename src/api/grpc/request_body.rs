//! Limits a request's body: how many messages it has, and how long they may take to arrive.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use hyper::body::Frame;
use tokio::time::{self, Sleep};
use tonic::Status;

use super::GrpcOptions;
use crate::api::reason::{Problem, Reason};

/// The call whose request is a stream of commands, with no limit but the size of each.
const COMMANDS: &str = "/wallet.v1.WalletService/Transact";
/// The calls whose requests are streams of questions, by the beginning of their paths.
const QUESTIONS: &str = "/grpc.reflection.";

/// Limits the request's body, as its path asks for.
pub fn with_limits(request: Request, options: GrpcOptions) -> Request {
    let path = request.uri().path();
    if path == COMMANDS {
        return request;
    }
    let idle_timeout = path.starts_with(QUESTIONS).then_some(options.idle_timeout);
    let message_timeout = options.message_timeout;
    let messages = Messages::default();
    request.map(|body| Body::new(LimitedBody { body, messages, message_timeout, idle_timeout, wait: None }))
}

/// A body that fails when it has not exactly one message, or when a message has not arrived within its timeout.
struct LimitedBody {
    body: Body,
    messages: Messages,
    message_timeout: Duration,
    /// How long may pass between messages, where there may be any number of them.
    idle_timeout: Option<Duration>,
    /// Made at the first wait: most bodies arrive at once and need no timer.
    wait: Option<Wait>,
}

struct Wait {
    /// What had come when it began.
    messages: (u64, bool),
    sleep: Pin<Box<Sleep>>,
}

impl LimitedBody {
    /// Why the body may not go on like this.
    fn check(&self) -> Result<(), Problem> {
        match self.messages.begun {
            2.. if self.idle_timeout.is_none() => Err(Problem::invalid("Request has more than one message")),
            _ => Ok(()),
        }
    }

    /// Why the body may not end here.
    fn check_end(&self) -> Result<(), Problem> {
        match self.messages {
            Messages { begun: 0, .. } if self.idle_timeout.is_none() => Err(Problem::invalid("Request has no message")),
            messages if messages.is_partial() => Err(Problem::invalid("Request ends within a message")),
            _ => Ok(()),
        }
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let messages = (self.messages.begun, self.messages.is_partial());
        // The one message of a call has one timeout. A stream has one for each message, and one for each pause.
        let begins = self.wait.as_ref().is_none_or(|wait| self.idle_timeout.is_some() && wait.messages != messages);
        if begins {
            let timeout = self.idle_timeout.filter(|_| !self.messages.is_partial()).unwrap_or(self.message_timeout);
            self.wait = Some(Wait { messages, sleep: Box::pin(time::sleep(timeout)) });
        }
        self.wait.as_mut().expect("it is there").sleep.as_mut().poll(cx)
    }
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.poll_wait(cx));
            tracing::debug!("a request did not arrive in time");
            return Poll::Ready(Some(Err(failed(Reason::RequestTimeout))));
        };
        let checked = match &frame {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(bytes) => {
                    self.messages.advance(bytes);
                    self.check()
                }
                // Trailers come last.
                None => self.check_end(),
            },
            None => self.check_end(),
            // tonic takes a call that its client has cancelled for one that has ended, and would do it.
            Some(Err(_)) => Err(Problem::invalid("Request was cut off")),
        };
        Poll::Ready(checked.map_or_else(|problem| Some(Err(failed(problem))), |()| frame))
    }
}

fn failed(problem: impl Into<Problem>) -> axum::Error {
    axum::Error::new(Status::from(problem.into()))
}

/// Follows the messages of a body. Before each come a flag and, in four bytes, its length ("gRPC over HTTP2").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Messages {
    /// How many have begun.
    begun: u64,
    /// How much of the flag and the length of the last one has come, in bytes; 0 when all has.
    prefix: u8,
    /// How much of the last one is still to come, in bytes.
    rest: u32,
}

impl Messages {
    const PREFIX_SIZE: u8 = 5;

    fn advance(&mut self, mut bytes: &[u8]) {
        while let Some((first, more)) = bytes.split_first() {
            if self.prefix == 0 && self.rest > 0 {
                let part = bytes.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
                self.rest -= u32::try_from(part).expect("no more than the rest");
                bytes = &bytes[part..];
                continue;
            }
            if self.prefix == 0 {
                self.begun += 1;
            } else {
                self.rest = (self.rest << 8) | u32::from(*first);
            }
            self.prefix = (self.prefix + 1) % Self::PREFIX_SIZE;
            bytes = more;
        }
    }

    /// Whether a message has begun and not ended.
    const fn is_partial(self) -> bool {
        self.prefix > 0 || self.rest > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three messages: of two bytes, of none, and of 258.
    fn three() -> Vec<u8> {
        [&[0, 0, 0, 0, 2, 7, 7][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 2], &[9; 258]].concat()
    }

    #[test]
    fn messages_are_followed_wherever_they_are_cut() {
        let whole = three();
        for piece in [1, 2, 3, 5, 6, 7, 100, whole.len()] {
            let (mut messages, mut seen) = (Messages::default(), 0);
            for bytes in whole.chunks(piece) {
                messages.advance(bytes);
                seen += bytes.len();
                let begun = [0, 7, 12].iter().filter(|start| seen > **start).count();
                assert_eq!(messages.begun, u64::try_from(begun).unwrap(), "{seen}");
                assert_eq!(messages.is_partial(), ![7, 12, 275].contains(&seen), "{seen}");
            }
        }
    }

    #[test]
    fn the_longest_length_is_one() {
        let mut messages = Messages::default();
        messages.advance(&[0, 255, 255, 255, 255, 1]);
        assert_eq!(messages, Messages { begun: 1, prefix: 0, rest: u32::MAX - 1 });
    }
}
