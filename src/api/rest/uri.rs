//! Reads paths and query strings. A number has one spelling in them.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, Path};
use axum::http::Uri;
use axum::http::request::Parts;
use utoipa::IntoParams;

use super::error::Failure;
use super::names::Names;
use super::response::Id;
use crate::api::reason::Problem;
use crate::ledger::{EventId, UserId};

/// How much of a name that is not known is repeated, in characters.
const NAME_LEN_MAX: usize = 64;

/// Whose wallet is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Path, rename_all = "PascalCase")]
pub struct UserPath {
    /// The user's id, in decimal digits without leading zeros.
    #[param(value_type = Id, example = 123_123)]
    pub user_id: UserId,
}

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        // A path that cannot be decoded holds no number either.
        let text = Path::<String>::from_request_parts(parts, state).await.map_or_else(|_| String::new(), |path| path.0);
        Ok(Self { user_id: id(&text, "UserId", UserId::new)? })
    }
}

/// Which event of whom is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Path, rename_all = "PascalCase")]
pub struct EventPath {
    /// The user's id, in decimal digits without leading zeros.
    #[param(value_type = Id, example = 123_123)]
    pub user_id: UserId,
    /// The event's number, likewise.
    #[param(value_type = Id, example = 321_123)]
    pub event_id: EventId,
}

impl<S: Send + Sync> FromRequestParts<S> for EventPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let (user_id, event_id) = path.map(|path| path.0).unwrap_or_default();
        Ok(Self { user_id: id(&user_id, "UserId", UserId::new)?, event_id: id(&event_id, "EventId", EventId::new)? })
    }
}

/// A call without query parameters.
pub struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let [] = query(&parts.uri, &[])?;
        Ok(Self)
    }
}

/// The values of the query parameters that a call knows; `None` for those that are not given.
///
/// # Errors
/// [`crate::api::reason::Reason::InvalidRequest`] if a parameter is not known, or given more than once.
pub fn query<'a, const N: usize>(
    uri: &'a Uri,
    known: &'static [&'static str; N],
) -> Result<[Option<Cow<'a, str>>; N], Problem> {
    let mut values = [const { None }; N];
    let Some(query) = uri.query() else { return Ok(values) };
    let mut names = Names::new(known);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let index = names.give(&name)?.ok_or_else(|| unknown(&name))?;
        values[index] = Some(value);
    }
    Ok(values)
}

fn unknown(name: &str) -> Problem {
    let name: String = name.chars().take(NAME_LEN_MAX).collect();
    Problem::invalid(format!("`{name}` is not a query parameter of this call"))
}

/// The id that is written as `text`.
///
/// # Errors
/// [`crate::api::reason::Reason::InvalidRequest`], in a message that names the id.
pub fn id<T>(text: &str, name: &str, new: fn(i64) -> Option<T>) -> Result<T, Problem> {
    number(text).and_then(new).ok_or_else(|| Problem::invalid_id(name))
}

/// A whole number in its one spelling: decimal digits, without sign or leading zero.
pub fn number(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query_string: &str) -> Result<[Option<String>; 2], String> {
        let uri: Uri = format!("/x{query_string}").parse().unwrap();
        let values = query(&uri, &["limit", "before"]).map_err(|problem| problem.message)?;
        Ok(values.map(|value| value.map(Cow::into_owned)))
    }

    #[test]
    fn a_number_has_one_spelling() {
        for (text, value) in [("0", 0), ("1", 1), ("9223372036854775807", i64::MAX)] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for text in ["", "-0", "-1", "+1", "00", "01", "1.0", "1e0", " 1", "1_0", "0x1", "٣", "9223372036854775808"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn a_query_has_known_parameters_once_each() {
        for (text, limit, before) in [
            ("", None, None),
            ("?", None, None),
            ("?&&", None, None),
            ("?limit=", Some(""), None),
            ("?limit", Some(""), None),
            ("?before=2&limit=%31", Some("1"), Some("2")),
            ("?lim%69t=a+b%2B&", Some("a b+"), None),
        ] {
            assert_eq!(read(text), Ok([limit, before].map(|value| value.map(str::to_owned))), "{text}");
        }
        for (text, message) in [
            ("?limit=1&limit=1", "limit is given more than once"),
            ("?Limit=1", "Limit must be spelled limit"),
            ("?limit=1&page=2", "`page` is not a query parameter of this call"),
            ("?=1", "`` is not a query parameter of this call"),
            ("?%ff=1", "`\u{fffd}` is not a query parameter of this call"),
        ] {
            assert_eq!(read(text), Err(message.to_owned()), "{text}");
        }
        let long = read(&format!("?{}=1", "x".repeat(5_000))).unwrap_err();
        assert_eq!(long, format!("`{}` is not a query parameter of this call", "x".repeat(64)));
    }
}
