//! Who sent a request: found out before anything else, asked before each command, and named in the audit log.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::uri::PathAndQuery;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri};
use futures::{Stream, StreamExt as _, future};
use ipnet::IpNet;

use crate::access::{Access, Attempt, Denied, Grant, Right, TokenHash};
use crate::api::audit::{self, Act, Source};
use crate::api::peer::Peer;
use crate::api::reason::{Problem, Reason};
use crate::api::trace::REQUEST_ID;
use crate::engine::{Clock as _, EngineError, SystemClock};
use crate::ledger::{Annotations, Command, Outcome};

/// The header in which a proxy says for whom it calls: the last address is the one that it saw itself.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme of the `Authorization` header that is taken (RFC 6750), in any case.
const BEARER: &[u8] = b"bearer ";

/// Who sent a request, and from where.
#[derive(Clone)]
pub struct Actor {
    /// `None` if nobody has to say who they are.
    identity: Option<Identity>,
    peer: Arc<Peer>,
    /// The client's address: the peer's, or the one for which a trusted proxy calls.
    client: IpAddr,
    request_id: Option<HeaderValue>,
    call: Option<PathAndQuery>,
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
    /// Finds out who sent the request that has these headers and extensions. What only the actor needs is taken out of
    /// them: to copy it would cost every request.
    ///
    /// # Errors
    /// [`Reason::Unauthenticated`] or [`Reason::RateLimited`]. Why is said in the audit log only.
    pub fn identify(
        access: &Access,
        uri: &Uri,
        headers: &mut HeaderMap,
        extensions: &mut Extensions,
    ) -> Result<Self, Problem> {
        let peer: Arc<Peer> = extensions.remove().unwrap_or_default();
        let client = client(headers, &peer, access.trusted_proxies());
        let (request_id, call) = (headers.remove(REQUEST_ID), uri.path_and_query().cloned());
        let mut actor = Self { identity: None, peer, client, request_id, call };
        if !access.is_open() {
            let proof = proof(headers, &actor.peer).map_err(|denied| actor.deny(access, &denied))?;
            let grant = actor.grant(access, proof).map_err(|denied| actor.deny(access, &denied))?;
            actor.identity = Some(Identity { access: access.clone(), grant, proof });
        }
        Ok(actor)
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
    /// line.
    ///
    /// # Errors
    /// [`Reason::Forbidden`], or why `submit` failed.
    pub async fn submit<R, F: Future<Output = Result<Outcome<R>, EngineError>>>(
        &self,
        command: Command,
        submit: impl FnOnce(Command) -> F,
    ) -> Result<Outcome<R>, Problem> {
        let command = self.admit(command)?;
        let act = Act::of_operator(&command);
        let outcome = submit(command).await.map_err(Problem::from);
        if let Some(act) = act {
            self.record(&act, &outcome);
        }
        outcome
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

    /// The items of `stream` as long as the caller may call; then the reason why not.
    pub fn while_admitted<T: Send + 'static>(
        self,
        stream: impl Stream<Item = Result<T, Problem>> + Send,
    ) -> impl Stream<Item = Result<T, Problem>> + Send {
        let checked = stream.map(move |item| self.recheck().and(item));
        // The reason is the last item.
        checked.scan(false, |has_ended, item| {
            let is_over = std::mem::replace(has_ended, item.is_err());
            future::ready((!is_over).then_some(item))
        })
    }

    /// Logs what became of an act of the operator's.
    pub fn record<R>(&self, act: &Act, outcome: &Result<Outcome<R>, Problem>) {
        audit::done(self.source(), act, outcome);
    }

    fn source(&self) -> Source<'_> {
        Source {
            caller: self.identity.as_ref().map(|identity| &*identity.grant.caller),
            client: self.client,
            call: self.call.as_ref().map_or("", PathAndQuery::path),
            request_id: self.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default(),
        }
    }

    fn grant(&self, access: &Access, proof: Proof) -> Result<Arc<Grant>, Denied> {
        match proof {
            Proof::Token(hash) => access.token(&hash, SystemClock.now()),
            Proof::Certificate => access.certificate(&self.peer.names),
        }
    }

    fn deny(&self, access: &Access, denied: &Denied) -> Problem {
        let attempt = access.attempts().fail(self.client);
        let reason = match attempt {
            Attempt::Within => Reason::Unauthenticated,
            Attempt::TooMany => Reason::RateLimited,
        };
        refuse(access, self.source(), reason, denied, None, attempt)
    }

    fn forbid(&self, identity: &Identity, act: Option<&Act>) -> Problem {
        let access = &identity.access;
        let (why, attempt) = ("the caller's scope does not allow it", access.attempts().fail(self.client));
        refuse(access, self.source(), Reason::Forbidden, &why, act, attempt)
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

/// Counts and logs that a page's request was refused, before anybody asked who sent it.
pub fn log_page(access: &Access, request: &Request, why: &str) {
    let (headers, extensions) = (request.headers(), request.extensions());
    let peer = extensions.get::<Arc<Peer>>().cloned().unwrap_or_default();
    let client = client(headers, &peer, access.trusted_proxies());
    let request_id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let source = Source { caller: None, client, call: request.uri().path(), request_id };
    refuse(access, source, Reason::Forbidden, &why, None, access.attempts().fail(client));
}

/// What a request brings: a token, or the certificate of its connection. A token comes first: it was chosen for this
/// request.
fn proof(headers: &HeaderMap, peer: &Peer) -> Result<Proof, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => bearer(value).map(|token| Proof::Token(TokenHash::of(token))),
        (Some(_), Some(_)) => Err(Denied::Malformed),
        (None, _) if peer.names.is_empty() => Err(Denied::Missing),
        (None, _) => Ok(Proof::Certificate),
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
