//! Who sent a request: found out before anything else, asked before each command, and named in the audit log.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use futures::{Stream, StreamExt as _, future};
use ipnet::IpNet;
use tokio::time::{self, Instant};
use tracing::Instrument as _;

use crate::access::{self, Access, Attempt, Denied, Grant, Right, Share, TokenHash};
use crate::api::audit::{self, Act, Source};
use crate::api::peer::{ClientCertificate, Peer};
use crate::api::reason::{Problem, Reason};
use crate::api::trace::Traced;
use crate::engine::{Clock as _, EngineError, Ledger, SystemClock};
use crate::ledger::{Annotations, Caller, Command, Outcome, Wallet};

/// The header in which a proxy says for whom it calls: the last address is the one that it saw itself.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How often a silent stream is asked whether its caller may still call.
const RECHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The scheme of the `Authorization` header that is taken (RFC 6750), in any case.
const BEARER: &[u8] = b"bearer ";

/// Who sent a request, and from where.
#[derive(Clone, Default)]
pub struct Actor {
    /// `None` if nobody has to say who they are.
    identity: Option<Identity>,
    origin: Origin,
}

/// Where a request comes from. It is empty where nothing that the request may do is logged.
#[derive(Clone, Default)]
struct Origin {
    peer: Option<Arc<Peer>>,
    /// The client's address: the peer's, or the one for which a trusted proxy calls.
    client: Option<IpAddr>,
    request: Option<Traced>,
}

/// Whom a request comes from, and what proves it.
#[derive(Clone)]
struct Identity {
    access: Access,
    grant: Arc<Grant>,
    proof: Proof,
}

#[derive(Clone, Copy)]
enum Proof {
    Token(TokenHash),
    Certificate,
}

impl Actor {
    /// Finds out who sent the request that is handled here.
    ///
    /// # Errors
    /// [`Reason::Unauthenticated`] or [`Reason::RateLimited`]. Why is said in the audit log only.
    pub fn identify(access: &Access, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut actor = Self { identity: None, origin: Origin::current(access, headers) };
        if !access.is_open() {
            let proof = proof(headers, actor.certificate()).map_err(|denied| actor.deny(access, &denied))?;
            let grant = actor.grant(access, proof).map_err(|denied| actor.deny(access, &denied))?;
            actor.identity = Some(Identity { access: access.clone(), grant, proof });
        }
        Ok(actor)
    }

    /// The same for a request that needs this right, and nothing else.
    ///
    /// # Errors
    /// As [`identify`](Self::identify), and [`Reason::Forbidden`].
    pub fn permitted(access: &Access, headers: &HeaderMap, right: Right) -> Result<Self, Problem> {
        // Of what everybody may do, only the operator's acts are logged.
        if access.is_open() && right != Right::Operate {
            return Ok(Self::default());
        }
        let actor = Self::identify(access, headers)?;
        actor.demand(right).map(|()| actor)
    }

    /// Checks that the caller has this right.
    ///
    /// # Errors
    /// [`Reason::Forbidden`].
    pub fn demand(&self, right: Right) -> Result<(), Problem> {
        match &self.identity {
            Some(identity) if !identity.grant.may(right) => Err(self.forbid(identity, None)),
            _ => Ok(()),
        }
    }

    /// The command in the caller's name, if the caller may send it.
    ///
    /// # Errors
    /// [`Reason::Forbidden`].
    pub fn admit(&self, command: Command) -> Result<Command, Problem> {
        let Some(identity) = &self.identity else { return Ok(command) };
        if !identity.grant.may(Right::to(&command.action)) {
            return Err(self.forbid(identity, Some(&Act::of(&command))));
        }
        let caller = Some(identity.grant.caller.clone());
        Ok(Command { annotations: Annotations { caller, ..command.annotations }, ..command })
    }

    /// Submits a command in the caller's name, if the caller may send it. If it is the operator's, the audit log gets a
    /// line, also if the caller does not wait for the answer.
    ///
    /// # Errors
    /// [`Reason::Forbidden`], or why it was not decided.
    pub async fn submit(
        &self,
        ledger: &Ledger,
        command: Command,
        deadline: Option<Instant>,
    ) -> Result<Outcome, Problem> {
        // The body may have come long after the head.
        self.recheck()?;
        let command = self.admit(command)?;
        let Some(act) = Act::of_operator(&command) else { return Ok(ledger.submit(command, deadline).await?) };
        let (actor, ledger) = (self.clone(), ledger.clone());
        let recorded = async move {
            let outcome = ledger.submit(command, deadline).await;
            actor.record(&act, &outcome);
            outcome
        };
        Ok(tokio::spawn(recorded.in_current_span()).await.unwrap_or(Err(EngineError::Panicked))?)
    }

    /// The same for a command that opens, freezes or unfreezes a wallet: the wallet as the command left it.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    ///
    /// # Panics
    /// If the command is another.
    pub async fn submit_for_wallet(
        &self,
        ledger: &Ledger,
        command: Command,
        deadline: Option<Instant>,
    ) -> Result<Outcome<Wallet>, Problem> {
        let outcome = self.submit(ledger, command, deadline).await?;
        Ok(outcome.map(|receipt| receipt.wallet().expect("its answer shows the wallet")))
    }

    /// Checks again that the caller may call: a stream may last longer than a token.
    ///
    /// # Errors
    /// [`Reason::Unauthenticated`].
    pub fn recheck(&self) -> Result<(), Problem> {
        let Some(Identity { access, grant, proof }) = &self.identity else { return Ok(()) };
        let now = self.grant(access, *proof).map_err(|denied| self.deny(access, &denied))?;
        // Who has another scope by now begins again, with that.
        if now == *grant { Ok(()) } else { Err(self.deny(access, &Denied::Changed)) }
    }

    /// One more stream for the caller; `None` if nobody had to say who they are.
    ///
    /// # Errors
    /// [`Reason::Busy`] if the caller has as many as it may.
    pub fn share(&self, of: access::Stream) -> Result<Option<Share>, Problem> {
        let Some(identity) = &self.identity else { return Ok(None) };
        let share = identity.access.shares().take(of, &identity.grant.caller);
        share.map(Some).ok_or_else(|| Reason::Busy.into())
    }

    /// The items of `stream`, a reader's of the feed, as long as the caller may call; then the reason why not.
    ///
    /// # Errors
    /// As [`share`](Self::share).
    pub fn while_admitted<T: Send + 'static, S: Stream<Item = Result<T, Problem>> + Send>(
        self,
        stream: S,
    ) -> Result<impl Stream<Item = Result<T, Problem>> + Send + use<T, S>, Problem> {
        let share = self.share(access::Stream::Feed)?;
        let checked = stream.map(move |item| {
            _ = &share;
            self.recheck().and(item)
        });
        // The reason is the last item.
        Ok(checked.scan(false, |has_ended, item| {
            let is_over = std::mem::replace(has_ended, item.is_err());
            future::ready((!is_over).then_some(item))
        }))
    }

    /// Logs what became of an act of the operator's.
    pub fn record(&self, act: &Act, outcome: &Result<Outcome, EngineError>) {
        audit::done(self.source(), act, outcome.as_ref().map_err(|error| Problem::from(error.clone()).reason));
    }

    /// The name of the caller, if it had to say who it is.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        self.identity.as_ref().map(|identity| &identity.grant.caller)
    }

    /// Waits until the caller may call no more, asking now and then: why.
    pub async fn denied(&self) -> Problem {
        if self.identity.is_none() {
            return future::pending().await;
        }
        loop {
            time::sleep(RECHECK_INTERVAL).await;
            if let Err(problem) = self.recheck() {
                return problem;
            }
        }
    }

    fn source(&self) -> Source<'_> {
        self.origin.source(self.caller().map(|caller| &**caller))
    }

    /// The client's certificate.
    fn certificate(&self) -> Option<&ClientCertificate> {
        self.origin.peer.as_ref()?.certificate.as_ref()
    }

    fn grant(&self, access: &Access, proof: Proof) -> Result<Arc<Grant>, Denied> {
        match proof {
            Proof::Token(hash) => access.token(&hash, SystemClock.now()),
            Proof::Certificate => match self.certificate() {
                Some(shown) if shown.not_after <= SystemClock.now() => Err(Denied::EndedCertificate),
                Some(shown) => access.certificate(&shown.names),
                None => Err(Denied::Missing),
            },
        }
    }

    fn deny(&self, access: &Access, denied: &Denied) -> Problem {
        let attempt = self.origin.fail(access);
        let reason = match attempt {
            Attempt::Within => Reason::Unauthenticated,
            Attempt::TooMany => Reason::RateLimited,
        };
        refuse(access, self.source(), reason, denied, None, attempt)
    }

    fn forbid(&self, identity: &Identity, act: Option<&Act>) -> Problem {
        let attempt = identity.access.attempts().forbid(&identity.grant.caller);
        refuse(
            &identity.access,
            self.source(),
            Reason::Forbidden,
            &"the caller's scope does not allow it",
            act,
            attempt,
        )
    }
}

/// Counts and logs an attempt that is refused: the answer to it.
fn refuse(
    access: &Access,
    source: Source<'_>,
    reason: Reason,
    why: &dyn Display,
    act: Option<&Act>,
    attempt: Attempt,
) -> Problem {
    access.attempts().refused(reason.name()).inc();
    audit::refused(source, reason, why, act, attempt);
    reason.into()
}

impl Origin {
    /// That of the request that is handled here, which has these headers.
    fn current(access: &Access, headers: &HeaderMap) -> Self {
        let peer = Peer::current();
        let client = client(headers, &peer, access.trusted_proxies());
        Self { peer: Some(peer), client: Some(client), request: Traced::current() }
    }

    fn source<'a>(&'a self, caller: Option<&'a str>) -> Source<'a> {
        let request = self.request.as_ref();
        let (call, request_id) = (request.map_or("", Traced::path), request.map_or("", Traced::id));
        Source { caller, client: self.client, call, request_id }
    }

    /// Counts a failed attempt of the client's.
    fn fail(&self, access: &Access) -> Attempt {
        self.client.map_or(Attempt::Within, |client| access.attempts().fail(client))
    }
}

/// Counts and logs that a page's request was refused, before anybody asked who sent it.
pub fn log_page(access: &Access, headers: &HeaderMap, why: &str) {
    let origin = Origin::current(access, headers);
    refuse(access, origin.source(None), Reason::Forbidden, &why, None, origin.fail(access));
}

/// What a request brings: a token, or the certificate of its connection. A token comes first: it was chosen for this
/// request.
fn proof(headers: &HeaderMap, certificate: Option<&ClientCertificate>) -> Result<Proof, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => bearer(value).map(|token| Proof::Token(TokenHash::of(token))),
        (Some(_), Some(_)) => Err(Denied::Malformed),
        (None, _) => certificate.map(|_| Proof::Certificate).ok_or(Denied::Missing),
    }
}

/// The token of an `Authorization` header.
fn bearer(value: &HeaderValue) -> Result<&[u8], Denied> {
    let bytes = value.as_bytes();
    let (scheme, token) = bytes.split_at_checked(BEARER.len()).ok_or(Denied::Malformed)?;
    let token = token.trim_ascii();
    if scheme.eq_ignore_ascii_case(BEARER) && !token.is_empty() { Ok(token) } else { Err(Denied::Malformed) }
}

/// The address for which the peer calls. Only a trusted proxy is believed, and of what it says only what it or another
/// one has seen itself: a client may have sent the rest.
fn client(headers: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |addr: &IpAddr| trusted.iter().any(|network| network.contains(addr));
    let mut client = peer.addr.ip().to_canonical();
    if trusted.is_empty() || !is_trusted(&client) {
        return client;
    }
    let values: Vec<&HeaderValue> = headers.get_all(FORWARDED_FOR).iter().collect();
    let elements = values.into_iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for element in elements {
        let Some(addr) = parse_addr(element) else { break };
        client = addr;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

/// Reads an address, with or without a port.
fn parse_addr(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim();
    let with_port = || text.parse().map(|addr: SocketAddr| addr.ip());
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().or_else(|_| with_port()).ok().map(|addr: IpAddr| addr.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(values: &[&str], peer: &str) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let peer = Peer::new(SocketAddr::new(peer.parse().unwrap(), 1));
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        client(&headers, &peer, &trusted).to_string()
    }

    #[test]
    fn a_trusted_proxy_says_for_whom_it_calls() {
        assert_eq!(forwarded(&["192.0.2.1"], "10.0.0.1"), "192.0.2.1");
        assert_eq!(forwarded(&["192.0.2.1"], "::1"), "192.0.2.1");
        assert_eq!(forwarded(&["192.0.2.1"], "::ffff:10.0.0.1"), "192.0.2.1");
        assert_eq!(forwarded(&["[2001:db8::1]:4711"], "10.0.0.1"), "2001:db8::1");
        assert_eq!(forwarded(&["192.0.2.1, 10.0.0.2"], "10.0.0.1"), "192.0.2.1", "through two proxies");
        assert_eq!(forwarded(&[], "10.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn what_a_client_says_of_itself_is_not_believed() {
        assert_eq!(forwarded(&["192.0.2.1"], "192.0.2.9"), "192.0.2.9");
        assert_eq!(forwarded(&["198.51.100.7, 192.0.2.1"], "10.0.0.1"), "192.0.2.1");
        assert_eq!(forwarded(&["198.51.100.7", "192.0.2.1"], "10.0.0.1"), "192.0.2.1");
        assert_eq!(forwarded(&["192.0.2.1, unknown"], "10.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn a_token_is_what_follows_the_word_bearer() {
        let token = |text: &'static str| bearer(&HeaderValue::from_static(text)).ok().map(<[u8]>::to_vec);
        for text in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(token(text).as_deref(), Some(&b"abc"[..]), "{text}");
        }
        for text in ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc"] {
            assert_eq!(token(text), None, "{text}");
        }
    }
}
