//! The OpenAPI description: what the handlers say of themselves, and what every call has in common.
//!
//! Refusals and errors come from the table of [`Reason`]s, so that the description cannot miss one.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::info::{InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::body;
use super::commands::{IDEMPOTENT_REPLAYED, WALLET_CURRENT_BALANCE};
use super::error::WALLET_REASON;
use super::response::ErrorAnswer;
use crate::api::reason::{Call, Problem, Reason};
use crate::api::trace::REQUEST_ID;
use crate::ledger::{Kind, Refusal, UserId};

const INTRODUCTION: &str = "\
The ledger that game engines charge and pay into.

**Money** is exact: a JSON number with at most the currency's decimals, in any spelling (`1`, `1.0`, `10e-1`), and \
always written with all of them (`9.00`). **Ids** are whole numbers from 0 to 2^63 − 1.

**Retry freely.** A command is known by its user, its kind and its event id. Sent again with the same amount, it gets \
the first answer, byte for byte, and moves nothing: the header `Idempotent-Replayed` says so, and \
`Wallet-Current-Balance` has the balance of this moment. With another amount it is refused with 409. Whatever the \
failure, retrying with the same ids is safe.

**Errors** all have one shape, `{\"success\": false, \"error\": \"<message>\"}`, and the header `Wallet-Reason` for \
machines:
";

/// The kinds of entry.
pub fn kind_schema() -> Object {
    let names = Kind::ALL.map(Kind::name);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build()
}

/// The whole description, from the routes that are served.
pub fn describe<S: Clone + Send + Sync + 'static>(routes: OpenApiRouter<S>) -> OpenApi {
    let mut api = routes.into_openapi();
    api.info = InfoBuilder::new()
        .title("Wallet")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(format!("{INTRODUCTION}{}", reasons_table())))
        .license(Some(LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build()))
        .build();
    api.tags = Some(vec![
        TagBuilder::new().name("game").description(Some("What a game engine does.")).build(),
        TagBuilder::new().name("cashier").description(Some("What an operator's cashier does.")).build(),
        TagBuilder::new().name("users").description(Some("Wallets and their history.")).build(),
        TagBuilder::new().name("system").description(Some("The service itself.")).build(),
    ]);
    let components = api.components.get_or_insert_default();
    components.schemas.insert(ErrorAnswer::name().into_owned(), ErrorAnswer::schema());
    for (path, item) in &mut api.paths.paths {
        let PathItem { get, post, .. } = item;
        for (call, operation) in [(Call::Read, get), (Call::Command, post)] {
            if let Some(operation) = operation {
                complete(operation, call, path);
            }
        }
    }
    api
}

fn reasons_table() -> String {
    let mut table = "\n| `Wallet-Reason` | status | message |\n|---|---|---|\n".to_owned();
    for reason in Reason::ALL {
        let (command, read) = (reason.http(Call::Command).as_u16(), reason.http(Call::Read).as_u16());
        let status = if command == read { command.to_string() } else { format!("{command}, {read} when looked up") };
        let _ = writeln!(table, "| `{}` | {status} | {} |", reason.name(), reason.message());
    }
    table
}

/// Adds to an operation what no handler says of itself: its errors, and the headers of its answers.
fn complete(operation: &mut Operation, call: Call, path: &str) {
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        if call == Call::Command {
            let replayed = "`true` if this is a replay: the first answer, again.";
            response.headers.insert(canonical(IDEMPOTENT_REPLAYED.as_str()), text(replayed, &["true"]).into());
            response.headers.insert(canonical(WALLET_CURRENT_BALANCE.as_str()), current_balance().into());
        }
    }
    let mut by_status: BTreeMap<String, Vec<Reason>> = BTreeMap::new();
    for reason in Reason::ALL.into_iter().filter(|reason| answers(*reason, call, path)) {
        by_status.entry(reason.http(call).as_u16().to_string()).or_default().push(reason);
    }
    for (status, reasons) in by_status {
        let error = error(&status, &reasons, path);
        operation.responses.responses.insert(status, error.into());
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let id = text(
                "The request's id, as it was sent or as it was made. The log has it: of one that was sent, in any case.",
                &[],
            );
            response.headers.insert(canonical(REQUEST_ID.as_str()), id.into());
        }
    }
}

/// Whether a call may be answered with this reason.
fn answers(reason: Reason, call: Call, path: &str) -> bool {
    let is = |names: &[&str]| names.iter().any(|name| path.strip_prefix("/api/v1/") == Some(name));
    let command = call == Call::Command;
    let of_user = path.contains("{UserId}");
    match reason {
        Reason::InvalidRequest => command || of_user,
        Reason::NegativeAmount | Reason::EventConflict => command && !is(&["rollback"]),
        Reason::UnknownUser => of_user || command && !is(&["users"]),
        Reason::RolledBack => is(&["charge"]),
        Reason::BalanceTooLow => is(&["charge", "withdraw"]),
        Reason::BalanceLimit => is(&["win", "rollback", "deposit", "users"]),
        // Who may call is for what stands before the service to decide.
        Reason::Unauthenticated | Reason::Forbidden => false,
        Reason::NotFound => of_user,
        Reason::MethodNotAllowed | Reason::Unavailable | Reason::Internal => true,
        Reason::RequestTimeout
        | Reason::PayloadTooLarge
        | Reason::UnsupportedMediaType
        | Reason::Busy
        | Reason::Deadline => command,
    }
}

/// The response of one status: its reasons, each with its message as an example.
fn error(status: &str, reasons: &[Reason], path: &str) -> Response {
    let mut description = String::new();
    let mut examples = Vec::new();
    for reason in reasons {
        let message = message(*reason, path);
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
    if status == "405" {
        response = response.header("Allow", text("The methods that the path has.", &[]));
    }
    response.build()
}

/// The message of a reason; where the reason alone does not decide it, one that this path may answer.
fn message(reason: Reason, path: &str) -> String {
    let kind = match path {
        "/api/v1/win" => Kind::Win,
        "/api/v1/users" => Kind::Open,
        _ => Kind::Charge,
    };
    let problem = if reason == Reason::NegativeAmount {
        Some(Problem::from(Refusal::NegativeAmount(kind)))
    } else if reason == Reason::InvalidRequest {
        body::parse_id("", "UserId", UserId::new).err()
    } else {
        None
    };
    problem.unwrap_or_else(|| reason.into()).message
}

fn text(description: &str, values: &[&str]) -> Header {
    let schema = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    let schema = if values.is_empty() { schema } else { schema.enum_values(Some(values.iter().copied())) };
    HeaderBuilder::new().description(Some(description)).schema(Some(schema.build())).build()
}

fn current_balance() -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[0-9]+(\.[0-9]+)?$")).build();
    let description = "On a replay: the balance of this moment, which the body does not tell.";
    HeaderBuilder::new().description(Some(description)).schema(Some(schema)).example(Some(json!("9.00"))).build()
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
    fn every_reason_that_is_met_without_a_proxy_is_documented_somewhere() {
        let text = super::super::openapi();
        let api: serde_json::Value = serde_json::from_str(&text).unwrap();
        let paths = api["paths"].to_string();
        for reason in Reason::ALL {
            let documented = paths.contains(&format!("\"{}\"", reason.name()));
            let proxy = matches!(reason, Reason::Unauthenticated | Reason::Forbidden);
            assert_eq!(documented, !proxy, "{}", reason.name());
        }
    }

    #[test]
    fn headers_are_named_as_people_write_them() {
        assert_eq!(canonical("x-request-id"), "X-Request-Id");
    }
}
