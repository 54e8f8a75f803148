//! A connection's socket, with the limits that can only be seen there.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{self, Sleep};

use super::activity::Activity;
use super::limits::{PREFACE, Timeouts, Version};
use super::resets::Resets;
use crate::api::rest;

/// A socket that fails when its client takes too long over a request's head or over HTTP/2's preface, does not take
/// what is sent, or cancels too many calls.
pub struct LimitedSocket<S> {
    socket: S,
    activity: Arc<Activity>,
    timeouts: Timeouts,
    protocol: Protocol,
    /// Made when a write first has to wait: a client that reads needs no timer.
    write_wait: Option<Pin<Box<Sleep>>>,
}

/// What is looked for in what comes.
enum Protocol {
    Http1 {
        /// A head that has begun to come, by how many calls there were before.
        head: Option<u32>,
        /// Made when the head comes in pieces.
        wait: Option<Pin<Box<Sleep>>>,
        /// What is written instead of the HTTP library's own answer to what it cannot parse.
        instead: Option<Instead>,
    },
    Http2 {
        resets: Resets,
        /// How much of the preface is still to come, in bytes.
        preface_left: usize,
        /// Made when the preface comes in pieces.
        wait: Option<Pin<Box<Sleep>>>,
    },
}

struct Instead {
    bytes: Vec<u8>,
    /// How much of it is written.
    written: usize,
    /// How long what it stands for was.
    length: usize,
}

impl<S> LimitedSocket<S> {
    pub fn new(socket: S, version: Version, activity: Arc<Activity>, timeouts: Timeouts) -> Self {
        let protocol = match version {
            Version::Http1 => Protocol::Http1 { head: None, wait: None, instead: None },
            Version::Http2 => Protocol::Http2 { resets: Resets::default(), preface_left: PREFACE.len(), wait: None },
        };
        Self { socket, activity, timeouts, protocol, write_wait: None }
    }

    /// Looks at what has come: nothing yet, or `bytes`.
    fn look(&mut self, cx: &mut Context<'_>, bytes: Poll<&[u8]>) -> io::Result<()> {
        match (&mut self.protocol, bytes) {
            (Protocol::Http1 { head, wait, .. }, bytes) => {
                let begun = self.activity.begun();
                if head.is_some_and(|before| before != begun) {
                    // It came whole, and its call has begun.
                    (*head, *wait) = (None, None);
                }
                if bytes.is_ready() && self.activity.is_idle() {
                    head.get_or_insert(begun);
                }
                match head {
                    Some(_) if bytes.is_pending() => {
                        expire(wait, self.timeouts.head_timeout, cx, "a request's head took too long to arrive")
                    }
                    _ => Ok(()),
                }
            }
            (Protocol::Http2 { resets, preface_left, wait }, Poll::Ready(bytes)) => {
                *preface_left = preface_left.saturating_sub(bytes.len());
                if *preface_left == 0 {
                    *wait = None;
                }
                let too_many = || io::Error::other("the client cancelled too many calls");
                resets.admit(bytes).then_some(()).ok_or_else(too_many)
            }
            (Protocol::Http2 { preface_left: 0, .. }, Poll::Pending) => Ok(()),
            (Protocol::Http2 { wait, .. }, Poll::Pending) => {
                expire(wait, self.timeouts.head_timeout, cx, "the preface took too long to arrive")
            }
        }
    }

    /// Limits how long a write may wait.
    fn limit<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_wait = None;
        } else {
            expire(&mut self.write_wait, self.timeouts.write_timeout, cx, "the client does not take what is sent")?;
        }
        written
    }
}

/// Begins the wait if it has not begun, and fails when it has taken so long.
fn expire(
    wait: &mut Option<Pin<Box<Sleep>>>,
    timeout: Duration,
    cx: &mut Context<'_>,
    message: &'static str,
) -> io::Result<()> {
    match wait.get_or_insert_with(|| Box::pin(time::sleep(timeout))).as_mut().poll(cx) {
        Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::TimedOut, message)),
        Poll::Pending => Ok(()),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer)?;
        let bytes = read.map(|()| &buffer.filled()[before..]);
        self.look(cx, bytes)?;
        ready!(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> LimitedSocket<S> {
    /// Writes the documented answer instead of `bytes`, if they are the HTTP library's own; `None` if they are not.
    fn write_instead(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        let Protocol::Http1 { instead, .. } = &mut self.protocol else { return None };
        if instead.is_none() {
            let length = bytes.len();
            *instead = rest::documented(bytes).map(|bytes| Instead { bytes, written: 0, length });
        }
        let Instead { bytes, written, length } = instead.as_mut()?;
        while *written < bytes.len() {
            match Pin::new(&mut self.socket).poll_write(cx, &bytes[*written..]) {
                Poll::Ready(Ok(count)) if count > 0 => *written += count,
                other => return Some(other),
            }
        }
        let length = *length;
        *instead = None;
        Some(Poll::Ready(Ok(length)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self.write_instead(cx, bytes) {
            Some(written) => written,
            None => Pin::new(&mut self.socket).poll_write(cx, bytes),
        };
        self.limit(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // The library's own answer comes last. What is before it is written first, as if there was no more space.
        let written = match slices {
            [only] => return self.poll_write(cx, only),
            [before @ .., last] if rest::documented(last).is_some() => {
                Pin::new(&mut self.socket).poll_write_vectored(cx, before)
            }
            all => Pin::new(&mut self.socket).poll_write_vectored(cx, all),
        };
        self.limit(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has nothing to flush, and TLS writes: a flush that is done says nothing about a write that waits.
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        if flushed.is_pending() { self.limit(cx, flushed) } else { flushed }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.socket).poll_shutdown(cx);
        if closed.is_pending() { self.limit(cx, closed) } else { closed }
    }
}
