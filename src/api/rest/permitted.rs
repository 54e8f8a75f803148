//! Who sent a request, as a handler asks for it: before the body is read.

use std::marker::PhantomData;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::SharedState;
use super::error::Failure;
use crate::access::Right;
use crate::api::actor::Actor;

/// A caller who has the right that the handler needs.
pub struct Permitted<N>(pub Actor, pub PhantomData<N>);

/// What a handler needs a right to.
pub trait Need {
    const RIGHT: Right;
}

/// Declares the needs, one for each right.
macro_rules! needs {
    ($($name:ident: $right:ident)*) => {$(
        #[doc = concat!("[`Right::", stringify!($right), "`]")]
        pub struct $name;

        impl Need for $name {
            const RIGHT: Right = Right::$right;
        }
    )*};
}

needs! {
    ToPlay: Play
    ToOperate: Operate
    ToLookUp: LookUp
    ToReadLedger: ReadLedger
}

impl FromRequestParts<SharedState> for Actor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, Failure> {
        Ok(Self::identify(&state.access, &parts.headers)?)
    }
}

impl<N: Need> FromRequestParts<SharedState> for Permitted<N> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, Failure> {
        Ok(Self(Actor::permitted(&state.access, &parts.headers, N::RIGHT)?, PhantomData))
    }
}

impl<N> Deref for Permitted<N> {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.0
    }
}
