//! The messages of PostgreSQL's protocol, version 3.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The requests for encryption that may come before a connection is opened (`SSLRequest`, `GSSENCRequest`).
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];

/// The length field of a message counts itself, and not the letter before it.
const LENGTH: usize = 4;

/// A message with its letter and length.
pub struct Message(pub Bytes);

impl Message {
    pub fn kind(&self) -> u8 {
        self.0[0]
    }

    pub fn payload(&self) -> &[u8] {
        &self.0[1 + LENGTH..]
    }
}

/// A message without a letter, which opens a connection.
pub struct Opening(pub Bytes);

impl Opening {
    /// Whether it asks for encryption, which the server answers with one letter, and a client may go on without.
    pub fn asks_for_encryption(&self) -> bool {
        ENCRYPTION.contains(&(&self.0[LENGTH..]).get_u32())
    }
}

/// Reads messages.
pub struct Messages<R> {
    read: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub fn new(read: R) -> Self {
        Self { read, buffer: BytesMut::new() }
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<Message>> {
        Ok(self.take(1).await?.map(Message))
    }

    /// The next message without a letter; `None` at the end.
    pub async fn opening(&mut self) -> io::Result<Option<Opening>> {
        Ok(self.take(0).await?.map(Opening))
    }

    /// The next byte alone; `None` at the end.
    pub async fn letter(&mut self) -> io::Result<Option<u8>> {
        Ok(self.fill(1).await?.then(|| self.buffer.get_u8()))
    }

    /// Takes so many bytes and the part that the length behind them counts.
    async fn take(&mut self, letters: usize) -> io::Result<Option<Bytes>> {
        if !self.fill(letters + LENGTH).await? {
            return Ok(None);
        }
        let length = usize::try_from((&self.buffer[letters..]).get_u32()).expect("a usize has 32 bits");
        let whole = letters + length;
        Ok(self.fill(whole).await?.then(|| self.buffer.split_to(whole).freeze()))
    }

    /// Reads until there are so many bytes; `false` if the end comes first.
    async fn fill(&mut self, count: usize) -> io::Result<bool> {
        while self.buffer.len() < count {
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
