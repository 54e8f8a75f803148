//! The OpenAPI description: what the handlers declare of themselves, and what every call has in common.
//!
//! Each handler declares the reasons for which it may refuse. Their statuses and messages come from the table of
//! [`Reason`]s.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::info::{InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::request::RollbackRequest;
use super::response::{
    Decimal, ErrorAnswer, IDEMPOTENT_REPLAYED, WALLET_CURRENT_BALANCE, WALLET_REASON, WALLET_RECORDED_AMOUNT,
};
use crate::api::reason::{Call, Problem, Reason};
use crate::api::trace::REQUEST_ID;
use crate::ledger::{Currency, Kind, Refusal};

const INTRODUCTION: &str = "\
**Money** is exact: a JSON number with at most the currency's decimals, in any spelling (`1`, `1.0`, `10e-1`), and \
always written with all of them (`9.00`). Send the amount that you mean: `0.30000000000000004`, as a program that \
computes with floats writes 0.30, is refused, unless the operator has set `WALLET_LEGACY_FLOATS`.

**Ids** are whole numbers from 0 to 2^63 − 1. Above 2^53 − 1 (9007199254740991) they lose their last digits in every \
JSON parser that reads numbers as doubles, JavaScript's among them: stay below, or use a parser that keeps 64-bit \
integers. In paths and query strings a number has one spelling: decimal digits without a sign or leading zeros.

**Names** are spelled as they are here. A field that differs in case alone (`accountBalance`) is refused, and so is a \
query parameter that the call does not know; other fields that are not known are ignored.

**Retry freely.** A command is known by its user, its kind and its event id. Sent again with the same amount, it gets \
the first answer, byte for byte, and moves nothing (unless it was rolled back): the header `Idempotent-Replayed` says \
so, and `Wallet-Current-Balance` has the balance of this moment. With another amount it is refused with 409. Whatever \
the failure, retrying with the same ids is safe.

**Roll back what you give up.** An engine that gives up a charge without knowing its fate rolls it back: that bars the \
id, however late the charge arrives. A rollback touches what it names and nothing else: who voids a settled round \
rolls back its win as well as its charge.

**Who may call.** Where the operator has set `WALLET_TOKENS_FILE`, every call but those of the health says who calls: \
`Authorization: Bearer wallet_…`. An engine's token charges, pays, rolls back, and looks up a wallet or an event. An \
operator's creates, deposits, withdraws, freezes and reads everything. An auditor's reads everything. Browsers: a page \
of another origin may move nothing.

**Errors** all have one shape, `{\"success\": false, \"error\": \"<message>\"}`, and the header `Wallet-Reason` for \
machines:
";

/// The reasons that every command may be answered with.
const OF_COMMANDS: &[Reason] = &[
    Reason::InvalidRequest,
    Reason::MethodNotAllowed,
    Reason::RequestTimeout,
    Reason::PayloadTooLarge,
    Reason::UnsupportedMediaType,
    Reason::Unauthenticated,
    Reason::Forbidden,
    Reason::RateLimited,
    Reason::Busy,
    Reason::Deadline,
    Reason::Unavailable,
    Reason::Internal,
];

/// The reasons that every read may be answered with.
const OF_READS: &[Reason] = &[Reason::MethodNotAllowed, Reason::Internal];

/// What the description calls the one way to say who calls.
const TOKEN: &str = "token";

/// The reason that only gRPC gives: a stream of events ends without one.
const OF_GRPC_ONLY: Reason = Reason::SlowReader;

/// Declares which reasons a handler may answer with, besides those of every call of its kind: a name for its
/// `responses`, the call (of a command, also the kind of its entry), and the reasons.
macro_rules! declare_reasons {
    ($($name:ident: $call:ident$(($kind:ident))? [$($reason:ident)*])*) => {$(
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                let reasons = [$(crate::api::reason::Reason::$reason),*];
                let kind = declare_reasons!(@kind $($kind)?);
                super::openapi::errors(crate::api::reason::Call::$call, kind, &reasons)
            }
        }
    )*};
    (@kind) => { None };
    (@kind $kind:ident) => { Some(crate::ledger::Kind::$kind) };
}
pub(super) use declare_reasons;

/// The responses to a call that is not done: one for each status, with its reasons.
pub fn errors(call: Call, kind: Option<Kind>, reasons: &[Reason]) -> BTreeMap<String, RefOr<Response>> {
    let of_all = match call {
        Call::Command => OF_COMMANDS,
        Call::Read => OF_READS,
    };
    let mut by_status: BTreeMap<String, Vec<Reason>> = BTreeMap::new();
    let may_give = |reason: &&Reason| reasons.contains(reason) || of_all.contains(reason);
    for reason in Reason::ALL.iter().filter(may_give) {
        by_status.entry(reason.http(call).as_u16().to_string()).or_default().push(*reason);
    }
    by_status.into_iter().map(|(status, reasons)| (status.clone(), error(&status, &reasons, kind).into())).collect()
}

/// The whole description, from the routes that are served and the currency of the ledger.
pub fn describe<S: Clone + Send + Sync + 'static>(routes: OpenApiRouter<S>, currency: Currency) -> OpenApi {
    let mut api = routes.into_openapi();
    api.info = InfoBuilder::new()
        .title("Wallet")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(introduction(currency)))
        .license(Some(LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build()))
        .build();
    api.tags = Some(vec![
        TagBuilder::new().name("game").description(Some("What a game engine does.")).build(),
        TagBuilder::new().name("cashier").description(Some("What an operator does.")).build(),
        TagBuilder::new().name("users").description(Some("Wallets and their history.")).build(),
        TagBuilder::new().name("ledger").description(Some("The whole ledger, in commit order.")).build(),
        TagBuilder::new().name("system").description(Some("The service itself.")).build(),
    ]);
    let components = api.components.get_or_insert_default();
    complete(&mut components.schemas, currency);
    components.security_schemes.insert(TOKEN.to_owned(), token().into());
    for item in api.paths.paths.values_mut() {
        let PathItem { get, post, .. } = item;
        for (call, operation) in [(Call::Read, get), (Call::Command, post)] {
            if let Some(operation) = operation {
                add_headers(operation, call);
                add_security(operation);
            }
        }
    }
    api
}

/// Adds to the schemas what their types do not say.
fn complete(schemas: &mut BTreeMap<String, RefOr<Schema>>, currency: Currency) {
    schemas.insert(ErrorAnswer::name().into_owned(), ErrorAnswer::schema());
    let (code, decimals) = (currency.code(), currency.decimals());
    if let Some(RefOr::T(Schema::Object(money))) = schemas.get_mut(&*Decimal::name()) {
        let in_answers = "always all of them in an answer";
        money.description =
            Some(format!("Money in {code}, exact: with at most {decimals} decimals, and {in_answers}."));
        money.extensions = Some(Extensions::from_iter([("x-currency", json!({ "code": code, "decimals": decimals }))]));
    }
    if let Some(RefOr::T(Schema::Object(rollback))) = schemas.get_mut(&*RollbackRequest::name()) {
        // A keyword of JSON Schema for which utoipa has no field beside `properties`.
        let either = json!([{ "required": ["EventId"] }, { "required": ["WinningEventId"] }]);
        rollback.extensions.get_or_insert_default().insert("oneOf".to_owned(), either);
    }
}

fn introduction(currency: Currency) -> String {
    let (code, decimals) = (currency.code(), currency.decimals());
    let ledger = "The ledger that game engines charge and pay into.";
    format!("{ledger} Its currency is **{code}**, with {decimals} decimals.\n\n{INTRODUCTION}{}", reasons_table())
}

fn reasons_table() -> String {
    let mut table = "\n| `Wallet-Reason` | status | message |\n|---|---|---|\n".to_owned();
    for reason in Reason::ALL.into_iter().filter(|reason| *reason != OF_GRPC_ONLY) {
        let (command, read) = (reason.http(Call::Command).as_u16(), reason.http(Call::Read).as_u16());
        let status = if command == read { command.to_string() } else { format!("{command}, {read} when looked up") };
        let _ = writeln!(table, "| `{}` | {status} | {} |", reason.name(), reason.message());
    }
    table
}

/// How a caller says who it is.
fn token() -> SecurityScheme {
    let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("wallet_ and 64 hexadecimal digits");
    let description = "A token that the operator has made with `wallet token new`.";
    SecurityScheme::Http(http.description(Some(description)).build())
}

/// Says of an operation whether it wants a token: where the operator asks for one.
fn add_security(operation: &mut Operation) {
    let unauthenticated = Reason::Unauthenticated.http(Call::Read).as_u16().to_string();
    if operation.responses.responses.contains_key(&unauthenticated) {
        let (none, token) = (SecurityRequirement::default(), SecurityRequirement::new::<_, [&str; 0], _>(TOKEN, []));
        operation.security = Some(vec![none, token]);
    }
}

/// Adds the headers that every answer of an operation may have.
fn add_headers(operation: &mut Operation, call: Call) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if call == Call::Command && status.starts_with('2') {
            let replayed = "`true` if this is a replay: the first answer, again.";
            response.headers.insert(canonical(IDEMPOTENT_REPLAYED.as_str()), text(replayed, &["true"]).into());
            let balance = "On a replay: the balance of this moment. The body has that of the first answer.";
            response.headers.insert(canonical(WALLET_CURRENT_BALANCE.as_str()), money(balance).into());
        }
        let id = text(
            "The request's id, as it was sent or as it was made. Requests that bring their own id are always logged.",
            &[],
        );
        response.headers.insert(canonical(REQUEST_ID.as_str()), id.into());
    }
}

/// The response of one status: its reasons, each with its message as an example.
fn error(status: &str, reasons: &[Reason], kind: Option<Kind>) -> Response {
    let mut description = String::new();
    let mut examples = Vec::new();
    for reason in reasons {
        let message = message(*reason, kind);
        let _ = writeln!(description, "- `{}`: {message}", reason.name());
        let value = json!({ "success": false, "error": message });
        examples.push((reason.name(), ExampleBuilder::new().summary(message).value(Some(value)).build()));
    }
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ErrorAnswer::name())))
        .examples_from_iter(examples)
        .build();
    let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
    let reason = text("Why, for machines.", &names);
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
        .header(canonical(WALLET_REASON.as_str()), reason);
    if let Some(delay) = reasons.iter().find_map(|reason| reason.retry_after()) {
        let seconds = delay.as_secs().to_string();
        response = response.header("Retry-After", text("Seconds to wait.", &[seconds.as_str()]));
    }
    if reasons.contains(&Reason::BalanceTooLow) {
        let balance = "When the balance is too low: the balance.";
        response = response.header(canonical(WALLET_CURRENT_BALANCE.as_str()), money(balance));
    }
    if reasons.contains(&Reason::EventConflict) {
        let recorded = "On a conflict: the amount with which the event is known.";
        response = response.header(canonical(WALLET_RECORDED_AMOUNT.as_str()), money(recorded));
    }
    if reasons.contains(&Reason::UnsupportedMediaType) {
        let codings = "When a content coding is what is not supported.";
        response = response.header("Accept-Encoding", text(codings, &["identity"]));
    }
    if status == "401" {
        response = response.header("WWW-Authenticate", text("How to say who calls.", &["Bearer"]));
    }
    if status == "405" {
        response = response.header("Allow", text("The methods that the path has.", &[]));
    }
    response.build()
}

/// The message of a reason; where the reason alone does not decide it, one that a command of this kind may be answered.
fn message(reason: Reason, kind: Option<Kind>) -> String {
    let problem = match (reason, kind) {
        (Reason::NegativeAmount, Some(kind)) => Problem::from(Refusal::NegativeAmount(kind)),
        (Reason::InvalidRequest, _) => Problem::invalid_id("UserId"),
        _ => Problem::from(reason),
    };
    problem.message
}

fn text(description: &str, values: &[&str]) -> Header {
    let schema = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    let schema = if values.is_empty() { schema } else { schema.enum_values(Some(values.iter().copied())) };
    HeaderBuilder::new().description(Some(description)).schema(Some(schema.build())).build()
}

fn money(description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[0-9]+(\.[0-9]+)?$")).build();
    HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build()
}

/// A header's name as people write it: `X-Request-Id`.
fn canonical(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_documented_somewhere() {
        let text = super::super::openapi("EUR".parse().unwrap());
        let api: serde_json::Value = serde_json::from_str(&text).unwrap();
        let paths = api["paths"].to_string();
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != OF_GRPC_ONLY) {
            assert!(paths.contains(&format!("\"{}\"", reason.name())), "{}", reason.name());
        }
    }

    #[test]
    fn headers_are_named_as_people_write_them() {
        assert_eq!(canonical("x-request-id"), "X-Request-Id");
    }
}
