//! A proxy between a client and PostgreSQL that cuts a connection at an exact place in what the client sends.
//!
//! It runs on a thread of its own, so that tests without a runtime may use it and may block.

mod connection;
mod plan;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use plan::{Cut, Ending, Place, Planned};

/// What a client sends, by the letter of the protocol.
pub mod kind {
    pub const BIND: u8 = b'B';
    pub const EXECUTE: u8 = b'E';
    pub const FUNCTION_CALL: u8 = b'F';
    /// The text of a statement that is prepared.
    pub const PARSE: u8 = b'P';
    /// A query as text.
    pub const QUERY: u8 = b'Q';
    /// The end of a request. Without an explicit transaction, it commits.
    pub const SYNC: u8 = b'S';
}

/// A running proxy. Its connections are cut when it is dropped.
pub struct Cutter {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What its connections share with the test.
struct Shared {
    server: SocketAddr,
    flow: watch::Sender<Flow>,
    plan: Mutex<Option<plan::Plan>>,
    /// The letters of the messages that clients sent.
    kinds: Mutex<Vec<u8>>,
}

/// Whether bytes are passed on, and whose.
#[derive(Clone, Copy, Debug)]
struct Flow {
    is_held: bool,
    /// Connections of an earlier generation are lost.
    generation: u64,
}

impl Cutter {
    /// Starts one before the server at this address.
    pub fn start(server: SocketAddr) -> Self {
        let flow = watch::Sender::new(Flow { is_held: false, generation: 0 });
        let shared = Arc::new(Shared { server, flow, plan: Mutex::default(), kinds: Mutex::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("an option");
        let addr = listener.local_addr().expect("its address");
        let stop = CancellationToken::new();
        let serving = stop.clone().run_until_cancelled_owned(serve(listener, Arc::clone(&shared)));
        let thread = thread::spawn(move || {
            runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(serving);
        });
        Self { addr, shared, stop, thread: Some(thread) }
    }

    /// Where clients connect to.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Plans the next cut, in place of the one that was planned. Later connections are not cut.
    pub fn plan(&self, cut: Cut) -> Planned {
        let (plan, planned) = cut.plan();
        *self.shared.plan() = Some(plan);
        planned
    }

    /// How many messages clients sent since its start, after those that open a connection.
    pub fn messages(&self) -> usize {
        self.shared.kinds().len()
    }

    /// The letters of these messages, such as `BES`.
    pub fn kinds(&self) -> String {
        self.shared.kinds().iter().copied().map(char::from).collect()
    }

    /// Holds every byte in both directions and closes nothing, as if the server's host had vanished. Connections are
    /// still accepted.
    pub fn hold(&self) {
        self.shared.flow.send_modify(|flow| flow.is_held = true);
    }

    /// Passes on what it holds, however late, and all that follows.
    pub fn resume(&self) {
        self.shared.flow.send_modify(|flow| flow.is_held = false);
    }

    /// Serves new connections. What it holds is lost, and the connections until now stay silent for ever.
    pub fn resume_without_these(&self) {
        self.shared.flow.send_modify(|flow| *flow = Flow { is_held: false, generation: flow.generation + 1 });
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Option<plan::Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kinds(&self) -> MutexGuard<'_, Vec<u8>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cut to make at this message, if it is the one that was planned for.
    fn cut_at(&self, message: &wire::Message) -> Option<(Place, plan::Made)> {
        let mut plan = self.plan();
        if plan.as_mut()?.is_due(message.kind(), message.payload()) { plan.take().map(plan::Plan::begin) } else { None }
    }

    /// Returns when bytes of a connection of this generation may pass: at once, later, or never.
    async fn flows(&self, generation: u64) {
        let mut flow = self.flow.subscribe();
        let passes = flow.wait_for(|flow| !flow.is_held && flow.generation == generation).await;
        drop(passes.expect("it is sent from here"));
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a runtime");
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let generation = shared.flow.borrow().generation;
        tokio::spawn(connection::relay(client, Arc::clone(&shared), generation));
    }
}
